"""For people who have Locust: this group's requests, as k6 sends them, from Locust's web page.

    make serve GROUP=2 STACK=fastapi-pytorch                  # says where it listens
    make requests GROUP=2 STACK=fastapi-pytorch INTERFACE=rest   # says which file it wrote
    REQUESTS=<that file> locust -f groups/2-text-generation/locustfile.py --host <that address>

Read ../../shared/crosscheck/README.md first: what Locust's times can't tell.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "crosscheck"))

from replay import Replay

__all__ = ["Replay"]
