"""ResNet50's parameters: from the hub, pinned, or from a seed."""

import hashlib
import os
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.resnet import Bottleneck

PARAMETERS = 25_557_032
SEED = 20_261_101
# Residual branches start small, as is usual in training. At 1.0 an untrained network is chaotic:
# one grey level in a tenth of the pixels moves a probability by 0.09, at 0.25 by 0.003.
BRANCH_SCALE = 0.25
LOGIT_DEVIATION = 4.0  # top-1 between 0.1 and 0.95, as a trained classifier's

# torchvision's IMAGENET1K_V1 parameters as the timm project republishes them. Commit, size and
# digest agree in independent public lock files; the file itself was not fetched here (README).
HUB = "https://huggingface.co"
REPOSITORY = "timm/resnet50.tv_in1k"
COMMIT = "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa"
FILE = "model.safetensors"
FILE_BYTES = 102_469_840
FILE_SHA256 = "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888"

SOCKET_TIMEOUT_S = 5
DOWNLOAD_TIMEOUT_S = 900


class WeightsUnavailable(Exception):
    """The hub can't be reached, or does not have the file."""


class WeightsWrong(Exception):
    """The hub answered with something other than what is pinned."""


@dataclass(frozen=True)
class Weights:
    """A model in eval mode and what the manifest says of it."""

    model: nn.Module
    kind: str
    source: str
    licence: str
    seed: int | None


def fetch(url: str, sha256: str, size: int) -> bytes:
    """Download `size` bytes whose digest is `sha256`; within seconds when there is no hub.

    Raises WeightsUnavailable (no answer, an HTTP error, a transfer that breaks off or is too slow)
    and WeightsWrong (the bytes are not the pinned ones).
    """
    data = bytearray()
    deadline = time.monotonic() + DOWNLOAD_TIMEOUT_S
    try:
        with urllib.request.urlopen(url, timeout=SOCKET_TIMEOUT_S) as response:
            while chunk := response.read(1 << 20):
                data += chunk
                if len(data) > size:
                    raise WeightsWrong(f"{url} is longer than the pinned {size:,} bytes")
                if time.monotonic() > deadline:
                    raise WeightsUnavailable(f"{url}: not done in {DOWNLOAD_TIMEOUT_S} s")
    except (OSError, ValueError) as error:  # URLError and timeouts are OSErrors
        plain = isinstance(error, urllib.error.HTTPError)  # its reason lacks the status code
        reason = error if plain else getattr(error, "reason", error)
        raise WeightsUnavailable(f"{url}: {reason}") from error
    if len(data) < size:
        raise WeightsUnavailable(f"{url}: broke off at {len(data):,} of {size:,} bytes")
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise WeightsWrong(f"{url} has SHA-256 {digest}, pinned is {sha256}")
    return bytes(data)


def checked(model: nn.Module) -> nn.Module:
    """The model in eval mode, once its size is known to be ResNet50's."""
    count = sum(parameter.numel() for parameter in model.parameters())
    if count != PARAMETERS:
        raise WeightsWrong(f"model has {count:,} parameters, ResNet50 has {PARAMETERS:,}")
    return model.eval()


def pretrained() -> Weights:
    """Parameters from the hub; HF_ENDPOINT names a mirror. Raises what `fetch` raises."""
    endpoint = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    url = f"{endpoint}/{REPOSITORY}/resolve/{COMMIT}/{FILE}"
    state = safetensors.torch.load(fetch(url, FILE_SHA256, FILE_BYTES))
    model = resnet50(weights=None)
    missing, unexpected = model.load_state_dict(state, strict=False)
    # num_batches_tracked counts training steps: inference doesn't read it, some files lack it.
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise WeightsWrong(f"{url}: missing {missing[:3]}, unexpected {unexpected[:3]}")
    source = f"{HUB}/{REPOSITORY}/blob/{COMMIT}/{FILE} (sha256 {FILE_SHA256})"
    return Weights(checked(model), "pretrained", source, "BSD-3-Clause (torchvision)", None)


@torch.no_grad()
def random(pixels: Tensor) -> Weights:
    """Parameters from SEED, made to answer differently for each of `pixels` [N, 3, 224, 224].

    Kaiming-initialised convolutions alone give every picture nearly the same answer, and comparing
    answers would prove nothing. So batch norm takes its statistics from these pictures, as training
    would have given it, and `set_head` spreads the answers. Deterministic on one thread of one
    machine.
    """
    torch.manual_seed(SEED)
    model = resnet50(weights=None)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # one pass replaces the statistics
    for block in model.modules():
        if isinstance(block, Bottleneck):
            nn.init.constant_(block.bn3.get_parameter("weight"), BRANCH_SCALE)
    model.train()
    model(pixels)
    model.eval()

    pooled: list[Tensor] = []
    hook = model.fc.register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0]))
    model(pixels)
    hook.remove()
    set_head(model.fc, pooled[0].double())
    return Weights(checked(model), "random", f"seed {SEED}", "CC0-1.0", SEED)


@torch.no_grad()
def set_head(head: nn.Linear, features: Tensor) -> None:
    """Seeded random directions, whitened against `features` [N, 2048] so that no picture dominates.

    A few pictures lie far from the others: a plain random head would answer those with certainty
    and all others alike. The damping (half the median singular value) keeps the weakest directions,
    which are mostly noise, from being blown up. Over pictures and classes, logits get mean 0 and
    standard deviation LOGIT_DEVIATION.
    """
    centre = features.mean(0)
    _, spread, axes = torch.linalg.svd(features - centre, full_matrices=False)
    directions = torch.randn(head.out_features, head.in_features, dtype=torch.float64)
    weight = (directions @ axes.T / (spread + spread.median() / 2)) @ axes
    weight *= LOGIT_DEVIATION / ((features - centre) @ weight.T).std()
    head.weight.copy_(weight)
    head.bias.copy_(-weight @ centre)
