"""A training of the baseline: crystals in, a folder with log, checkpoint and model out."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nesf.baselines.voxel import weights
from nesf.baselines.voxel.grid import GridSettings, Voxels, voxelise
from nesf.baselines.voxel.radii import number_problem
from nesf.baselines.voxel.settings import BaselineSettings
from nesf.baselines.voxel.training import EpochReport, Trainer
from nesf.crystal import Crystal, CrystalBatch, Failure
from nesf.errors import NesfError
from nesf.lock import hold
from nesf.memory import keep_freed_memory
from nesf.output import check_begun, whole_file, writing

Report = Callable[[EpochReport], None]

MODEL, CHECKPOINT, SETUP, LOG = "model.safetensors", "checkpoint.safetensors", "baseline.json", "log.jsonl"


@dataclass(frozen=True)
class Setup:
    """What a run was started with; kept in its folder, so that it can be resumed.

    Attributes:
        preset: the preset that the settings started from.
        settings: everything else.
        data: names, hashes and sizes of the training and validation data.
    """

    preset: str
    settings: BaselineSettings
    data: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write into a run's folder."""
        values = {"preset": self.preset, "settings": self.settings.to_dict(), "data": self.data}
        with whole_file(folder / SETUP) as target:
            target.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "Setup":
        """Read from a run's folder; raises ``NesfError`` if it holds no run."""
        check_begun(folder, SETUP, CHECKPOINT, MODEL)
        path = folder / SETUP
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(values["preset"], BaselineSettings.from_dict(values["settings"]), values["data"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise NesfError(
                f"{folder} holds no baseline that can be resumed: {path.name} is unreadable ({error}); put a copy of "
                "it back, or start anew with --out."
            ) from None


def check_free(folder: Path) -> None:
    """Raise ``NesfError`` if a folder holds a run already: a new one would overwrite it."""
    if any((folder / name).exists() for name in (CHECKPOINT, MODEL)):
        raise NesfError(f"{folder} holds a run already; go on with it with --resume, or choose another --out.")


@dataclass(frozen=True)
class Taken:
    """The crystals of a data set that have grids.

    Attributes:
        voxels: their grids; None where there are none.
        left_out: the other crystals, with the reason.
    """

    voxels: Voxels | None
    left_out: tuple[Failure, ...] = field(default=())

    @classmethod
    def of(cls, crystals: Sequence[Crystal], settings: GridSettings, device: torch.device | str = "cpu") -> "Taken":
        """Put crystals on grids; one with an element that has no class is left out."""
        problems = [number_problem(torch.tensor(crystal.numbers)) for crystal in crystals]
        fine = [crystal for crystal, problem in zip(crystals, problems, strict=True) if problem is None]
        failures = [
            Failure(c.id, problem) for c, problem in zip(crystals, problems, strict=True) if problem is not None
        ]
        voxels = voxelise(CrystalBatch.from_crystals(fine, device), settings) if fine else None
        return cls(voxels, tuple(failures))


class Run:
    """One training, from its crystals to its folder.

    Args:
        folder: where log, checkpoint and model are written.
        setup: preset, settings and the description of the data.
        train: training crystals.
        validation: validation crystals; without any, each stage ends with its last weights.
        about: what the card is to say about hardware and software.
        resume: whether the folder may hold a run already, which then goes on from its checkpoint, if it has one.
        device: where to compute.

    Attributes:
        left_out: crystals with elements that have no class.
    """

    def __init__(
        self,
        folder: Path,
        setup: Setup,
        train: Sequence[Crystal],
        validation: Sequence[Crystal],
        *,
        about: Mapping[str, str] | None = None,
        resume: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        if not resume:
            check_free(folder)
        self._lock = hold(folder)
        if not resume:
            check_free(folder)  # once more, because another process may have been at work until now
        keep_freed_memory()
        self.folder = folder
        self.setup = setup
        self.about = dict(about or {})
        grid = setup.settings.grid
        taken, known = Taken.of(train, grid, device), Taken.of(validation, grid, device)
        self.left_out = taken.left_out + known.left_out
        if taken.voxels is None:
            raise NesfError("No training crystal has only elements up to Pu, which the baseline has classes for.")
        self.trainer = Trainer(setup.settings, taken.voxels, known.voxels)
        if resume and (folder / CHECKPOINT).exists():
            weights.restore_checkpoint(folder / CHECKPOINT, self.trainer)
        self._trim_log()
        setup.write(folder)

    def train(self, report: Report) -> weights.Card:
        """Train to the end, saving after each epoch; an interruption loses the epoch it falls into and no more.

        Returns:
            The card of the model.
        """
        try:
            if self.trainer.finished and (self.folder / MODEL).exists():
                # Where and when it was trained stays as it was.
                return weights.load(self.folder / MODEL)[1]
            for epoch in self.trainer.run():
                # The log first: what it has beyond the checkpoint is dropped when the run goes on.
                with writing(self.folder / LOG), (self.folder / LOG).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(vars(epoch)) + "\n")
                weights.save_checkpoint(self.folder / CHECKPOINT, self.trainer)
                report(epoch)
            setup = self.setup
            card = weights.Card(self.folder.name, setup.preset, setup.settings, setup.data, self._budget())
            weights.save(self.folder / MODEL, self.trainer.networks, card)
            return card
        finally:
            self._lock.release()

    def _trim_log(self) -> None:
        path = self.folder / LOG
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if len(lines) > self.trainer.epochs_done:
            with whole_file(path) as target:
                target.write_bytes(b"".join(lines[: self.trainer.epochs_done]))

    def _budget(self) -> dict[str, Any]:
        stages = self.trainer.stages
        return {
            "epochs": {stage.name: stage.optimisation.epochs for stage in stages},
            "crystals": len(self.trainer.data),
            "minutes": round(self.trainer.seconds / 60, 1),
            **self.about,
        }
