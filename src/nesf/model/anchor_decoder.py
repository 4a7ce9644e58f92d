"""z -> anchors and lattice."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nesf.elements import Vocabulary
from nesf.model.anchors import Anchors
from nesf.model.atom_code import decode_atoms, ribbon
from nesf.model.attention import Exchange
from nesf.model.cell_code import decode_cell
from nesf.model.estimates import LatticeEstimate
from nesf.model.layers import TIMID, two_layers
from nesf.model.layout import TOKEN
from nesf.model.settings import NetworkSettings
from nesf.shapes import Float

# The heads start from common values: atoms about the middle of the cell, and regions of atoms that end within some
# tenths of an angstrom.
_MIDDLE, _SPREAD, _SHARPNESS = 0.5, 0.3, 2.0


class AnchorDecoder(nn.Module):
    """The tokens of z, read with knowledge of each other, become an anchor each; one more reads all of z.

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
        self.read = two_layers(TOKEN, width)
        self.read_all = nn.Linear(network.latent, width)
        self.mark = nn.Parameter(torch.randn(settings.tokens + 1, width) / 2)
        self.layers = nn.ModuleList(Exchange(width, settings.heads) for _ in range(settings.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.place = nn.Linear(width, 3)
        self.region = nn.Linear(width, 2)
        name = nn.Linear(2 * width, len(vocabulary))
        self.element = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), name)
        self.register_buffer("points", ribbon(vocabulary))
        if self.copied:
            with torch.no_grad():
                self.place.weight *= TIMID
                name.weight *= TIMID

    def forward(self, z: Float[Tensor, "n_crystals latent"]) -> tuple[Anchors, LatticeEstimate]:
        """The anchors and the lattice of each latent vector."""
        with torch.autocast(z.device.type, enabled=False):
            cell, elements, _, tokens = self.layout.split(z)
            members = torch.cat((self.read_all(z).unsqueeze(1), self.read(tokens)), 1) + self.mark
        for layer in self.layers:
            members = layer(members)
        members = self.norm(members)
        logits = self.element(members[:, 1:]).float()
        with torch.autocast(z.device.type, enabled=False):
            exact = members[:, 1:].float()
            if self.copied:
                frac, copied_logits = decode_atoms(elements, tokens, self.points)
                frac, logits = frac + _SPREAD * self.place(exact), logits + copied_logits
            else:
                frac = _MIDDLE + _SPREAD * self.place(exact)
            pull, steepness = self.region(exact).unbind(2)
            anchors = Anchors(frac, pull, _SHARPNESS * functional.softplus(steepness + 1), logits)
        return anchors, decode_cell(cell)
