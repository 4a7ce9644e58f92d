"""Trials that several processes share: each is done once, and again where it was interrupted."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nesf.errors import NesfError
from nesf.lock import FileLock
from nesf.studies.search_stages import Point, Stage, Value

# Of a result, beside the values that Optuna asks for.
_KEPT = ("minutes", "note", "failed")


@dataclass(frozen=True)
class Result:
    """What a trial came to.

    Attributes:
        point: the values tried.
        atoms: crystals with a wrong number of atoms, %.
        position: position error (actual), Å; None where nothing was found.
        minutes: of training and scoring.
        note: why it failed, or where the numbers are from.
        failed: whether there was no model to score; it then has the worst score.
    """

    point: Point
    atoms: float
    position: float | None
    minutes: float
    note: str = ""
    failed: bool = False

    @property
    def rank(self) -> tuple[float, float, bool]:
        """The criterion of the paper, and whether there is a model at all: the lowest is best."""
        return self.atoms, float("inf") if self.position is None else self.position, self.failed


@dataclass(frozen=True)
class Claim:
    """A trial that this process is to do; no other will while the lock is held."""

    number: int
    point: Point
    lock: FileLock


class Storage:
    """A file of trials, and a folder ``FILE.work`` for locks and unfinished trainings beside it.

    Args:
        path: the file, which Optuna writes as a journal; it is made where there is none.

    Raises:
        NesfError: where the file is something else.
    """

    def __init__(self, path: Path) -> None:
        from optuna import logging
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        logging.set_verbosity(logging.WARNING)
        self.work = path.with_name(f"{path.name}.work")
        self.work.mkdir(parents=True, exist_ok=True)
        self.mutex = FileLock(self.work / "claim.lock")
        lock = FileLock(self.work / "journal.lock")
        with lock:
            _mend(path)
        try:
            self.journal: Any = JournalStorage(JournalFileBackend(str(path), lock))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise NesfError(f"{path} is no file of trials; give another --storage.") from None

    def trials(self, name: str, stage: Stage, most: int | None, seed: int) -> "Trials":
        """The trials of a stage.

        Args:
            name: whatever the results depend on, as a name: other names share nothing.
            stage: the points.
            most: how many of them are tried, drawn at random; all of them where it is None.
            seed: of the order.
        """
        return Trials(self, name, stage, most, seed)


def _mend(path: Path) -> None:
    """Cut off a last line that was not written to its end."""
    if not path.is_file():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


class Trials:
    """The trials of one stage: an Optuna study with two values, the criterion's, over a grid.

    A trial that is running while nobody holds its lock was interrupted, and is claimed again under its own number. So
    there are never more trials than points.
    """

    def __init__(self, storage: Storage, name: str, stage: Stage, most: int | None, seed: int) -> None:
        import optuna

        self.storage, self.name, self.stage = storage, name, stage
        self.total = min(len(stage.points()), most or len(stage.points()))
        self._values = {path: {_code(value): value for value in values} for path, values in stage.grid.items()}
        sampler = optuna.samplers.GridSampler({path: list(codes) for path, codes in self._values.items()}, seed)
        # Trials are asked for and told one by one, so there is no loop of Optuna's to end with the last one.
        sampler.after_trial = lambda *_: None
        with storage.mutex:
            self.study = optuna.create_study(
                storage=storage.journal,
                sampler=sampler,
                study_name=name,
                directions=["minimize", "minimize"],
                load_if_exists=True,
            )

    def claim(self) -> Claim | None:
        """A trial that was interrupted, or a new one; None where all are done or being done."""
        import optuna

        running = optuna.trial.TrialState.RUNNING
        with self.storage.mutex:
            known = self.study.get_trials(deepcopy=False)
            for trial in known:
                if trial.state == running and (lock := self._lock(trial.number)):
                    # Its owner may have told the result and left since the list was read.
                    if self.study.get_trials(deepcopy=False)[trial.number].state != running:
                        lock.release()
                        continue
                    # It may have been interrupted before it had its point.
                    self.study.sampler.before_trial(self.study, trial)
                    return self._claimed(optuna.trial.Trial(self.study, trial._trial_id), lock)
            if len(known) >= self.total:
                return None
            asked = self.study.ask()
            lock = self._lock(asked.number)
            assert lock is not None, "A new trial has no other owner."
            return self._claimed(asked, lock)

    def _lock(self, number: int) -> FileLock | None:
        lock = FileLock(self.storage.work / f"{self.name}-{number}.lock")
        return lock if lock.acquire(wait=False) else None

    def _claimed(self, trial: Any, lock: FileLock) -> Claim:
        with ExitStack() as undo:
            undo.callback(lock.release)
            point = {
                path: values[trial.suggest_categorical(path, list(values))] for path, values in self._values.items()
            }
            undo.pop_all()
        return Claim(trial.number, point, lock)

    def tell(self, claim: Claim, result: Result) -> None:
        """Keep the result of a trial; its owner then gives the lock back."""
        import optuna

        frozen = self.study.get_trials(deepcopy=False)[claim.number]
        trial = optuna.trial.Trial(self.study, frozen._trial_id)
        for key in _KEPT:
            trial.set_user_attr(key, asdict(result)[key])
        self.study.tell(claim.number, result.rank[:2])

    def results(self) -> list[Result]:
        """What the finished trials came to, in the order of the points."""
        import optuna

        done = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        points = self.stage.points()
        results = [self._result(trial) for trial in done]
        return sorted(results, key=lambda one: points.index(one.point))

    def _result(self, trial: Any) -> Result:
        point: Mapping[str, Value] = {path: values[trial.params[path]] for path, values in self._values.items()}
        atoms, position = trial.values
        found = None if position == float("inf") else position
        return Result(point, atoms, found, **{key: trial.user_attrs[key] for key in _KEPT})

    @property
    def complete(self) -> bool:
        """Whether all trials are done."""
        return len(self.results()) >= self.total


def taken_over(result: Result, point: Point) -> Result:
    """The result of the same configuration in another stage."""
    return replace(result, point=point, minutes=0.0, note=result.note or "as in the stage before")


def _code(value: Value) -> float | int | str:
    """A value as Optuna can keep it."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else value
