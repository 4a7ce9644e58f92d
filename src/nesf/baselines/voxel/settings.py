"""All parameters of the baseline, and the two presets that are never mixed."""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from nesf.baselines.voxel.grid import GridSettings
from nesf.baselines.voxel.lengths import Estimator
from nesf.errors import NesfError

Preset = Literal["faithful", "strong"]
MOST_LATENT = 1 << 16


@dataclass(frozen=True)
class NetworkSettings:
    """Size and variants of the two networks.

    Attributes:
        width: share of the U-Net's published numbers of channels, such as 1, 0.5, 0.25 or 0.125.
        vae_width: share of the autoencoder's.
        latent: numbers of a latent vector.
        narrow: as published, everything passes through 4 channels of 2³ voxels, 32 numbers, however large the latent
            vector is, and is decoded from 256 numbers.
        rectified: as published, the autoencoder's output is normed and never negative.
        scaling: "raw" gives the networks densities and coordinates as they are (published); "root" the root of the
            density, and coordinates in units of 6 Å.
    """

    width: float = 1.0
    vae_width: float = 1.0
    latent: int = 256
    narrow: bool = True
    rectified: bool = True
    scaling: Literal["raw", "root"] = "raw"

    def __post_init__(self) -> None:
        for name in ("width", "vae_width"):
            if not 0 < getattr(self, name) <= 1:
                raise NesfError(f"The {name} is {getattr(self, name)}; it is a share, above 0 and at most 1.")
        if not 1 <= self.latent <= MOST_LATENT:
            raise NesfError(f"A latent vector of {self.latent} numbers is none; give 1 to {MOST_LATENT}.")


@dataclass(frozen=True)
class StageSettings:
    """The optimisation of one network.

    Attributes:
        epochs: passes over the training data; 0 leaves the stage out.
        batch: crystals per step.
        learning_rate: peak of the one-cycle schedule.
        warmup: share of the steps in which the rate rises; afterwards it falls to zero along a cosine.
        rotate: probability that a crystal is turned by one of the 24 rotations of the cube.
        crop: side of the cube that is cut out of each grid at random, in voxels; 0 takes the whole grid. The
            segmentation sees little beyond an atom, so that many crystals in parts teach it more than a few whole.
        clip: largest norm of the gradient.
    """

    epochs: int
    batch: int
    learning_rate: float
    warmup: float = 0.05
    rotate: float = 0.5
    crop: int = 0
    clip: float = 1.0

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch < 2:
            raise NesfError(f"{self.epochs} epochs in batches of {self.batch} are no training; give 0 and 2 or more.")
        if not 0 < self.learning_rate < float("inf") or not self.clip > 0:
            raise NesfError(f"The learning rate {self.learning_rate} and the clip {self.clip} must be positive.")
        if not (0 <= self.rotate <= 1 and 0 <= self.warmup <= 1):
            raise NesfError(f"rotate and warmup are shares, from 0 to 1, not {self.rotate} and {self.warmup}.")
        if self.crop < 0 or self.crop % 8:
            raise NesfError(f"A crop of {self.crop} voxels cannot be halved three times; use 0, 8, 16, ...")


@dataclass(frozen=True)
class LossSettings:
    """Weights of the losses.

    Attributes:
        mask: of the mask's binary cross-entropy beside the species' cross-entropy (nats). The published code has 1/95.
        perceptual: of the mean squared difference of the U-Net's features, beside the mean squared difference of the
            grids.
        perceptual_after: epochs before the perceptual loss sets in.
        divergence: of the Kullback-Leibler divergence (nats, summed over the latent numbers).
    """

    mask: float = 1 / 95
    perceptual: float = 0.5
    perceptual_after: int = 5
    divergence: float = 3e-4


@dataclass(frozen=True)
class BaselineSettings:
    """Everything that decides what a baseline is and how it is trained.

    Attributes:
        grid: the voxels, and how atoms are found in them.
        network: the two networks.
        loss: weights of the losses.
        unet: first stage: the U-Net on true grids.
        vae: second stage: the autoencoder, with the U-Net frozen.
        tune: third stage, not published: the U-Net on true and reconstructed grids, half and half.
        threshold: probability from which a voxel belongs to an atom.
        lengths: how the lengths are read from the coordinate channels.
        precision: of the networks in training; "auto" takes bfloat16 where the processor computes with it.
        seed: of everything random.
    """

    grid: GridSettings = field(default_factory=GridSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    unet: StageSettings = field(default_factory=lambda: StageSettings(epochs=38, batch=32, learning_rate=5e-4))
    vae: StageSettings = field(default_factory=lambda: StageSettings(epochs=85, batch=64, learning_rate=1e-3))
    tune: StageSettings = field(default_factory=lambda: StageSettings(epochs=0, batch=32, learning_rate=2e-4))
    threshold: float = 0.8
    lengths: Estimator = "slope"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.grid.angles != "right":
            raise NesfError("The networks predict no angles, so that grid.angles must be 'right'.")
        if max(stage.crop for stage in (self.unet, self.tune)) > self.grid.size or self.vae.crop:
            raise NesfError("Only the U-Net is trained on crops, and a crop is not larger than the grid.")

    def to_dict(self) -> dict[str, Any]:
        """As nested dictionaries, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "BaselineSettings":
        """From nested dictionaries; an unknown key or a value of the wrong type is a ``NesfError``."""
        return typing.cast(BaselineSettings, _read(cls, values))


def _read(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        if not isinstance(value, Mapping) or not set(value) <= set(hints):
            raise NesfError(f"The settings of the baseline know the keys {', '.join(hints)} here, not {value!r}.")
        return typing.cast(Any, kind)(**{name: _read(hints[name], one) for name, one in value.items()})
    if get_origin(kind) is Literal:
        fits = value in get_args(kind)
    elif kind is float:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    else:
        fits = type(value) is kind
    if not fits:
        raise NesfError(f"A setting of the baseline has the value {value!r}; expected {kind}.")
    return value


FAITHFUL = BaselineSettings()
"""What the public code of the method does, with its harmless slips mended.

Networks, losses, representation and decoding are the published ones. The optimisation is not: a one-cycle schedule of
fewer epochs, clipped gradients, rotations on the fly, first weights scaled to the data (and the frequencies of the
classes), and batch norms measured anew after each epoch. No formation energy is given to the autoencoder, and its mean
is decoded.
"""

STRONG = BaselineSettings(
    grid=GridSettings(label_fraction=0.5, label_voxels=1.5),
    network=NetworkSettings(latent=192, narrow=False, rectified=False, scaling="root"),
    loss=LossSettings(mask=1.0, divergence=1e-5),
    tune=StageSettings(epochs=6, batch=32, learning_rate=2e-4),
)
"""The best that voxels can do with these networks; not the published method."""

PRESETS: dict[Preset, BaselineSettings] = {"faithful": FAITHFUL, "strong": STRONG}
