"""z -> anchors and lattice."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nesf.model.anchors import Anchors
from nesf.model.attention import Exchange
from nesf.model.cell_code import WIDTH, decode_cell
from nesf.model.estimates import LatticeEstimate
from nesf.model.set_encoder import token_widths
from nesf.model.settings import AnchorSettings
from nesf.shapes import Float

# The heads start from common values: atoms about the middle of the cell, and regions of atoms that end within some
# tenths of an angstrom.
_MIDDLE, _SPREAD, _SHARPNESS = 0.5, 0.3, 2.0


class AnchorDecoder(nn.Module):
    """The tokens of z, read with knowledge of each other, become one anchor or more each; one more reads all of z.

    Args:
        latent: size of z.
        settings: widths and numbers of layers.
        n_elements: size of the vocabulary.
    """

    def __init__(self, latent: int, settings: AnchorSettings, n_elements: int) -> None:
        super().__init__()
        width = settings.width
        self.tokens, self.per_token = settings.tokens, settings.anchors_per_token
        own, shared = token_widths(latent, settings)
        self.head = WIDTH + shared
        self.read = nn.Linear(own, width)
        self.read_all = nn.Linear(latent, width)
        self.mark = nn.Parameter(torch.randn(settings.anchors + 1, width) / 2)
        self.layers = nn.ModuleList(Exchange(width, settings.heads) for _ in range(settings.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.place = nn.Linear(width, 3)
        self.region = nn.Linear(width, 2)
        self.element = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, n_elements))

    def forward(self, z: Float[Tensor, "n_crystals latent"]) -> tuple[Anchors, LatticeEstimate]:
        """The anchors and the lattice of each latent vector."""
        with torch.autocast(z.device.type, enabled=False):
            tokens = self.read(z[:, self.head :].unflatten(1, (self.tokens, -1))).repeat(1, self.per_token, 1)
            members = torch.cat((self.read_all(z).unsqueeze(1), tokens), 1) + self.mark
        for layer in self.layers:
            members = layer(members)
        members = self.norm(members)
        logits = self.element(members[:, 1:]).float()
        with torch.autocast(z.device.type, enabled=False):
            exact = members.float()
            frac = _MIDDLE + _SPREAD * self.place(exact[:, 1:])
            pull, steepness = self.region(exact[:, 1:]).unbind(2)
            anchors = Anchors(frac, pull, _SHARPNESS * functional.softplus(steepness + 1), logits)
        return anchors, decode_cell(z[:, :WIDTH])
