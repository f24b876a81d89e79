"""Half precision. It is for GPUs; PyTorch computes it on a CPU too, slowly."""

import json
from typing import Any

import numpy as np

TOLERANCE16 = 1e-4  # of 1 − cosine: the group's parity tolerance for fp16


def test_fp16(another: Any, server: Any):
    """Padded and not: near the reference, rounded, of length 1. Breaks if fp32 were computed under
    fp16's name."""
    texts = {p.name: p.data().decode() for p in server.payloads if p.probe and p.text}
    reference = json.loads((server.artefact.folder / "reference.json").read_text())
    alike = [each for each in texts if len(texts[each]) == len(next(iter(texts.values())))]
    with another(PRECISION="fp16") as (_, http):
        off: list[float] = []
        for names in ([alike[0]], list(texts)[:16]):
            asked = {"input": [texts[name] for name in names], "encoding_format": "float"}
            reply = http.post("/v1/embeddings", json=asked)
            assert reply.status_code == 200, reply.text
            for name, one in zip(names, reply.json()["data"], strict=True):
                vector, right = np.asarray(one["embedding"]), np.asarray(reference[name])
                length = np.linalg.norm(vector)
                assert abs(length - 1) < 1e-5
                off.append(1 - float(vector @ right / length / np.linalg.norm(right)))
    assert len(off) == 17 and 1e-8 < max(off) <= TOLERANCE16
