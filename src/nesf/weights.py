"""A model as one self-describing file: safetensors whose header holds the model's card as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from nesf.config import Config
from nesf.domain import Domain
from nesf.errors import NesfError
from nesf.model import Architecture, autoencoder

FORMAT = 1
_HEADER = "nesf"
# The entry in the header of a voxel baseline's file.
_BASELINE = "nesf-voxel"


@dataclass(frozen=True)
class Card:
    """What is to know about a model.

    Attributes:
        name: of the model.
        preset: the preset its configuration started from.
        config: network, sampling, losses, training, estimation.
        domain: elements, cells and sizes of its training crystals: what it may be asked.
        data: name, SHA-256 and size of the training and validation data.
        training: epochs, minutes, hardware, command, versions.
        scores: what ``evaluate`` measured, by data set.
        limits: what it is known to do badly, each as a sentence.
    """

    name: str
    preset: str
    config: Config
    domain: Domain
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As nested dictionaries, ready for JSON."""
        return {
            "format": FORMAT,
            "name": self.name,
            "preset": self.preset,
            "config": self.config.to_dict(),
            "domain": self.domain.to_dict(),
            "data": dict(self.data),
            "training": dict(self.training),
            "scores": dict(self.scores),
            "limits": list(self.limits),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Card":
        """From nested dictionaries; raises ``NesfError`` where they describe no model of this format."""
        if values.get("format") != FORMAT:
            found = values.get("format")
            raise NesfError(f"the card has format {found!r}; this version reads format {FORMAT}")
        missing = [key for key in ("name", "preset", "config", "domain") if key not in values]
        if missing:
            raise NesfError(f"the card lacks {', '.join(missing)}")
        config, domain = Config.from_dict(values["config"]), Domain.from_dict(values["domain"])
        extras = {key: values.get(key, {}) for key in ("data", "training", "scores")}
        limits = tuple(map(str, values.get("limits", ())))
        return cls(values["name"], values["preset"], config, domain, **extras, limits=limits)


def save(path: Path, model: Architecture, card: Card) -> None:
    """Write the weights with their card, and the card again beside them as JSON, for reading."""
    text = json.dumps(card.to_dict(), indent=1)
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(to_bytes(tensors, metadata={_HEADER: text}))
    partial.replace(path)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")


def load(path: Path) -> tuple[Architecture, Card]:
    """The model in evaluation mode and its card; raises ``NesfError`` if the file is not one of ours."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            header = metadata.get(_HEADER)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise NesfError(f"{path} cannot be read as a safetensors file ({error}).") from None
    if header is None and _BASELINE in metadata:
        raise NesfError(f"{path} holds a voxel baseline; use nesf baseline evaluate.")
    if header is None:
        raise NesfError(f"{path} has no model card in its header; it was not written by nesf.")
    try:
        card = Card.from_dict(json.loads(header))
        model = autoencoder(card.config.network, card.domain.vocabulary)
        model.load_state_dict(tensors)
    except (NesfError, RuntimeError, AttributeError, TypeError, json.JSONDecodeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise NesfError(f"{path} does not hold the model its card describes: {reason}.") from None
    return model.eval(), card
