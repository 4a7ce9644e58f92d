"""Changes to a batch that teach a model more crystals than there are."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from nesf import lattice
from nesf.crystal import CrystalBatch
from nesf.elements import Vocabulary

Augmentation = Callable[[CrystalBatch, torch.Generator], CrystalBatch]


class ElementPermutation:
    """Exchange the elements of some crystals by a random permutation of the vocabulary.

    The encoder's input and the species target come from the same batch, so both see the exchange: the
    model learns to carry any element to any place instead of learning the usual ones by heart.

    Args:
        vocabulary: the elements that are permuted.
        share: probability that a crystal is changed.
    """

    def __init__(self, vocabulary: Vocabulary, share: float) -> None:
        self.vocabulary = vocabulary
        self.share = share

    def __call__(self, batch: CrystalBatch, generator: torch.Generator) -> CrystalBatch:
        """The batch with some crystals' elements exchanged; positions and cells stay."""
        if self.share == 0:
            return batch
        size = (len(batch), len(self.vocabulary))
        device = batch.device
        changed = torch.rand(len(batch), 1, generator=generator, device=device) < self.share
        shuffled = torch.rand(size, generator=generator, device=device).argsort(1)
        table = torch.where(changed, shuffled, torch.arange(size[1], device=device))
        classes = table[batch.owner, self.vocabulary.class_of(batch.numbers)]
        return replace(batch, numbers=self.vocabulary.number_of(classes))


class ElementMixture:
    """Give the atoms of some crystals elements at random, of a random number of kinds.

    No data set has many crystals of seven or eight elements, and no permutation makes one.

    Args:
        vocabulary: the elements that are given.
        share: probability that a crystal is changed.
        most: of how many kinds at most.
    """

    def __init__(self, vocabulary: Vocabulary, share: float, most: int) -> None:
        self.vocabulary = vocabulary
        self.share = share
        self.most = min(most, len(vocabulary))

    def __call__(self, batch: CrystalBatch, generator: torch.Generator) -> CrystalBatch:
        """The batch with other elements in some crystals; positions and cells stay."""
        draw: dict[str, Any] = {"generator": generator, "device": batch.device}
        changed = torch.rand(len(batch), **draw) < self.share
        kinds = torch.rand(len(batch), len(self.vocabulary), **draw).argsort(1)[:, : self.most]
        # Evenly from one to the most; each atom then any of these.
        count = 1 + (self.most * torch.rand(len(batch), **draw)).long()
        which = (count[batch.owner] * torch.rand(len(batch.owner), **draw)).long()
        numbers = self.vocabulary.number_of(kinds[batch.owner, which])
        return replace(batch, numbers=torch.where(changed[batch.owner], numbers, batch.numbers))


class Deformation:
    """Stretch the cells and move the atoms a little, each crystal and atom at random.

    Angles stay. What is given to the encoder is what the fields are trained on, so the model learns to copy a
    geometry instead of recalling the nearest one that it has seen.

    Args:
        strain: each of a, b and c is multiplied by a factor drawn evenly from 1 - strain to 1 + strain, with
            fractional coordinates kept.
        rattle: standard deviation of what is then added to each coordinate of each atom, angstrom.
        share: probability that a crystal is strained, and that it is rattled; each is decided by itself.
    """

    def __init__(self, strain: float, rattle: float, share: float = 1.0) -> None:
        self.strain = strain
        self.rattle = rattle
        self.share = share

    def __call__(self, batch: CrystalBatch, generator: torch.Generator) -> CrystalBatch:
        """The batch with other cells and positions; elements stay."""
        like: dict[str, Any] = {"device": batch.device, "dtype": batch.cart.dtype}
        draw = {"generator": generator, **like}
        strain, rattle = (torch.full((len(batch), 1), size, **like) for size in (self.strain, self.rattle))
        if self.share < 1:
            chosen = torch.rand(2, len(batch), 1, **draw) < self.share
            strain, rattle = strain * chosen[0], rattle * chosen[1]
        factors = 1 + strain * (2 * torch.rand(len(batch), 3, **draw) - 1)
        cells = batch.cells * factors.unsqueeze(2)
        # Of the positions r = f C, with rows f of fractional coordinates: the map from old to new Cartesian ones.
        change = torch.linalg.solve(batch.cells, cells)
        cart = (batch.cart.unsqueeze(1) @ change[batch.owner]).squeeze(1)
        return replace(batch, cart=cart + rattle[batch.owner] * torch.randn(cart.shape, **draw), cells=cells)


class Doubling:
    """Double the cells of some batches along their shortest edge: the same crystals in cells of twice as many atoms.

    Batches are changed as a whole, because one large crystal makes a batch of small ones as costly as large ones.

    Args:
        share: probability that a batch is changed.
        most: no crystal of a changed batch may have more atoms than this.
    """

    def __init__(self, share: float, most: int) -> None:
        self.share = share
        self.most = most

    def __call__(self, batch: CrystalBatch, generator: torch.Generator) -> CrystalBatch:
        """The batch as it is, or in doubled cells."""
        chosen = float(torch.rand(1, generator=generator, device=batch.device)) < self.share
        if not chosen or 2 * int(batch.counts.max()) > self.most:
            return batch
        every = torch.arange(len(batch), device=batch.device)
        shortest = batch.cells.norm(dim=2).argmin(1)
        step = batch.cells[every, shortest]
        cells = batch.cells.clone()
        cells[every, shortest] = 2 * step
        order = torch.cat((batch.owner, batch.owner)).argsort(stable=True)
        cart = torch.cat((batch.cart, batch.cart + step[batch.owner]))[order]
        return CrystalBatch(batch.numbers.repeat(2)[order], cart, 2 * batch.counts, cells)


class OriginShift:
    """Move the origin of some crystals to a random place; atoms are folded into the cell again.

    Args:
        share: probability that a crystal is moved.
    """

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, batch: CrystalBatch, generator: torch.Generator) -> CrystalBatch:
        """The batch with some crystals' atoms moved; elements and cells stay."""
        draw: dict[str, Any] = {"generator": generator, "device": batch.device, "dtype": batch.cart.dtype}
        moved = torch.rand(len(batch), 1, **draw) < self.share
        shift = torch.rand(len(batch), 3, **draw)
        cells = batch.cells[batch.owner]
        frac = lattice.cart_to_frac(batch.cart.unsqueeze(1), cells) + shift[batch.owner].unsqueeze(1)
        cart = lattice.frac_to_cart(frac - frac.floor(), cells).squeeze(1)
        return replace(batch, cart=torch.where(moved[batch.owner], cart, batch.cart))


class InTurn:
    """Several augmentations, one after the other."""

    def __init__(self, *parts: Augmentation) -> None:
        self.parts = parts

    def __call__(self, batch: CrystalBatch, generator: torch.Generator) -> CrystalBatch:
        """The batch, changed by each."""
        for part in self.parts:
            batch = part(batch, generator)
        return batch
