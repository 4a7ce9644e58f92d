"""What both networks of the baseline share: one fast convolution, and the conventions of Keras."""

from itertools import product
from typing import TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from nesf.shapes import Float


class _Norm(TypedDict):
    eps: float
    momentum: float


BATCH_NORM: _Norm = {"eps": 1e-3, "momentum": 0.1}
"""The epsilon of Keras; statistics that follow ten times faster than its own, for short trainings."""

# oneDNN's bfloat16 gradient of a kernel reads memory that was never written where the grid has a side of 2.
_SMALLEST = 4

# How the three taps of a kernel on a doubled axis fall on the two taps of the axis before: for even and odd outputs.
_FOLD = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])


def conv3d(x: Float[Tensor, "n c d d d"], weight: Float[Tensor, "k c 3 3 3"], bias: Tensor | None = None) -> Tensor:
    """A convolution that keeps the side of the grid; on a processor, the smallest ones are always in float32."""
    if x.device.type != "cpu" or x.shape[-1] >= _SMALLEST:
        return functional.conv3d(x, weight, bias, padding=1)
    with torch.autocast("cpu", enabled=False):
        return functional.conv3d(x.float(), weight, bias, padding=1)


def doubled_conv3d(
    x: Float[Tensor, "n c s s s"], weight: Float[Tensor, "k c 3 3 3"], bias: Float[Tensor, " k"]
) -> Float[Tensor, "n k d d d"]:
    """The convolution of a grid whose side was doubled by repeating values, without ever making that grid.

    Each of the eight positions in a doubled voxel sees only 2 x 2 x 2 different values, so the 27 taps of the kernel
    are summed to 8 first. The result is the same but for rounding, for a third of the products.
    """
    n, side, k = len(x), x.shape[-1], len(weight)
    fold = _FOLD.to(weight)
    kernel = torch.einsum("pai,qbj,rcl,kxijl->pqrkxabc", fold, fold, fold, weight).reshape(8 * k, -1, 2, 2, 2)
    y = functional.conv3d(functional.pad(x, (1,) * 6), kernel, bias.repeat(8)).unflatten(1, (8, k))
    parts = [
        part[..., p : p + side, q : q + side, r : r + side]
        for part, (p, q, r) in zip(y.unbind(1), product((0, 1), repeat=3), strict=True)
    ]
    # (n, p, q, r, k, i, j, l) -> (n, k, i, p, j, q, l, r)
    whole = torch.stack(parts, 1).unflatten(1, (2, 2, 2)).permute(0, 4, 5, 1, 6, 2, 7, 3)
    return whole.reshape(n, k, 2 * side, 2 * side, 2 * side)


class Conv3d(nn.Conv3d):
    """A convolution with kernel 3 and bias; see ``conv3d``."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(inside, outside, 3, padding=1)

    def forward(self, x: Float[Tensor, "n c d d d"]) -> Float[Tensor, "n k d d d"]:
        """A grid of the same side."""
        return conv3d(x, self.weight, self.bias)


class DoubledConv3d(Conv3d):
    """The same of the doubled grid; see ``doubled_conv3d``."""

    def forward(self, x: Float[Tensor, "n c s s s"]) -> Float[Tensor, "n k d d d"]:
        """The grid of twice the side."""
        assert self.bias is not None
        return doubled_conv3d(x, self.weight, self.bias)


def start_like_keras(network: nn.Module) -> None:
    """Set the first weights as Keras does: Glorot's uniform distribution, biases of zero."""
    for module in network.modules():
        if isinstance(module, (nn.Conv3d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@torch.no_grad()
def start_standardised(network: nn.Module, grids: Float[Tensor, "n c d d d"]) -> None:
    """Let a network start as if each channel had mean 0 and spread 1, by changing its first convolution."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv3d))
    assert first.bias is not None
    spread, mean = torch.std_mean(grids, (0, 2, 3, 4))
    first.weight.div_(spread[:, None, None, None])
    first.bias.sub_((first.weight.sum((2, 3, 4)) * mean).sum(1))
