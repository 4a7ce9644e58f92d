"""Crystal -> z: atoms that exchange what they know, written into tokens in an order of their own."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nesf import lattice
from nesf.crystal import CrystalBatch
from nesf.elements import Vocabulary
from nesf.model.atom_code import bounded, encode_atoms, ribbon
from nesf.model.atom_order import along_a_direction
from nesf.model.attention import Exchange, exactly, waves
from nesf.model.cell_code import encode_cell
from nesf.model.layers import TIMID, two_layers
from nesf.model.layout import TOKEN
from nesf.model.settings import NetworkSettings
from nesf.shapes import Bool, Float, Int

OCTAVES = 6
# Wavelengths start at twice the cell for fractional coordinates, at 32 angstrom for Cartesian ones, and at 2 pi for
# the logarithms of the lengths and the cosines of the angles.
_FRAC, _CART, _SHAPE = 2.0, 32.0, 2 * torch.pi
BELOW = 0.0453725
"""How far below its faces, as a fraction, the cell begins of which z tells: most atoms lie on a face, next to none here
(in crystals of the Materials Project), so that hardly any displacement takes an atom to the other end of the cell."""
PLACES = 64
"""Atoms beyond so many share the mark of the last place in the order."""


@dataclass(frozen=True)
class OrderedAtoms:
    """The atoms of a batch as rectangles, in the order of ``atom_order``, folded into one window (``in_window``).

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
        frac, cart = in_window(batch)
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
            torch.where(there, cart[picked], 0.0),
            torch.where(exists, classes[picked], 0),
            exists,
        )


def in_window(batch: CrystalBatch) -> tuple[Float[Tensor, "n_atoms 3"], Float[Tensor, "n_atoms 3"]]:
    """Fractional and Cartesian (angstrom) coordinates of all atoms, folded into the window [-BELOW, 1 - BELOW)."""
    cells = batch.cells[batch.owner]
    listed = lattice.cart_to_frac(batch.cart.unsqueeze(1), cells).squeeze(1)
    frac = lattice.fold(listed, BELOW)
    with exactly(batch.device):
        folded = (frac.unsqueeze(1) @ cells).squeeze(1)
    return frac, torch.where((frac != listed).any(1, keepdim=True), folded, batch.cart)


class SetEncoder(nn.Module):
    """Each atom, in the company of all others and the lattice, is written into one token of z.

    Args:
        network: widths, numbers of layers, and the layout of z.
        vocabulary: the elements.
    """

    points: Tensor

    def __init__(self, network: NetworkSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        settings, self.layout = network.anchors, network.layout
        width = settings.width
        self.copied = settings.copied
        self.element = nn.Embedding(len(vocabulary), width)
        self.position = two_layers(3 + 2 * 2 * 3 * OCTAVES, width)
        self.shape = two_layers(6 + 2 * 6 * OCTAVES, width)
        self.place = nn.Embedding(PLACES, width)
        self.layers = nn.ModuleList(Exchange(width, settings.heads) for _ in range(settings.encoder_layers))
        self.empty = nn.Parameter(torch.randn(settings.tokens, width) / 2)
        self.norm = nn.LayerNorm(width)
        self.write = nn.Linear(width, TOKEN)
        self.write_shared = nn.Linear(width, self.layout.shared)
        self.register_buffer("points", ribbon(vocabulary))
        if self.copied:
            with torch.no_grad():
                self.write.weight *= TIMID
                self.write_shared.weight *= TIMID

    def forward(self, atoms: OrderedAtoms, cells: Float[Tensor, "n_crystals 3 3"]) -> Float[Tensor, "n latent"]:
        """The latent vectors: six numbers for the cell, then the crystal as a whole, then the tokens."""
        frac_waves = waves(atoms.frac, OCTAVES, _FRAC)
        cart_waves = waves(atoms.cart, OCTAVES, _CART)
        lengths, cosines = lattice.lengths_and_cosines(cells)
        shape = torch.cat((lengths.log(), cosines), -1)
        crystal = self.shape(torch.cat((shape, waves(shape, OCTAVES, _SHAPE)), -1)).unsqueeze(1)
        members = self.position(torch.cat((atoms.frac, frac_waves, cart_waves), -1))
        members = members + self.element(atoms.classes).to(members.dtype)
        members = members + self.place(torch.arange(members.shape[1], device=cells.device).clamp_max(PLACES - 1))
        members = torch.cat((crystal, members), 1)
        exists = functional.pad(atoms.exists, (1, 0), value=True)
        for layer in self.layers:
            members = layer(members, exists=exists)
        exists = _rectangle(atoms.exists, self.layout.tokens)
        writers = torch.where(exists.unsqueeze(2), _rectangle(members[:, 1:], self.layout.tokens), self.empty)
        with torch.autocast(cells.device.type, enabled=False):
            tokens = self.write(self.norm(writers.float()))
            shared = self.write_shared(self.norm(members[:, 0].float()))
            if self.copied:
                frac, classes = (_rectangle(part, self.layout.tokens) for part in (atoms.frac, atoms.classes))
                elements, copies = encode_atoms(frac, classes, exists, self.points, self.layout.elements)
                tokens, elements = tokens + copies, elements.flatten(1)
                shared = shared + functional.pad(elements, (0, shared.shape[1] - elements.shape[1]))
            learned = bounded(torch.cat((shared, tokens.flatten(1)), 1))
            return torch.cat((encode_cell(lengths, cosines), learned), 1)


def _rectangle(atoms: Tensor, tokens: int) -> Tensor:
    """As many atoms as tokens: filled up with zeros, or cut."""
    kept = atoms[:, :tokens]
    return torch.cat((kept, kept.new_zeros(len(kept), tokens - kept.shape[1], *kept.shape[2:])), 1)
