"""How z is divided between the cell, the elements of the crystal, and its atoms."""

from dataclasses import dataclass

from torch import Tensor

from nesf.errors import NesfError
from nesf.shapes import Float

CELL = 6
"""Numbers of the cell."""
TOKEN = 4
"""Numbers of an atom: three for its place, one for which of the crystal's elements it is."""
POINT = 3
"""Numbers of each element of the crystal."""


@dataclass(frozen=True)
class Layout:
    """The latent vector of the architecture "anchors": the cell, what the atoms share, and a token for each atom.

    Attributes:
        tokens: for how many atoms there is room.
        elements: for how many different elements there is room.
        rest: how many numbers are left for the crystal as a whole.

    >>> Layout.of(192, tokens=40, elements=8)
    Layout(tokens=40, elements=8, rest=2)
    """

    tokens: int
    elements: int
    rest: int

    @classmethod
    def of(cls, latent: int, tokens: int, elements: int) -> "Layout":
        """The division of so many numbers; raises NesfError if they are too few."""
        rest = latent - CELL - POINT * elements - TOKEN * tokens
        if rest < 0:
            raise NesfError(
                f"network.latent is {latent}; the cell, {elements} elements (network.anchors.elements) and {tokens} "
                f"atoms (network.anchors.tokens) need at least {latent - rest} numbers."
            )
        return cls(tokens, elements, rest)

    @property
    def shared(self) -> int:
        """How many numbers are neither the cell's nor a token's."""
        return POINT * self.elements + self.rest

    def split(self, z: Float[Tensor, "n latent"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The cell (6,), the elements (elements, 3), the rest, and the tokens (tokens, 4)."""
        cell, points, rest, tokens = z.split((CELL, POINT * self.elements, self.rest, TOKEN * self.tokens), 1)
        return cell, points.unflatten(1, (self.elements, POINT)), rest, tokens.unflatten(1, (self.tokens, TOKEN))
