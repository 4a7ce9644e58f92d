"""Error against time of training."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from nesf.bench.training_speed import trainer_of
from nesf.codec import Codec
from nesf.config import Config
from nesf.crystal import Crystal
from nesf.domain import Domain
from nesf.evaluation import evaluate
from nesf.metrics import COLUMNS, published
from nesf.model import Autoencoder
from nesf.training import Trainer
from nesf.weights import Card


@dataclass(frozen=True)
class Point:
    """A training at one moment.

    Attributes:
        epoch: epochs done.
        seconds: time of training, evaluations not counted.
        wall_seconds: time since the start, evaluations counted.
        train: losses of the last epoch.
        score: metrics on the validation data.
    """

    epoch: int
    seconds: float
    wall_seconds: float
    train: dict[str, float]
    score: dict[str, Any]

    def reaches_paper(self) -> bool:
        """Whether each metric is as good as the paper's for the LCS6Å validation table."""
        row = published("lcs6a", "val")
        assert row is not None
        return all(self.score[c.key] is not None and self.score[c.key] <= row.mean[c.key] for c in COLUMNS)


def learning_curve(
    config: Config,
    train: Sequence[Crystal],
    validation: Sequence[Crystal],
    device: torch.device,
    *,
    minutes: float,
    every: float,
) -> Iterator[Point]:
    """Train until the last epoch or for so many minutes, and evaluate on the way and at the end.

    Args:
        config: all parameters.
        train: training crystals.
        validation: crystals to evaluate on; one with unknown elements counts as failed.
        device: where to compute.
        minutes: of training at most, evaluations not counted.
        every: seconds of training between two evaluations.
    """
    start, due = time.perf_counter(), every
    trainer = trainer_of(config, train, train, device)
    for epoch in trainer.run():
        over = epoch.epoch == config.training.epochs or epoch.seconds >= 60 * minutes
        if over or epoch.seconds >= due:
            due = epoch.seconds + every
            score = evaluate(_codec(config, trainer, train), validation).to_dict()
            yield Point(epoch.epoch, epoch.seconds, time.perf_counter() - start, epoch.train, score)
        if over:
            return


def _codec(config: Config, trainer: Trainer, train: Sequence[Crystal]) -> Codec:
    # A model of its own: a codec freezes what it is given.
    model = Autoencoder(config.network, trainer.model.vocabulary).to(trainer.data.device)
    model.load_state_dict(trainer.model.state_dict())
    return Codec(model, Card("in training", "fast", config, Domain.of(train)))
