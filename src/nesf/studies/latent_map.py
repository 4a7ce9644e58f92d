"""The latent vectors of a data set in the plane, and how much of a crystal its neighbours share (Fig. 7)."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from nesf import lattice
from nesf.codec import Codec
from nesf.crystal import Crystal
from nesf.data.datasets import Dataset
from nesf.data.selection import checked_seed
from nesf.data.textbook import LAST_GROUP, crystal_system
from nesf.errors import NesfError
from nesf.extras import require
from nesf.io import space_group
from nesf.plots.latent_map import map_figure
from nesf.plots.latent_page import Point, map_page
from nesf.shapes import Float, Int
from nesf.studies.outcome import Outcome, Picture, Table

Method = Literal["tsne", "umap"]
SYSTEMS = tuple(LAST_GROUP)
"""The crystal systems, from low symmetry to high."""
PERPLEXITY = 30.0
NEIGHBOURS = 10
"""Nearest crystals that are compared with each."""
MOST_RANKED = 4000
"""Trustworthiness ranks all pairs; of more crystals than this a random sample is taken."""
FEWEST = 4
_NAMES = {"tsne": "t-SNE", "umap": "UMAP"}


@dataclass(frozen=True)
class Attributes:
    """What the map is coloured by, for each crystal.

    Attributes:
        volume: of the cell, cubic angstrom.
        atoms: in the cell.
        group: international number of the space group.
        given: whether the data set names the group; otherwise it was found within 0.01 Å.
    """

    volume: Float[NDArray[np.float64], " n"]
    atoms: Int[NDArray[np.int64], " n"]
    group: Int[NDArray[np.int64], " n"]
    given: int

    @classmethod
    def of(cls, crystals: tuple[Crystal, ...]) -> "Attributes":
        """The attributes of crystals."""
        named = [_named_group(crystal) for crystal in crystals]
        groups = [
            space_group(crystal).number if name is None else name for crystal, name in zip(crystals, named, strict=True)
        ]
        volume = lattice.volume(torch.from_numpy(np.stack([crystal.cell for crystal in crystals]))).numpy()
        given = sum(name is not None for name in named)
        return cls(volume, np.array([len(crystal) for crystal in crystals]), np.array(groups), given)

    @property
    def system(self) -> Int[NDArray[np.int64], " n"]:
        """Index of the crystal system in ``SYSTEMS``."""
        return np.array([SYSTEMS.index(crystal_system(number)) for number in self.group.tolist()])


def study(
    model: Codec,
    data: Dataset,
    *,
    method: Method = "tsne",
    seed: int = 0,
    perplexity: float = PERPLEXITY,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Draw the latent vectors of a data set in the plane, coloured by volume, number of atoms and crystal system.

    The page has the space group, too.

    Args:
        model: a trained model.
        data: the crystals; those that the model refuses are left out and counted.
        method: t-SNE or UMAP.
        seed: of the method.
        perplexity: how many neighbours t-SNE and UMAP look at; lowered where there are few crystals.
        progress: called with the number of stages done (of three) since its last call.

    Raises:
        NesfError: where there are too few crystals, or perplexity or seed are no such thing.
    """
    checked_seed(seed)
    if not (perplexity > 0 and math.isfinite(perplexity)):
        raise NesfError(f"The perplexity is {perplexity:g}; give a number above 0, such as {PERPLEXITY:g}.")
    require("sklearn", "plotly", *(["umap"] if method == "umap" else []))
    step = progress or (lambda _: None)
    reasons = [(crystal, model.refusal(crystal)) for crystal in data.crystals]
    refused = [{"id": crystal.id, "reason": reason} for crystal, reason in reasons if reason is not None]
    crystals = tuple(crystal for crystal, reason in reasons if reason is None)
    if len(crystals) < FEWEST:
        raise NesfError(
            f"A map needs at least {FEWEST} crystals; {model.card.name} takes {len(crystals)} of {data.name}."
        )
    perplexity = min(perplexity, (len(crystals) - 1) / 3)
    z = model.encode(list(crystals))
    attributes = Attributes.of(crystals)
    step(1)
    places = embed(z, method, seed, perplexity)
    step(1)
    kept = agreement(z, places, attributes, seed)
    step(1)
    title = f"{_NAMES[method]} of the latent vectors of {data.name}"
    values = {
        **{"method": method, "perplexity": perplexity, "crystals": len(crystals)},
        **{"refused": refused, "unreadable": len(data.failures)},
        **{"groups_given": attributes.given, "groups_found": len(crystals) - attributes.given, "agreement": kept},
    }
    figure = map_figure(places, attributes.volume, attributes.atoms, attributes.system, SYSTEMS)
    points = [_point(crystal, *row) for crystal, *row in _rows(crystals, places, attributes)]
    return Outcome(
        f"Map of the latent vectors of {data.name}, by {_NAMES[method]}",
        _summary(values, method, data.name),
        values,
        {"neighbours": _neighbours(kept), "coordinates": _coordinates(crystals, places, attributes)},
        {"map": Picture(figure, _caption(title, values))},
        {"map": map_page(points, SYSTEMS, title)},
    )


def embed(
    z: Float[NDArray[np.floating[Any]], "n latent"], method: Method, seed: int, perplexity: float = PERPLEXITY
) -> Float[NDArray[np.float64], "n 2"]:
    """Places in the plane, such that latent vectors near each other stay so."""
    if method == "umap":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from umap import UMAP

            # One job, as only then a seed decides the outcome.
            plane = UMAP(n_neighbors=max(2, round(perplexity)), random_state=seed, n_jobs=1).fit_transform(z)
    else:
        from sklearn.manifold import TSNE

        plane = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(z)
    return np.asarray(plane, dtype=np.float64)


def agreement(
    z: Float[NDArray[np.floating[Any]], "n latent"],
    places: Float[NDArray[np.float64], "n 2"],
    attributes: Attributes,
    seed: int,
) -> dict[str, Any]:
    """How alike neighbours are, among latent vectors and on the map, beside any two crystals of the data set.

    ``volume`` is the mean difference of the logarithm of the cell's volume; ``atoms``, ``group`` and ``system`` are the
    shares of neighbours with the same one. ``trustworthiness`` is that of Venna and Kaski: 1 where all that are
    neighbours on the map are neighbours among the vectors, about 0.5 by chance.
    """
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import NearestNeighbors

    def alike(points: NDArray[Any]) -> dict[str, float]:
        near = NearestNeighbors(n_neighbors=count).fit(points).kneighbors(return_distance=False)
        same = {name: float((one[near] == one[:, None]).mean()) for name, one in _discrete(attributes).items()}
        return {"volume": float(abs(logs[near] - logs[:, None]).mean()), **same}

    n = len(z)
    count = min(NEIGHBOURS, n - 1)
    logs = np.log(attributes.volume)
    chance = {name: _same_by_chance(one) for name, one in _discrete(attributes).items()}
    some = np.random.default_rng(seed).permutation(n)[:MOST_RANKED]
    return {
        "neighbours": count,
        "latent": alike(z),
        "map": alike(places),
        "any_two": {"volume": _difference_by_chance(logs), **chance},
        # It is defined for fewer neighbours than half of the points.
        "trustworthiness": float(trustworthiness(z[some], places[some], n_neighbors=min(count, (len(some) - 1) // 2))),
        "ranked": len(some),
    }


def _discrete(attributes: Attributes) -> dict[str, NDArray[np.int64]]:
    return {"atoms": attributes.atoms, "group": attributes.group, "system": attributes.system}


def _same_by_chance(values: NDArray[np.int64]) -> float:
    counts = np.unique(values, return_counts=True)[1]
    return float((counts * (counts - 1)).sum() / (len(values) * (len(values) - 1)))


def _difference_by_chance(values: NDArray[np.float64]) -> float:
    """The mean difference of two of the values, over all pairs; by sorting, as there are many."""
    n = len(values)
    return float(2 * ((2 * np.arange(n) - n + 1) * np.sort(values)).sum() / (n * (n - 1)))


def _named_group(crystal: Crystal) -> int | None:
    """The space group as the data set has it; None where it has none that exists."""
    value = crystal.properties.get("spacegroup")
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer()
    return int(value) if whole and 1 <= value <= 230 else None  # type: ignore[arg-type, operator]


def _rows(crystals: tuple[Crystal, ...], places: NDArray[np.float64], attributes: Attributes) -> Any:
    columns = (attributes.volume, attributes.atoms, attributes.group, attributes.system)
    return zip(crystals, *places.T.tolist(), *(column.tolist() for column in columns), strict=True)


def _point(crystal: Crystal, x: float, y: float, volume: float, atoms: int, group: int, system: int) -> Point:
    lengths = (float(crystal.lengths[0]), float(crystal.lengths[1]), float(crystal.lengths[2]))
    return Point(crystal.id, crystal.formula, x, y, lengths, volume, atoms, group, system)


def _coordinates(crystals: tuple[Crystal, ...], places: NDArray[np.float64], attributes: Attributes) -> Table:
    heads = ["id", "formula", "x", "y", "volume [Å³]", "atoms", "space group", "crystal system"]
    rows = [
        [crystal.id, crystal.formula, x, y, volume, atoms, group, SYSTEMS[system]]
        for crystal, x, y, volume, atoms, group, system in _rows(crystals, places, attributes)
    ]
    return Table("Places on the map", heads, rows)


def _neighbours(kept: dict[str, Any]) -> Table:
    names = {
        "volume": "mean difference of ln(volume)",
        "atoms": "same number of atoms [%]",
        "group": "same space group [%]",
        "system": "same crystal system [%]",
    }
    scale = {name: 1.0 if name == "volume" else 100.0 for name in names}
    rows = [
        [text, *(kept[where][name] * scale[name] for where in ("latent", "map", "any_two"))]
        for name, text in names.items()
    ]
    heads = ["", "neighbours among latent vectors", "neighbours on the map", "any two crystals"]
    note = (
        f"Over the {kept['neighbours']} nearest crystals of each. Trustworthiness of the map: "
        f"{kept['trustworthiness']:.4f} (1 is best, chance about 0.5), over {kept['ranked']} crystals."
    )
    return Table("What neighbours share", heads, rows, note)


def _summary(values: dict[str, Any], method: Method, name: str) -> str:
    kept = values["agreement"]
    latent, chance = kept["latent"], kept["any_two"]
    near = f"perplexity {values['perplexity']:g}" if method == "tsne" else f"{round(values['perplexity'])} neighbours"
    return (
        f"{_NAMES[method]} ({near}; the paper does not print its settings) of {values['crystals']} crystals of {name}. "
        f"{len(values['refused'])} were refused by the model, {values['unreadable']} could not be read. Space groups: "
        f"{values['groups_given']} as the data set names them, {values['groups_found']} found within 0.01 Å. Of the "
        f"{kept['neighbours']} nearest neighbours of a latent vector, {100 * latent['atoms']:.0f} % have the same "
        f"number of atoms (any two crystals: {100 * chance['atoms']:.0f} %) and {100 * latent['group']:.0f} % the same "
        f"space group (any two: {100 * chance['group']:.0f} %); the volumes of their cells differ by a factor of "
        f"{np.exp(latent['volume']):.2f} on average (any two: {np.exp(chance['volume']):.2f})."
    )


def _caption(title: str, values: dict[str, Any]) -> str:
    return (
        f"{title} ({values['crystals']} crystals), coloured by the volume of the cell (a), the number of atoms (b) "
        "and the crystal system (c), because the colours of 230 space groups cannot be told apart; the interactive "
        f"page has these, too. Trustworthiness {values['agreement']['trustworthiness']:.3f}."
    )
