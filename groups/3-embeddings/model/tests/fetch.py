"""What `weights.downloaded` makes of a hub, in the builder's environment, as JSON: {commit: …}.

Usage: HF_ENDPOINT=… python -P fetch.py FOLDER COMMIT…
"""

import dataclasses
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))

import weights

folder, *commits = sys.argv[1:]
found: dict[str, object] = {}
for commit in commits:
    model = dataclasses.replace(weights.MODELS["sbert"], commit=commit)
    (into := Path(folder) / commit).mkdir()
    try:
        path, digest = weights.downloaded(model, into)
        tensors = {name: tensor.tolist() for name, tensor in weights.read_state(path).items()}
        found[commit] = {"name": path.name, "sha256": digest, "tensors": tensors}
    except (weights.WeightsUnavailable, weights.WeightsWrong) as error:
        found[commit] = {"error": type(error).__name__, "said": str(error)}
print(json.dumps(found))
