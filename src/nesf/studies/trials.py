"""Several trainings of one method on one data set: over seeds, or over the folds of a cross-validation."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import nesf
from nesf.crystal import Crystal, Failure
from nesf.data.datasets import Dataset
from nesf.data.id_lists import read_id_lists
from nesf.data.selection import folds as random_folds
from nesf.domain import Domain
from nesf.errors import NesfError
from nesf.jobs import CHUNK, chunks
from nesf.metrics import Tally
from nesf.output import whole_file

SCORES = "scores.json"
SPLITS = ("train", "val", "test")

# The ids of the validation and the test part; the others are for training.
Fold = Mapping[str, Sequence[str]]
# What is told of a training: its name, the epoch that is done, and of how many.
Watch = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        name: name of its folder.
        seed: of everything random.
        parts: its training, validation and test data, as far as there are any.
        selects: whether the weights with the best validation loss are kept; else the last ones are.
        domain: what the model may be asked, where that is more than the training data shows.
    """

    name: str
    seed: int
    parts: Mapping[str, Dataset]
    selects: bool
    domain: Domain | None = None


@runtime_checkable
class Trained(Protocol):
    """A trained model of any method."""

    @property
    def fingerprint(self) -> str:
        """Hash of its weights."""
        ...

    def reconstruct(self, crystals: Sequence[Crystal], /) -> list[Crystal | Failure]:
        """What is left of each crystal after encoding and decoding."""
        ...


@runtime_checkable
class Method(Protocol):
    """A way to train a model."""

    @property
    def name(self) -> str:
        """As the paper's tables call it: nesf or icsg3d."""
        ...

    @property
    def label(self) -> str:
        """For people: what was trained, and how it differs from what was published."""
        ...

    @property
    def epochs(self) -> int:
        """Epochs of one training."""
        ...

    def train(self, trial: Trial, folder: Path, watch: Watch) -> tuple[Trained, dict[str, Any]]:
        """Train in a folder, or go on with what is there; the model, and what the training was like."""
        ...


def over_seeds(parts: Mapping[str, Dataset], count: int, first: int = 0) -> list[Trial]:
    """One trial for each seed, on the same data; the weights are chosen on the validation data.

    Raises:
        NesfError: where there is no trial.
    """
    if count < 1 or first < 0:
        raise NesfError(f"--seeds {count} from --first-seed {first} are none; give at least 1 from 0 on.")
    return [Trial(f"seed{seed}", seed, parts, "val" in parts) for seed in range(first, first + count)]


def over_folds(data: Dataset, folds: Sequence[Fold], seed: int) -> list[Trial]:
    """One trial for each fold; the last weights are kept, as in the paper, and all elements are known.

    Ninety crystals do not hold every element of the set, so each fold's model is told the whole set's elements and
    range of cells; it is shown no crystal of its validation and test parts.

    Args:
        data: the whole data set.
        folds: the ids of the validation and test part of each; the others are for training.
        seed: of the first trial; each next one has the next.

    Raises:
        NesfError: where a fold names an id that the data lacks, or leaves nothing to train on.
    """
    by_id = {crystal.id: crystal for crystal in data.crystals}
    domain = Domain.of(data.crystals)
    trials = []
    for k, fold in enumerate(folds):
        held = [*fold["val"], *fold["test"]]
        if missing := [name for name in held if name not in by_id]:
            raise NesfError(
                f"Fold {k} names {missing[0]!r}, which {data.name} does not hold; give the folds of this data."
            )
        ids = {"train": [name for name in by_id if name not in set(held)], "val": fold["val"], "test": fold["test"]}
        parts = {part: _subset(data, k, part, [by_id[name] for name in names]) for part, names in ids.items() if names}
        if "train" not in parts:
            raise NesfError(f"Fold {k} leaves no crystal of {data.name} to train on.")
        trials.append(Trial(f"fold{k}", seed + k, parts, selects=False, domain=domain))
    return trials


def read_folds(source: str, data: Dataset, seed: int) -> list[Fold]:
    """Folds by number, drawn at random, or from a JSON file: a list of ``{"val": [ids], "test": [ids]}``.

    Raises:
        NesfError: where the file cannot be read as that, or does not test every crystal of the data once.
    """
    ids = [crystal.id for crystal in data.crystals]
    drawn = random_folds(ids, seed, int(source)) if source.isdigit() else read_id_lists(source).folds
    if not drawn:
        raise NesfError(f'{source} holds no folds; give a number, or a JSON list of {{"val": [ids], "test": [ids]}}.')
    tested = Counter(name for one in drawn for name in one.test)
    wrong = next((name for name in ids if tested[name] != 1), None)
    if wrong is not None:
        raise NesfError(
            f"{source} tests {wrong!r} {tested[wrong]} times; folds test every crystal of {data.name} once."
        )
    return [{"val": one.val, "test": one.test} for one in drawn]


def share(trials: Sequence[Trial], part: str) -> list[Trial]:
    """The trials of one of several processes: "2/4" are those of the second of four.

    Raises:
        NesfError: where the part is not of that form.
    """
    first, _, of = part.partition("/")
    if not (first.isdigit() and of.isdigit() and 1 <= int(first) <= int(of)):
        raise NesfError(f"--part is {part!r}; give which of how many, for example 1/4.")
    return list(trials[int(first) - 1 :: int(of)])


def perform(trial: Trial, method: Method, folder: Path, watch: Watch, scored: Sequence[str] = SPLITS) -> dict[str, Any]:
    """Train and score one trial in a folder, or as much of it as is not there yet; its scores.

    Args:
        trial: what to train on.
        method: how.
        folder: of this trial.
        watch: told of each epoch.
        scored: the parts of the data that are scored.
    """
    model, training = method.train(trial, folder, watch)
    parts = {part: data for part, data in trial.parts.items() if part in scored}
    kept = _kept(folder)
    for part, data in parts.items():
        key = {"model": model.fingerprint, "data": data.sha256, "nesf": nesf.__version__}
        if part not in kept or kept[part]["key"] != key:
            kept[part] = {"key": key, "tally": _tally(model, data.crystals).to_dict()}
            with whole_file(folder / SCORES) as path:
                path.write_text(json.dumps(kept) + "\n", encoding="utf-8")
    return {
        "method": method.name,
        "label": method.label,
        "trial": trial.name,
        "training": training,
        "model": model.fingerprint,
        "splits": {part: kept[part]["tally"] for part in parts},
    }


def _kept(folder: Path) -> dict[str, Any]:
    """The scores of a trial's parts of the data, as far as they were taken."""
    try:
        values = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    # Scores of another layout are taken again.
    return values if all(isinstance(one, dict) and "tally" in one for one in values.values()) else {}


def _tally(model: Trained, crystals: Sequence[Crystal]) -> Tally:
    tally = Tally()
    for chunk in chunks(crystals, CHUNK):
        for true, found in zip(chunk, model.reconstruct(chunk), strict=True):
            tally.add(true, found)
    return tally


def _subset(data: Dataset, fold: int, part: str, crystals: Sequence[Crystal]) -> Dataset:
    text = "\n".join([data.sha256, *(crystal.id for crystal in crystals)])
    return Dataset(f"{data.name} fold {fold} {part}", tuple(crystals), (), hashlib.sha256(text.encode()).hexdigest())
