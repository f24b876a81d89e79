"""One picture, as the model saw pictures in training: file bytes to a normalised tensor.

The definition is the group's (model/README.md): EXIF orientation applied, alpha on black, RGB,
short side to 256 with antialiased bilinear, centre crop 224, ImageNet mean and standard deviation.
"""

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from errors import BROKEN_IMAGE, EMPTY_BODY, NOT_AN_IMAGE, TOO_MANY_PIXELS, RequestError

FORMATS = ("JPEG", "PNG")  # Pillow's forty others are attack surface
SHORT_SIDE = 256
CROP = 224
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
# (x / 255 - mean) / std as one multiplication and one addition
SCALE = (1 / (255 * STD)).astype(np.float32)
SHIFT = (-MEAN / STD).astype(np.float32)


def limit_pixels(limit: int) -> None:
    """Make Pillow refuse pictures of more than `limit` pixels when it reads the header.

    Pillow itself only warns up to twice its limit, so the warning is made an error, process-wide.
    """
    Image.MAX_IMAGE_PIXELS = limit
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def decode(data: bytes) -> NDArray[np.float32]:
    """Bytes of a JPEG or PNG file to float32 [3, 224, 224]. Releases the GIL for most of its time.

    Raises RequestError, whose message says what is wrong with the file.
    """
    if not data:
        raise RequestError(EMPTY_BODY, "the image is empty: 0 bytes")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            ImageOps.exif_transpose(image, in_place=True)
            rgb = _rgb(image)
            rgb.load()  # inside the try: a picture without EXIF is only now decoded
    except UnidentifiedImageError:
        raise RequestError(NOT_AN_IMAGE, "not a JPEG or PNG image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RequestError(TOO_MANY_PIXELS, f"too many pixels: {error}") from None
    except MemoryError:
        raise  # ours, not the sender's
    except Exception as error:  # malformed files make Pillow raise almost anything
        raise RequestError(BROKEN_IMAGE, f"the image cannot be decoded: {error}") from None
    return normalise(crop(rgb))


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:  # first: an RGB PNG may name one colour that is transparent
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image.convert("RGBA")).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def crop(image: Image.Image) -> Image.Image:
    """Short side to 256, long side in proportion (floor), centre 224 × 224 (corner half to even).

    Raises RequestError for a picture so narrow that 256 × its long side would be a bomb.
    """
    width, height = image.size
    short = min(width, height)
    size = (SHORT_SIDE * width // short, SHORT_SIDE * height // short)
    if Image.MAX_IMAGE_PIXELS is not None and size[0] * size[1] > Image.MAX_IMAGE_PIXELS:
        raise RequestError(TOO_MANY_PIXELS, f"too many pixels: {width} × {height} is too narrow")
    left, top = round((size[0] - CROP) / 2), round((size[1] - CROP) / 2)
    # Resizing with box=… would compute only the crop, 1 ms less, but rounds its float32 corners:
    # a few pixels differ by one level, and with them probabilities by up to 9e-4.
    resized = image.resize(size, Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + CROP, top + CROP))


def normalise(image: Image.Image) -> NDArray[np.float32]:
    """RGB picture to float32 [3, height, width]: (x / 255 − mean) / std."""
    pixels = np.asarray(image)
    planes = np.empty((3, *pixels.shape[:2]), np.float32)
    for channel in range(3):  # eight times faster than one broadcast over strides
        np.multiply(pixels[:, :, channel], SCALE[channel], out=planes[channel])
        planes[channel] += SHIFT[channel]
    return planes
