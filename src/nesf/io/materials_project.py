"""Crystals of the Materials Project, asked for through its own client, ``mp-api``."""

import os
import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io.structures import from_pymatgen, one_line, quiet

KEY = "MP_API_KEY"
ENDPOINT = "MP_API_ENDPOINT"
WHERE_KEYS_ARE = "https://next-gen.materialsproject.org/api"
PAGE = 1000
"""Crystals in one answer; the server gives no more."""

_NUMBERS = {
    "formation_energy_per_atom": "formation_energy_per_atom",
    "band_gap": "band_gap",
    "energy_above_hull": "energy_above_hull",
    "total_magnetization": "total_magnetization_normalized_formula_units",
}
_FIELDS = ["material_id", "structure", *_NUMBERS.values(), "bulk_modulus", "shear_modulus", "symmetry"]


class MaterialsProject:
    """A connection, to be used in a ``with`` block.

    Attributes:
        version: of its database, such as "2025.09.25"; empty where the server does not say.

    Raises:
        NesfError: where ``mp-api`` is not installed, the key is missing or wrong, or the server cannot be reached.
    """

    def __init__(self, key: str | None = None, endpoint: str | None = None) -> None:
        """Connect.

        Args:
            key: of the account; by default the environment variable ``MP_API_KEY``.
            endpoint: address of the server; by default ``MP_API_ENDPOINT``, else the client's own.
        """
        key = key or os.environ.get(KEY)
        if not key:
            raise NesfError(
                f"The Materials Project wants a key: get one for free at {WHERE_KEYS_ARE} and set the environment "
                f"variable {KEY} to it; `--from TABLE` works without, on any crystals that you have."
            )
        try:
            with quiet():
                from mp_api.client import MPRester
        except ImportError as error:
            raise NesfError(
                f"The Materials Project is asked through mp-api, which is missing ({one_line(error)}): "
                '`pip install -c constraints.txt ".[mp]"` in a checkout of nesf.'
            ) from None
        # What the client raises is anything from its own errors to those of requests and of broken JSON.
        try:
            with quiet():
                self._client = MPRester(
                    key,
                    endpoint=endpoint or os.environ.get(ENDPOINT),
                    use_document_model=False,
                    mute_progress_bars=True,
                )
        except Exception as error:
            raise _no_answer(error) from None
        self.version = str(self._client.db_version or "")

    def search(self, query: Mapping[str, Any]) -> list[Crystal | Failure]:
        """The crystals of a search, each with the properties of the project's tables.

        Energies are in eV/atom, the band gap in eV, the magnetisation in μB for each reduced formula unit, moduli
        (Voigt-Reuss-Hill averages) in GPa; ``source`` names the database and its version.

        Args:
            query: arguments of ``materials.summary.search`` of the client; at least one, for without any it
                downloads the whole database. Deprecated entries are left out, and so are those of GNoME, which are
                younger than the paper and under another licence.

        Raises:
            NesfError: where the server does not answer, or refuses to.
        """
        if not query:
            raise NesfError("A search of the Materials Project needs at least one condition.")
        try:
            with quiet():
                found = self._client.materials.summary.search(
                    **query, deprecated=False, include_gnome=False, fields=_FIELDS, all_fields=False, chunk_size=PAGE
                )
        except Exception as error:
            raise _no_answer(error) from None
        return [_entry(one, f"Materials Project {self.version}".strip()) for one in found]

    def __enter__(self) -> "MaterialsProject":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.__exit__(kind, error, at)


def _no_answer(error: Exception) -> NesfError:
    # The whole address of a search is long, and what the server says comes after it.
    said = one_line(RuntimeError(re.sub(r" on URL \S+", "", str(error)) or type(error).__name__))
    return NesfError(f"The Materials Project gives no answer: {said}; check the connection and {KEY}, and try again.")


def _entry(document: Mapping[str, Any], source: str) -> Crystal | Failure:
    from pymatgen.core import Structure

    name = str(document.get("material_id", "an entry without an id"))
    try:
        with quiet():
            structure = Structure.from_dict(document["structure"])
            # Magnetic moments and charges are of the calculation; the columns are those of all tables.
            structure.properties = _properties(document, source)
            return from_pymatgen(structure, name)
    except NesfError as error:
        return Failure(name, str(error))
    except Exception as error:  # whatever an incomplete document makes pymatgen raise
        return Failure(name, f"The Materials Project gives no structure that can be read: {one_line(error)}.")


def _properties(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The columns of the project's tables; those that the document lacks are missing."""
    moduli = {name: (document.get(name) or {}).get("vrh") for name in ("bulk_modulus", "shear_modulus")}
    numbers = {name: document.get(field) for name, field in _NUMBERS.items()} | moduli
    floats = {name: float(value) for name, value in numbers.items() if value is not None}
    group = (document.get("symmetry") or {}).get("number")
    return {"source": source, **floats} | ({} if group is None else {"spacegroup": int(group)})
