"""What the tables compare: neural structure fields, and the voxel baseline."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nesf import codec
from nesf.baselines.voxel import run as voxel
from nesf.baselines.voxel.codec import VoxelCodec
from nesf.baselines.voxel.settings import BaselineSettings
from nesf.config import PRESETS, Config, Preset
from nesf.errors import NesfError
from nesf.runs import SETUP, Run, Setup, describe, machine
from nesf.studies.trials import Trained, Trial, Watch
from nesf.training.team import own_device


@dataclass(frozen=True)
class NesfMethod:
    """Neural structure fields by a preset and what was changed of it."""

    preset: Preset
    config: Config
    name: str = "nesf"

    @property
    def label(self) -> str:
        """The preset, and whether it was changed."""
        return f"nesf ({self.preset}{'' if self.config == PRESETS[self.preset] else ', changed'})"

    @property
    def epochs(self) -> int:
        """Epochs of one training."""
        return self.config.training.epochs

    def train(self, trial: Trial, folder: Path, watch: Watch) -> tuple[Trained, dict[str, Any]]:
        """Train in a folder, which is that of a run, or go on with the run that is there.

        Raises:
            NesfError: where the folder holds another run.
        """
        training = replace(
            self.config.training, seed=trial.seed, keep=self.config.training.keep if trial.selects else "last"
        )
        config = replace(self.config, training=training)
        train, validation = trial.parts["train"], trial.parts["val"] if trial.selects else None
        setup = Setup(self.preset, config, describe(train, validation), trial.domain)
        if (folder / SETUP).is_file() and Setup.read(folder) != setup:
            raise NesfError(f"{folder} holds a run with another configuration or other data; choose another --out.")
        run = Run(folder, setup, train, validation, resume=True)
        card = run.train(lambda report: watch(trial.name, report.epoch, training.epochs))
        assert card is not None
        return codec.load(folder, own_device()), {
            "epochs": training.epochs,
            "minutes": round(run.trainer.seconds / 60, 2),
            "hardware": card.training["hardware"],
            "parameters": sum(one.numel() for one in run.trainer.model.parameters() if one.requires_grad),
        }


@dataclass(frozen=True)
class VoxelMethod:
    """The voxel baseline by one of its presets and what was changed of it."""

    preset: str
    settings: BaselineSettings
    name: str = "icsg3d"

    @property
    def label(self) -> str:
        """The preset, and how much smaller than published the networks are."""
        network = self.settings.network
        smaller = {"U-Net": network.width, "VAE": network.vae_width}
        sizes = [f"{part} width {share:g}" for part, share in smaller.items() if share != 1]
        return f"voxels ({', '.join([self.preset, *sizes])})"

    @property
    def epochs(self) -> int:
        """Epochs of one training, of all its stages."""
        return self.settings.unet.epochs + self.settings.vae.epochs + self.settings.tune.epochs

    def train(self, trial: Trial, folder: Path, watch: Watch) -> tuple[Trained, dict[str, Any]]:
        """Train in a folder, or go on with the run that is there.

        Raises:
            NesfError: where the folder holds another run.
        """
        settings = replace(self.settings, seed=trial.seed)
        train, validation = trial.parts["train"], trial.parts["val"] if trial.selects else None
        setup = voxel.Setup(self.preset, settings, describe(train, validation))
        if (folder / voxel.SETUP).is_file() and voxel.Setup.read(folder) != setup:
            raise NesfError(f"{folder} holds a run with another configuration or other data; choose another --out.")
        known = validation.crystals if validation is not None else ()
        device = own_device()
        run = voxel.Run(folder, setup, train.crystals, known, about=machine(device), resume=True, device=device)
        stages = {stage.name: stage.optimisation.epochs for stage in run.trainer.stages}
        card = run.train(lambda report: watch(trial.name, report.epoch, report.epochs))
        return VoxelCodec.load(folder, device), {
            "epochs": " + ".join(map(str, stages.values())),
            "minutes": round(run.trainer.seconds / 60, 2),
            "hardware": card.training.get("hardware", "unknown hardware"),
            "parameters": sum(one.numel() for one in run.trainer.networks.parameters()),
        }
