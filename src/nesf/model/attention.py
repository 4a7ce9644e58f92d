"""Sets that exchange what their members know."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from nesf.shapes import Bool, Float

_NEVER = -1e4


def exactly(device: torch.device) -> AbstractContextManager[object]:
    """The context for places and distances: float32, whatever the layers of a network compute in."""
    return torch.autocast(device.type, enabled=False)


class Exchange(nn.Module):
    """A layer of a transformer: each member of a set gathers from a set, then goes through a perceptron.

    Both parts add to what was there, and each reads a normalised copy of it (Xiong et al. 2020).

    Args:
        width: features of each member.
        heads: parts of the features that gather independently of each other.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.ask = nn.Linear(width, width)
        self.offer = nn.Linear(width, 2 * width)
        self.take = nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(
        self,
        members: Float[Tensor, "n_sets size width"],
        exists: Bool[Tensor, "n_sets size"] | None = None,
    ) -> Float[Tensor, "n_sets size width"]:
        """The members after the exchange.

        Args:
            members: the sets, as rectangles.
            exists: which of them there are; the rest fills up the rectangle.
        """
        asking = self.before(members)
        queries = self._split(self.ask(asking))
        keys, values = (self._split(part) for part in self.offer(asking).chunk(2, -1))
        # PyTorch's own function is several times slower for many small sets on a processor.
        scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
        if exists is not None:
            scores = scores.masked_fill(~exists[:, None, None], _NEVER)
        gathered = scores.float().softmax(-1).to(values.dtype) @ values
        members = members + self.take(gathered.transpose(1, 2).flatten(2))
        return members + self.think(members)

    def _split(self, features: Tensor) -> Tensor:
        return features.unflatten(-1, (self.heads, -1)).transpose(1, 2)


def waves(values: Float[Tensor, "*batch n"], octaves: int, longest: float) -> Float[Tensor, "*batch features"]:
    """Sine and cosine of values, with wavelengths from ``longest`` down by factors of two.

    A network that computes in bfloat16 sees thousandths of a value only in waves shorter than it.
    """
    scales = 2 * torch.pi / longest * 2.0 ** torch.arange(octaves, device=values.device, dtype=values.dtype)
    phases = (values.unsqueeze(-1) * scales).flatten(-2)
    return torch.cat((phases.sin(), phases.cos()), -1)
