"""pymatgen JSON read by pymatgen, which is given plain numbers and symbols alone.

pymatgen's own reader makes objects of whatever classes the properties of a text name, importing their modules; a file
that is not trusted must not choose what is imported, so no properties and no names of classes reach it.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io.limits import LARGEST_COLLECTION_BYTES, MOST_ATOMS, text_of
from nesf.io.structures import ID_KEYS, from_pymatgen, number_of, one_line, plain, quiet

AGREE_ANGSTROM = 0.1
"""Fractional and Cartesian coordinates of a site may differ by so much, by rounding and lattice vectors."""
OCCUPANCY_TOLERANCE = 1e-3
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
    from pymatgen.core import Structure

    if not _is_entry(entry):
        raise NesfError(f"Entry {fallback!r} is no pymatgen structure.")
    record = dict(entry) if "structure" in entry else {"structure": entry}
    body = record.pop("structure")
    own = body.get("properties")
    properties = {**(own if isinstance(own, dict) else {}), **record}
    name = str(next((properties[key] for key in ID_KEYS if isinstance(properties.get(key), (str, int))), fallback))
    try:
        bare = _bare(body, name)
        with quiet():
            structure = Structure.from_dict(bare)
            _check_agreement(structure, body["sites"])
            structure.properties = plain(properties)
            return from_pymatgen(structure, name)
    except NesfError:
        raise
    except Exception as error:  # the reader raises many kinds
        kind = "lacks " if isinstance(error, KeyError) else ""
        raise NesfError(f"Entry {name!r} is no readable pymatgen structure: {kind}{one_line(error)}.") from None


def _bare(body: Mapping[str, Any], id: str) -> dict[str, Any]:
    """A structure of nothing but the numbers and symbols of the crystal."""
    lattice, sites = body["lattice"], body["sites"]
    if len(sites) > MOST_ATOMS:
        raise ValueError(f"it has {len(sites)} atoms; at most {MOST_ATOMS} are read")
    if not all(lattice.get("pbc", [True])):
        raise ValueError("it is not periodic along all axes (pbc); a crystal is")
    if "matrix" in lattice:
        cell = {"matrix": _finite(lattice["matrix"], (3, 3), "its lattice")}
    else:
        values = _finite([lattice[name] for name in _PARAMETERS], (6,), "its lattice")
        cell = dict(zip(_PARAMETERS, values, strict=True))
    return {"lattice": cell, "sites": [_bare_site(site, id, index) for index, site in enumerate(sites)]}


def _bare_site(site: Mapping[str, Any], id: str, index: int) -> dict[str, Any]:
    species = site["species"]
    occupancies = [float(one.get("occu", 1)) for one in species[:5]]
    if len(species) != 1 or not abs(occupancies[0] - 1) <= OCCUPANCY_TOLERANCE:
        held = ", ".join(f"{str(one.get('element'))[:20]}:{n:g}" for one, n in zip(species, occupancies, strict=False))
        raise NesfError(
            f"Structure {id!r} is disordered: site {index + 1} holds {held or 'nothing'}; "
            "only fully occupied sites of one element can be read, so order it first."
        )
    symbol = str(species[0]["element"])[:20]
    number_of(symbol, id, index)
    kept = {"element": symbol, "occu": 1}
    return {"species": [kept], "abc": _finite(site["abc"], (3,), f"site {index + 1}")}


def _finite(values: Any, shape: tuple[int, ...], where: str) -> Any:
    """The numbers as lists; pymatgen would take any nine for a lattice, and carry on with those that are none."""
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{where} has numbers of shape {array.shape}, not {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{where} has a number that is not finite")
    return array.tolist()


def _check_agreement(structure: Any, sites: list[Any]) -> None:
    """Where a file gives Cartesian coordinates, too, they must be those of the fractional ones."""
    given = [(index, site["xyz"]) for index, site in enumerate(sites) if site.get("xyz") is not None]
    for index, xyz in given:
        cart = _finite(xyz, (3,), f"site {index + 1}")
        gap = structure.lattice.get_fractional_coords(cart) - structure[index].frac_coords
        if np.linalg.norm(structure.lattice.get_cartesian_coords(gap - gap.round())) > AGREE_ANGSTROM:
            raise ValueError(
                f"it contradicts itself: the coordinates abc and xyz of site {index + 1} are different places; "
                "delete the wrong ones"
            )
