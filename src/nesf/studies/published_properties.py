"""Table S3 of the paper: properties predicted from latent vectors."""

from typing import NamedTuple

from nesf.metrics import named

_PROPERTIES = ("energy_above_hull", "total_magnetization", "band_gap")
_DATASETS = ("icsg3d", "lcs6a")
_SPLITS = ("train", "val", "test")

# Mean squared error, mean absolute error and R² for train, validation and test; a line for each property and data set.
_TABLES = {
    "svr": """
        0.0558 0.1095 0.6003   0.0441 0.1090 0.5386   0.0731 0.1303 0.5342
        6.1224 0.8989 -0.0015  6.4173 0.9469 -0.0175  5.8475 0.9085 -0.0273
        0.3860 0.1627 0.2194   0.5227 0.1939 0.1287   0.2498 0.1474 0.2020
        0.0886 0.1535 0.5425   0.1297 0.1991 0.3553   0.0870 0.1641 0.3435
        7.3111 1.0413 0.0157   8.7110 1.2267 -0.0042  8.0715 1.0829 0.0415
        1.0300 0.3572 0.2735   0.7289 0.3440 0.2259   0.8744 0.3569 0.1520""",
    "knn": """
        0.0000 0.0000 1.0000   0.0490 0.0893 0.4873   0.0733 0.1027 0.5324
        0.0000 0.0000 1.0000   2.3434 0.7649 0.6285   2.5413 0.7936 0.5536
        0.0000 0.0000 1.0000   0.2788 0.1521 0.5352   0.1897 0.1225 0.3937
        0.0000 0.0000 1.0000   0.1345 0.1848 0.3310   0.0752 0.1368 0.4325
        0.0000 0.0000 1.0000   3.5833 1.1590 0.5869   3.2746 1.0944 0.6111
        0.0000 0.0000 1.0000   0.8403 0.3878 0.1076   0.7947 0.3800 0.2293""",
    "mlp": """
        0.0035 0.0397 0.9751   0.0266 0.0866 0.7217   0.0549 0.1085 0.6497
        0.0950 0.1990 0.9845   1.1107 0.5404 0.8239   1.6265 0.6113 0.7143
        0.0323 0.0767 0.9348   0.2723 0.1786 0.5462   0.1151 0.1290 0.6323
        0.0030 0.0394 0.9847   0.1155 0.1860 0.4254   0.0739 0.1557 0.4428
        0.5132 0.4314 0.9309   3.6280 1.0056 0.5818   3.3493 0.9423 0.6022
        0.0399 0.1114 0.9719   0.6426 0.3553 0.3175   0.6577 0.3853 0.3622""",
}

EXCHANGED = {
    "lcs6a": {"energy_above_hull": "total_magnetization", "total_magnetization": "energy_above_hull"},
    "icsg3d": {"total_magnetization": "band_gap", "band_gap": "total_magnetization"},
}
"""Rows that are probably exchanged in print: the spread of values that their errors imply fits the other property."""


class PublishedPrediction(NamedTuple):
    """What the paper reports for one property, method, data set and split.

    Attributes:
        mse: mean squared error.
        mae: mean absolute error.
        r2: coefficient of determination.
    """

    mse: float
    mae: float
    r2: float

    @property
    def variance(self) -> float:
        """The variance of the true values, which follows from error and R²."""
        return self.mse / (1 - self.r2)


def dataset_of(name: str) -> tuple[str, str] | None:
    """Data set and split of Table S3 that a table's name stands for, or None.

    >>> dataset_of("lcs6a_val.parquet")
    ('lcs6a', 'val')
    """
    table = named(name)
    return table if table is not None and table[0] in _DATASETS else None


def published_prediction(name: str, method: str, wanted: str, exchanged: bool = False) -> PublishedPrediction | None:
    """The paper's row for the table of a name, or None where it has none.

    Args:
        name: of the table that is predicted, e.g. ``lcs6a_val.parquet``.
        method: svr, knn or mlp.
        wanted: the property.
        exchanged: whether to read rows that are probably exchanged in print (``EXCHANGED``) the other way round.

    >>> published_prediction("lcs6a_val.parquet", "knn", "band_gap").r2
    0.1076
    """
    table = dataset_of(name)
    if table is None or method not in _TABLES or wanted not in _PROPERTIES:
        return None
    dataset, split = table
    read = EXCHANGED[dataset].get(wanted, wanted) if exchanged else wanted
    line = _TABLES[method].strip().splitlines()[_PROPERTIES.index(read) * len(_DATASETS) + _DATASETS.index(dataset)]
    start = 3 * _SPLITS.index(split)
    return PublishedPrediction(*map(float, line.split()[start : start + 3]))
