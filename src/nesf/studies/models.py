"""Trained models of either method: of nesf, and of the voxel baseline."""

from pathlib import Path

import torch

from nesf import codec
from nesf.baselines.voxel.codec import VoxelCodec
from nesf.baselines.voxel.run import SETUP

Model = codec.Codec | VoxelCodec
BASELINE = "voxel baseline"


def load(model: str | Path, device: torch.device | str = "cpu") -> Model:
    """A model by name or path; a folder of ``nesf baseline train`` holds a voxel baseline.

    Raises:
        NesfError: if there is no such model or it cannot be read.
    """
    return VoxelCodec.load(model, device) if (Path(model) / SETUP).is_file() else codec.load(model, device)


def method_of(model: Model) -> str:
    """What the model is: nesf, or the voxel baseline."""
    return BASELINE if isinstance(model, VoxelCodec) else "nesf"


def called(model: Model) -> str:
    """The model in a sentence: by its name, and the baseline with what it is."""
    name = model.card.name
    return f"the {BASELINE} {name} (preset {model.card.preset})" if isinstance(model, VoxelCodec) else name
