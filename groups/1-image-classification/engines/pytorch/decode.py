"""JPEG bytes to the model's input, as model/README.md defines it."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

SHORT_SIDE, CROP = 256, 224
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
# (value / 255 - mean) / std as one multiplication and one addition a channel
SCALE = (1 / (255 * STD)).reshape(3, 1, 1)
SHIFT = (-MEAN / STD).reshape(3, 1, 1)


def decode_into(data: bytes, out: NDArray[np.float32]) -> None:
    """Decode one picture into `out`, [3, 224, 224] float32."""
    image = Image.open(BytesIO(data))
    ImageOps.exif_transpose(image, in_place=True)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    image = image.convert("RGB")
    width, height = image.size
    short = min(width, height)
    size = (int(SHORT_SIDE * width / short), int(SHORT_SIDE * height / short))
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - CROP) / 2), round((size[1] - CROP) / 2)
    pixels = np.asarray(image.crop((left, top, left + CROP, top + CROP)))
    np.multiply(pixels.transpose(2, 0, 1), SCALE, out=out)
    np.add(out, SHIFT, out=out)
