"""All parameters of a model, with units, as presets; strict about what it reads."""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, get_args, get_origin

from nesf.decoding.settings import EstimationSettings
from nesf.errors import NesfError
from nesf.fields.sampling import GlobalSampling, LocalSampling
from nesf.model.settings import NetworkSettings
from nesf.training.settings import LossSettings, SamplingSettings, TrainingSettings

T = TypeVar("T")
Preset = Literal["fast", "few", "paper", "released", "universal"]


@dataclass(frozen=True)
class Config:
    """Everything that decides what a model is, how it is trained and how its fields are decoded.

    Attributes:
        network: size and variants of the network.
        sampling: where the fields are queried in training.
        loss: weights of the losses.
        training: the optimisation.
        estimation: how atoms are found in the fields.
    """

    network: NetworkSettings = field(default_factory=NetworkSettings)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    estimation: EstimationSettings = field(default_factory=EstimationSettings)

    def to_dict(self) -> dict[str, Any]:
        """As nested dictionaries, ready for JSON."""
        return dataclasses.asdict(self)

    def parameters(self) -> dict[str, Any]:
        """Each parameter by its whole name, such as ``training.batch``."""
        return dict(_flat(self.to_dict()))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Config":
        """From nested dictionaries; an unknown key or a value of the wrong type is a ``NesfError``."""
        return _read(cls, values, "")


PAPER = Config()
"""Chiba et al. 2023 as printed: Supplementary Notes 5 and 6 and section 4.3."""

RELEASED = Config(
    network=NetworkSettings(mix_activation=False, query_at_last=False),
    sampling=SamplingSettings(
        position_local=LocalSampling(0.3, 1.2, 0.15),
        species_local=LocalSampling(0.1, 0.6, 0.05),
    ),
    training=TrainingSettings(batch=64),
    estimation=EstimationSettings(refine="weighted", species_width=0.6),
)
"""The parameters of the implementation that was released with the paper."""

FAST = Config(
    network=NetworkSettings(dropout=0.0, mix_activation=False, query_at_last=False, angle_head="hurdle"),
    sampling=SamplingSettings(
        position_global=GlobalSampling(per_crystal=48),
        position_local=LocalSampling(0.3, 1.2, 0.15, per_crystal=96),
        species_local=LocalSampling(0.1, 0.6, 0.05, per_crystal=48),
    ),
    training=TrainingSettings(
        epochs=225,
        learning_rate=3e-3,
        schedule="one-cycle",
        permute_elements=0.7,
        precision="auto",
    ),
    # The margin was chosen on the LCS6Å validation table: of 0, 0.25, 0.5 and 1 Å it gives the fewest wrong counts.
    estimation=EstimationSettings(
        region="cell",
        margin=0.25,
        converged=1e-5,
        merge=0.1,
        draft_above=0.02,
        coarse=0.3,
        refine="weighted",
        species_width=0.6,
        quick_votes=True,
    ),
)
"""The paper's accuracy on a laptop: bfloat16, few queries per crystal, exchanged elements, no dropout."""

FEW = replace(
    FAST,
    loss=LossSettings(species=2.0),
    # Chosen on the validation parts of two folds of the YBCO-like set (90 crystals). With so few, the elements are what
    # is learned last, and exchanging them in most crystals takes longer than there is anything else to learn.
    training=replace(FAST.training, epochs=1000, batch=30, permute_elements=0.5, strain=0.03, rattle=0.01),
)
"""For about a hundred crystals: small batches, and cells and atoms that are never the same twice."""

UNIVERSAL = Config(
    network=NetworkSettings(architecture="anchors", dropout=0.0),
    sampling=SamplingSettings(
        position_global=GlobalSampling(per_crystal=32),
        position_local=LocalSampling(0.3, 1.2, 0.3, per_crystal=64),
        species_local=LocalSampling(0.1, 0.6, 0.1, per_crystal=32),
    ),
    loss=LossSettings(position=1.0, species=0.3, length=3.0, angle=3.0, anchors=1.0, measure="distances"),
    training=TrainingSettings(
        epochs=6,
        batch=64,
        learning_rate=2e-3,
        schedule="one-cycle",
        warmup=0.02,
        permute_elements=0.5,
        mix_elements=0.25,
        strain=0.03,
        rattle=0.02,
        deform=0.5,
        double=0.2,
        shift=0.5,
        latent_noise=0.01,
        group=24,
        clip=1.0,
        precision="auto",
        validate_every=2,
    ),
    # The fields cost next to nothing, so no cheaper draft of them is worth its detour. Wherever particles end there is
    # an anchor; and near an atom that four others surround, as N in NH4, often fewer than ten start.
    estimation=replace(FAST.estimation, draft_above=float("inf"), min_particles=1),
)
"""Any crystal: copies geometry and elements instead of knowing the usual ones, and learns what that misses."""

PRESETS: dict[Preset, Config] = {
    "fast": FAST,
    "few": FEW,
    "paper": PAPER,
    "released": RELEASED,
    "universal": UNIVERSAL,
}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _read(cls: type[T], values: Any, path: str) -> T:
    if not isinstance(values, Mapping):
        raise NesfError(f"Config value {path or 'config'!r} must be a table of {cls.__name__}, not {values!r}.")
    assert is_dataclass(cls)
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - {f.name for f in fields(cls)})
    if unknown:
        known = ", ".join(f.name for f in fields(cls))
        raise NesfError(f"Unknown config key {path + unknown[0]!r}; the keys here are: {known}.")
    read = {name: _value(hints[name], value, path + name) for name, value in values.items()}
    return typing.cast(T, cls(**read))


def _value(kind: Any, value: Any, path: str) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        return _read(kind, value, path + ".")
    options = get_args(kind)
    if get_origin(kind) is Literal:
        if value not in options:
            raise NesfError(f"Config value {path!r} must be one of {', '.join(map(str, options))}, not {value!r}.")
        return value
    if get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)):
            raise NesfError(f"Config value {path!r} must be a list, not {value!r}.")
        return tuple(_value(options[0], item, path) for item in value)
    if get_origin(kind) in (types.UnionType, typing.Union):
        if value is None and type(None) in options:
            return None
        return _value(next(o for o in options if o is not type(None)), value, path)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise NesfError(f"Config value {path!r} must be of type {kind.__name__}, not {value!r}.")
    return value
