"""The NeSF autoencoder: crystal -> z -> structure field and lattice."""

import torch
from torch import Tensor, nn

from nesf import lattice
from nesf.crystal import CrystalBatch
from nesf.elements import Vocabulary
from nesf.fields.sampling import Queries
from nesf.model.encoder import CrystalEncoder
from nesf.model.estimates import RIGHT_ANGLE, LatticeEstimate
from nesf.model.field_decoder import FieldDecoder
from nesf.model.frozen import FrozenDecoder, FrozenField
from nesf.model.layers import Perceptron
from nesf.model.settings import NetworkSettings
from nesf.shapes import Float, Int


class NeuralField:
    """The structure fields of latent vectors, ready to be queried (a ``StructureField``).

    Attributes:
        z: (n_crystals, latent) latent vectors.
        lattice: what the heads say about the cells.
    """

    def __init__(self, model: "Autoencoder", z: Float[Tensor, "n_crystals latent"]) -> None:
        self._model = model
        self.z = z
        self.lattice = model.lattice(z)
        self._shares = (model.position_field.latent_share(z), model.species_field.latent_share(z))

    @property
    def vocabulary(self) -> Vocabulary:
        """The elements behind the classes."""
        return self._model.vocabulary

    @property
    def cells(self) -> Float[Tensor, "n_crystals 3 3"]:
        """Lattice vectors as rows, angstrom."""
        return lattice.cell_from_parameters(self.lattice.lengths.float(), self.lattice.angles_rad.float())

    def displacement(self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
        """The position field f_p, angstrom."""
        return self._model.position_field(self._shares[0].index_select(0, owner), points)

    def species_logits(self, points: Float[Tensor, "n 3"], owner: Int[Tensor, " n"]) -> Float[Tensor, "n classes"]:
        """The species field f_s: class scores."""
        return self._model.species_field(self._shares[1].index_select(0, owner), points)

    def searched(self) -> "NeuralField":
        """The field in which atoms are searched for: this one."""
        return self

    def frozen(self, dtype: torch.dtype = torch.float32) -> FrozenField:
        """The same fields for many queries without gradients, computed in float32 or bfloat16.

        In bfloat16 the position field is off by some thousandths of an angstrom, near its jumps by more.
        """
        model = self._model
        assert not model.training, "A frozen field is that of a network in evaluation."
        decoders = FrozenDecoder(model.position_field, dtype), FrozenDecoder(model.species_field, dtype)
        return FrozenField(*decoders, self.z.detach(), self.cells.detach(), self.vocabulary)

    def displacement_at(self, queries: Queries) -> Float[Tensor, "n 3"]:
        """``displacement`` at training queries, which are ordered by crystal."""
        return self._model.position_field(_spread(self._shares[0], queries), queries.points)

    def species_logits_at(self, queries: Queries) -> Float[Tensor, "n classes"]:
        """``species_logits`` at training queries, which are ordered by crystal."""
        return self._model.species_field(_spread(self._shares[1], queries), queries.points)


def _spread(share: Tensor, queries: Queries) -> Tensor:
    # Where all crystals have as many queries, the gradient of an expand is a plain sum, not a scatter.
    if queries.per_crystal is None:
        return share.index_select(0, queries.owner)
    return share.unsqueeze(1).expand(-1, queries.per_crystal, -1).flatten(0, 1)


class Autoencoder(nn.Module):
    """The NeSF autoencoder (paper, section 4.2 and Supplementary Note 5).

    Args:
        settings: widths and variants.
        vocabulary: the elements it knows.
    """

    def __init__(self, settings: NetworkSettings, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.settings = settings
        self.vocabulary = vocabulary
        self.encoder = CrystalEncoder(settings, len(vocabulary))
        angle_outputs = 6 if settings.angle_head == "hurdle" else 3
        self.length_head = Perceptron((settings.latent, *settings.lattice_head, 3), norm=False)
        self.angle_head = Perceptron((settings.latent, *settings.lattice_head, angle_outputs), norm=False)
        self.position_field = FieldDecoder(settings, settings.position_field, 3)
        self.species_field = FieldDecoder(settings, settings.species_field, len(vocabulary))

    def encode(self, batch: CrystalBatch) -> Float[Tensor, "n_crystals latent"]:
        """The latent vector of each crystal."""
        return self.encoder(batch, self.vocabulary.class_of(batch.numbers))

    def encode_closely(self, batch: CrystalBatch) -> Float[Tensor, "n_crystals latent"]:
        """The same as ``encode``: this architecture knows its errors only from its fields."""
        return self.encode(batch)

    def listed(self, batch: CrystalBatch) -> CrystalBatch:
        """The crystals with their atoms where the fields have them, for training: where they are listed."""
        return batch

    def lattice(self, z: Float[Tensor, "n_crystals latent"]) -> LatticeEstimate:
        """What the lattice heads make of latent vectors."""
        angles = self.angle_head(z)
        if self.settings.angle_head == "plain":
            return LatticeEstimate(self.length_head(z), angles, None)
        # Deviations are learned from the right angle, so that the head starts from the common case.
        return LatticeEstimate(self.length_head(z), RIGHT_ANGLE + angles[:, :3], angles[:, 3:])

    def decode_field(self, z: Float[Tensor, "n_crystals latent"]) -> NeuralField:
        """The structure fields of latent vectors, which can be queried at any point."""
        return NeuralField(self, z)
