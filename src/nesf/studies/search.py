"""The staged search for hyperparameters: each stage goes on from the best of the one before."""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nesf
from nesf import codec
from nesf.config import Config
from nesf.crystal import Crystal
from nesf.data.datasets import Dataset
from nesf.domain import Domain
from nesf.errors import NesfError
from nesf.metrics import Score, Tally
from nesf.runs import Run, Setup, describe
from nesf.studies.search_stages import Point, Stage, changed, written
from nesf.studies.search_storage import Claim, Result, Storage, taken_over
from nesf.training import DivergenceError, EpochReport
from nesf.training.team import own_device

Say = Callable[[str], None]

WAIT_SECONDS = 0.5
WORST = 100.0
"""Score of a failed trial: all crystals wrong, %."""
HOPELESS = 24
"""If as many crystals are all wrong, no more are scored."""


@dataclass(frozen=True)
class Search:
    """What is searched, and with which budget.

    Attributes:
        train: training data.
        val: validation data, on which the criterion is measured.
        preset: the preset that the configuration started from.
        start: the configuration of the first stage; its training settings are the budget of a trial, and its seed is
            that of all trials.
        stages: in their order.
        storage: file of the trials; processes with the same file and search work together.
        most: most trials of a stage, or None.
        domain: what the models may be asked, where that is more than the training data shows: for example the
            elements of a whole data set, of whose first crystals they learn.
    """

    train: Dataset
    val: Dataset
    preset: str
    start: Config
    stages: tuple[Stage, ...]
    storage: Path
    most: int | None = None
    domain: Domain | None = None

    def refused(self) -> int:
        """How many validation crystals no model can be asked for; they count as failed in every trial."""
        domain = self.domain or Domain.of(self.train.crystals)
        return sum(domain.refusal(crystal) is not None for crystal in self.val.crystals)


@dataclass(frozen=True)
class Finished:
    """A stage that is done.

    Attributes:
        stage: which.
        before: the configuration it started from.
        results: of its trials, in the order of the grid.
        chosen: the best of them, or what was chosen before where none is better; None where no trial gave a crystal.
        after: the configuration with the chosen values.
    """

    stage: Stage
    before: Config
    results: list[Result]
    chosen: Result | None
    after: Config

    @property
    def ties(self) -> int:
        """How many other points do exactly as well as the chosen one."""
        if self.chosen is None:
            return 0
        equal = [one for one in self.results if one.rank == self.chosen.rank]
        return sum(dict(one.point) != dict(self.chosen.point) for one in equal)


def walk(search: Search, say: Say) -> list[Finished]:
    """Go through the stages, doing trials that no other process does; returns when all are done.

    Raises:
        NesfError: where a trial cannot be finished; nothing is kept of it but its training, with which it goes on.
    """
    storage = Storage(search.storage)
    finished: list[Finished] = []
    config, best = search.start, None
    for stage in search.stages:
        name = f"{stage.name}-{_digest(search, config, list(stage.points()))}"
        trials = storage.trials(name, stage, search.most, search.start.training.seed)
        while not trials.complete:
            if (claim := trials.claim()) is None:
                time.sleep(WAIT_SECONDS)
                continue
            try:
                result = _attempt(search, config, best, claim, storage.work)
                trials.tell(claim, result)
            finally:
                claim.lock.release()
            say(_told(stage, result, len(trials.results()), trials.total))
        results = trials.results()
        chosen = choose(results, None if best is None else taken_over(best, stage.point_of(config)))
        if chosen.position is None:
            # Nothing tells the points apart, so the configuration stays as it is.
            finished.append(Finished(stage, config, results, None, config))
            continue
        after = changed(config, chosen.point)
        finished.append(Finished(stage, config, results, chosen, after))
        config, best = after, chosen
    return finished


def choose(results: list[Result], before: Result | None = None) -> Result:
    """The best by the paper's criterion: fewest wrong counts of atoms, among equals the smallest position error.

    What was chosen before stays where nothing is better; of equal points the first is chosen.
    """
    return min([*([] if before is None else [before]), *results], key=lambda one: one.rank)


def _attempt(search: Search, config: Config, best: Result | None, claim: Claim, work: Path) -> Result:
    tried = changed(config, claim.point)
    if best is not None and tried == config:
        return taken_over(best, claim.point)
    # Where an interrupted trial is done again, its training goes on.
    folder = work / f"run-{_digest(search, tried, [])}"
    result = measure(search, tried, claim.point, folder)
    shutil.rmtree(folder, ignore_errors=True)
    return result


def measure(search: Search, config: Config, point: Point, folder: Path) -> Result:
    """Train in a folder, or go on there, and score on the validation data; what diverges has the worst score.

    Raises:
        NesfError: for every other failure. It tells about the machine, not about the point.
    """
    start = time.perf_counter()
    earlier = 0.0
    try:
        setup = Setup(search.preset, config, describe(search.train, search.val), search.domain)
        run = Run(folder, setup, search.train, search.val, resume=True)
        earlier = run.trainer.seconds
        run.train(_watch)
        score = _score(codec.load(folder, own_device()), search.val.crystals)
    except DivergenceError as error:
        return Result(point, WORST, None, _minutes(start, earlier), f"diverged: {error}", failed=True)
    except (RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise NesfError(
            f"The trial {_values(point)} failed ({reason}); it is not recorded, and the same command does it again."
        ) from error
    assert score.atoms_error_percent is not None
    note = "" if score.n == len(search.val.crystals) else f"scored on {score.n} crystals, as all of them are wrong"
    return Result(point, score.atoms_error_percent, score.position_actual, _minutes(start, earlier), note)


def _score(model: codec.Codec, crystals: Sequence[Crystal]) -> Score:
    """The score, on all crystals unless it is hopeless: a field in which nothing is found takes longest to search."""
    tally = Tally()
    for part in (crystals[:HOPELESS], crystals[HOPELESS:]):
        for true, found in zip(part, model.reconstruct(part), strict=True):
            tally.add(true, found)
        if tally.wrong_counts.percent == WORST:
            break
    return tally.score()


def _watch(report: EpochReport) -> None:
    if report.validation is not None and not math.isfinite(report.validation["total"]):
        raise DivergenceError(f"The validation loss of epoch {report.epoch} is no number any more.")


def _minutes(start: float, earlier: float) -> float:
    return round((earlier + time.perf_counter() - start) / 60, 3)


def _told(stage: Stage, result: Result, done: int, total: int) -> str:
    position = "none" if result.position is None else f"{result.position:.4f} Å"
    note = f" ({result.note})" if result.note else ""
    scores = f"atoms {result.atoms:.2f} %, position {position}, {result.minutes:.1f} min{note}"
    return f"{stage.name} {done}/{total}: {_values(result.point)}: {scores}"


def _values(point: Point) -> str:
    return "; ".join(f"{path} = {written(value)}" for path, value in point.items())


def _digest(search: Search, config: Config, points: list[Any]) -> str:
    """A short hash of all that a result depends on."""
    data = [search.train.sha256, search.val.sha256, *([search.domain.to_dict()] if search.domain else [])]
    text = json.dumps([nesf.__version__, data, config.to_dict(), points], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
