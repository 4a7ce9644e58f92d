"""A model as one self-describing file: safetensors whose header holds the model's card as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from nesf.config import Config
from nesf.domain import Domain
from nesf.errors import NesfError
from nesf.model import Architecture, autoencoder
from nesf.output import whole_file

FORMAT = 1
SUMS = "SHA256SUMS"
_HEADER, _HASH = "nesf", "nesf.sha256"
# The entry in the header of a voxel baseline's file.
_BASELINE = "nesf-voxel"
_CURE = "take it again from where it came from, or train it again"
_LONGEST = 300


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
        if not (isinstance(values["name"], str) and isinstance(values["preset"], str)):
            raise NesfError("the card has a name or preset that is no text")
        extras = {key: values.get(key, {}) for key in ("data", "training", "scores")}
        tables = {"config": values["config"], "domain": values["domain"], **extras}
        if wrong := [key for key, value in tables.items() if not isinstance(value, Mapping)]:
            raise NesfError(f"in the card, {wrong[0]} is no table")
        config, domain = Config.from_dict(values["config"]), Domain.from_dict(values["domain"])
        limits = tuple(map(str, values.get("limits", ())))
        return cls(values["name"], values["preset"], config, domain, **extras, limits=limits)


def save(path: Path, model: Architecture, card: Card) -> None:
    """Write the weights with their card, and the card again beside them as JSON, for reading."""
    text = json.dumps(card.to_dict(), indent=1)
    tensors = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with whole_file(path) as target:
        target.write_bytes(to_bytes(tensors, metadata={_HEADER: text, _HASH: _digest(text, tensors)}))
    with whole_file(path.with_suffix(".json"), lasting=False) as target:
        target.write_text(text + "\n", encoding="utf-8")


def write_sums(folder: Path) -> None:
    """List the models of a folder with their SHA-256 in ``SHA256SUMS``, as ``sha256sum`` does."""
    lines = [f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.glob("*.safetensors"))]
    with whole_file(folder / SUMS) as target:
        target.write_text("".join(lines), encoding="utf-8")


def check_sum(path: Path) -> None:
    """Raise ``NesfError`` where a model is not the one that the ``SHA256SUMS`` beside it lists."""
    listed = (path.parent / SUMS).read_text(encoding="utf-8").split()
    if dict(zip(listed[1::2], listed[::2], strict=True)).get(path.name) != sha256(path.read_bytes()).hexdigest():
        raise NesfError(f"{path} is not the model that was shipped, by its entry in {SUMS}; install nesf again.")


def load(path: Path) -> tuple[Architecture, Card]:
    """The model in evaluation mode and its card.

    Nothing is made in the size that a file declares before the tensors in it turn out to have that size.

    Raises:
        NesfError: if the file is not one of ours, damaged, or not what its card describes.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            card, model = _described(path, metadata)
            _compare({name: file.get_slice(name).get_shape() for name in file.keys()}, model)  # noqa: SIM118 (no mapping)
            # Copies, because what is read refers to the file, which may be written to.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        _check(metadata, tensors, model)
        model.load_state_dict(tensors, assign=True)
    except (SafetensorError, OSError) as error:
        raise NesfError(f"{path} cannot be read as a safetensors file ({error}).") from None
    except _UnfitError as error:
        raise NesfError(f"{path} does not hold the model its card describes: {error}; {_CURE}.") from None
    return model.eval(), card


class _UnfitError(Exception):
    """Why a file holds no model, as the middle of a sentence."""


def _described(path: Path, metadata: Mapping[str, str]) -> tuple[Card, Architecture]:
    """The card of a file, and the network that it describes, without memory for its weights."""
    text = metadata.get(_HEADER)
    if text is None and _BASELINE in metadata:
        raise NesfError(f"{path} holds a voxel baseline; use nesf baseline evaluate.")
    if text is None:
        raise NesfError(f"{path} has no model card in its header; it was not written by nesf.")
    try:
        card = Card.from_dict(json.loads(text))
        with torch.device("meta"):
            return card, autoencoder(card.config.network, card.domain.vocabulary)
    # RecursionError is a RuntimeError; a number of thousands of digits is a ValueError.
    except (NesfError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise _UnfitError(reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]} ...") from None


def _compare(shapes: Mapping[str, Sequence[int]], model: Architecture) -> None:
    """Raise ``_UnfitError`` where names or shapes of tensors are not those of the network."""
    expected = {name: list(value.shape) for name, value in model.state_dict().items()}
    for name in sorted(expected.keys() & shapes.keys()):
        found = list(shapes[name])
        if found != expected[name]:
            raise _UnfitError(f"size mismatch, the tensor {name} has the shape {found}, not {expected[name]}")
    if missing := sorted(expected.keys() - shapes.keys()):
        raise _UnfitError(f"the tensor {missing[0]} is missing ({len(missing)} of {len(expected)} are)")
    if foreign := sorted(shapes.keys() - expected.keys()):
        raise _UnfitError(f"the network has no tensor {foreign[0][:_LONGEST]!r} ({len(foreign)} such)")


def _check(metadata: Mapping[str, str], tensors: Mapping[str, Tensor], model: Architecture) -> None:
    """Raise ``_UnfitError`` where tensors are of another kind, not finite, or not those that were written."""
    for name, value in model.state_dict().items():
        if tensors[name].dtype != value.dtype:
            raise _UnfitError(f"the tensor {name} holds {tensors[name].dtype} instead of {value.dtype}")
        if not bool(tensors[name].isfinite().all()):
            raise _UnfitError(f"the tensor {name} holds a value that is not a finite number")
    # Files that were written before hashes were have none.
    if _HASH in metadata and metadata[_HASH] != _digest(metadata[_HEADER], tensors):
        raise _UnfitError("its content is not what was written, by the hash in its header")


def _digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a card and the tensors it describes."""
    digest = sha256(text.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
