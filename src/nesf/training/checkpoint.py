"""The whole state of a training, so that it goes on as if it had never stopped."""

import zlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from nesf.errors import NesfError
from nesf.output import settle_folder, whole_file
from nesf.training.loop import Trainer


def save(path: Path, trainer: Trainer, training: str = "") -> None:
    """Write weights, optimiser, generator, epoch, time and best loss; the old file stays until the new is whole.

    Args:
        path: the file.
        trainer: whose state it is.
        training: what tells this training from another one, such as a hash of its configuration and data.
    """
    tensors = {f"model.{name}": value for name, value in trainer.model.state_dict().items()}
    for index, state in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value for name, value in state.items()}
    tensors["generator"] = trainer.generator.get_state()
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    progress = {"epoch": str(trainer.epoch), "seconds": repr(trainer.seconds), "best": repr(trainer.best)}
    progress |= {"training": training, "checksum": _checksum(whole)}
    with whole_file(path) as target:
        target.write_bytes(to_bytes(whole, progress))
    settle_folder(path.parent)


def restore(path: Path, trainer: Trainer, training: str = "") -> None:
    """Put a trainer of the same configuration into the saved state.

    Args:
        path: the file.
        trainer: of the same network, data and settings.
        training: as it was saved with.

    Raises:
        NesfError: where the file is damaged, or is of another training.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            progress = file.metadata() or {}
        # Checkpoints of earlier versions have neither.
        if progress.get("checksum", whole := _checksum(tensors)) != whole:
            raise ValueError("its numbers are not those that were written")
        if progress.get("training", training) != training:
            raise ValueError("it was written by a training with another configuration or other data")
        trainer.model.load_state_dict(_part(tensors, "model."))
        groups = trainer.optimizer.state_dict()["param_groups"]
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _part(tensors, "adam.").items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
        trainer.optimizer.load_state_dict({"state": state, "param_groups": groups})
        trainer.generator.set_state(tensors["generator"])
        trainer.epoch = int(progress["epoch"])
        trainer.seconds = float(progress["seconds"])
        trainer.best = float(progress["best"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        cure = "put a copy of it back, or start anew with another --out"
        raise NesfError(f"{path} is not a checkpoint of this training: {reason}; {cure}.") from None


def _checksum(tensors: dict[str, torch.Tensor]) -> str:
    """Of names and numbers; it costs a thousandth of a second for a million numbers."""
    total = 0
    for name in sorted(tensors):
        flat = tensors[name].contiguous().reshape(-1).view(torch.uint8)
        total = zlib.crc32(flat.numpy().data, zlib.crc32(name.encode(), total))
    return f"{total:08x}"


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
