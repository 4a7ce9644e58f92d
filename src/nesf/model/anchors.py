"""Anchors: what a latent vector says about space, and the structure fields that follow from them in closed form."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nesf.elements import Vocabulary
from nesf.fields.sampling import Queries
from nesf.lattice import cell_from_parameters, fold
from nesf.model.attention import exactly
from nesf.model.estimates import LatticeEstimate
from nesf.shapes import Float, Int

# Points queried at once: their anchors stay in a processor's cache.
_AT_ONCE, _FEW_AT_ONCE = 1 << 13, 1 << 10


@dataclass(frozen=True)
class Anchors:
    """Points of each crystal that its fields are made of; each stands for an atom or for none.

    Attributes:
        frac: (n_crystals, tokens, 3) where they are, in fractional coordinates of the crystal's cell.
        pull: (n_crystals, tokens) logits of how much of space is theirs; negative where they stand for no atom.
        sharpness: (n_crystals, tokens) how steeply that falls with the squared distance, per square angstrom.
        logits: (n_crystals, tokens, classes) scores of the elements.
    """

    frac: Float[Tensor, "n_crystals tokens 3"]
    pull: Float[Tensor, "n_crystals tokens"]
    sharpness: Float[Tensor, "n_crystals tokens"]
    logits: Float[Tensor, "n_crystals tokens classes"]


class AnchorField:
    """The structure fields of anchors (a ``StructureField``): each point belongs to anchors in shares.

    The share of anchor k at point q is a softmax over k of ``pull_k - sharpness_k |q - a_k|^2``. The position field is
    the mean way to the anchors, ``sum_k share_k (a_k - q)``, and the species field the mean of their scores.

    Attributes:
        vocabulary: the elements behind the classes.
        cells: lattice vectors as rows, angstrom, as estimated or as given.
        lattice: what z says about the cells.
        anchors: the anchors.

    Args:
        anchors: of each crystal.
        lattice: what z says about the cells.
        vocabulary: the elements behind the classes.
        cells: lattice vectors as rows, angstrom; by default those that z says.
    """

    def __init__(
        self,
        anchors: Anchors,
        lattice: LatticeEstimate,
        vocabulary: Vocabulary,
        cells: Float[Tensor, "n_crystals 3 3"] | None = None,
    ) -> None:
        self.anchors, self.lattice, self.vocabulary = anchors, lattice, vocabulary
        if cells is None:
            cells = cell_from_parameters(lattice.lengths, lattice.angles_rad).to(anchors.frac.dtype)
        self.cells = cells
        with exactly(self.cells.device):
            self._cart = anchors.frac @ self.cells

    def within(self, cells: Float[Tensor, "n_crystals 3 3"]) -> "AnchorField":
        """The same anchors at the same fractional coordinates of other cells: of the true ones, in training."""
        return AnchorField(self.anchors, self.lattice, self.vocabulary, cells)

    def displacement(self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
        """The position field f_p, angstrom."""
        parts = [torch.zeros_like(points[:0])]
        for some, whose in zip(points.split(_AT_ONCE), owner.split(_AT_ONCE), strict=True):
            cart = self._cart.index_select(0, whose)
            shares = self._shares((cart - some.unsqueeze(1)).square().sum(2), whose)
            with exactly(points.device):
                parts.append((shares.unsqueeze(1) @ cart).squeeze(1) - some)
        return torch.cat(parts)

    def species_logits(self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n classes"]:
        """The species field f_s: class scores."""
        parts = [self.anchors.logits.flatten(0, 1)[:0]]
        for some, whose in zip(points.split(_FEW_AT_ONCE), owner.split(_FEW_AT_ONCE), strict=True):
            cart = self._cart.index_select(0, whose)
            shares = self._shares((cart - some.unsqueeze(1)).square().sum(2), whose)
            with exactly(points.device):
                parts.append((shares.unsqueeze(1) @ self.anchors.logits.index_select(0, whose)).squeeze(1))
        return torch.cat(parts)

    def _shares(self, squares: Tensor, whose: Tensor) -> Tensor:
        pull, sharpness = (values.index_select(0, whose) for values in (self.anchors.pull, self.anchors.sharpness))
        return (pull - sharpness * squares).softmax(-1)

    def searched(self) -> "NearestAnchorField":
        """The field in which atoms are searched for: the limit, without points in balance, of anchors in the cell."""
        return NearestAnchorField(self)

    def frozen(self, _dtype: torch.dtype = torch.float32) -> "NearestAnchorField":
        """The same as ``searched``, which is cheap to query in full precision."""
        return NearestAnchorField(self)

    def displacement_at(self, queries: Queries) -> Float[Tensor, "n 3"]:
        """``displacement`` at training queries, which are ordered by crystal."""
        if queries.per_crystal is None:
            return self.displacement(queries.points, queries.owner)
        points = queries.points.unflatten(0, (-1, queries.per_crystal))
        with exactly(points.device):
            return (self._shares_at(points) @ self._cart - points).flatten(0, 1)

    def species_logits_at(self, queries: Queries) -> Float[Tensor, "n classes"]:
        """``species_logits`` at training queries, which are ordered by crystal."""
        if queries.per_crystal is None:
            return self.species_logits(queries.points, queries.owner)
        points = queries.points.unflatten(0, (-1, queries.per_crystal))
        with exactly(points.device):
            return (self._shares_at(points) @ self.anchors.logits).flatten(0, 1)

    def _shares_at(self, points: Tensor) -> Tensor:
        # |q - a|^2 by products, which are many times faster; only the shares are as imprecise as that.
        squares = points.square().sum(2, keepdim=True) - 2 * points @ self._cart.transpose(1, 2)
        squares = (squares + self._cart.square().sum(2).unsqueeze(1)).clamp_min(0)
        return (self.anchors.pull.unsqueeze(1) - self.anchors.sharpness.unsqueeze(1) * squares).softmax(-1)


class NearestAnchorField:
    """The limit of an ever sharper ``AnchorField``, its anchors folded into the cell: each point belongs to one anchor.

    It jumps where the true field does, between two atoms, so that no point stays in balance there, and leads to the
    anchor itself in one step, however near other anchors are. Anchors of negative pull, which more likely than not
    stand for no atom, are left out.

    Args:
        field: the field whose limit this is.
    """

    def __init__(self, field: AnchorField) -> None:
        self.vocabulary, self.cells = field.vocabulary, field.cells
        self._logits = field.anchors.logits
        pull = field.anchors.pull
        # Where all are negative, the best is as good as any.
        stands = (pull >= 0) | (pull == pull.amax(1, keepdim=True))
        self._beyond = torch.where(stands, 0.0, torch.inf)
        with exactly(field.cells.device):
            # In the cell as files list it: z tells of another window of the lattice.
            self._cart = fold(field.anchors.frac) @ field.cells

    def displacement(self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
        """The position field f_p, angstrom."""
        return self._cart[owner, self._nearest(points, owner)] - points

    def species_logits(self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n classes"]:
        """The species field f_s: class scores."""
        return self._logits[owner, self._nearest(points, owner)]

    def _nearest(self, points: Tensor, owner: Tensor) -> Tensor:
        parts = [owner[:0]]
        for some, whose in zip(points.split(_AT_ONCE), owner.split(_AT_ONCE), strict=True):
            squares = (self._cart.index_select(0, whose) - some.unsqueeze(1)).square().sum(2)
            parts.append((squares + self._beyond.index_select(0, whose)).argmin(1))
        return torch.cat(parts)
