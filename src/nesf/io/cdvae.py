"""The CDVAE layout: a csv table with the text of a CIF in each row."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io.cif_reading import crystal_from_cif
from nesf.io.limits import LARGEST_COLLECTION_BYTES, check_size

LONGEST_FIELD = 2**24
LONGEST_ID = 250


def read_cdvae(path: str | Path) -> Iterator[Crystal | Failure]:
    """The crystals of a csv table with the columns ``cif`` and (if any) ``material_id``; others become properties.

    A column whose filled cells are all numbers is one of numbers, any other is text (the formula NaN, sodium
    nitride, is no missing value). Without ids, the file's stem and the row number are the id.

    Raises:
        NesfError: where the file is no csv table or has no column ``cif``.
    """
    path = Path(path)
    rows = _read_rows(path)
    numeric = {name: _is_numeric([row.get(name) for row in rows]) for name in (rows[0] if rows else {})}
    for index, row in enumerate(rows, start=1):
        name = row.get("material_id") or f"{path.stem}-{index}"
        if len(name) > LONGEST_ID:  # as where a quote is missing, and the text of a CIF slips into another column
            name, long = f"{path.stem}-{index}", len(name)
            yield Failure(name, f"Row {index} of {path.name} has a material_id of {long} letters; shorten it.")
            continue
        try:
            crystal = crystal_from_cif(name, row["cif"] or "")
            yield Crystal(name, crystal.numbers, crystal.cart, crystal.cell, _properties(row, numeric))
        except NesfError as error:
            yield Failure(name, str(error))


def _read_rows(path: Path) -> list[dict[str, Any]]:
    check_size(path, LARGEST_COLLECTION_BYTES)
    before = csv.field_size_limit(LONGEST_FIELD)  # a CIF in a field is often longer than the usual limit
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if "cif" not in (reader.fieldnames or ()):
                raise NesfError(f"Table {path} has no column 'cif'; only the CDVAE layout of csv can be read.")
            return list(reader)
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise NesfError(f"Table {path} is no readable csv: {error}.") from None
    finally:
        csv.field_size_limit(before)


def _is_numeric(values: list[Any]) -> bool:
    try:
        numbers = [float(value) for value in values if value]
    except (TypeError, ValueError):
        return False
    return any(math.isfinite(number) for number in numbers)


def _properties(row: dict[str, Any], numeric: dict[str, bool]) -> dict[str, Any]:
    """The row's further cells, numbers as numbers; empty ones, and numbers that are not finite, are unknown."""
    properties: dict[str, Any] = {}
    for name, value in row.items():
        # A field without a name holds the index of a data frame; None collects what is beyond the last column.
        if not name or not value or name in {"material_id", "cif"}:
            continue
        if not numeric[name]:
            properties[name] = value
        elif math.isfinite(float(value)):
            properties[name] = int(value) if value.lstrip("+-").isdigit() else float(value)
    return properties
