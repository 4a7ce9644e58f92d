"""An autoencoder that copies: crystal -> tokens -> anchors -> fields."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from nesf.crystal import CrystalBatch
from nesf.elements import Vocabulary
from nesf.model.anchor_decoder import AnchorDecoder
from nesf.model.anchors import AnchorField
from nesf.model.atom_code import move_places
from nesf.model.set_encoder import OrderedAtoms, SetEncoder, in_window
from nesf.model.settings import NetworkSettings
from nesf.shapes import Float

CLOSE_ANGSTROM = 1e-5
"""Anchors nearer than this to their atoms need no further correction: it is about the rounding of single precision."""


class SetAutoencoder(nn.Module):
    """The second architecture: z is a cell, elements and atoms, and the fields are a closed form of what they say.

    Args:
        settings: widths and numbers of layers.
        vocabulary: the elements it knows.
    """

    def __init__(self, settings: NetworkSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings = settings
        self.vocabulary = vocabulary
        self.encoder = SetEncoder(settings, vocabulary)
        self.decoder = AnchorDecoder(settings, vocabulary)

    def encode(self, batch: CrystalBatch) -> Float[Tensor, "n_crystals latent"]:
        """The latent vector of each crystal."""
        return self.encoder(self._atoms(batch), batch.cells)

    def encode_closely(self, batch: CrystalBatch) -> Float[Tensor, "n_crystals latent"]:
        """The latent vectors of trained networks, corrected: of each crystal the one whose anchors lie nearest.

        Where z is a copy, its numbers of a place move the anchor nearly as far as they say. So the anchors are
        decoded, and the places in z moved by the opposite of their errors, which makes these many times smaller.
        """
        true, best = self._atoms(batch), self.encode(batch)
        if not self.settings.anchors.copied:
            return best
        count = min(true.exists.shape[1], self.settings.anchors.tokens)
        exists, frac = true.exists[:, :count], true.frac[:, :count]
        closest = best.new_full((len(best),), torch.inf)
        z, left = best, torch.arange(len(best), device=best.device)
        for _ in range(self.settings.anchors.corrections + 1):
            error = (self.decoder(z)[0].frac[:, :count] - frac[left]) * exists[left].unsqueeze(2)
            distance = (error @ batch.cells[left]).norm(dim=2).amax(1)
            nearer = distance < closest[left]
            best = best.index_copy(0, left[nearer], z[nearer])
            closest = closest.index_copy(0, left[nearer], distance[nearer])
            far = distance > CLOSE_ANGSTROM
            z, left = move_places(z, -error, self.settings.layout)[far], left[far]
            if len(left) == 0:
                break
        return best

    def listed(self, batch: CrystalBatch) -> CrystalBatch:
        """The crystals with their atoms where the fields have them, for training: in the window that z tells of."""
        return replace(batch, cart=in_window(batch)[1])

    def _atoms(self, batch: CrystalBatch) -> OrderedAtoms:
        return OrderedAtoms.of(batch, self.vocabulary.class_of(batch.numbers))

    def decode_field(self, z: Float[Tensor, "n_crystals latent"]) -> AnchorField:
        """The structure fields of latent vectors, which can be queried at any point."""
        anchors, lattice = self.decoder(z)
        return AnchorField(anchors, lattice, self.vocabulary)
