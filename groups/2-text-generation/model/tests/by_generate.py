"""Greedy tokens of some payloads by transformers' own `generate`, one at a time, as JSON.

Usage: by_generate.py ARTEFACT PAYLOADS NAME…, in the environment of model/.
"""

import json
import sys
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

artefact, payloads, *names = sys.argv[1:]
network: Any = AutoModelForCausalLM.from_pretrained(artefact).eval()
tokenizer = PreTrainedTokenizerFast.from_pretrained(artefact)
said: dict[str, list[int]] = {}
for entry in json.loads((Path(payloads) / "manifest.json").read_text(encoding="utf-8")):
    if entry["name"] in names:
        asked = json.loads((Path(payloads) / entry["file"]).read_text(encoding="utf-8"))
        text = asked.get("prompt") or tokenizer.apply_chat_template(
            asked["messages"], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        tokens = network.generate(
            input_ids=ids["input_ids"],
            attention_mask=ids["attention_mask"],
            max_new_tokens=asked["max_tokens"],
            do_sample=False,
            eos_token_id=None,
            pad_token_id=network.config.pad_token_id,
        )
        said[entry["name"]] = tokens[0, ids["input_ids"].shape[1] :].tolist()
print(json.dumps(said))
