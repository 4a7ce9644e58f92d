"""A trained baseline as one file, and an interrupted training as another: safetensors with JSON in their headers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from nesf.baselines.voxel.settings import BaselineSettings
from nesf.baselines.voxel.stages import Networks
from nesf.baselines.voxel.training import Trainer
from nesf.errors import NesfError
from nesf.output import whole_file

FORMAT = 1
_HEADER = "nesf-voxel"


@dataclass(frozen=True)
class Card:
    """What is to know about a trained baseline.

    Attributes:
        name: of the model.
        preset: the preset that its settings started from.
        settings: everything that decides what it is.
        data: names, hashes and sizes of its training and validation data.
        training: the budget: epochs, minutes, hardware, software, validation losses.
    """

    name: str
    preset: str
    settings: BaselineSettings
    data: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As nested dictionaries, ready for JSON."""
        return {
            "format": FORMAT,
            "name": self.name,
            "preset": self.preset,
            "settings": self.settings.to_dict(),
            "data": dict(self.data),
            "training": dict(self.training),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Card":
        """From nested dictionaries; raises ``NesfError`` where they describe no model of this format."""
        if values.get("format") != FORMAT:
            raise NesfError(f"the card has format {values.get('format')!r}; this version reads format {FORMAT}")
        settings = BaselineSettings.from_dict(values["settings"])
        return cls(values["name"], values["preset"], settings, values["data"], values["training"])


def save(path: Path, networks: Networks, card: Card) -> None:
    """Write the weights with their card, and the card again beside them as JSON, for reading."""
    text = json.dumps(card.to_dict(), indent=1)
    _write(path, dict(networks.state_dict()), text)
    with whole_file(path.with_suffix(".json"), lasting=False) as target:
        target.write_text(text + "\n", encoding="utf-8")


def load(path: Path) -> tuple[Networks, Card]:
    """The networks in evaluation mode and their card; raises ``NesfError`` if the file is not one of ours."""
    tensors, header = _read(path)
    try:
        card = Card.from_dict(json.loads(header))
        networks = Networks(card.settings)
        networks.load_state_dict(tensors)
        if wrong := [name for name, value in tensors.items() if not bool(value.isfinite().all())]:
            raise NesfError(f"the tensor {wrong[0]} holds a value that is not a finite number")
    except (NesfError, AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise NesfError(f"{path} does not hold the baseline its card describes: {_told(error)}.") from None
    return networks.eval().requires_grad_(False), card


def save_checkpoint(path: Path, trainer: Trainer) -> None:
    """Write weights, optimiser, generator, stage and epoch; the old file stays until the new one is whole."""
    tensors = {f"networks.{name}": value for name, value in trainer.networks.state_dict().items()}
    tensors |= {f"kept.{name}": value for name, value in trainer.kept.items()}
    for index, state in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value for name, value in state.items()}
    tensors["generator"] = trainer.generator.get_state()
    progress = {"stage": trainer.stage, "epoch": trainer.epoch, "seconds": trainer.seconds, "best": trainer.best}
    _write(path, tensors, json.dumps(progress))


def restore_checkpoint(path: Path, trainer: Trainer) -> None:
    """Put a trainer of the same settings into the saved state; raises ``NesfError`` where it cannot."""
    tensors, header = _read(path)
    try:
        progress = json.loads(header)
        trainer.enter(progress["stage"])
        trainer.networks.load_state_dict(_part(tensors, "networks."))
        trainer.kept = {name: value.to(trainer.data.density.device) for name, value in _part(tensors, "kept.").items()}
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _part(tensors, "adam.").items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
        groups = trainer.optimizer.state_dict()["param_groups"]
        trainer.optimizer.load_state_dict({"state": state, "param_groups": groups})
        trainer.generator.set_state(tensors["generator"])
        trainer.epoch, trainer.seconds, trainer.best = progress["epoch"], progress["seconds"], progress["best"]
    except (KeyError, TypeError, ValueError, RuntimeError, StopIteration) as error:
        cure = "put a copy of it back, or start anew with another --out"
        raise NesfError(f"{path} is not a checkpoint of this training: {_told(error)}; {cure}.") from None


def _write(path: Path, tensors: dict[str, Tensor], header: str) -> None:
    whole = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    with whole_file(path) as target:
        target.write_bytes(to_bytes(whole, {_HEADER: header}))


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(_HEADER)
            tensors: dict[str, torch.Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise NesfError(f"{path} cannot be read as a safetensors file ({error}).") from None
    if header is None:
        raise NesfError(f"{path} holds no voxel baseline; it was not written by nesf baseline train.")
    return tensors, header


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _told(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
