"""``nesf bench``."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from nesf.bench import page
from nesf.cli.console import Model, notes, parse, progress, results, table, write_json
from nesf.crystal import Crystal
from nesf.errors import NesfError
from nesf.output import whole_file

# The published algorithms are those of this network.
PAPERS_NETWORK = "lcs6a-paper"


def bench(arguments: Sequence[str]) -> None:
    """The command ``nesf bench``."""
    parse(_bench, "bench", arguments)


def _bench(
    json: Path | None = None,
    quick: bool = False,
    data: str | None = None,
    train_data: str | None = None,
    model: Model = PAPERS_NETWORK,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    agreement: bool = False,
    markdown: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Measure how fast encoding, decoding and training are on this machine, against the published algorithms.

    The references are the published algorithms written literally; they run in turns with the fast paths. Models of
    another architecture than the paper's are encoded and decoded, against their own literal form. Takes a few minutes
    (--quick: less than one), in which nothing else should run.

    Args:
        json: write everything to this file (- for the standard output).
        quick: measure less, within a minute.
        data: crystals to encode and decode; by default those of the embedded textbook that the model takes.
        train_data: crystals to train on; by default those of --data, without it synthetic ones.
        model: a run folder, a weights file or the name of a shipped model.
        device: where to compute; auto is a GPU where there is one.
        agreement: decode all crystals by the literal path, too, and list those that differ (minutes more).
        markdown: write the tables as a page to this file.
        plot: draw how time grows with atoms per cell, crystals and queries into this file.
    """
    import torch

    from nesf import codec
    from nesf.bench.effort import FULL, GPU, QUICK
    from nesf.bench.suite import STAGES, measure
    from nesf.bench.workload import synthetic
    from nesf.data import load_dataset
    from nesf.precision import best_device

    where = best_device().type if device == "auto" else device
    if where == "cuda" and not torch.cuda.is_available():
        raise NesfError("There is no GPU here that PyTorch can use; leave --device out.")
    decoded = load_dataset(data or "textbook")
    loaded = codec.load(model)
    loaded.model.to(where)
    given = train_data or data
    trained = load_dataset(given) if given is not None else synthetic(loaded.card.domain.vocabulary, 1000)
    effort = QUICK if quick else FULL if where == "cpu" else GPU
    with progress("measuring", len(STAGES)) as done:

        def note(stage: str) -> None:
            notes.print(f"measuring: {stage}", markup=False)
            done(1)

        values = measure(loaded, decoded, trained, effort, note).to_dict()
    if agreement:
        values["full_agreement"] = _full_agreement(loaded, decoded.crystals)
    if json is not None:
        write_json(values, json)
    if plot is not None:
        _draw(values["growth"], plot)
    if markdown is not None:
        with whole_file(markdown) as path:
            path.write_text(page.markdown(values, _address(plot, markdown)), encoding="utf-8")
    if json is None or str(json) != "-":
        _show(values)


def _full_agreement(model: Any, crystals: Sequence[Crystal]) -> dict[str, Any]:
    from nesf.bench.agreement import full_agreement

    with progress("decoding literally", len(crystals)) as done:
        return full_agreement(model, crystals, progress=done)


def _draw(series: Sequence[dict[str, Any]], target: Path) -> None:
    from nesf.plots import growth

    figure = growth(series)
    with whole_file(target) as path:
        figure.savefig(path, format=target.suffix.removeprefix(".") or "png", dpi=110)


def _address(plot: Path | None, page: Path) -> str | None:
    """The picture as the page refers to it."""
    return None if plot is None else Path(os.path.relpath(plot, page.parent)).as_posix()


def _show(values: dict[str, Any]) -> None:
    results.print(page.introduction(values), markup=False)
    for one in page.tables(values):
        results.print(table(one.title, one.heads, one.rows))
    results.print(page.agreement_text(values), markup=False)
