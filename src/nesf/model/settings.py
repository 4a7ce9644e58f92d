"""The size and the variants of the network."""

from dataclasses import dataclass, field
from typing import Literal

from nesf.errors import NesfError
from nesf.model.layout import Layout

WIDEST, DEEPEST, MOST_CORRECTIONS = 1 << 16, 64, 16
"""Features of a layer, layers one after the other, and corrections beyond which a setting cannot be meant."""


@dataclass(frozen=True)
class AnchorSettings:
    """The size of the architecture "anchors".

    Attributes:
        tokens: parts of z for one atom each, four numbers long; a crystal can have as many atoms.
        elements: parts of z for one of the different elements of the crystal each, three numbers long. With more of
            them, z tells less surely which of them an atom is.
        width: features of each member of a set.
        heads: parts of the features that members exchange independently.
        encoder_layers: rounds of exchange between atoms.
        decoder_layers: rounds of exchange between tokens.
        copied: whether z starts as the elements and the places of atoms, and anchors as those that it says, so that
            the networks learn what is missing; without it they learn all of it.
        corrections: how often, at most, a trained network that copies decodes what it has encoded and takes the error
            off z; where there is next to none left, it ends before.
    """

    tokens: int = 40
    elements: int = 8
    width: int = 128
    heads: int = 4
    encoder_layers: int = 1
    decoder_layers: int = 2
    copied: bool = True
    corrections: int = 8

    def __post_init__(self) -> None:
        sizes = (self.tokens, self.elements, self.width, self.heads)
        if min(sizes) < 1 or min(self.encoder_layers, self.decoder_layers, self.corrections) < 0:
            raise NesfError(f"Sizes of network.anchors must be at least 1, and other numbers at least 0, not {self}.")
        depths = (self.encoder_layers, self.decoder_layers)
        if max(sizes) > WIDEST or max(depths) > DEEPEST or self.corrections > MOST_CORRECTIONS:
            raise NesfError(
                f"Sizes of network.anchors must be at most {WIDEST}, layers {DEEPEST}, and corrections "
                f"{MOST_CORRECTIONS}, not {self}."
            )
        if self.width % self.heads != 0:
            raise NesfError(f"network.anchors.width, {self.width}, must be a multiple of heads, {self.heads}.")


@dataclass(frozen=True)
class NetworkSettings:
    """The autoencoder's architecture; all widths count features.

    Attributes:
        architecture: "perceptrons" is the paper's (Supplementary Note 5), which all that follows but ``anchors``
            belongs to; "anchors" has a z of parts for cell, elements and atoms (``Layout``), and fields
            in closed form.
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
        anchors: the size of the architecture "anchors".
    """

    architecture: Literal["perceptrons", "anchors"] = "perceptrons"
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
    anchors: AnchorSettings = field(default_factory=AnchorSettings)

    def __post_init__(self) -> None:
        widths = (self.atom_position, self.atom_species, self.position_field, self.species_field)
        if min(self.latent, self.atom_mix, *(min(w, default=0) for w in widths)) < 1:
            raise NesfError("Every width of the network, network.latent among them, must be at least 1.")
        every = (*widths, self.bottleneck, self.lattice_head)
        if max(self.latent, self.atom_mix, *(max(w, default=0) for w in every)) > WIDEST:
            raise NesfError(f"Every width of the network, network.latent among them, must be at most {WIDEST}.")
        if max(map(len, every)) > DEEPEST:
            raise NesfError(f"A part of the network has {max(map(len, every))} layers; at most {DEEPEST} are allowed.")
        if not 0 <= self.dropout < 1:
            raise NesfError(f"network.dropout is {self.dropout}; it is a probability, from 0 to below 1.")
        if self.architecture == "anchors":
            _ = self.layout  # raises if the latent vector is too short

    @property
    def layout(self) -> Layout:
        """How the architecture "anchors" divides z."""
        return Layout.of(self.latent, self.anchors.tokens, self.anchors.elements)
