"""An autoencoder that copies: crystal -> tokens -> anchors -> fields."""

from torch import Tensor, nn

from nesf.crystal import CrystalBatch
from nesf.elements import Vocabulary
from nesf.model.anchor_decoder import AnchorDecoder
from nesf.model.anchors import AnchorField
from nesf.model.set_encoder import OrderedAtoms, SetEncoder
from nesf.model.settings import NetworkSettings
from nesf.shapes import Float


class SetAutoencoder(nn.Module):
    """The second architecture: z is a set of tokens, and the fields are a closed form of what they say.

    Args:
        settings: widths and numbers of layers.
        vocabulary: the elements it knows.
    """

    def __init__(self, settings: NetworkSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings = settings
        self.vocabulary = vocabulary
        self.encoder = SetEncoder(settings.latent, settings.anchors, len(vocabulary))
        self.decoder = AnchorDecoder(settings.latent, settings.anchors, len(vocabulary))

    def encode(self, batch: CrystalBatch) -> Float[Tensor, "n_crystals latent"]:
        """The latent vector of each crystal."""
        return self.encoder(OrderedAtoms.of(batch, self.vocabulary.class_of(batch.numbers)), batch.cells)

    def decode_field(self, z: Float[Tensor, "n_crystals latent"]) -> AnchorField:
        """The structure fields of latent vectors, which can be queried at any point."""
        anchors, lattice = self.decoder(z)
        return AnchorField(anchors, lattice, self.vocabulary)
