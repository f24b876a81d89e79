"""The server, whose inferences fail as long as the file named by INFERENCES_FAIL is there."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import model
import server

right = model.Model.embed


def embed(self: model.Model, texts: object) -> object:
    if Path(os.environ["INFERENCES_FAIL"]).exists():
        raise RuntimeError("as planned")
    return right(self, texts)  # pyright: ignore


model.Model.embed = embed  # pyright: ignore
sys.exit(server.main())
