"""The training of the baseline: its stages one after the other, in one loop that can be interrupted."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nesf.baselines.voxel.grid import Voxels
from nesf.baselines.voxel.scaling import scaled
from nesf.baselines.voxel.settings import BaselineSettings, StageSettings
from nesf.baselines.voxel.stages import Name, Networks, Stage
from nesf.errors import NesfError

_STAGES: tuple[Name, ...] = ("unet", "vae", "tune")
# Crystals that both networks have the scale of their first weights from.
_MEASURED = 256
# Crystals that the batch norms are measured on after each epoch.
_SETTLED_BY = 128
# Crystals whose whole grids are worked on together outside the steps.
_TOGETHER = 16


@dataclass(frozen=True)
class EpochReport:
    """What one epoch was like.

    Attributes:
        stage: "unet", "vae" or "tune".
        epoch: epochs of the stage done.
        epochs: epochs of the stage in all.
        seconds: time that training has taken so far, over all stages and resumed parts.
        learning_rate: of the last step.
        train: mean unweighted losses over the epoch, and their weighted total.
        validation: the same on the validation data, where there is any.
        improved: whether the validation loss is the best of the stage so far.
        crystals: crystals seen in this epoch.
        training_seconds: time that this epoch took, without validation.
    """

    stage: Name
    epoch: int
    epochs: int
    seconds: float
    learning_rate: float
    train: dict[str, float]
    validation: dict[str, float] | None
    improved: bool
    crystals: int
    training_seconds: float


def learning_rate(settings: StageSettings, step: int, steps: int) -> float:
    """The rate of a step, counted from 0, of so many steps: a straight rise, then half a cosine down.

    >>> settings = StageSettings(epochs=1, batch=2, learning_rate=1.0, warmup=0.2)
    >>> [round(learning_rate(settings, step, 10), 2) for step in range(10)]
    [0.5, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.15, 0.04, 0.0]
    """
    rise = round(settings.warmup * steps)
    if step < rise:
        return settings.learning_rate * (step + 1) / rise
    progress = (step + 1 - rise) / max(1, steps - rise)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


class Trainer:
    """Trains the networks of a baseline, stage by stage, on crystals whose grids are all in memory.

    Everything random comes from one generator. Each stage ends with the weights of its best validation loss; without
    validation data, with its last ones.

    Args:
        settings: of the baseline.
        data: grids of the training crystals, on the device that computes.
        validation: those of the validation crystals, or None.

    Attributes:
        networks: what is trained.
        stage: number of the current stage; that of all stages when everything is done.
        epoch: epochs done in it.
        best: its best validation loss so far.
        kept: the weights that gave it.
    """

    def __init__(self, settings: BaselineSettings, data: Voxels, validation: Voxels | None) -> None:
        if len(data) < 2:
            raise NesfError("The baseline needs at least two crystals to train on.")
        self.settings = settings
        self.data = data
        self.validation = validation
        self.networks = Networks(settings).to(data.density.device)
        self._start_from(data.select(torch.arange(min(len(data), _MEASURED), device=data.density.device)))
        self.stages = [Stage(name, self.networks, settings) for name in _STAGES if getattr(settings, name).epochs > 0]
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.seconds = 0.0
        self.enter(0)

    def _start_from(self, some: Voxels) -> None:
        grids = scaled(some.grids(), self.settings.network.scaling)
        self.networks.unet.start_from(grids, some.labels)
        self.networks.vae.start_from(grids)

    @property
    def finished(self) -> bool:
        """Whether all stages are done."""
        return self.epochs_done == sum(stage.optimisation.epochs for stage in self.stages)

    @property
    def epochs_done(self) -> int:
        """Epochs done in all stages together."""
        return sum(stage.optimisation.epochs for stage in self.stages[: self.stage]) + self.epoch

    def enter(self, stage: int) -> None:
        """Stand at the start of a stage, or at the end of everything."""
        self.stage, self.epoch = stage, 0
        self.best, self.kept = math.inf, dict[str, Tensor]()
        if stage < len(self.stages):
            self.stages[stage].begin()
            parameters = self.stages[stage].network.parameters()
            self.optimizer = torch.optim.Adam(parameters, eps=1e-7, fused=True)

    def run(self) -> Iterator[EpochReport]:
        """Train epoch by epoch through all stages; the caller saves what it needs in between."""
        while self.stage < len(self.stages):
            stage = self.stages[self.stage]
            while self.epoch < stage.optimisation.epochs:
                yield self._epoch(stage)
            if self.kept:
                stage.network.load_state_dict(self.kept)
            self.enter(self.stage + 1)
        self.networks.eval().requires_grad_(False)

    def _epoch(self, stage: Stage) -> EpochReport:
        start = time.perf_counter()
        train, rate = self._train_epoch(stage)
        taken = time.perf_counter() - start
        self.epoch += 1
        validation = self._validate(stage) if self.validation is not None else None
        improved = validation is not None and validation["total"] < self.best
        if validation is not None and improved:
            self.best = validation["total"]
            self.kept = {name: value.clone() for name, value in stage.network.state_dict().items()}
        self.seconds += time.perf_counter() - start
        epochs = stage.optimisation.epochs
        return EpochReport(
            stage.name, self.epoch, epochs, self.seconds, rate, train, validation, improved, len(self.data), taken
        )

    def _train_epoch(self, stage: Stage) -> tuple[dict[str, float], float]:
        stage.network.train()
        index = self._batches(stage.optimisation.batch)
        steps, sums, rate = len(index), dict[str, Tensor](), 0.0
        for i, some in enumerate(index):
            rate = learning_rate(stage.optimisation, self.epoch * steps + i, stage.optimisation.epochs * steps)
            batch = stage.batch(self.data.select(some), self.generator)
            parts = stage.losses(batch, self.generator, self.epoch)
            self._step(stage, parts["total"], rate)
            sums = {name: sums.get(name, 0.0) + value.detach() for name, value in parts.items()}
        means = {name: float(value) / steps for name, value in sums.items()}
        if not math.isfinite(means["total"]):
            raise NesfError(f"The loss of stage {stage.name} is no number any more; lower {stage.name}.learning-rate.")
        some = torch.cat(self._batches(_TOGETHER))[:_SETTLED_BY]
        stage.settle(self.data.select(part) for part in some.split(_TOGETHER) if len(part) > 1)
        return means, rate

    def _batches(self, size: int) -> list[Tensor]:
        """All crystals in a new order; batch norms need two of them, so that a single last one is left out."""
        order = self._on_device(torch.randperm(len(self.data), generator=self.generator))
        return [part for part in order.split(size) if len(part) > 1]

    def _on_device(self, index: Tensor) -> Tensor:
        return index.to(self.data.density.device)

    def _step(self, stage: Stage, total: Tensor, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(stage.network.parameters(), stage.optimisation.clip)
        self.optimizer.step()

    @torch.no_grad()
    def _validate(self, stage: Stage) -> dict[str, float]:
        """Mean losses on the validation data: whole grids as they are, no noise."""
        assert self.validation is not None
        stage.network.eval()
        sums: dict[str, float] = {}
        for some in torch.arange(len(self.validation)).split(_TOGETHER):
            batch = stage.batch(self.validation.select(self._on_device(some)), None)
            for name, value in stage.losses(batch, None, None).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(some)
        return {name: value / len(self.validation) for name, value in sums.items()}
