"""Matrix products in fp32 for few rows at a time, which is what decoding is on a CPU, and in bf16.

PyTorch's usual fp32 product is tuned for many rows: with 4 to 32 it takes up to twice as long as
oneDNN does with weights that were packed for it once. README has the figures.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from transformers.activations import NewGELUActivation
from transformers.pytorch_utils import Conv1D

PACKED_FOR = 16
# One row is a product of a matrix and a vector, and from so many rows on the usual way is as good.
MANY = 64


class PackedLinear(nn.Module):
    """x @ weight.T + bias, with the weights kept twice: transposed, and packed for oneDNN."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """`weight`: [out, in]."""
        super().__init__()
        self._plain = weight.t().contiguous()
        self._bias = bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), PACKED_FOR)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        if 1 < len(flat) < MANY:
            result = torch.ops.mkldnn._linear_pointwise(
                flat, self._packed, self._bias, "none", [], ""
            )
        elif self._bias is None:
            result = flat @ self._plain
        else:
            result = torch.addmm(self._bias, flat, self._plain)
        return result.view(*x.shape[:-1], -1)


class HalfLinear(nn.Module):
    """x @ weight.T + bias in bf16, whatever x is in.

    Residuals and norms between such products stay in fp32: they cost little, and with them in bf16
    too the logits were off by a third more.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """`weight`: [out, in]. On CPUs without instructions for bf16 the other order is slower."""
        super().__init__()
        self._weight = weight.to(torch.bfloat16).contiguous()
        self._bias = None if bias is None else bias.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x.to(torch.bfloat16), self._weight, self._bias)


def pack(network: nn.Module) -> None:
    """Make every product of a model in fp32, its head's too, PackedLinear's."""
    _replace(network, PackedLinear)


def halve(network: nn.Module) -> None:
    """Make every product of a model in fp32, its head's too, HalfLinear's."""
    _replace(network, HalfLinear)


def _replace(network: nn.Module, kind: type[PackedLinear] | type[HalfLinear]) -> None:
    """Replace every linear layer by one of that kind, and GPT-2's activation."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, Conv1D):  # GPT-2's: [in, out]
                setattr(parent, name, kind(layer.weight.detach().t(), layer.bias.detach()))
            elif isinstance(layer, nn.Linear):
                bias = None if layer.bias is None else layer.bias.detach()
                setattr(parent, name, kind(layer.weight.detach(), bias))
            elif isinstance(layer, NewGELUActivation):  # the same formula in one pass, not in eight
                setattr(parent, name, nn.GELU(approximate="tanh"))
