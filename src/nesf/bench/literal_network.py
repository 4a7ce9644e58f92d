"""The paper's network as its text reads: z repeated for each query, the query beside the features of every layer."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nesf.errors import NesfError
from nesf.model import Autoencoder, NetworkSettings
from nesf.shapes import Float


class LiteralNetwork(nn.Module):
    """The autoencoder of preset ``paper``, layer by layer (paper, section 4.2 and Supplementary Note 5).

    Args:
        settings: widths; the variants must be those of the paper.
        n_elements: size of the vocabulary.
    """

    def __init__(self, settings: NetworkSettings, n_elements: int) -> None:
        super().__init__()
        variants = (settings.mix_activation, settings.query_at_last, settings.query_encoding, settings.angle_head)
        if variants != (True, True, "raw", "plain"):
            raise NesfError(f"The literal network is that of preset paper; it lacks the variants of {settings}.")
        latent = settings.latent
        self.n_elements = n_elements
        self.encoder = LiteralEncoder(settings, n_elements)
        self.length_head = perceptron((latent, *settings.lattice_head, 3), norm=False, dropout=0.0)
        self.angle_head = perceptron((latent, *settings.lattice_head, 3), norm=False, dropout=0.0)
        self.position_field = LiteralField(latent, settings.position_field, 3)
        self.species_field = LiteralField(latent, settings.species_field, n_elements)

    @classmethod
    def like(cls, model: Autoencoder) -> "LiteralNetwork":
        """The same network with the same weights as a model of the package."""
        network = cls(model.settings, len(model.vocabulary))
        state = {name.replace("layers.", ""): value for name, value in model.state_dict().items()}
        network.load_state_dict(state)
        return network.train(model.training)


class LiteralEncoder(nn.Module):
    """Crystal -> z.

    Args:
        settings: widths.
        n_elements: size of the vocabulary.
    """

    def __init__(self, settings: NetworkSettings, n_elements: int) -> None:
        super().__init__()
        self.position = perceptron((3, *settings.atom_position), norm=True, dropout=0.0)
        self.species = perceptron((n_elements, *settings.atom_species), norm=True, dropout=0.0)
        joint = settings.atom_position[-1] + settings.atom_species[-1]
        self.mix = nn.Sequential(nn.Linear(joint, settings.atom_mix), nn.ReLU(), nn.Dropout(settings.dropout))
        widths = (settings.atom_mix + 6, *settings.bottleneck, settings.latent)
        self.bottleneck = perceptron(widths, norm=True, dropout=settings.dropout)

    def forward(
        self,
        cart: Float[Tensor, "n_atoms 3"],
        one_hot: Float[Tensor, "n_atoms n_elements"],
        counts: list[int],
        lattices: Float[Tensor, "n_crystals 6"],
    ) -> Float[Tensor, "n_crystals latent"]:
        """The latent vectors of crystals whose atoms are listed one crystal after the other."""
        atoms = self.mix(torch.cat((self.position(cart), self.species(one_hot)), 1))
        pooled = torch.stack([crystal.amax(0) for crystal in atoms.split(counts)])
        return self.bottleneck(torch.cat((pooled, lattices), 1))


class LiteralField(nn.Module):
    """(z, query) -> value of a field.

    Args:
        latent: size of z.
        widths: hidden widths.
        outputs: width of the field's value.
    """

    def __init__(self, latent: int, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        pairs = list(itertools.pairwise((latent, *widths)))
        self.linears = nn.ModuleList(nn.Linear(n + 3, m) for n, m in pairs)
        self.hidden = nn.ModuleList(nn.Sequential(nn.ReLU(), nn.BatchNorm1d(m)) for _, m in pairs)
        self.last = nn.Linear(widths[-1] + 3, outputs)

    def forward(self, z: Float[Tensor, "n latent"], points: Float[Tensor, "n 3"]) -> Float[Tensor, "n outputs"]:
        """Values at points (angstrom), each with the latent vector of its crystal."""
        features = z
        for linear, hidden in zip(self.linears, self.hidden, strict=True):
            features = hidden(linear(torch.cat((features, points), 1)))
        return self.last(torch.cat((features, points), 1))


def perceptron(widths: Sequence[int], *, norm: bool, dropout: float) -> nn.Sequential:
    """Fully connected layers; each but the last is followed by ReLU, batch norm and dropout."""
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        layers.append(nn.Linear(fan_in, fan_out))
        if i < len(widths) - 2:
            after: list[nn.Module] = [nn.ReLU()]
            after += [nn.BatchNorm1d(fan_out)] if norm else []
            after += [nn.Dropout(dropout)] if dropout > 0 else []
            layers.append(nn.Sequential(*after))
    return nn.Sequential(*layers)
