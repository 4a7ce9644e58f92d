"""The results as tables, for the terminal and as a page."""

from typing import Any, NamedTuple

Values = dict[str, Any]

_TRAINING_NOTE = (
    "One step after the other on the same crystals, with the full grids of the preset (`paper`) or as many queries as "
    "it asks (`fast`). Precision auto is bfloat16 where the machine multiplies faster in it."
)
_PEAK_NOTE = (
    "The peak is the best of several shapes and both precisions. For decoding, the operations of all matrix products "
    "are counted as they run; for training, those that the queries need by the widths of the layers, forward and "
    "backward."
)
_MEMORY_NOTE = "The most that each job takes at any time; on a GPU, of its memory."


class Table(NamedTuple):
    """One table of the page.

    Attributes:
        title: what it shows.
        heads: titles of its columns.
        rows: texts.
        note: what a reader has to know about the rows.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables(values: Values) -> list[Table]:
    """The tables of a report (``Report.to_dict``)."""
    training = [_training(values)] if values["training"] else []
    shown = [_decoding(values), *training, _peak(values), _memory(values)]
    if "full_agreement" in values:
        shown.append(_agreement(values["full_agreement"]["scores"]))
    return shown


def markdown(values: Values, plot: str | None = None) -> str:
    """The whole page; ``plot`` is the address of the picture of the growth, if there is one."""
    parts = ["# Benchmarks", introduction(values)]
    for table in tables(values):
        parts += [f"## {table.title}", *filter(None, (table.note, _rows(table)))]
    parts += ["## Do both paths find the same crystals?", agreement_text(values)]
    if plot is not None:
        parts += ["## How time grows", f"![Time against atoms per cell, crystals and queries]({plot})"]
    return "\n\n".join(parts) + "\n"


def agreement_text(values: Values) -> str:
    """A sentence about the agreement of the fast and the literal decoding, and the crystals that differ."""
    found = values["full_agreement"] if "full_agreement" in values else values["agreement"]
    different = "; ".join(f"{one['id']} ({one['what']})" for one in found["different"]) or "none"
    return (
        f"Of {found['crystals']} crystals of {values['data']['name']}, {found['compared']} were found by both paths "
        f"and {found['neither']} by neither. {found['percent']:.2f} % are the same: equal number of atoms, equal "
        f"elements, positions within 0.01 Å. Different: {different}."
    )


def introduction(values: Values) -> str:
    """A paragraph on what was measured on what, and how."""
    data, train, software = values["data"], values["train_data"], values["software"]
    on = f"; trained on: {_data(train)}" if train else ""
    reference = (
        "A reference is the published algorithm written literally, on the same machine, in the same run."
        if train
        else "The published algorithms are those of the paper's network, so none is beside this model."
    )
    return (
        f"Measured in one run by `nesf bench` ({values['effort']['name']}) on **{values['device']}** with "
        f"{values['threads']} threads, nesf {software['nesf']}, PyTorch {software['torch']}, Python "
        f"{software['python']}. Decoded by the model `{values['model']}`: {_data(data)}{on}. Seed {values['seed']}. "
        f"Every job is warmed up; the median of several repeats counts; what is compared runs in turns. {reference}"
    )


def _data(data: Values) -> str:
    return (
        f"{data['name']}, {data['crystals']} crystals of {data['atoms_per_cell']} atoms on average (SHA-256 "
        f"`{data['sha256'][:12]}…`)"
    )


def _decoding(values: Values) -> Table:
    parts, ratios = values["decoding"], values["ratios"]
    rows = [("decoding z → crystal", _rate(parts["decode"]), "")]
    how = "those of the model (particles in the crystal's own cell), which the fast path has to agree with"
    if parts["reference"]:
        rows.append(("published estimation, literal", _rate(parts["reference"]), _times(ratios["decode"])))
        how = f"the published ones (particles in the box of all training atoms and 1 Å around it), and {how}"
    rows.append(("the model's own, literal", _rate(parts["literal"]), _times(ratios["decode_against_literal"])))
    rows.append(("encoding crystal → z", _rate(parts["encode"]), ""))
    return Table(
        "Encoding and decoding, end to end",
        ("path", "crystals/s", "against it, decoding is faster by"),
        tuple(rows),
        "Latent vectors in memory become crystals in memory. The literal paths move every particle at every iteration, "
        "one crystal after the other, and decode a few crystals that stand for all by their volumes; the parameters "
        f"are {how}.",
    )


def _training(values: Values) -> Table:
    rows = []
    for one in values["training"]["comparisons"]:
        reference = one["reference"]["per_second"]
        for key, what in (("reference", "literal, float32"), ("float32", "float32"), ("auto", "precision auto")):
            factor = "" if key == "reference" else _times(one[key]["per_second"] / reference)
            rows.append((f"`paper`, batch {one['batch']}, {what}", _rate(one[key]), _queries(one[key]), factor))
    fast = values["training"]["fast"]
    rows.append(("`fast`", _rate(fast), _queries(fast), ""))
    return Table("Training", ("path", "crystals/s", "queries/s", "faster than literal by"), tuple(rows), _TRAINING_NOTE)


def _peak(values: Values) -> Table:
    best = max(values["peak"]["flops_per_second"].values())
    rows = [
        (f"matrix products, {precision}", _flops(rate), f"{100 * rate / best:.1f} %")
        for precision, rate in values["peak"]["flops_per_second"].items()
    ]
    parts = [("decoding", values["decoding"]["flops_per_second"])]
    if values["training"]:
        parts.append(("training `paper`", values["training"]["paper_flops_per_second"]))
        parts.append(("training `fast`", values["training"]["fast_flops_per_second"]))
    rows += [(what, _flops(rate), f"{100 * rate / best:.1f} %") for what, rate in parts]
    return Table(
        "Share of the machine's measured peak", ("what", "operations/s", "of the peak"), tuple(rows), _PEAK_NOTE
    )


def _memory(values: Values) -> Table:
    rows = tuple((name.replace("_", " "), f"{size / 2**20:,.0f} MiB") for name, size in values["memory_bytes"].items())
    return Table("Peak memory above libraries, data and model", ("job", "memory"), rows, _MEMORY_NOTE)


def _agreement(scores: Values) -> Table:
    metrics = [key for key, value in scores["fast"].items() if isinstance(value, float)]
    rows = tuple((key, f"{scores['fast'][key]:.4f}", f"{scores['literal'][key]:.4f}") for key in metrics)
    return Table("Metrics of both paths", ("metric", "fast", "literal"), rows)


def _rows(table: Table) -> str:
    lines = [table.heads, ("---", *["---:"] * (len(table.heads) - 1)), *table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _rate(rate: Values) -> str:
    return _digits(rate["per_second"])


def _queries(rate: Values) -> str:
    return _digits(rate["queries_per_second"])


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _times(factor: float) -> str:
    return f"{_digits(factor)} ×"


def _flops(rate: float) -> str:
    return f"{rate / 1e12:.2f} TFLOP/s" if rate >= 1e12 else f"{rate / 1e9:.1f} GFLOP/s"
