"""The server, with steps that fail as long as the file named by STEPS_FAIL is there."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import batcher
import server

right = batcher.choose


def choose(*said: object) -> list[int]:
    if Path(os.environ["STEPS_FAIL"]).exists():
        raise RuntimeError("as planned")
    return right(*said)  # pyright: ignore


batcher.choose = choose
sys.exit(server.main())
