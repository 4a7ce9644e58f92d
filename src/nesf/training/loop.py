"""The training loop."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from nesf.crystal import CrystalBatch
from nesf.errors import NesfError
from nesf.fields.grids import Box
from nesf.model import Architecture
from nesf.model.layers import BatchNorm
from nesf.precision import autocast
from nesf.training.losses import Objective, losses, targets
from nesf.training.schedule import learning_rate
from nesf.training.settings import LossSettings, SamplingSettings, TrainingSettings
from nesf.training.team import ALONE, Team

Augmentation = Callable[[CrystalBatch, torch.Generator], CrystalBatch]


class DivergenceError(NesfError):
    """A training whose loss is no number any more."""


@dataclass(frozen=True)
class EpochReport:
    """What one epoch was like.

    Attributes:
        epoch: number of epochs done.
        seconds: time that training has taken so far, over all resumed parts.
        learning_rate: of the last step.
        train: mean unweighted losses over the epoch, and their weighted total.
        validation: the same on the validation data, where this epoch was validated.
        improved: whether the validation loss is the best so far.
        crystals: crystals seen in this epoch, by all processes together.
        queries: points at which the fields were asked, likewise.
        training_seconds: time that this epoch took, without validation.
    """

    epoch: int
    seconds: float
    learning_rate: float
    train: dict[str, float]
    validation: dict[str, float] | None
    improved: bool
    crystals: int
    queries: int
    training_seconds: float


def _distributed(objective: Objective) -> DistributedDataParallel:
    with warnings.catch_warnings():
        # Newer releases of PyTorch have another name for the option, which older ones do not know.
        warnings.simplefilter("ignore", FutureWarning)
        # The statistics of the norms are those of all processes already, so no buffers need to be sent.
        return DistributedDataParallel(objective, broadcast_buffers=False)


class Trainer:
    """Trains an autoencoder on crystals that are all in memory.

    Everything random comes from one generator, and dropout from the seed and the number of the step, so that a run
    can be repeated and resumed.

    Args:
        model: the autoencoder; trained in place, on the device where it is.
        data: training crystals.
        validation: validation crystals, or None.
        sampling: where the fields are queried.
        loss: weights of the losses.
        settings: the optimisation.
        box: box of the training atoms, angstrom, for the paper's global grid.
        augmentation: change of each training batch.
        team: the processes that train together; each holds all data and takes its part of every batch.
    """

    def __init__(
        self,
        model: Architecture,
        data: CrystalBatch,
        validation: CrystalBatch | None,
        sampling: SamplingSettings,
        loss: LossSettings,
        settings: TrainingSettings,
        *,
        box: Box | None = None,
        augmentation: Augmentation | None = None,
        team: Team = ALONE,
    ) -> None:
        self.model = model
        self.data = data
        self.validation = validation
        self.sampling = sampling
        self.loss = loss
        self.settings = settings
        self.box = box
        self.augmentation = augmentation
        self.team = team
        if team.size > 1 and min(settings.batch, len(data)) < 2 * team.size:
            raise NesfError(
                f"training.batch is {settings.batch} and there are {len(data)} crystals; {team.size} processes need at "
                "least two crystals each."
            )
        objective = Objective(model, loss)
        for module in model.modules():
            if isinstance(module, BatchNorm):
                module.together = team.size > 1
        self.objective = _distributed(objective) if team.size > 1 else objective
        self.generator = torch.Generator(data.device).manual_seed(settings.seed)
        self.optimizer = torch.optim.Adam(model.parameters(), settings.learning_rate, fused=True)
        self.epoch = 0
        self.seconds = 0.0
        self.best = float("inf")

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in an epoch; a last batch too small for the norms, or for the team, is left out."""
        full, rest = divmod(len(self.data), self.settings.batch)
        return max(1, full + (rest > 1 and rest >= self.team.size))

    def run(self) -> Iterator[EpochReport]:
        """Train epoch by epoch until ``settings.epochs``; the caller saves what it needs in between."""
        while self.epoch < self.settings.epochs:
            start = time.perf_counter()
            train, rate, queries = self._train_epoch()
            if not math.isfinite(train["total"]):
                raise DivergenceError(
                    f"The loss of epoch {self.epoch + 1} is no number any more; lower training.learning-rate "
                    f"({self.settings.learning_rate:g})."
                )
            taken = time.perf_counter() - start
            self.epoch += 1
            due = self.epoch % self.settings.validate_every == 0 or self.epoch == self.settings.epochs
            validation = self.validate() if due and self.validation is not None else None
            improved = validation is not None and validation["total"] < self.best
            if validation is not None and improved:
                self.best = validation["total"]
            self.seconds += time.perf_counter() - start
            seen = min(len(self.data), self.steps_per_epoch * self.settings.batch)
            yield EpochReport(self.epoch, self.seconds, rate, train, validation, improved, seen, queries, taken)

    def _train_epoch(self) -> tuple[dict[str, float], float, int]:
        self.model.train()
        # The loop waits for a GPU to read this order and that of the groups, and at the end of the epoch for the sums.
        order = torch.randperm(len(self.data), generator=self.generator, device=self.data.device).cpu()
        parts: dict[str, Tensor] = {}
        sums = torch.zeros((), device=self.data.device)
        rate, queries = 0.0, 0
        for i, index in enumerate(self._batches(order)[: self.steps_per_epoch]):
            step = self.epoch * self.steps_per_epoch + i
            rate = learning_rate(self.settings, step, self.steps_per_epoch)
            with self._seeded(step):
                parts, asked = self._step(self.data.select(index), rate)
            queries += asked
            sums = sums + torch.stack(list(parts.values()))
        means = self.team.total(sums) / self.steps_per_epoch
        queries = int(self.team.total(torch.tensor(queries, device=means.device)))
        return dict(zip(parts, means.tolist(), strict=True)), rate, queries

    def _batches(self, order: Tensor) -> list[Tensor]:
        """The order cut into batches; with ``settings.group``, into batches of crystals of about one size."""
        size, group = self.settings.batch, self.settings.group
        if group == 1:
            return list(order.split(size))
        # The one batch that may be short, and then left out, is of any sizes, and comes last.
        full = len(order) - len(order) % size
        batches: list[Tensor] = []
        for some in order[:full].split(size * group) if full else ():
            alike = some[self.data.counts[some].argsort(stable=True)].split(size)
            turn = torch.randperm(len(alike), generator=self.generator, device=self.data.device).tolist()
            batches += [alike[i] for i in turn]
        return batches + ([order[full:]] if full < len(order) else [])

    @contextmanager
    def _seeded(self, step: int) -> Iterator[None]:
        """Lends dropout, which knows only PyTorch's own generator, a state that resuming finds again."""
        if self.model.settings.dropout == 0:
            yield
            return
        with torch.random.fork_rng([self.data.device] if self.data.device.type == "cuda" else []):
            torch.manual_seed((self.settings.seed << 32) + step * self.team.size + self.team.rank)
            yield

    def _step(self, batch: CrystalBatch, rate: float) -> tuple[dict[str, Tensor], int]:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.augmentation is not None:
            batch = self.augmentation(batch, self.generator)
        wanted = targets(batch, self.model, self.sampling, self.box, self.generator, self.team)
        noise = self._noise(len(batch))
        if self.team.size > 1:
            part = torch.arange(*self.team.part(len(batch)))
            batch, noise = batch.select(part), None if noise is None else noise[part.to(noise.device)]
        with autocast(self.settings.precision, batch.device):
            parts = self.objective(batch, wanted, noise)
        self.optimizer.zero_grad()
        # Gradients are averaged over the team; what is wanted is the sum of its parts.
        (parts["total"] * self.team.size).backward()
        if self.settings.clip < float("inf"):
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()
        return {name: value.detach() for name, value in parts.items()}, wanted.count

    def _noise(self, crystals: int) -> Tensor | None:
        if self.settings.latent_noise == 0:
            return None
        size = (crystals, self.model.settings.latent)
        return self.settings.latent_noise * torch.randn(size, generator=self.generator, device=self.data.device)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean losses on the validation data, in float32 and without noise: repeatable bit for bit."""
        assert self.validation is not None
        self.model.eval()
        sums: dict[str, float] = {}
        for batch in self.validation.chunks(self.settings.batch):
            wanted = targets(batch, self.model, self.sampling, self.box, None)
            for name, value in losses(self.model, batch, wanted, self.loss).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(batch)
        return {name: value / len(self.validation) for name, value in sums.items()}
