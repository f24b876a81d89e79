"""The same model behind LitServe 0.2: what its documentation asks for, and nothing more.

One text a request; each knob of LitServe's is an environment variable. compare.py puts the stack's
own bert.py, model.py, settings.py and k6.js beside this file.
"""

import base64
import logging
import os
import signal
from typing import Any

import litserve
import numpy as np
import torch
from fastapi import HTTPException
from numpy.typing import NDArray

from model import Model, load
from settings import from_environment

# As its documentation advises for CPUs: a worker a core.
WORKERS = int(os.environ.get("WORKERS_PER_DEVICE") or os.environ.get("THREADS") or 1)


class Embeddings(litserve.LitAPI):
    """Texts to vectors of length 1, as POST /v1/embeddings answers them in base64."""

    model: Model

    def setup(self, device: str) -> None:
        settings = from_environment()
        torch.set_num_threads(max(1, settings.threads // WORKERS))
        self.model = load(settings)
        self.model.warm_up((8, 64, self.model.max_tokens))

    def decode_request(self, request: dict[str, Any]) -> list[int]:
        """Its token ids: LitServe decodes in the worker, before it batches."""
        texts = request["input"]
        if len(texts) != 1 or not texts[0]:
            raise HTTPException(400, "this server takes one text a request, and no empty one")
        return self.model.cut(self.model.tokenize(texts)[0])

    def batch(self, inputs: list[list[int]]) -> list[list[int]]:
        """As they are: embed pads them."""
        return inputs

    def predict(self, x: list[Any]) -> NDArray[np.float32]:
        """[N, dimensions] of a batch; [dimensions] of the one text where nothing is batched."""
        if self.max_batch_size == 1:
            return self.model.embed([x])[0]
        return self.model.embed(x)

    def unbatch(self, output: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return list(output)

    def encode_response(self, output: NDArray[np.float32]) -> dict[str, Any]:
        vector = output / np.linalg.norm(output)
        coded = base64.b64encode(vector.astype("<f4")).decode()
        return {"data": [{"object": "embedding", "index": 0, "embedding": coded}]}


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    api = Embeddings(
        max_batch_size=int(os.environ.get("MAX_BATCH_SIZE", "1")),
        batch_timeout=float(os.environ.get("BATCH_TIMEOUT", "0")),
        api_path="/v1/embeddings",
    )
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        devices=1,
        workers_per_device=WORKERS,
        fast_queue=os.environ.get("FAST_QUEUE") == "1",
    )
    # It drains on Ctrl-C, and would just be ended by SIGTERM.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = from_environment()
    server.run(
        host=settings.host,
        port=settings.http_port,
        num_api_servers=1,  # one event loop, as the stack beside it has
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":  # its workers import this file again
    main()
