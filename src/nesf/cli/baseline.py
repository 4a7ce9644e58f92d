"""``nesf baseline``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from tyro.conf import Positional, arg

from nesf.baselines.voxel.codec import VoxelCodec
from nesf.baselines.voxel.grid import GridSettings
from nesf.baselines.voxel.lengths import Estimator
from nesf.baselines.voxel.oracle import oracle
from nesf.baselines.voxel.run import Run, Setup, check_free
from nesf.baselines.voxel.settings import (
    PRESETS,
    BaselineSettings,
    LossSettings,
    NetworkSettings,
    Preset,
    StageSettings,
)
from nesf.baselines.voxel.training import EpochReport
from nesf.cli.console import Data, note_failures, notes, parse, progress, results, score_rows, write_json
from nesf.cli.evaluate import show
from nesf.cli.train import check_same_data, option, run_folder
from nesf.crystal import Crystal, Failure
from nesf.data.datasets import Dataset, load_dataset
from nesf.errors import NesfError
from nesf.metrics import score
from nesf.precision import best_device

PROTOCOL = (
    "Each crystal becomes a voxel grid, the grid a latent vector, and that alone a grid again, in which the atoms are "
    "found; angles are always 90°. A crystal in whose grid no atom is found counts as failed."
)
_CEILING = (
    "The true labels of each crystal's voxels are decoded with its true lengths: what the representation costs before "
    "any network errs."
)


def train(arguments: Sequence[str]) -> None:
    """The command ``nesf baseline train``."""
    words = list(arguments)
    folder = option(words, "resume")
    earlier = Setup.read(Path(folder)) if folder is not None else None
    named = earlier.preset if earlier is not None else option(words, "preset")
    start: Preset = next((known for known in PRESETS if known == named), "faithful")
    base = earlier.settings if earlier is not None else PRESETS[start]

    def command(
        data: Positional[Data],
        /,
        val: str | None = None,
        preset: Preset = start,
        out: Path | None = None,
        resume: Path | None = None,
        network: Annotated[NetworkSettings, arg(name="")] = base.network,
        grid: GridSettings = base.grid,
        loss: LossSettings = base.loss,
        unet: StageSettings = base.unet,
        vae: StageSettings = base.vae,
        tune: StageSettings = base.tune,
        threshold: float = base.threshold,
        lengths: Estimator = base.lengths,
        precision: Literal["auto", "float32", "bfloat16"] = base.precision,
        seed: int = base.seed,
    ) -> None:
        """Train the voxel baseline: a U-Net on true grids, then an autoencoder whose loss the U-Net's features enter.

        The full networks are made for a GPU; on a processor they take days. There give --width 0.125 (a reduced
        capacity, and to be reported as such), --unet.crop 16 and a few epochs. Log, checkpoint and model are written
        to the run's folder.

        Args:
            data: training data: a Parquet table, or any other readable file or folder.
            val: validation data; the weights with the best validation loss are kept, without it the last ones.
            preset: faithful (what the public code does) or strong (the best that voxels can do; not as published).
            out: the run's folder; by default runs/, the preset and the name of the data.
            resume: go on with the run in this folder, with its settings, on the same data.
            network: size and variants of the networks.
            grid: the voxels.
            loss: weights of the losses.
            unet: the first stage: the U-Net on true grids.
            vae: the second stage: the autoencoder.
            tune: the third stage: the U-Net on true and reconstructed grids.
            threshold: probability from which a voxel belongs to an atom.
            lengths: how lengths are read from the coordinate channels.
            precision: of the networks in training; auto is bfloat16 where the processor computes with it.
            seed: of everything random.
        """
        settings = BaselineSettings(grid, network, loss, unet, vae, tune, threshold, lengths, precision, seed)
        where = run_folder(resume, out, f"voxel-{preset}-{Path(data).stem}")
        _train(data, val, where, preset, settings, earlier)

    tyro.cli(command, prog="nesf baseline train", args=words)


def _train(
    data: str, val: str | None, folder: Path, preset: Preset, settings: BaselineSettings, earlier: Setup | None
) -> None:
    run = _run(data, val, folder, Setup(preset, settings, {}), earlier)
    note_failures(run.left_out, "crystals have elements without a class and are left out")
    notes.print(f"{len(run.trainer.data)} crystals, preset {preset}; run folder {folder}", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TextColumn("{task.fields[state]}"), console=notes) as bar:
        tasks = {
            stage.name: bar.add_task(stage.name, total=stage.optimisation.epochs, state="")
            for stage in run.trainer.stages
        }

        def report(epoch: EpochReport) -> None:
            bar.update(tasks[epoch.stage], completed=epoch.epoch, state=_state(epoch))

        try:
            card = run.train(report)
        except KeyboardInterrupt:
            options = f" --val {val}" if val else ""
            raise KeyboardInterrupt(
                f"Interrupted; go on with: nesf baseline train {data}{options} --resume {folder}."
            ) from None
    notes.print(f"Trained for {card.training['minutes']} minutes: {folder}", markup=False)


def _run(data: str, val: str | None, folder: Path, setup: Setup, earlier: Setup | None) -> Run:
    from nesf.runs import describe, machine

    if earlier is None:
        check_free(folder)
    training = load_dataset(data)
    validation = load_dataset(val) if val is not None else None
    note_failures(training.failures, "entries could not be read and are left out")
    described = describe(training, validation)
    if earlier is not None:
        check_same_data(folder, earlier.data, described)
    if earlier is not None and (earlier.preset, earlier.settings) != (setup.preset, setup.settings):
        raise NesfError(f"{folder} goes on with its own preset and settings; leave out what differs from them.")
    device = best_device()
    known = validation.crystals if validation is not None else ()
    setup = Setup(setup.preset, setup.settings, described)
    return Run(
        folder, setup, training.crystals, known, about=machine(device), resume=earlier is not None, device=device
    )


def _state(epoch: EpochReport) -> str:
    shown = f"loss {epoch.train['total']:.4f}"
    if epoch.validation is not None:
        shown += f", validation {epoch.validation['total']:.4f}"
    return f"{shown}, {epoch.crystals / epoch.training_seconds:,.1f} crystals/s, {epoch.seconds / 60:.1f} min"


def evaluate(arguments: Sequence[str]) -> None:
    """The command ``nesf baseline evaluate``."""
    parse(_evaluate, "baseline evaluate", arguments)


def _evaluate(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    data: Positional[Data],
    /,
    json: Path | None = None,
    sampled: bool = False,
    seed: int = 0,
) -> None:
    """Measure how well a trained baseline gives the crystals of a data set back, as ``nesf evaluate`` does.

    Args:
        run: the folder of a run, or its file of weights.
        data: a Parquet table, any other readable file or folder, or the name of an embedded data set (textbook).
        json: write the metrics to this file (- for the standard output).
        sampled: decode a random latent vector, as published, instead of the mean.
        seed: of the random latent vectors.
    """
    import torch

    codec = VoxelCodec.load(run, best_device())
    loaded = load_dataset(data)
    note_failures(loaded.failures, "entries could not be read")
    generator = torch.Generator(codec.device).manual_seed(seed)
    with progress("reconstructing", len(loaded.crystals)) as done:
        found = codec.reconstruct(loaded.crystals, sampled=sampled, generator=generator, progress=done)
    about = {
        "model": codec.name,
        "preset": codec.card.preset,
        "bottleneck": codec.bottleneck,
        "sampled": sampled,
        "settings": codec.card.settings.to_dict(),
        "trained_on": dict(codec.card.data),
        "training": dict(codec.card.training),
        "protocol": PROTOCOL,
    }
    _report(loaded, found, about, json)
    if json is None or str(json) != "-":
        results.print(_budget(codec), markup=False)


def _budget(codec: VoxelCodec) -> str:
    """What the reader of the figures must know."""
    card, network = codec.card, codec.card.settings.network
    training = card.training
    epochs = ", ".join(f"{stage} {count}" for stage, count in training["epochs"].items())
    capacity = "" if network.width == network.vae_width == 1 else " (reduced capacity)"
    return (
        f"ICSG3D re-implementation, preset {card.preset}: every crystal passes through {codec.bottleneck} numbers. "
        f"Widths: U-Net {network.width:g}, autoencoder {network.vae_width:g} of the published{capacity}. "
        f"Budget: epochs {epochs} over {training['crystals']} crystals, {training['minutes']} min on "
        f"{training.get('hardware', 'unknown hardware')}; seed {card.settings.seed}; no condition."
    )


def ceiling(arguments: Sequence[str]) -> None:
    """The command ``nesf baseline oracle``."""
    parse(_oracle, "baseline oracle", arguments)


def _oracle(
    data: Positional[Data],
    /,
    label_fraction: float = 1.0,
    label_voxels: float = 0.0,
    size: int = 32,
    true_angles: bool = False,
    json: Path | None = None,
) -> None:
    """Measure what the voxel representation costs by itself: the atoms found in the true labels of each crystal.

    Args:
        data: a Parquet table, any other readable file or folder, or the name of an embedded data set (textbook).
        label_fraction: radius of an atom's ball in mean ionic radii (1 as published).
        label_voxels: least radius of an atom's ball in voxel edges.
        size: voxels along each axis.
        true_angles: put the atoms into the cell with its true angles, not with right ones.
        json: write the metrics to this file (- for the standard output).
    """
    settings = GridSettings(size, 0.25, label_fraction, label_voxels, "true" if true_angles else "right")
    loaded = load_dataset(data)
    note_failures(loaded.failures, "entries could not be read")
    with progress("decoding true labels", len(loaded.crystals)) as done:
        found = oracle(loaded.crystals, settings, done)
    radius = f"ball radius {label_fraction:g} σ" + (f", at least {label_voxels:g} voxels" if label_voxels else "")
    angles = "true angles" if true_angles else "angles of 90° (--true-angles takes the true ones)"
    about = {"model": f"true grids of {size}³ voxels", "grid": vars(settings), "protocol": _CEILING}
    _report(loaded, found, about, json)
    if json is None or str(json) != "-":
        results.print(f"{_CEILING} Here: {radius}, {angles}.", markup=False)


def _report(loaded: Dataset, found: Sequence[Crystal | Failure], about: dict[str, Any], json: Path | None) -> None:
    """Score what was found, with and without the failures, and write or show it."""
    pairs = list(zip(loaded.crystals, found, strict=True))
    result = score(pairs)
    without = score(pair for pair in pairs if isinstance(pair[1], Crystal)).to_dict()
    data = {"name": loaded.name, "sha256": loaded.sha256, "unreadable": len(loaded.failures)}
    values = {**result.to_dict(), "without_failures": without, "data": data, **about}
    if json is not None:
        write_json(values, json)
    if json is None or str(json) != "-":
        rows = [["  found only", *score_rows(without)]] if result.failures else []
        show(values, loaded.name, method="icsg3d", rows=rows)
    note_failures(result.failure_reasons, "crystals failed")
