"""The layers that the networks of both architectures repeat."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn

from nesf.shapes import Float


class BatchNorm(nn.BatchNorm1d):
    """Batch norm that evaluates as it trained.

    A training batch is normalised by its biased variance, but PyTorch keeps the unbiased one, n / (n - 1)
    times as large, for evaluation: with one row per crystal that shifts every latent vector a little.
    """

    together = False
    """Whether a training batch is that of all processes of ``torch.distributed``, of which each has a part."""

    def forward(self, input: Float[Tensor, "n width"]) -> Float[Tensor, "n width"]:
        """Normalise each column."""
        if not self.training or self.running_var is None or self.momentum is None:
            return super().forward(input)
        if self.together:
            return self._together(input)
        before = (1 - self.momentum) * self.running_var
        output = super().forward(input)
        # A new tensor, not the old one changed: the backward pass still refers to that.
        self.running_var = self.running_var - (self.running_var - before) / len(input)
        return output

    def _together(self, input: Tensor) -> Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        rows = input.float()
        count = rows.new_full((1,), len(rows))
        # Sums of squares of large numbers lose digits; the mean so far, which all processes share, makes them small.
        about = self.running_mean
        rest = rows - about
        totals = _SumOverProcesses.apply(torch.cat((rest.sum(0), rest.square().sum(0), count)))
        shift, square = (totals[:-1] / totals[-1]).chunk(2)
        mean, variance = about + shift, (square - shift.square()).clamp_min(0)
        with torch.no_grad():
            self.running_mean = self.running_mean.lerp(mean, self.momentum)
            self.running_var = self.running_var.lerp(variance, self.momentum)
        output = (rows - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return output.to(input.dtype)


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of their gradients."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


def activated(width: int, *, norm: bool, dropout: float = 0.0) -> nn.Sequential:
    """What follows the linear part of a hidden layer, in the released order: ReLU, batch norm, dropout."""
    parts: list[nn.Module] = [nn.ReLU()]
    if norm:
        parts.append(BatchNorm(width))
    if dropout > 0:
        parts.append(nn.Dropout(dropout))
    return nn.Sequential(*parts)


class Perceptron(nn.Module):
    """Fully connected layers; all but the last are hidden layers, the last is linear.

    Args:
        widths: input, hidden and output widths.
        norm: whether hidden layers have batch norm.
        dropout: probability of dropping in hidden layers.
    """

    def __init__(self, widths: Sequence[int], *, norm: bool, dropout: float = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
            layers.append(nn.Linear(fan_in, fan_out))
            if i < len(widths) - 2:
                layers.append(activated(fan_out, norm=norm, dropout=dropout))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        """Apply the layers to each row."""
        return self.layers(features)


TIMID = 0.1
"""Weights of layers that add to a copy start so many times smaller than usual: close to the copy alone."""


def two_layers(inputs: int, width: int) -> nn.Sequential:
    """What reads numbers that mean something into features."""
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))
