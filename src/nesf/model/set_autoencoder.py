"""An autoencoder that copies: crystal -> tokens -> anchors -> fields."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nesf.crystal import CrystalBatch
from nesf.elements import Vocabulary
from nesf.model.anchor_decoder import AnchorDecoder
from nesf.model.anchors import AnchorField
from nesf.model.set_encoder import OrderedAtoms, SetEncoder
from nesf.model.settings import NetworkSettings
from nesf.shapes import Float


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

        Where the anchors of atoms are off by some vectors, the crystal is encoded again with its atoms moved by the
        opposite of these. The correction is small where the error varies slowly with the positions, and each makes
        the error many times smaller.
        """
        true = self._atoms(batch)
        count = min(true.exists.shape[1], self.settings.anchors.tokens)
        exists = true.exists[:, :count]
        atoms, best, closest = true, None, None
        for _ in range(self.settings.anchors.corrections + 1):
            z = self.encoder(atoms, batch.cells)
            error = self.decoder(z)[0].frac[:, :count] - true.frac[:, :count]
            distance = ((error @ batch.cells).norm(dim=2) * exists).sum(1) / exists.sum(1)
            if best is None or closest is None:
                best, closest = z, distance
            else:
                best = torch.where((distance < closest).unsqueeze(1), z, best)
                closest = torch.minimum(distance, closest)
            error = functional.pad(error * exists.unsqueeze(2), (0, 0, 0, true.exists.shape[1] - count))
            atoms = atoms.moved(-error, batch.cells)
        assert best is not None
        return best

    def _atoms(self, batch: CrystalBatch) -> OrderedAtoms:
        return OrderedAtoms.of(batch, self.vocabulary.class_of(batch.numbers))

    def decode_field(self, z: Float[Tensor, "n_crystals latent"]) -> AnchorField:
        """The structure fields of latent vectors, which can be queried at any point."""
        anchors, lattice = self.decoder(z)
        return AnchorField(anchors, lattice, self.vocabulary)
