"""The size and the variants of the network."""

from dataclasses import dataclass
from typing import Literal

from nesf.errors import NesfError


@dataclass(frozen=True)
class NetworkSettings:
    """The autoencoder's architecture (paper, Supplementary Note 5); all widths count features.

    Attributes:
        latent: size of z.
        atom_position: hidden and output widths of the position encoder of each atom.
        atom_species: the same for the element.
        atom_mix: width that each atom has before the max-pool.
        bottleneck: hidden widths between the pooled crystal and z.
        lattice_head: hidden widths of the two lattice heads.
        position_field: hidden widths of the position field.
        species_field: hidden widths of the species field.
        dropout: probability of dropping in the crystal encoder.
        mix_activation: whether the per-atom mix ends with ReLU and dropout, as the paper lists it; the
            released network leaves it linear.
        query_at_last: whether the query enters the fields' last layer, too, as the paper lists it; the
            released network leaves it out there.
        query_encoding: the query as it is, or sin and cos of 2^k pi p, k = 0 ... 9 (a released variant).
        angle_head: "plain" gives the three angles; "hurdle" decides first whether an angle is exactly
            right, and gives a value only where it is not: most conventional cells are right-angled.
    """

    latent: int = 192
    atom_position: tuple[int, ...] = (64, 128, 128)
    atom_species: tuple[int, ...] = (128, 128)
    atom_mix: int = 512
    bottleneck: tuple[int, ...] = (256, 256)
    lattice_head: tuple[int, ...] = (128,)
    position_field: tuple[int, ...] = (256, 128, 128, 128, 128, 128, 128, 128)
    species_field: tuple[int, ...] = (256, 128)
    dropout: float = 0.3
    mix_activation: bool = True
    query_at_last: bool = True
    query_encoding: Literal["raw", "fourier"] = "raw"
    angle_head: Literal["plain", "hurdle"] = "plain"

    def __post_init__(self) -> None:
        widths = (self.atom_position, self.atom_species, self.position_field, self.species_field)
        if min(self.latent, self.atom_mix, *(min(w, default=0) for w in widths)) < 1:
            raise NesfError("Every width of the network, network.latent among them, must be at least 1.")
        if not 0 <= self.dropout < 1:
            raise NesfError(f"network.dropout is {self.dropout}; it is a probability, from 0 to below 1.")
