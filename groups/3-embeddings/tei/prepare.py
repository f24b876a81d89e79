"""Lay out the artefact as TEI wants a model folder, from MODEL_DIR to PREPARED_DIR.

TEI reads a sentence-transformers folder. Which files, and what it takes from each, is in
router/src/lib.rs, backends/src/lib.rs and backends/ort/src/lib.rs of version 1.9.3.
"""

import json
import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDED = ("config.json", "tokenizer.json", "model.safetensors", "encoder.onnx", "embedding.json")


def pooling(kind: str) -> dict[str, bool]:
    """TEI's `1_Pooling/config.json`. Exits where the artefact pools as TEI can't."""
    if kind not in ("mean", "cls"):
        sys.exit(f"embedding.json: pooling is {kind!r}; TEI knows mean and cls")
    return {"pooling_mode_cls_token": kind == "cls", "pooling_mode_mean_tokens": kind == "mean"}


def lay_out(model: Path, out: Path) -> None:
    """Copy and write what TEI loads. Exits with a message if the artefact isn't one."""
    for file in NEEDED:
        if not (model / file).is_file():
            sys.exit(f"MODEL_DIR ({model}) has no {file}: ../model/build.py makes it")
    told = json.loads((model / "embedding.json").read_text())
    (out / "1_Pooling").mkdir(parents=True, exist_ok=True)
    for file in ("tokenizer.json", "model.safetensors"):
        shutil.copyfile(model / file, out / file)
    # The CPU image runs this with ONNX Runtime; the CUDA image has Candle alone, and reads the
    # safetensors.
    shutil.copyfile(model / "encoder.onnx", out / "model.onnx")
    # TEI asks for a list; transformers leaves it null in a config that no saved model wrote.
    config = json.loads((model / "config.json").read_text()) | {"architectures": ["BertModel"]}
    written = {
        "config.json": config,
        "1_Pooling/config.json": pooling(told["pooling"]),
        # Without this file TEI would truncate at config.json's max_position_embeddings.
        "sentence_bert_config.json": {"max_seq_length": told["max_tokens"]},
    }
    for name, content in written.items():
        (out / name).write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    """Read the environment and lay out."""
    model = Path(os.environ.get("MODEL_DIR", HERE / "model")).resolve()
    out = Path(os.environ.get("PREPARED_DIR", HERE / "prepared")).resolve()
    lay_out(model, out)
    print(f"laid out {out}")


if __name__ == "__main__":
    main()
