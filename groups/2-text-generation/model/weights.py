"""The parameters of GPT-2 small and OPT-125M: from the hub, pinned, or from a seed."""

import hashlib
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM

SEED = 20_261_103
# Of attention and MLP matrices. At the usual 0.02 the token that was read last outweighs everything
# that was read before it, and a wrong attention would hardly show.
DEVIATION = 0.05
# The last norm's weight: logits then lead each other as far as a trained model's do.
LOGIT_SCALE = 6.0

HUB = "https://huggingface.co"
SOCKET_TIMEOUT_S = 5
DOWNLOAD_TIMEOUT_S = 900


class WeightsUnavailable(Exception):
    """The hub can't be reached, does not have the file, or nothing is pinned for this model."""


class WeightsWrong(Exception):
    """The hub answered with something other than what is pinned."""


@dataclass(frozen=True)
class Pin:
    """One file of a hub repository. Not fetched by us: read in independent public records."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Model:
    """What is fixed about a model, whatever its weights. `first` and `last` are special tokens."""

    name: str
    parameters: int
    vocabulary: int
    context: int
    first: tuple[str, ...]
    last: tuple[str, ...]
    end: str
    repository: str
    commit: str
    licence: str
    pins: tuple[Pin, ...]


MODELS = {
    "gpt2": Model(
        name="gpt2",
        parameters=124_439_808,
        vocabulary=50_257,
        context=1024,
        first=(),
        last=("<|endoftext|>",),
        end="<|endoftext|>",
        repository="openai-community/gpt2",
        commit="607a30d783dfa663caf39e06633721c8d4cfcd7e",
        licence="MIT",
        pins=(
            Pin(
                "model.safetensors",
                "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
            ),
            Pin(
                "tokenizer.json",
                "8414cab924d8b9b33013f0d221c5862f365ee9be39c5c2bfae8a5a9e970478a6",
            ),
        ),
    ),
    "opt-125m": Model(
        name="opt-125m",
        parameters=125_239_296,
        vocabulary=50_272,
        context=2048,
        first=("<s>", "<pad>", "</s>", "<unk>"),
        last=(),
        end="</s>",
        repository="facebook/opt-125m",
        commit="27dcfa74d334bc871f3234de431e71c6eeba5dd6",
        licence="OPT-175B licence, non-commercial",
        pins=(),
    ),
}


def architecture(model: Model, end: int) -> nn.Module:
    """The full-size network in eval mode with a tied head; its weights are of no use yet."""
    if model.name == "gpt2":
        config = GPT2Config(bos_token_id=end, eos_token_id=end, pad_token_id=end)
        return GPT2LMHeadModel(config).eval()
    config = OPTConfig(eos_token_id=end, bos_token_id=0, pad_token_id=1)
    return OPTForCausalLM(config).eval()


def checked(network: nn.Module, model: Model) -> nn.Module:
    """The network itself if it has the real model's size. Raises WeightsWrong."""
    found = sum(parameter.numel() for parameter in network.parameters())  # a tied head counts once
    if found != model.parameters:
        raise WeightsWrong(f"{model.name} has {found:,} parameters, not {model.parameters:,}")
    return network


@torch.no_grad()
def random(model: Model, end: int, silent: Sequence[int]) -> nn.Module:
    """Seeded weights whose answers depend on everything that was read.

    The rows of `silent` ids are zero in the tied embedding: their logit is 0 where the best is
    far above, so that they are never generated.
    """
    torch.manual_seed(SEED)
    network = architecture(model, end)
    for name, parameter in network.named_parameters():
        block = ".h." in name or ".layers." in name
        if block and parameter.ndim == 2:
            parameter.normal_(0, DEVIATION)
    final = next(
        module
        for name, module in network.named_modules()
        if name.endswith(("ln_f", "final_layer_norm")) and ".layers." not in name
    )
    weight = final.weight
    assert isinstance(weight, Tensor)
    weight.fill_(LOGIT_SCALE)
    embedding = network.get_input_embeddings().weight  # pyright: ignore
    embedding[list(silent)] = 0
    return checked(network, model)


def fetch(url: str, sha256: str) -> bytes:
    """Download a file whose digest is `sha256`; fails within seconds when there is no hub.

    Raises WeightsUnavailable and WeightsWrong.
    """
    data = bytearray()
    deadline = time.monotonic() + DOWNLOAD_TIMEOUT_S
    try:
        with urllib.request.urlopen(url, timeout=SOCKET_TIMEOUT_S) as response:
            while chunk := response.read(1 << 20):
                data += chunk
                if time.monotonic() > deadline:
                    raise WeightsUnavailable(f"{url}: not done in {DOWNLOAD_TIMEOUT_S} s")
    except (OSError, ValueError) as error:  # URLError and timeouts are OSErrors
        plain = isinstance(error, urllib.error.HTTPError)  # its reason lacks the status code
        reason = error if plain else getattr(error, "reason", error)
        raise WeightsUnavailable(f"{url}: {reason}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise WeightsWrong(f"{url} has SHA-256 {digest}, pinned is {sha256}")
    return bytes(data)


def pretrained(model: Model) -> dict[str, bytes]:
    """{file: bytes} of all pinned files. Raises WeightsUnavailable, WeightsWrong."""
    if not model.pins:
        raise WeightsUnavailable(f"no file of {model.repository} is pinned by digest")
    hub = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    base = f"{hub}/{model.repository}/resolve/{model.commit}"
    return {pin.file: fetch(f"{base}/{pin.file}", pin.sha256) for pin in reversed(model.pins)}
