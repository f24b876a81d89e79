"""From an encoded picture to ResNet50's input: the one definition (README, "Decoding").

Stacks keep their own copy or an equivalent of it; the parity gate holds them against this one.
"""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SHORT_SIDE = 256
CROP = 224
# ImageNet's channel means and deviations in RGB order, as in torchvision's reference recipes.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def upright_rgb(data: bytes) -> Image.Image:
    """Decode, turn as EXIF says, lay alpha on black and convert to 8-bit RGB.

    Raises PIL.UnidentifiedImageError for what is no picture, OSError for a damaged one.
    """
    image = Image.open(BytesIO(data))
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image.convert("RGB")


def resize_and_crop(image: Image.Image) -> Image.Image:
    """Short side to 256, aspect kept, then the centre 224 x 224.

    Rounding is torchvision's: Resize truncates the long side, CenterCrop rounds the corner half
    to even.
    """
    width, height = image.size
    short = min(width, height)
    size = (int(SHORT_SIDE * width / short), int(SHORT_SIDE * height / short))
    image = image.resize(size, Image.Resampling.BILINEAR)
    left = round((size[0] - CROP) / 2)
    top = round((size[1] - CROP) / 2)
    return image.crop((left, top, left + CROP, top + CROP))


def normalise(image: Image.Image) -> NDArray[np.float32]:
    """[3, 224, 224] float32, channels first: (value / 255 - mean) / std."""
    pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
    pixels = (pixels - np.asarray(MEAN, np.float32)) / np.asarray(STD, np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def decode(data: bytes) -> NDArray[np.float32]:
    """Encoded picture to the model's input, [3, 224, 224] float32."""
    return normalise(resize_and_crop(upright_rgb(data)))
