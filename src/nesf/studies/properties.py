"""Properties predicted from latent vectors by three plain methods (Table S3)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.data.datasets import Dataset
from nesf.errors import NesfError
from nesf.extras import require
from nesf.plots.parity import Parity, parities
from nesf.studies.outcome import Outcome, Picture, Table
from nesf.studies.published_properties import dataset_of, published_prediction
from nesf.studies.quantities import check_quantities, number, title
from nesf.studies.regression import BATCH, EPOCHS, METHODS, Prediction, predict

DEFAULT = ("energy_above_hull", "total_magnetization", "band_gap", "formation_energy_per_atom")
"""The three properties of the paper, and the one that is known of most crystals."""
FEWEST_TRAIN, FEWEST_TEST = 10, 2
"""Of fewer known values nothing is predicted."""
FEW_TEST = 30
"""Scores over fewer crystals are said to tell little."""


@dataclass(frozen=True)
class Encoded:
    """The crystals of a data set that the model takes, with their latent vectors.

    Attributes:
        name: of the data set.
        crystals: those that the model takes.
        z: (n, latent) their vectors.
        refused: those that it does not take, with the reason.
    """

    name: str
    crystals: tuple[Crystal, ...]
    z: NDArray[np.float32]
    refused: tuple[Failure, ...]

    @classmethod
    def of(cls, model: Codec, data: Dataset) -> "Encoded":
        """Encode a data set."""
        reasons = [(crystal, model.refusal(crystal)) for crystal in data.crystals]
        taken = tuple(crystal for crystal, reason in reasons if reason is None)
        refused = tuple(Failure(crystal.id, reason) for crystal, reason in reasons if reason is not None)
        if not taken:
            raise NesfError(
                f"The model {model.card.name} takes none of the {len(data.crystals)} crystals of {data.name}."
            )
        return cls(data.name, taken, model.encode(list(taken)), refused)

    def to_dict(self) -> dict[str, Any]:
        """Name, size and refused crystals, ready for JSON."""
        refused = [vars(failure) for failure in self.refused]
        return {"name": self.name, "crystals": len(self.crystals), "refused": refused}

    def known(self, name: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Latent vectors and values of the crystals whose property is a finite number."""
        values = np.array([number(crystal.properties.get(name)) for crystal in self.crystals])
        there = np.isfinite(values)
        return self.z[there], values[there]


def shared_ids(train: Dataset, test: Dataset) -> list[str]:
    """Ids of test crystals that are among the training crystals, too: predicting these proves nothing."""
    known = {crystal.id for crystal in train.crystals}
    return [crystal.id for crystal in test.crystals if crystal.id in known]


def study(
    model: Codec,
    train: Dataset,
    test: Dataset,
    *,
    properties: Sequence[str] = DEFAULT,
    seeds: int = 3,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Learn properties of the crystals of one data set from their latent vectors, and predict those of another.

    Args:
        model: a trained model.
        train: crystals to learn from.
        test: crystals to predict.
        properties: columns of the tables.
        seeds: how many times the neural network is trained, with the seeds 0, 1, ...
        progress: called with the number of properties done since its last call.
    """
    require("sklearn")
    if seeds < 1:
        raise NesfError(f"At least one seed is needed, not {seeds}.")
    check_quantities(properties, train, test)
    known, asked = Encoded.of(model, train), Encoded.of(model, test)
    rows: list[list[Any]] = []
    panels: list[list[Parity]] = []
    values: dict[str, Any] = {
        "train": known.to_dict(),
        "test": asked.to_dict(),
        "shared_ids": shared_ids(train, test),
        "seeds": seeds,
        "properties": {},
    }
    for name in dict.fromkeys(properties):
        (z, y), (z_test, y_test) = known.known(name), asked.known(name)
        found = _predict_all(z, y, z_test, y_test, seeds)
        values["properties"][name] = _values(found, y, y_test)
        rows += _table_rows(name, found, len(y), len(y_test), test.name)
        if found:
            panels.append([_panel(one, name) for one in found if one.method != "mean"])
        if progress is not None:
            progress(1)
    heads = ["property", "by", "train", "test", "R²", "sd of R²", "MAE", "sd of MAE"]
    heads += ["paper, R²", "paper, R² (exchanged)"] if dataset_of(test.name) else []
    tables = {"properties": Table("Properties predicted from latent vectors", heads, rows, _note(values, seeds))}
    if dataset_of(train.name) is not None:
        tables["spreads"] = _spreads(train.name, values)
    pictures = {"parity": Picture(parities(panels), _caption(test.name))} if panels else {}
    return Outcome("Properties from latent vectors", _summary(values), values, tables, pictures)


def _predict_all(z: Any, y: Any, z_test: Any, y_test: Any, seeds: int) -> list[Prediction]:
    """By all methods; nothing where too few values are known."""
    if len(y) < FEWEST_TRAIN or len(y_test) < FEWEST_TEST:
        return []
    return [predict(method, (z, y), (z_test, y_test), seeds) for method in METHODS]


def _values(found: Sequence[Prediction], y: NDArray[np.float64], y_test: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "known_train": len(y),
        "known_test": len(y_test),
        "variance_train": float(y.var()) if len(y) else None,
        "methods": {
            one.method: {
                "r2": [None if math.isnan(r2) else r2 for r2 in one.r2],
                "mae": one.mae,
                "epochs": list(one.epochs),
                "unfinished": one.unfinished,
            }
            for one in found
        },
    }


def _table_rows(name: str, found: Sequence[Prediction], train: int, test: int, dataset: str) -> list[list[Any]]:
    called = title(name)
    beside = (False, True) if dataset_of(dataset) else ()
    if not found:
        return [[called, "too few values", train, test, *[None] * (4 + len(beside))]]
    rows = []
    for one in found:
        paper = [published_prediction(dataset, one.method, name, exchanged) for exchanged in beside]
        printed = [None if row is None else row.r2 for row in paper]
        rows.append([called, METHODS[one.method], train, test, *_mean_sd(one.r2), *_mean_sd(one.mae), *printed])
    return rows


def _mean_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and standard deviation of a sample; None where there is none."""
    if any(math.isnan(value) for value in values):
        return None, None
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def _panel(one: Prediction, name: str) -> Parity:
    r2, sd = _mean_sd(one.r2)
    spread = "" if sd is None else f" ± {sd:.2f}"
    score = "" if r2 is None else f"R² = {r2:.2f}{spread}\n"
    text = f"{score}MAE = {np.mean(one.mae):.2g}\nn = {len(one.true)}"
    return Parity(one.true, one.predicted[0], METHODS[one.method], title(name), text)


def _spreads(dataset: str, values: Mapping[str, Any]) -> Table:
    """The variance of each property, ours beside the one that the paper's errors imply."""
    ours = {name: one["variance_train"] for name, one in values["properties"].items()}
    rows: list[list[Any]] = []
    for name in ("energy_above_hull", "total_magnetization", "band_gap"):
        paper = [published_prediction(dataset, "svr", name, exchanged) for exchanged in (False, True)]
        rows.append([title(name), ours.get(name), *(None if one is None else one.variance for one in paper)])
    heads = ["property", "this table", "implied by the paper's row", "by the row it may have been exchanged with"]
    return Table("Variance of the training values (squares of the units)", heads, rows, _SPREAD_NOTE)


_SPREAD_NOTE = (
    "The paper's variance is the squared error of its SVR on the training crystals, divided by 1 - R². By it, hull "
    "energies of LCS6Å would scatter by 2.5 eV/atom and band gaps of ICSG3D by 2.7 eV: not plausible. By their "
    "spread, the rows of hull energy and magnetisation (LCS6Å) and of magnetisation and band gap (ICSG3D) are probably "
    "exchanged in its table, so both readings are given. Of the hull energies few are known here, mostly of stable "
    "crystals, and hardly any magnetisations."
)


_VALIDATED = (("lcs6a", "val"), ("icsg3d", "val"))
_JOINED = "Values were joined by id from several releases, other than the one of the paper."
_VALIDATION = "What is predicted here is the validation table, and beside it stands the paper's validation row."


def _note(values: Mapping[str, Any], seeds: int) -> str:
    unfinished = sum(one["methods"].get("mlp", {}).get("unfinished", 0) for one in values["properties"].values())
    runs = f"the mean of {seeds} seeds" if seeds > 1 else "one seed"
    few = [name.replace("_", " ") for name, one in values["properties"].items() if one["known_test"] < FEW_TEST]
    said = [
        "Train and test are the numbers of crystals whose value is known.",
        "SVR: RBF, C = 1, ε = 0.1; kNN: 5 neighbours, weighted by distance; MLP: 192-128-128-64-1, Adam 1e-3, batch "
        f"{BATCH}, at most {EPOCHS} epochs (it stops where the loss no longer falls), {runs}; inputs as they are.",
        *(
            f"The model refuses {len(values[part]['refused'])} crystals of {values[part]['name']}."
            for part in ("train", "test")
            if values[part]["refused"]
        ),
        *([f"Fewer than {FEW_TEST} test values are known of {', '.join(few)}: too few to judge by."] if few else []),
        *([f"{unfinished} runs of the MLP had not converged."] if unfinished else []),
        *([_JOINED] if dataset_of(values["train"]["name"]) or dataset_of(values["test"]["name"]) else []),
        *([_VALIDATION] if dataset_of(values["test"]["name"]) in _VALIDATED else []),
        *(["The paper predicts from the vectors of its own model."] if dataset_of(values["test"]["name"]) else []),
    ]
    return " ".join(said)


def _summary(values: Mapping[str, Any]) -> str:
    best = []
    for name, one in values["properties"].items():
        scores = {method: np.mean(row["r2"]) for method, row in one["methods"].items() if None not in row["r2"]}
        if scores:
            method = max(scores, key=lambda key: float(scores[key]))
            # Plus zero, so that none is -0.00.
            r2, count = round(float(scores[method]), 2) + 0.0, one["known_test"]
            best.append(f"{name.replace('_', ' ')} {r2:.2f} ({METHODS[method]}, {count} crystals)")
    train, test, shared = values["train"], values["test"], len(values["shared_ids"])
    warning = (
        f"{shared} crystals of {test['name']} are in {train['name']}, too (by id), so these figures are too good. "
    )
    return (
        f"Properties of {test['name']} ({test['crystals']} crystals) predicted from latent vectors by what was learned "
        f"from {train['name']} ({train['crystals']}). {warning if shared else ''}"
        f"The best R² of each: {'; '.join(best) or 'none, for want of values'}. "
        "The vectors were made without any knowledge of the properties."
    )


def _caption(name: str) -> str:
    return (
        f"Predicted against true values for the crystals of {name}, by method and property; of the MLP the run with "
        "seed 0 is drawn. Grey: where both are equal."
    )
