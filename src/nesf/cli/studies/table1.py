"""``nesf study table1``."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg

from nesf.baselines.voxel.settings import PRESETS as VOXEL_PRESETS
from nesf.baselines.voxel.settings import BaselineSettings
from nesf.baselines.voxel.settings import Preset as VoxelPreset
from nesf.cli.console import Data, check_processes, note_failures, notes, progress
from nesf.cli.studies.conduct import OUT, conduct
from nesf.cli.train import option
from nesf.config import PRESETS, Config, Preset
from nesf.crystal import Failure
from nesf.decoding import EstimationSettings
from nesf.errors import NesfError
from nesf.model import NetworkSettings
from nesf.training import LossSettings, SamplingSettings, TrainingSettings

if TYPE_CHECKING:
    from nesf.data.datasets import Dataset
    from nesf.studies.trials import Method, Trial

Column = Literal["lcs6a", "icsg3d", "ybco-like"]
Methods = Literal["nesf", "voxel", "both"]


def table1(arguments: Sequence[str]) -> None:
    """The command ``nesf study table1``."""
    words = list(arguments)
    # An unknown name is left for tyro to refuse, in the words of its help.
    start: Preset = next((known for known in PRESETS if known == option(words, "preset")), "fast")
    base = PRESETS[start]
    start_voxel: VoxelPreset = next((n for n in VOXEL_PRESETS if n == option(words, "voxel-preset")), "faithful")

    def command(
        dataset: Annotated[Positional[Column], arg(metavar="DATASET")],
        data: Positional[Data],
        /,
        val: str | None = None,
        test: str | None = None,
        folds: str | None = None,
        seeds: int = 3,
        first_seed: int = 0,
        score: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test"),
        method: Methods = "nesf",
        preset: Preset = start,
        out: Path = OUT,
        part: str | None = None,
        processes: int = 1,
        network: NetworkSettings = base.network,
        sampling: SamplingSettings = base.sampling,
        loss: LossSettings = base.loss,
        training: TrainingSettings = base.training,
        estimation: EstimationSettings = base.estimation,
        voxel_preset: VoxelPreset = start_voxel,
        voxel: BaselineSettings = VOXEL_PRESETS[start_voxel],
    ) -> None:
        """Train over several seeds, or the folds of a cross-validation, and put the errors beside the paper's.

        Each training is a run folder under OUT/table1-DATASET/runs. What is there already is not done again, so the
        same command goes on after an interruption. Independent trainings can be spread: over processes of this
        machine (--processes), or over machines that share OUT (--part 1/4 on the first of four, and so on; then once
        more without --part for the tables).

        Args:
            dataset: whose numbers of the paper stand beside ours: lcs6a, icsg3d or ybco-like.
            data: training data, or with --folds all of it.
            val: validation data; the weights with the best validation loss are kept.
            test: test data.
            folds: cross-validation: a number of folds, or a JSON file with their ids.
            seeds: trainings with different seeds.
            first_seed: the first of them; with --folds, that of the first fold.
            score: the parts of the data that are scored, as far as they are given.
            method: what is trained: nesf, the voxel baseline (in full it needs a GPU; on a processor give
                --voxel.network.width 0.125, --voxel.unet.crop 16 and a few epochs), or both.
            preset: the configuration to start from.
            out: the folder of all studies.
            part: do only this share of the trainings, such as 2/4, and write no tables.
            processes: trainings that run at the same time, which share the processor.
            network: size and variants of the network.
            sampling: where the fields are queried.
            loss: weights of the losses.
            training: the optimisation.
            estimation: how atoms are found in the fields.
            voxel_preset: what the settings of the voxel baseline start from: faithful (as published) or strong.
            voxel: the voxel baseline.
        """
        from nesf.studies.table1 import table1 as study

        check_processes(processes)
        if folds is not None and option(words, "seeds") is not None:
            raise NesfError("With --folds there is one training for each fold; leave --seeds out.")
        sets = _datasets(data, val, test)
        trials = _trials(sets, folds, seeds, first_seed)
        if not set(score) & set(trials[0].parts):
            raise NesfError(f"--score {' '.join(score)} names no part of the data that is given; give --val or --test.")
        where = out / f"table1-{dataset}"
        config = Config(network, sampling, loss, training, estimation)
        methods = _methods(method, preset, config, voxel_preset, voxel)
        if processes > 1 and part is None:
            _spread(words, processes, where)

        def scores() -> list[dict[str, Any]]:
            try:
                return _perform(trials, methods, where / "runs", part, score)
            except KeyboardInterrupt:
                raise KeyboardInterrupt("Interrupted; the same command goes on.") from None

        if part is not None:
            scores()
            return
        settings: dict[str, Any] = {one.name: asdict(one) for one in methods}  # type: ignore[call-overload]
        if folds is not None:
            settings["folds"] = _described(folds)
        name: Any = dataset.replace("-", "_")
        conduct(
            "table1",
            words,
            out,
            lambda: study(name, scores(), pooled=folds is not None),
            data=list(sets.values()),
            settings=settings,
            seed=trials[0].seed,
            folder=where.name,
        )

    tyro.cli(command, prog="nesf study table1", args=words)


def _datasets(data: str, val: str | None, test: str | None) -> "dict[str, Dataset]":
    from nesf.data.datasets import load_dataset

    given = {"train": data, "val": val, "test": test}
    return {part: load_dataset(path) for part, path in given.items() if path is not None}


def _trials(sets: "dict[str, Dataset]", folds: str | None, seeds: int, first: int) -> "list[Trial]":
    from nesf.studies.trials import over_folds, over_seeds, read_folds

    if folds is None:
        return over_seeds(sets, seeds, first)
    if len(sets) > 1:
        raise NesfError("With --folds the parts are made from DATA; leave --val and --test out.")
    return over_folds(sets["train"], read_folds(folds, sets["train"], first), first)


def _methods(
    method: Methods, preset: Preset, config: Config, voxel_preset: str, voxel: BaselineSettings
) -> "list[Method]":
    from nesf.studies.methods import NesfMethod, VoxelMethod

    chosen: list[Method] = [NesfMethod(preset, config)] if method != "voxel" else []
    return chosen if method == "nesf" else [*chosen, VoxelMethod(voxel_preset, voxel)]


def _perform(
    trials: "Sequence[Trial]", methods: "Sequence[Method]", runs: Path, part: str | None, score: Sequence[str]
) -> list[dict[str, Any]]:
    from nesf.studies.trials import perform, share

    scores = []
    for method in methods:
        for trial in share(trials, part) if part else trials:
            epochs: list[Any] = []
            with progress(f"{method.label} {trial.name}", method.epochs) as done:

                def watch(*epoch: Any, done: Any = done, epochs: list[Any] = epochs) -> None:
                    epochs.append(epoch)
                    done(1)

                scores.append(perform(trial, method, runs / f"{method.name}-{trial.name}", watch, score))
            _tell(scores[-1], trained=bool(epochs))
    if part:
        notes.print("This share is done; the same command without --part writes the tables.")
    return scores


def _tell(scores: Mapping[str, Any], *, trained: bool) -> None:
    training, what = scores["training"], f"{scores['label']} {scores['trial']}"
    state = f"{training['epochs']} epochs, {training['minutes']} minutes" if trained else "was there already"
    notes.print(f"{what}: {state}", markup=False)
    for split, tally in scores["splits"].items():
        failures = [Failure(**failure) for failure in tally["failures"]]
        note_failures(failures, f"crystals of {split} were refused or not found by {what}", most=3)


def _spread(words: Sequence[str], processes: int, where: Path) -> None:
    """The same command in several processes, each with its share of the trainings and of the processor."""
    import torch

    threads = str(max(1, torch.get_num_threads() // processes))
    shared = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    where.mkdir(parents=True, exist_ok=True)
    logs = [where / f"part-{k + 1}-of-{processes}.log" for k in range(processes)]
    notes.print(f"{processes} processes with {threads} threads each; they report to {where}/part-*.log", markup=False)
    started = []
    for k, log in enumerate(logs):
        command = [sys.executable, "-m", "nesf", "study", "table1", *words, "--part", f"{k + 1}/{processes}"]
        environment = {**shared, "LOCAL_RANK": str(k % max(1, torch.cuda.device_count()))}
        with log.open("w", encoding="utf-8") as file:
            started.append(subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment))  # noqa: S603 (no shell)
    try:
        states = [process.wait() for process in started]
    except BaseException:
        for process in started:
            process.terminate()
        raise
    if failed := [log for log, state in zip(logs, states, strict=True) if state]:
        last = failed[0].read_text(encoding="utf-8").strip().splitlines()[-1:]
        raise NesfError(f"A process failed, see {failed[0]}: {' '.join(last)}")


def _described(folds: str) -> dict[str, Any]:
    """The folds as the record names them."""
    if folds.isdigit():
        return {"drawn": int(folds)}
    return {"name": Path(folds).name, "sha256": hashlib.sha256(Path(folds).read_bytes()).hexdigest()}
