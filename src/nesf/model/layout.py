"""How z is divided between the cell, the elements of the crystal, and its atoms."""

from dataclasses import dataclass

from torch import Tensor

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
        tokens: how many there are.
        shared: how many numbers are neither the cell's nor a token's.

    >>> layout = Layout.of(192, tokens=40)
    >>> layout.elements, layout.shared
    (8, 26)
    """

    tokens: int
    shared: int

    @classmethod
    def of(cls, latent: int, tokens: int) -> "Layout":
        """The division of so many numbers; what the tokens leave is shared."""
        return cls(tokens, latent - CELL - TOKEN * tokens)

    @staticmethod
    def least(tokens: int) -> int:
        """The least size of z with room for so many atoms of one element."""
        return CELL + POINT + TOKEN * tokens

    @property
    def elements(self) -> int:
        """How many different elements there is room for."""
        return self.shared // POINT

    def split(self, z: Float[Tensor, "n latent"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The cell (6,), the elements (elements, 3), the rest of what is shared, and the tokens (tokens, 4)."""
        named = self.elements * POINT
        cell, points, rest, tokens = z.split((CELL, named, self.shared - named, TOKEN * self.tokens), 1)
        return cell, points.unflatten(1, (self.elements, POINT)), rest, tokens.unflatten(1, (self.tokens, TOKEN))
