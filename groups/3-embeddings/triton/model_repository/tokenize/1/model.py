"""Step 1: text to token ids. Triton runs this file in processes of its own."""

import json

import numpy as np
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

MAX_BYTES = 1_000_000  # of one text; what is over the model's limit of tokens is cut off


class BadTextError(ValueError):
    """The client's fault; the message names it."""


def read(data: bytes) -> str:
    """A text as it was sent. Raises BadTextError."""
    if not data:
        raise BadTextError("the text is empty")
    if len(data) > MAX_BYTES:
        raise BadTextError(f"the text has {len(data)} bytes, the limit is {MAX_BYTES}")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadTextError(f"the text is not UTF-8: {error.reason} at byte {error.start}") from None


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        """Load the tokenizer; tokenizer.json holds the model's own limit, at which it truncates."""
        parameters = json.loads(args["model_config"])["parameters"]
        settings = {name: value["string_value"] for name, value in parameters.items()}
        self.tokenizer = Tokenizer.from_file(settings["tokenizer"])
        self.tokenizer.no_padding()
        self.pad_id = int(settings["pad_id"])
        self.multiple = int(settings["pad_to_multiple_of"])

    def execute(self, requests: list) -> list:
        """One response a request; a bad text fails its own request only."""
        return [self.respond(request) for request in requests]

    def respond(self, request) -> "pb_utils.InferenceResponse":
        """TEXT, [n, 1] bytes, to `input_ids` and `attention_mask`, both [n, tokens] int64."""
        sent = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy().reshape(-1)
        texts: list[str] = []
        for index, data in enumerate(sent):
            try:
                texts.append(read(data))
            except BadTextError as fault:
                error = pb_utils.TritonError(
                    f"TEXT[{index}]: {fault}", pb_utils.TritonError.INVALID_ARG
                )
                return pb_utils.InferenceResponse(error=error)
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        longest = max(map(len, rows))
        tokens = -(-longest // self.multiple) * self.multiple
        ids = np.full((len(rows), tokens), self.pad_id, np.int64)
        mask = np.zeros((len(rows), tokens), np.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("input_ids", ids), pb_utils.Tensor("attention_mask", mask)]
        )
