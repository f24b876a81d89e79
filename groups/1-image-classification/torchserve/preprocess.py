"""From image bytes to the model's input, by the group's one definition (../model/README.md).

EXIF orientation applied, CMYK and greyscale to RGB, alpha on black, short side 256 (bilinear,
antialiased), centre crop 224, ImageNet mean and deviation. This copy travels in the model archive.
"""

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps

RESIZE, CROP = 256, 224
MAX_PIXELS = 50_000_000  # a small file can claim to be a gigantic picture
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) * 255
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1) * 255

# No others: Pillow takes an ICO apart, and decodes what is in it, before its size is known.
FORMATS = ("JPEG", "PNG")
# `decode` looks at the size itself and names its limit. Pillow raises above twice this one.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class BadRequestError(ValueError):
    """The client's bytes are at fault; `status` is the HTTP status that says how."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def decode(data: bytes | bytearray) -> npt.NDArray[np.uint8]:
    """The cropped picture as uint8 [224, 224, 3] (RGB). Raises BadRequestError naming the fault."""
    if not data:
        raise BadRequestError("the image is empty: send the bytes of a JPEG or PNG")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if _most_pixels(image) > MAX_PIXELS:
                size = f"the image is {image.width}x{image.height}"
                limit = f"the limit is {MAX_PIXELS:,} pixels, before and after scaling"
                raise BadRequestError(f"{size}: {limit}", 413)
            return np.asarray(_crop(_rgb(ImageOps.exif_transpose(image))))
    except BadRequestError:
        raise
    except Image.DecompressionBombError as error:
        raise BadRequestError(f"the image has too many pixels: {error}", 413) from error
    except Image.UnidentifiedImageError as error:
        raise BadRequestError(
            f"{len(data)} bytes that are not an image: send JPEG or PNG"
        ) from error
    except Exception as error:  # Pillow's plugins raise anything from OSError to struct.error
        raise BadRequestError(f"the image can't be decoded: {error}") from error


def pixels_of(data: bytes | bytearray) -> int:
    """How many pixels `decode` would work on; 0 where it would fail before the first."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _most_pixels(image)
    except Exception:  # `decode` names it
        return 0


def to_tensor(images: list[npt.NDArray[np.uint8]], device: torch.device) -> torch.Tensor:
    """Images [224, 224, 3] to normalised float32 [N, 3, 224, 224], channels last in memory."""
    # Height, width, channel is already the channels-last order: permuting copies nothing.
    pixels = torch.from_numpy(np.stack(images)).to(device).permute(0, 3, 1, 2)
    return pixels.float().sub_(MEAN.to(device)).div_(STD.to(device))


def _most_pixels(image: Image.Image) -> int:
    """Its pixels before or after scaling, whichever are more.

    A narrow picture grows as its short side becomes 256: 1 x 1,000,000 to 65 gigapixels.
    """
    short, long = sorted(image.size)
    return max(short * long, RESIZE * RESIZE * long // short)


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        black: Any = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _crop(image: Image.Image) -> Image.Image:
    width, height = image.size
    short = min(width, height)
    width, height = int(RESIZE * width / short), int(RESIZE * height / short)
    left, top = round((width - CROP) / 2), round((height - CROP) / 2)
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + CROP, top + CROP))
