"""``nesf study search``."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from nesf.cli.console import notes, parse
from nesf.cli.studies.conduct import OUT, conduct, read_data
from nesf.config import PRESETS, Config, Preset
from nesf.errors import NesfError

if TYPE_CHECKING:
    from nesf.data.datasets import Dataset
    from nesf.studies.outcome import Outcome

Name = Literal["loss", "latent", "rate", "decoder", "encoder", "crystal", "batch", "joint"]
ALL: tuple[Name, ...] = ("loss", "latent", "rate", "decoder", "encoder", "crystal", "batch", "joint")


def search(arguments: Sequence[str]) -> None:
    """The command ``nesf study search``."""

    def command(
        train: Annotated[Positional[str], arg(metavar="TRAIN")],
        val: Annotated[Positional[str], arg(metavar="VAL")],
        /,
        stages: tuple[Name, ...] = ALL,
        preset: Preset = "fast",
        epochs: int | None = None,
        crystals: int | None = None,
        points: int | None = None,
        storage: Path | None = None,
        workers: int = 1,
        seed: int = 0,
        out: Path = OUT,
    ) -> None:
        """Search for hyperparameters in the paper's stages, each going on from the best of the one before.

        The trials are kept in a file. The same command goes on after an interruption, and several of them with the
        same file, also on other machines with a common folder, share the trials.

        Args:
            train: training data.
            val: validation data, on which the trials are judged.
            stages: the stages, in this order.
            preset: the configuration in which the searched settings are changed.
            epochs: of each trial; by default those of the preset.
            crystals: train on the first so many crystals only, with the elements and range of cells of all.
            points: try at most so many points of each stage, drawn at random.
            storage: file of the trials; by default search/trials.journal in the folder of the studies.
            workers: processes on this machine, which share its threads.
            seed: of all trials.
            out: the folder of all studies.
        """
        config = _start(preset, epochs, seed)
        whole = read_data(train)
        sets = _first(whole, crystals), read_data(val)
        file = storage or out / "search" / "trials.journal"
        settings = {
            "preset": preset,
            "epochs": config.training.epochs,
            "crystals": len(sets[0].crystals),
            "points": points,
            "stages": list(stages),
            "configuration at the start": config.to_dict(),
        }

        def work() -> "Outcome":
            from nesf.domain import Domain
            from nesf.studies.search import Search
            from nesf.studies.search_outcome import outcome
            from nesf.studies.search_stages import STAGES
            from nesf.studies.search_workers import perform

            chosen = tuple(next(one for one in STAGES if one.name == name) for name in stages)
            domain = None if sets[0] is whole else Domain.of(whole.crystals)
            what = Search(*sets, preset, config, chosen, file, points, domain)
            try:
                return outcome(what, perform(what, say, workers), (train, val))
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"Interrupted; the same command goes on with the trials of {file}.") from None

        conduct("search", arguments, out, work, data=sets, settings=settings, seed=seed)

    parse(command, "study search", arguments)


def say(text: str) -> None:
    """Tell of a trial, from whatever process."""
    print(text, file=sys.stderr, flush=True)


def _start(preset: Preset, epochs: int | None, seed: int) -> Config:
    from nesf.studies.search_stages import START, changed

    if epochs is not None and epochs < 1:
        raise NesfError(f"--epochs is {epochs}; give at least 1.")
    base = changed(PRESETS[preset], START)
    return replace(
        base, training=replace(base.training, epochs=base.training.epochs if epochs is None else epochs, seed=seed)
    )


def _first(data: "Dataset", count: int | None) -> "Dataset":
    from hashlib import sha256

    if count is None or count >= len(data.crystals):
        return data
    if count < 2:
        raise NesfError(f"--crystals is {count}; training needs at least 2.")
    notes.print(f"training on the first {count} of {len(data.crystals)} crystals", markup=False)
    digest = sha256(f"{data.sha256}, first {count}".encode()).hexdigest()
    return replace(data, name=f"{data.name}, first {count}", crystals=data.crystals[:count], sha256=digest)
