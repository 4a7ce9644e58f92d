"""The numbers that Chiba et al. printed (Communications Materials 4, 106, 2023), to stand beside ours.

Table 1 (test) and Tables S1 (train) and S2 (validation): means and standard deviations over ten
seeds; the YBCO-like rows are one twenty-fold cross-validation and have no deviation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from nesf.metrics.columns import COLUMNS

Dataset = Literal["icsg3d", "lcs6a", "ybco_like"]
Split = Literal["train", "val", "test"]
Method = Literal["nesf", "icsg3d"]

_DATASETS: tuple[Dataset, ...] = ("icsg3d", "lcs6a", "ybco_like")
_METHODS: tuple[Method, ...] = ("nesf", "icsg3d")

# One line for each metric in the order of COLUMNS; for each data set first NeSF, then the ICSG3D baseline.
_TABLES: Mapping[Split, str] = {
    "train": """
        0.61±0.05     2.53±0.35     6.71±0.61     13.50±1.24    0.00   91.82
        0.0308±0.0039 0.1160±0.0330 0.1172±0.0189 0.2732±0.0145 0.0532 0.6155
        0.0237±0.0041 0.0910±0.0336 0.0754±0.0101 0.1998±0.0079 0.0532 0.3680
        0.39±0.13     64.28±1.84    2.70±0.57     52.74±1.76    0.13   58.94
        0.22±0.12     63.96±1.81    0.94±0.39     51.99±1.62    0.13   52.68
        0.02±0.00     0.08±0.04     0.03±0.00     0.06±0.01     0.06   0.10
        0.00±0.00     0.00±0.00     0.08±0.04     0.35±0.02     1.25   0.05""",
    "val": """
        0.85±0.31     3.81±0.90     6.33±0.63     14.83±1.53    14.00  95.45
        0.0334±0.0035 0.1343±0.0319 0.1503±0.0113 0.2554±0.0276 0.2935 0.6752
        0.0294±0.0034 0.0985±0.0316 0.1083±0.0083 0.2015±0.0127 0.2995 0.4297
        3.75±0.35     65.02±2.26    13.22±0.81    55.51±2.01    21.15  58.74
        3.65±0.36     64.52±2.18    12.22±0.81    55.48±1.97    20.72  53.75
        0.02±0.00     0.08±0.04     0.05±0.00     0.06±0.01     0.34   0.10
        0.00±0.00     0.00±0.00     0.15±0.03     0.14±0.06     3.75   0.09""",
    "test": """
        0.53±0.25     2.67±0.84     6.35±0.50     17.28±1.13    12.00  91.00
        0.0308±0.0112 0.0877±0.0306 0.1161±0.0073 0.2006±0.0132 0.2631 0.6311
        0.0359±0.0226 0.1057±0.0284 0.1632±0.0123 0.2886±0.0159 0.2448 0.4358
        4.31±0.39     64.39±1.91    14.78±0.81    55.70±1.40    14.78  78.08
        4.36±0.39     65.05±1.85    16.11±0.66    58.32±1.45    19.89  54.24
        0.27±0.74     0.08±0.04     0.05±0.00     0.06±0.01     0.25   0.10
        0.37±1.10     0.00±0.00     0.19±0.04     0.34±0.07     2.91   0.06""",
}


@dataclass(frozen=True)
class PublishedRow:
    """What the paper reports for one method on one split of one data set.

    Attributes:
        dataset: data set.
        split: part of the data set.
        method: the paper's own autoencoder, or the ICSG3D baseline that it ran.
        mean: value of each metric by the keys of ``COLUMNS``.
        deviation: standard deviation over the seeds, or None where there was one run.
        note: what the paper says about the row, or None.
    """

    dataset: Dataset
    split: Split
    method: Method
    mean: Mapping[str, float]
    deviation: Mapping[str, float | None]
    note: str | None = None

    def exchanged(self) -> "PublishedRow":
        """The row with its two position errors exchanged.

        The test table has actual below detected where the train and validation tables have the
        reverse for the same method, so its two rows may be exchanged in print: judge by both readings.
        """
        swap = {"position_actual": "position_detected", "position_detected": "position_actual"}
        return replace(
            self,
            mean=MappingProxyType({key: self.mean[swap.get(key, key)] for key in self.mean}),
            deviation=MappingProxyType({key: self.deviation[swap.get(key, key)] for key in self.deviation}),
            note="position errors (actual, detected) exchanged",
        )

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values, ready for JSON."""
        row = {"dataset": self.dataset, "split": self.split, "method": self.method, "note": self.note}
        return {**row, "mean": dict(self.mean), "deviation": dict(self.deviation)}


def _rows(split: Split) -> list[PublishedRow]:
    cells = [line.split() for line in _TABLES[split].strip().splitlines()]
    rows = []
    for i, dataset in enumerate(_DATASETS):
        for j, method in enumerate(_METHODS):
            mean: dict[str, float] = {}
            deviation: dict[str, float | None] = {}
            for column, line in zip(COLUMNS, cells, strict=True):
                value, _, spread = line[len(_METHODS) * i + j].partition("±")
                mean[column.key] = float(value)
                deviation[column.key] = float(spread) if spread else None
            partial = (dataset, split, method) == ("ybco_like", "test", "icsg3d")
            note = "position error (actual) leaves out 44 of 100 crystals without any atom" if partial else None
            rows.append(PublishedRow(dataset, split, method, MappingProxyType(mean), MappingProxyType(deviation), note))
    return rows


PUBLISHED: tuple[PublishedRow, ...] = tuple(row for split in _TABLES for row in _rows(split))
"""All rows of the three tables."""


def named(name: str) -> tuple[Dataset, Split] | None:
    """Data set and split of the paper that the name of a file stands for, or None.

    >>> named("lcs6a_val.parquet")
    ('lcs6a', 'val')
    """
    known: dict[str, tuple[Dataset, Split]] = {
        f"{one.dataset}_{one.split}": (one.dataset, one.split) for one in PUBLISHED
    }
    return known.get(name.removesuffix(".parquet"))


def published(dataset: str, split: str, method: str = "nesf") -> PublishedRow | None:
    """The paper's row for a method on a split of a data set, or None where it has none.

    >>> published("lcs6a", "val").mean["position_actual"]
    0.1503
    """
    wanted = (dataset, split, method)
    return next((row for row in PUBLISHED if (row.dataset, row.split, row.method) == wanted), None)
