"""Matrix products for few rows at a time, which is what decoding is, on a CPU.

PyTorch's usual product is tuned for many rows: with 4 to 32 it takes up to twice as long as oneDNN
does with weights that were packed for it once. README has the figures.
"""

import torch
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


def pack(network: nn.Module) -> None:
    """Replace every linear layer of a model, its head too, and GPT-2's activation."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, Conv1D):  # GPT-2's: [in, out]
                setattr(parent, name, PackedLinear(layer.weight.detach().t(), layer.bias.detach()))
            elif isinstance(layer, nn.Linear):
                bias = None if layer.bias is None else layer.bias.detach()
                setattr(parent, name, PackedLinear(layer.weight.detach(), bias))
            elif isinstance(layer, NewGELUActivation):  # the same formula in one pass, not in eight
                setattr(parent, name, nn.GELU(approximate="tanh"))
