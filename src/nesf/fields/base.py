"""What a structure field is: the protocol that true and neural fields share."""

from typing import Protocol, runtime_checkable

from torch import Tensor

from nesf.elements import Vocabulary
from nesf.shapes import Float, Int


@runtime_checkable
class StructureField(Protocol):
    """The structures of some crystals as functions of space, which can be queried anywhere.

    All points are Cartesian, in angstrom, in the standard frame of ``nesf.lattice``. Queries are flat:
    point i belongs to crystal ``owner[i]`` of the field, whatever the number of points per crystal.

    Attributes:
        vocabulary: the elements behind the classes of ``species_logits``.
        cells: (n_crystals, 3, 3) lattice vectors as rows, angstrom.
    """

    @property
    def vocabulary(self) -> Vocabulary:
        """The elements behind the classes."""
        ...

    @property
    def cells(self) -> Float[Tensor, "n_crystals 3 3"]:
        """Lattice vectors as rows, angstrom."""
        ...

    def displacement(self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
        """The position field f_p: from each point to its nearest atom, angstrom."""
        ...

    def species_logits(self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n classes"]:
        """The species field f_s: unnormalised class scores of the nearest atom's element."""
        ...
