"""The whole state of a training, so that it goes on as if it had never stopped."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from nesf.errors import NesfError
from nesf.training.loop import Trainer


def save(path: Path, trainer: Trainer) -> None:
    """Write weights, optimiser, generator, epoch, time and best loss; the old file stays until the new is whole."""
    tensors = {f"model.{name}": value for name, value in trainer.model.state_dict().items()}
    for index, state in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": value for name, value in state.items()}
    tensors["generator"] = trainer.generator.get_state()
    progress = {"epoch": str(trainer.epoch), "seconds": repr(trainer.seconds), "best": repr(trainer.best)}
    partial = path.with_name(path.name + ".partial")
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    partial.write_bytes(to_bytes(whole, progress))
    partial.replace(path)


def restore(path: Path, trainer: Trainer) -> None:
    """Put a trainer of the same configuration into the saved state; raises ``NesfError`` where it cannot."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            progress = file.metadata() or {}
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
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise NesfError(f"{path} is not a checkpoint of this training: {reason}.") from None


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
