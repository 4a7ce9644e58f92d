"""pymatgen JSON read into crystals, by its layout alone.

pymatgen's own reader makes objects of whatever classes the text names, importing their modules; a file that is not
trusted must not choose what is imported, so this one reads the numbers and nothing else.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io.limits import LARGEST_COLLECTION_BYTES, text_of
from nesf.io.structures import ID_KEYS, number_of, one_line, plain
from nesf.lattice import cell_from_parameters

AGREE_ANGSTROM = 0.1
"""Fractional and Cartesian coordinates of a site may differ by so much, by rounding and lattice vectors."""
_PARAMETERS = ("a", "b", "c", "alpha", "beta", "gamma")


def read_json(path: Path) -> Iterator[Crystal | Failure]:
    """The crystals of pymatgen JSON: one structure, a list of them, or a mapping from ids to them.

    In place of a structure there may be a record with a ``structure``: its ``material_id`` is the id, its other
    single numbers and texts become properties.
    """
    try:
        data = json.loads(text_of(path, LARGEST_COLLECTION_BYTES))
    except (ValueError, RecursionError) as error:
        raise NesfError(f"File {path} is no JSON: {one_line(error)}.") from None
    if _is_entry(data):
        entries = [(path.stem, data)]
    elif isinstance(data, list) and data:
        stems = [path.stem] if len(data) == 1 else [f"{path.stem}-{i}" for i in range(1, len(data) + 1)]
        entries = list(zip(stems, data, strict=True))
    elif isinstance(data, dict) and any(_is_entry(value) for value in data.values()):
        entries = list(data.items())
    else:
        raise NesfError(f"File {path} holds no pymatgen structure, list of structures or mapping from ids to them.")
    for fallback, entry in entries:
        try:
            yield _crystal_of_entry(fallback, entry)
        except NesfError as error:
            yield Failure(fallback if len(entries) > 1 else path.name, str(error))


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and (
        {"lattice", "sites"} <= value.keys() or isinstance(value.get("structure"), dict)
    )


def _crystal_of_entry(fallback: str, entry: Any) -> Crystal:
    if not _is_entry(entry):
        raise NesfError(f"Entry {fallback!r} is no pymatgen structure.")
    record = dict(entry) if "structure" in entry else {"structure": entry}
    body = record.pop("structure")
    own = body.get("properties")
    properties = {**(own if isinstance(own, dict) else {}), **record}
    name = str(next((properties[key] for key in ID_KEYS if isinstance(properties.get(key), (str, int))), fallback))
    try:
        cell = _cell(body["lattice"])
        sites = body["sites"]
        numbers = [_number(site, name, index) for index, site in enumerate(sites)]
        frac = [_place(site, cell, name, index) for index, site in enumerate(sites)]
    except NesfError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError, np.linalg.LinAlgError) as error:
        kind = "lacks " if isinstance(error, KeyError) else ""
        raise NesfError(f"Entry {name!r} is no readable pymatgen structure: {kind}{one_line(error)}.") from None
    return Crystal.from_frac(name, numbers, frac, cell, plain(properties))


def _cell(lattice: Mapping[str, Any]) -> NDArray[np.float64]:
    if not all(lattice.get("pbc", [True])):
        raise ValueError("it is not periodic along all axes (pbc); a crystal is")
    if "matrix" in lattice:
        matrix = np.array(lattice["matrix"], dtype=np.float64)
        if matrix.shape != (3, 3):
            raise ValueError(f"its lattice has a matrix of shape {matrix.shape}, not three vectors as rows")
        return matrix
    values = torch.tensor([float(lattice[name]) for name in _PARAMETERS], dtype=torch.float64)
    return cell_from_parameters(values[:3], torch.deg2rad(values[3:])).numpy()


def _number(site: Mapping[str, Any], id: str, index: int) -> int:
    species = site["species"]
    if len(species) != 1 or abs(float(species[0].get("occu", 1)) - 1) > 1e-3:
        held = ", ".join(f"{one.get('element')}:{one.get('occu', 1)}" for one in species)
        raise NesfError(
            f"Structure {id!r} is disordered: its site {index + 1} holds {held[:60] or 'nothing'}; "
            "only fully occupied sites of one element can be read, so order it first."
        )
    return number_of(str(species[0]["element"]), id, index)


def _place(site: Mapping[str, Any], cell: NDArray[np.float64], id: str, index: int) -> NDArray[np.float64]:
    """Fractional coordinates of a site, with which its Cartesian ones must agree where there are both."""
    cart = None if site.get("xyz") is None else np.array(site["xyz"], dtype=np.float64)
    if site.get("abc") is None:
        if cart is None:
            raise ValueError(f"site {index + 1} has no coordinates (abc)")
        return np.array(np.linalg.solve(cell.T, cart), dtype=np.float64)
    frac = np.array(site["abc"], dtype=np.float64)
    if frac.shape != (3,):
        raise ValueError(f"site {index + 1} has {frac.size} coordinates instead of 3")
    if cart is not None and cart.shape == (3,) and np.isfinite([*frac, *cart, *cell.ravel()]).all():
        gap = np.linalg.solve(cell.T, cart) - frac
        if np.linalg.norm((gap - gap.round()) @ cell) > AGREE_ANGSTROM:
            raise NesfError(
                f"Entry {id!r} contradicts itself: the coordinates abc and xyz of site {index + 1} are different "
                "places; delete the wrong ones."
            )
    return frac
