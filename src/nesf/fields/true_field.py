"""The field that a network learns, computed from the atoms themselves: training target and oracle."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nesf import lattice
from nesf.crystal import Crystal, CrystalBatch
from nesf.elements import Vocabulary
from nesf.fields.sampling import Queries
from nesf.shapes import Float, Int

_FAR = 1e4


class TrueField:
    """The exact structure field of some crystals (a ``StructureField``).

    The position field is the vector to the nearest atom, -grad of half the squared distance. In the
    paper's frame (``periodic=False``) "nearest" runs over the atoms listed in the cell, without images.

    Args:
        batch: the crystals.
        vocabulary: classes of the species field.
        periodic: whether images in neighbouring cells count as atoms, too.
    """

    def __init__(self, batch: CrystalBatch, vocabulary: Vocabulary, *, periodic: bool = False) -> None:
        self.vocabulary = vocabulary
        self.cells = batch.cells
        self.periodic = periodic
        self._atoms, numbers = batch.padded()  # (crystals, most, 3), (crystals, most)
        first = vocabulary.numbers[0]
        self._classes = vocabulary.class_of(torch.where(numbers > 0, numbers, first))

    @classmethod
    def of(
        cls, crystals: Sequence[Crystal], vocabulary: Vocabulary | None = None, *, periodic: bool = False
    ) -> "TrueField":
        """The field of some crystals; the vocabulary is by default just their elements."""
        batch = CrystalBatch.from_crystals(crystals)
        return cls(batch, vocabulary or Vocabulary.of(batch.numbers.tolist()), periodic=periodic)

    def nearest(
        self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n 3"], Int[Tensor, " n"]]:
        """Vector from each point to its nearest atom (angstrom), and that atom's class."""
        if self.periodic:
            images = self._minimum_images(points, owner)
            best = images.square().sum(-1).argmin(-1)
            vector = images.gather(1, best[:, None, None].expand(-1, 1, 3)).squeeze(1)
        else:
            best = (points.unsqueeze(1) - self._atoms[owner]).square().sum(-1).argmin(-1)
            vector = self._atoms[owner, best] - points
        return vector, self._classes[owner, best]

    def nearest_at(self, queries: Queries) -> tuple[Float[Tensor, "n 3"], Int[Tensor, " n"]]:
        """``nearest`` at training queries, faster where all crystals have as many of them."""
        if self.periodic or queries.per_crystal is None:
            return self.nearest(queries.points, queries.owner)
        # |a|^2 - 2 p.a is the squared distance but for |p|^2; atoms that do not exist are far away.
        atoms = self._atoms.clamp(max=_FAR)
        points = queries.points.reshape(-1, queries.per_crystal, 3)
        squares = atoms.square().sum(2).unsqueeze(1)
        best = torch.baddbmm(squares, points, atoms.transpose(1, 2), alpha=-2).argmin(2).flatten()
        return self._atoms[queries.owner, best] - queries.points, self._classes[queries.owner, best]

    def displacement(self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
        """From each point to its nearest atom, angstrom."""
        return self.nearest(points, owner)[0]

    def species_logits(self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n classes"]:
        """One for the nearest atom's element, zero for the others."""
        classes = self.nearest(points, owner)[1]
        return torch.nn.functional.one_hot(classes, len(self.vocabulary)).to(points.dtype)

    def _minimum_images(self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n most 3"]:
        atoms = self._atoms[owner]
        exists = atoms.isfinite()
        delta = torch.where(exists, atoms - points.unsqueeze(1), 0.0)
        return torch.where(exists, lattice.minimum_image(delta, self.cells[owner]), torch.inf)
