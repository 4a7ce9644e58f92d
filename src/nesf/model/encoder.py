"""Crystal -> z: a set encoder after PointNet and DeepSets (paper, section 4.2)."""

import torch
from torch import Tensor, nn

from nesf.crystal import CrystalBatch
from nesf.model.layers import Perceptron
from nesf.model.settings import NetworkSettings
from nesf.shapes import Float, Int


class CrystalEncoder(nn.Module):
    """Each atom's position and element become one vector, their maximum and the lattice become z.

    Args:
        settings: widths and variants.
        n_elements: size of the vocabulary.
    """

    def __init__(self, settings: NetworkSettings, n_elements: int) -> None:
        super().__init__()
        self.n_elements = n_elements
        self.position = Perceptron((3, *settings.atom_position), norm=True)
        self.species = Perceptron((n_elements, *settings.atom_species), norm=True)
        joint = settings.atom_position[-1] + settings.atom_species[-1]
        mix: list[nn.Module] = [nn.Linear(joint, settings.atom_mix)]
        if settings.mix_activation:
            mix += [nn.ReLU(), nn.Dropout(settings.dropout)]
        self.mix = nn.Sequential(*mix)
        widths = (settings.atom_mix + 6, *settings.bottleneck, settings.latent)
        self.bottleneck = Perceptron(widths, norm=True, dropout=settings.dropout)

    def forward(self, batch: CrystalBatch, classes: Int[Tensor, " n_atoms"]) -> Float[Tensor, "n_crystals latent"]:
        """The latent vectors of a batch whose elements are given as classes of the vocabulary."""
        # Atoms are packed without padding, so the statistics of the norms see atoms only.
        one_hot = nn.functional.one_hot(classes, self.n_elements).to(batch.cart.dtype)
        atoms = self.mix(torch.cat((self.position(batch.cart), self.species(one_hot)), -1))
        index = batch.owner.unsqueeze(1).expand_as(atoms)
        # Not left empty: the gradient of a maximum is shared with whatever the start equals by chance.
        start = atoms.new_full((len(batch), atoms.shape[1]), -torch.inf)
        pooled = start.scatter_reduce(0, index, atoms, "amax", include_self=False)
        lengths, angles_rad = batch.parameters()
        return self.bottleneck(torch.cat((pooled, lengths, angles_rad), -1))
