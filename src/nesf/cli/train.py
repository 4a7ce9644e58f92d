"""``nesf train``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from tyro.conf import Positional

from nesf.cli.console import Data, counted, note_failures, notes
from nesf.config import PRESETS, Config, Preset
from nesf.data.datasets import load_dataset
from nesf.decoding import EstimationSettings
from nesf.errors import NesfError
from nesf.model import NetworkSettings
from nesf.runs import Run, Setup, check_free, describe
from nesf.training import EpochReport, LossSettings, SamplingSettings, TrainingSettings
from nesf.training.team import Team, own_device, teamwork


def train(arguments: Sequence[str]) -> None:
    """The command ``nesf train``."""
    words = list(arguments)
    folder = option(words, "resume")
    earlier = Setup.read(Path(folder)) if folder is not None else None
    named = earlier.preset if earlier is not None else option(words, "preset")
    # An unknown name is left for tyro to refuse, in the words of its help.
    start: Preset = next((known for known in PRESETS if known == named), "fast")
    base = earlier.config if earlier is not None else PRESETS[start]

    def command(
        data: Positional[Data],
        /,
        val: str | None = None,
        preset: Preset = start,
        out: Path | None = None,
        resume: Path | None = None,
        network: NetworkSettings = base.network,
        sampling: SamplingSettings = base.sampling,
        loss: LossSettings = base.loss,
        training: TrainingSettings = base.training,
        estimation: EstimationSettings = base.estimation,
    ) -> None:
        """Train a model; every value of the preset's configuration can be changed.

        Log, checkpoint and model are written to the run's folder, which is then a MODEL for the other commands.
        Several processes, GPUs or machines train together by torchrun: torchrun --nproc-per-node 2 -m nesf train ...

        Args:
            data: training data: a Parquet table, any other readable file or folder, or textbook (embedded).
            val: validation data; the weights with the best validation loss are kept, without it the last ones.
            preset: the configuration to start from: fast (the paper's network on a laptop), few (a hundred crystals),
                paper (as printed), released (its code), universal (copies any crystal; few crystals take more epochs).
            out: the run's folder; by default runs/ and the name of the data.
            resume: go on with the run in this folder, with its configuration, on the same data.
            network: size and variants of the network.
            sampling: where the fields are queried.
            loss: weights of the losses.
            training: the optimisation.
            estimation: how atoms are found in the fields.
        """
        config = Config(network, sampling, loss, training, estimation)
        where = run_folder(resume, out, Path(data).stem)
        _train(data, val, where, preset, config, earlier)

    tyro.cli(command, prog="nesf train", args=words)


def _train(data: str, val: str | None, folder: Path, preset: Preset, config: Config, earlier: Setup | None) -> None:
    with teamwork(own_device()) as team:
        notes.quiet = not team.leads
        _train_together(team, data, val, folder, preset, config, earlier)


def _train_together(
    team: Team, data: str, val: str | None, folder: Path, preset: Preset, config: Config, earlier: Setup | None
) -> None:
    if earlier is None and team.leads:
        check_free(folder)
    training = load_dataset(data)
    validation = load_dataset(val) if val is not None else None
    note_failures(training.failures, "entries could not be read and are left out")
    domain = earlier.domain if earlier is not None else None
    setup = Setup(preset, config, describe(training, validation), domain)
    if earlier is not None:
        check_same_data(folder, earlier.data, setup.data)
    if earlier is not None and earlier.preset != preset:
        raise NesfError(f"{folder} was started with preset {earlier.preset}; leave --preset out to go on with it.")
    run = Run(folder, setup, training, validation, resume=earlier is not None, team=team)
    note_failures(run.left_out, "crystals are left out, which the model cannot take")
    crystals, epochs = len(run.trainer.data), config.training.epochs
    processes = f"; {team.size} processes" if team.size > 1 else ""
    size = f"{counted(crystals, 'crystals')}, preset {preset}, {counted(epochs, 'epochs')}"
    notes.print(f"{size}; run folder {folder}{processes}", markup=False)
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[state]}"), console=notes) as bar:
        task = bar.add_task("", total=epochs, completed=run.trainer.epoch, state="")

        def report(epoch: EpochReport) -> None:
            bar.update(task, completed=epoch.epoch, state=_state(epoch, run.trainer.best))

        try:
            card = run.train(report)
        except KeyboardInterrupt:
            options = f" --val {val}" if val else ""
            raise KeyboardInterrupt(f"Interrupted; go on with: nesf train {data}{options} --resume {folder}.") from None
    if card is not None:
        minutes = card.training["minutes"]
        kept = f"Kept the weights of epoch {card.training['epoch']}, after {minutes} minutes: {folder}"
        notes.print(kept, markup=False)


def check_same_data(folder: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ``NesfError`` where a run would go on with other data: which, and what they were and are, in words.

    Args:
        folder: the run's.
        then: name, hash and size of its training and validation data, as its setup has them.
        now: those of the data given.
    """
    parts = {"training": (then.get("train"), now.get("train"))}
    parts["validation"] = (then.get("validation"), now.get("validation"))
    changes = [f"its {part} data was {_told(a)} and is {_told(b)} now" for part, (a, b) in parts.items() if a != b]
    if changes:
        raise NesfError(f"{folder} was trained on other data: {', '.join(changes)}; give the same DATA and --val.")


def _told(data: Any) -> str:
    if not isinstance(data, dict):
        return "none"
    size = counted(data.get("crystals", 0), "crystals")
    return f"{data.get('name')} ({size}, sha256 {str(data.get('sha256'))[:12]}…)"


def _state(epoch: EpochReport, best: float) -> str:
    shown = f"loss {epoch.train['total']:.3f}"
    if best < float("inf"):
        shown += f", best validation {best:.3f}"
    speed, asked = (count / epoch.training_seconds for count in (epoch.crystals, epoch.queries))
    return f"{shown}, {speed:,.0f} crystals/s, {asked:,.0f} queries/s"


def run_folder(resume: Path | None, out: Path | None, name: str) -> Path:
    """The folder of a run: one to go on with, or a new one, by default of that name in ``runs/``."""
    if resume is not None and out is not None:
        raise NesfError(f"--out {out} is of no use beside --resume, which goes on in {resume}; leave one of them out.")
    return resume or out or Path("runs") / name


def option(words: Sequence[str], name: str) -> str | None:
    """The value of an option that decides the defaults of all the others, so that it is read before them."""
    for i, word in enumerate(words):
        if word == f"--{name}" and i + 1 < len(words):
            return words[i + 1]
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
    return None
