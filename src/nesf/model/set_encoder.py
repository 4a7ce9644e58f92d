"""Crystal -> z: atoms that exchange what they know, written into tokens in an order of their own."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from nesf import lattice
from nesf.crystal import CrystalBatch
from nesf.model.atom_order import along_a_direction
from nesf.model.attention import Exchange, exactly, waves
from nesf.model.cell_code import WIDTH, encode_cell
from nesf.model.settings import AnchorSettings
from nesf.shapes import Bool, Float, Int

OCTAVES = 6
# Wavelengths start at twice the cell for fractional coordinates, at 32 angstrom for Cartesian ones, and at 2 pi for
# the logarithms of the lengths and the cosines of the angles.
_FRAC, _CART, _SHAPE = 2.0, 32.0, 2 * torch.pi
PLACES = 64
"""Atoms beyond so many share the mark of the last place in the order."""


@dataclass(frozen=True)
class OrderedAtoms:
    """The atoms of a batch as rectangles, in the order of ``atom_order``.

    Attributes:
        frac: (n_crystals, most, 3) fractional coordinates; 0 where there is no atom.
        cart: (n_crystals, most, 3) Cartesian, angstrom, likewise.
        classes: (n_crystals, most) classes of the vocabulary, likewise.
        exists: where there is an atom.
    """

    frac: Float[Tensor, "n_crystals most 3"]
    cart: Float[Tensor, "n_crystals most 3"]
    classes: Int[Tensor, "n_crystals most"]
    exists: Bool[Tensor, "n_crystals most"]

    @classmethod
    def of(cls, batch: CrystalBatch, classes: Int[Tensor, " n_atoms"]) -> "OrderedAtoms":
        """Order the atoms of each crystal; ``classes`` are given as the batch lists them."""
        frac = lattice.cart_to_frac(batch.cart.unsqueeze(1), batch.cells[batch.owner]).squeeze(1)
        with exactly(batch.device):
            within = along_a_direction(frac)
        # Two stable sorts: by place, then by crystal.
        order = within.argsort(stable=True)
        order = order[batch.owner[order].argsort(stable=True)]
        most = int(batch.counts.max())
        starts = batch.counts.cumsum(0) - batch.counts
        rectangle = torch.arange(most) < batch.counts.unsqueeze(1)
        place = torch.where(rectangle, starts.unsqueeze(1) + torch.arange(most), 0).to(batch.device)
        exists = rectangle.to(batch.device)
        there = exists.unsqueeze(2)
        picked = order[place]
        return cls(
            torch.where(there, frac[picked], 0.0),
            torch.where(there, batch.cart[picked], 0.0),
            torch.where(exists, classes[picked], 0),
            exists,
        )

    def moved(
        self, steps: Float[Tensor, "n_crystals most 3"], cells: Float[Tensor, "n_crystals 3 3"]
    ) -> "OrderedAtoms":
        """The atoms in the same order after steps, given in fractional coordinates of the cells."""
        frac = self.frac + steps
        return replace(self, frac=frac, cart=frac @ cells)


class SetEncoder(nn.Module):
    """Each atom, in the company of all others and the lattice, is written into one token of z, or several share them.

    Args:
        latent: size of z.
        settings: widths and numbers of layers.
        n_elements: size of the vocabulary.
    """

    def __init__(self, latent: int, settings: AnchorSettings, n_elements: int) -> None:
        super().__init__()
        width = settings.width
        self.tokens, self.anchors = settings.tokens, settings.anchors
        self.element = nn.Embedding(n_elements, width)
        self.position = _two_layers(3 + 2 * 2 * 3 * OCTAVES, width)
        self.shape = _two_layers(6 + 2 * 6 * OCTAVES, width)
        self.place = nn.Embedding(PLACES, width) if settings.ordered else None
        self.layers = nn.ModuleList(Exchange(width, settings.heads) for _ in range(settings.encoder_layers))
        self.empty = nn.Parameter(torch.randn(settings.anchors, width) / 2)
        self.gather = Exchange(width, settings.heads, other=True)
        self.settle = Exchange(width, settings.heads)
        self.norm = nn.LayerNorm(width)
        own, shared = token_widths(latent, settings)
        self.write = nn.Linear(width, own)
        self.write_shared = nn.Linear(width, shared) if shared > 0 else None

    def forward(self, atoms: OrderedAtoms, cells: Float[Tensor, "n_crystals 3 3"]) -> Float[Tensor, "n latent"]:
        """The latent vectors: six numbers for the cell, then what is learned, of mean 0 and variance 1."""
        frac_waves = waves(atoms.frac, OCTAVES, _FRAC)
        cart_waves = waves(atoms.cart, OCTAVES, _CART)
        lengths, angles_rad = lattice.parameters_from_cell(cells)
        shape = torch.cat((lengths.log(), angles_rad.cos()), -1)
        crystal = self.shape(torch.cat((shape, waves(shape, OCTAVES, _SHAPE)), -1)).unsqueeze(1)
        members = self.position(torch.cat((atoms.frac, frac_waves, cart_waves), -1))
        members = members + self.element(atoms.classes).to(members.dtype)
        if self.place is not None:
            members = members + self.place(torch.arange(members.shape[1], device=cells.device).clamp_max(PLACES - 1))
        members = torch.cat((crystal, members), 1)
        exists = functional.pad(atoms.exists, (1, 0), value=True)
        for layer in self.layers:
            members = layer(members, exists=exists)
        writers = self.empty.to(members.dtype).expand(len(cells), -1, -1)
        if self.place is not None:
            own = torch.where(atoms.exists.unsqueeze(2), members[:, 1:], 0.0)[:, : self.anchors]
            writers = writers + functional.pad(own, (0, 0, 0, self.anchors - own.shape[1]))
        writers = self.settle(self.gather(writers, members, exists))
        with torch.autocast(cells.device.type, enabled=False):
            written = self.write(self.norm(writers.float()))
            if self.anchors > self.tokens:
                # The first atoms have the tokens for themselves, until there are more.
                there = functional.pad(atoms.exists, (0, self.anchors))[:, self.tokens : self.anchors]
                first, others = written.split((self.tokens, self.anchors - self.tokens), 1)
                others = (others * there.unsqueeze(2)).unflatten(1, (-1, self.tokens)).sum(1)
                written = first + others
            learned = written.flatten(1)
            if self.write_shared is not None:
                learned = torch.cat((self.write_shared(self.norm(members[:, 0].float())), learned), 1)
            return torch.cat((encode_cell(lengths, angles_rad), functional.layer_norm(learned, learned.shape[1:])), 1)


def _two_layers(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))


def token_widths(latent: int, settings: AnchorSettings) -> tuple[int, int]:
    """How many numbers of z are each token's, and how many are the crystal's as a whole, beside the six of the cell."""
    own = (latent - WIDTH) // settings.tokens
    return own, latent - WIDTH - own * settings.tokens
