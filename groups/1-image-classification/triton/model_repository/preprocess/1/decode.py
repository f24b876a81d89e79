"""From an encoded picture to ResNet50's input: own copy of what ../../../../model/README.md says.

The numbers are the same to the last bit; normalising is a table, since a channel has 256 values.
"""

import warnings
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SHORT_SIDE = 256
CROP = 224
MAX_BYTES = 20_000_000
MAX_PIXELS = 50_000_000  # before and after scaling
# No others: Pillow takes an ICO apart, and decodes what is in it, before its size is known.
FORMATS = ("JPEG", "PNG")
# `open_image` looks at the size itself and names its limit. Pillow raises above twice this one.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("ignore", Image.DecompressionBombWarning)
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# [3, 256] float32: what each 8-bit value becomes in each channel.
TABLE = (
    np.arange(256, dtype=np.float32)[None] / np.float32(255) - np.asarray(MEAN, np.float32)[:, None]
) / np.asarray(STD, np.float32)[:, None]


class BadImageError(ValueError):
    """The client's fault; the message names it."""


def open_image(data: bytes) -> Image.Image:
    """Header read, limits checked, nothing decoded yet."""
    if not data:
        raise BadImageError("the image is empty")
    if len(data) > MAX_BYTES:
        raise BadImageError(f"the image has {len(data)} bytes, the limit is {MAX_BYTES}")
    try:
        image = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise BadImageError(f"the image has too many pixels: {error}") from error
    except Exception as error:  # Pillow's readers raise many kinds on damaged headers
        raise BadImageError("not an image: send JPEG or PNG") from error
    width, height = image.size
    # A narrow picture grows as its short side becomes 256: 1 x 4,000 to 262 megapixels.
    scaled = SHORT_SIDE * SHORT_SIDE * max(width, height) // min(width, height)
    if max(width * height, scaled) > MAX_PIXELS:
        limit = f"the limit is {MAX_PIXELS}, before and after scaling"
        raise BadImageError(f"the image has {width} x {height} pixels, {limit}")
    return image


def upright_rgb(image: Image.Image) -> Image.Image:
    """Turned as EXIF says, alpha on black, 8-bit RGB."""
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image.convert("RGB")


def resize_and_crop(image: Image.Image) -> Image.Image:
    """Short side to 256, then the centre 224 x 224, rounded as torchvision does."""
    width, height = image.size
    short = min(width, height)
    size = (int(SHORT_SIDE * width / short), int(SHORT_SIDE * height / short))
    image = image.resize(size, Image.Resampling.BILINEAR)
    left = round((size[0] - CROP) / 2)
    top = round((size[1] - CROP) / 2)
    return image.crop((left, top, left + CROP, top + CROP))


def decode(data: bytes, out: NDArray[np.float32]) -> None:
    """Encoded picture into `out`, [3, 224, 224] float32. Raises BadImageError."""
    image = open_image(data)
    try:
        image = resize_and_crop(upright_rgb(image))
    except Exception as error:  # truncated or damaged data; what is raised depends on the format
        raise BadImageError(f"the image is damaged: {error}") from error
    pixels = np.asarray(image)
    for channel in range(3):
        np.take(TABLE[channel], pixels[..., channel], out=out[channel], mode="clip")
