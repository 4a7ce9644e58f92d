"""The stages of the paper's search for hyperparameters, and their grids (Supplementary Note 7)."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from nesf.config import PAPER, Config

Value = float | int | tuple[int, ...]
Point = Mapping[str, Value]
"""Values of settings by their path in a ``Config``, for example ``network.latent``."""


@dataclass(frozen=True)
class Stage:
    """Settings that are chosen together.

    Attributes:
        name: of the stage.
        title: what is chosen.
        grid: the values tried of each setting; all combinations are points.
        note: where it differs from the printed stage.
    """

    name: str
    title: str
    grid: Mapping[str, tuple[Value, ...]]
    note: str = ""

    def points(self) -> list[Point]:
        """All points, the last setting varying first.

        >>> [point["network.latent"] for point in STAGES[1].points()]
        [64, 92, 128, 192, 256, 384, 512, 1024]
        """
        return [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]

    def point_of(self, config: Config) -> Point:
        """The values that a configuration has of the settings."""
        return {path: _read(config, path) for path in self.grid}


def changed(config: Config, point: Point) -> Config:
    """A configuration with the values of a point.

    >>> changed(PAPER, {"network.latent": 64, "loss.species": 1.0}).network.latent
    64
    """
    values = config.to_dict()
    for path, value in point.items():
        part, _, name = path.partition(".")
        values[part][name] = value
    return Config.from_dict(values)


def written(value: Value) -> str:
    """A value as people read it; equal widths in a row are counted.

    >>> written((256, 128, 128, 128)), written((64, 128)), written(1e-05), written(192)
    ('256, 3 × 128', '64, 128', '1e-05', '192')
    """
    if not isinstance(value, tuple):
        return f"{value:g}"
    runs: list[tuple[int, int]] = []
    for width in value:
        count = runs.pop()[1] if runs and runs[-1][0] == width else 0
        runs.append((width, count + 1))
    return ", ".join(f"{count} × {width}" if count > 1 else str(width) for width, count in runs)


def _read(config: Config, path: str) -> Value:
    part, _, name = path.partition(".")
    value: Value = getattr(getattr(config, part), name)
    return value


def _field(layers: int) -> tuple[int, ...]:
    return (256, *[128] * (layers - 1))


WEIGHTS = (0.1, 1.0, 10.0)
_FIELDS = tuple(map(_field, (8, 6, 5, 4, 2)))

START: Point = {
    "loss.position": 1.0,
    "loss.species": 1.0,
    "loss.length": 1.0,
    "loss.angle": 1.0,
    "network.latent": 256,
    "training.learning_rate": 1e-3,
    "network.position_field": _field(9),
    "network.species_field": _field(9),
    "network.atom_position": (64, 128),
    "network.atom_species": (128,),
    "network.atom_mix": 512,
    "network.bottleneck": (256,),
    "training.batch": 64,
}
"""The paper's initial configuration (its step 0)."""

STAGES: tuple[Stage, ...] = (
    Stage("loss", "Weights of the losses", {"loss.position": WEIGHTS, "loss.species": WEIGHTS}),
    Stage("latent", "Size of the latent vector", {"network.latent": (64, 92, 128, 192, 256, 384, 512, 1024)}),
    Stage("rate", "Learning rate", {"training.learning_rate": (1.0, 0.1, 0.01, 0.005, 0.001, 0.0005, 0.0001, 0.00001)}),
    Stage("decoder", "Layers of the decoder", {"network.position_field": _FIELDS, "network.species_field": _FIELDS}),
    Stage(
        "encoder",
        "Layers of the atom encoders",
        {
            "network.atom_position": ((64, 128), (64, 128, 128), (64, 128, 128, 128)),
            "network.atom_species": ((128,), (128, 128), (128, 128, 128)),
        },
    ),
    Stage(
        "crystal",
        "Layers of the crystal encoder",
        {
            "network.atom_mix": (256, 512),
            "network.bottleneck": ((512,), (512, 512), (512, 512, 256), (256,), (256, 256)),
        },
        "Of the nine printed points, six have two or three layers in the per-atom mix and are left out: the network "
        "has one. The three with one layer of 256 are here; 512 features and the bottlenecks of 256 are added, because "
        "the network that the paper ends with (512; 256, 256) is not on its printed grid.",
    ),
    Stage("batch", "Batch size", {"training.batch": (2, 4, 8, 16, 32, 64, 128, 256)}),
    Stage(
        "joint",
        "Joint check",
        {
            "network.latent": (192, 256, 384),
            "training.learning_rate": (0.01, 0.001, 0.0001),
            "loss.position": WEIGHTS,
            "loss.species": WEIGHTS,
        },
    ),
)
"""The steps 1 to 8 of the paper."""

PUBLISHED: Point = {path: _read(PAPER, path) for path in START}
"""What the paper ended with (Supplementary Note 5, section 4.3)."""
