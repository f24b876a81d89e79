"""Step 1: encoded pictures to normalised pixels. Triton runs this file in processes of its own."""

import os
from io import BytesIO

import numpy as np
import triton_python_backend_utils as pb_utils
from PIL import Image

from decode import CROP, BadImageError, decode


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        """Decode one picture, so that Pillow's readers are loaded before the first request.

        A model that runs comes before pictures that would only wait for it.
        """
        os.nice(19)
        picture = BytesIO()
        Image.new("RGB", (300, 300)).save(picture, "JPEG")
        decode(picture.getvalue(), np.empty((3, CROP, CROP), np.float32))

    def execute(self, requests: list) -> list:
        """One response a request; a bad picture fails its own request only."""
        return [respond(request) for request in requests]


def respond(request) -> "pb_utils.InferenceResponse":
    """IMAGE, [n, 1] bytes, to `pixels`, [n, 3, 224, 224] float32."""
    images = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy().reshape(-1)
    pixels = np.empty((len(images), 3, CROP, CROP), np.float32)
    for index, image in enumerate(images):
        try:
            decode(image, pixels[index])
        except BadImageError as fault:
            message = f"IMAGE[{index}]: {fault}"
            error = pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=error)
    return pb_utils.InferenceResponse([pb_utils.Tensor("pixels", pixels)])
