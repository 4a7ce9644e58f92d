"""The project's table: crystals in Parquet, one a row, geometry beside properties.

Columns: ``material_id`` (text), ``numbers`` (list of integers), ``positions`` (list of Cartesian triples, angstrom),
``cell`` (three lattice vectors as rows, angstrom); every further column is a property, null where unknown.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from nesf import lattice
from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io.structures import one_line
from nesf.output import whole_file

GEOMETRY = {
    "material_id": pa.string(),
    "numbers": pa.list_(pa.int16()),
    "positions": pa.list_(pa.list_(pa.float64())),
    "cell": pa.list_(pa.list_(pa.float64())),
}

# What tells a table that nesf has written, as a key and value of its schema.
_BY_US = {b"nesf_atoms": b"as found"}

BYTES_AT_ONCE = 2**26
"""Of a table that are unpacked at the same time."""


def read_table(path: str | Path) -> list[Crystal | Failure]:
    """All rows of a table; see ``iter_table``."""
    return list(iter_table(path))


def iter_table(path: str | Path, batch_size: int = 1024) -> Iterator[Crystal | Failure]:
    """The rows of a table in order, read batch by batch; a row that is no crystal is a Failure.

    Geometry may be in single or double precision. Cells in another frame than ours are turned into it. Atoms outside
    the cell are folded into it, as those of all other files are; only tables that nesf has written keep them where a
    model found them, which may be a little outside.

    Raises:
        NesfError: where the file is no Parquet table or lacks a column of the schema.
    """
    with _opened(path) as file:
        columns = file.schema_arrow.names
        missing = [name for name in GEOMETRY if name not in columns]
        if missing:
            raise NesfError(
                f"Table {path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
                f"it needs {', '.join(GEOMETRY)}."
            )
        as_found, start = _BY_US.items() <= (file.schema_arrow.metadata or {}).items(), 0
        for batch in _batches(file, path, _bounded(file, batch_size)):
            yield from _rows(batch, start, path, as_found)
            start += batch.num_rows


def write_table(path: str | Path, crystals: Iterable[Crystal]) -> None:
    """Write crystals as a table; its further columns are the union of their properties, null where one lacks it.

    A column of whole numbers is int64, of numbers float64 (NaN becomes null), of truth values bool; anything else,
    mixtures included, is text.

    Raises:
        NesfError: where a property has the name of a geometry column, or the file cannot be written.
    """
    crystals = list(crystals)
    names = list(dict.fromkeys(name for crystal in crystals for name in crystal.properties))
    if clash := [name for name in names if name in GEOMETRY]:
        raise NesfError(f"A property cannot be called {clash[0]!r}: that is a geometry column of the table.")
    columns = geometry_columns(crystals)
    columns |= {name: _column([crystal.properties.get(name) for crystal in crystals]) for name in names}
    with whole_file(path) as target:
        pq.write_table(pa.table(columns).replace_schema_metadata(_BY_US), target, compression="zstd")


def geometry_columns(entries: Sequence[Crystal | Failure]) -> dict[str, Any]:
    """The geometry columns, one row for each entry; a Failure has its id, and null in the others."""
    lost = pa.array([isinstance(entry, Failure) for entry in entries], pa.bool_())
    crystals = [entry for entry in entries if isinstance(entry, Crystal)]
    atoms = _offsets([0 if isinstance(entry, Failure) else len(entry) for entry in entries])
    axes = _offsets([0 if isinstance(entry, Failure) else 3 for entry in entries])
    numbers = np.concatenate([np.empty(0, np.int64), *(crystal.numbers for crystal in crystals)])
    return {
        "material_id": pa.array([entry.id for entry in entries], pa.string()),
        "numbers": pa.ListArray.from_arrays(atoms, pa.array(numbers.astype(np.int16)), mask=lost),
        "positions": pa.ListArray.from_arrays(atoms, _triple_column([crystal.cart for crystal in crystals]), mask=lost),
        "cell": pa.ListArray.from_arrays(axes, _triple_column([crystal.cell for crystal in crystals]), mask=lost),
    }


def crystals_in(rows: pa.Table) -> Iterator[Crystal]:
    """The crystals of a table in memory, without properties; rows without geometry are passed over."""
    for batch in _found(rows).to_batches():
        for crystal in _rows(batch, 0, "in memory", as_found=True):
            if isinstance(crystal, Failure):  # it was a crystal when it was written
                raise NesfError(f"Crystal {crystal.id!r} cannot be taken from its table: {crystal.reason}")
            yield crystal


def write_geometry(path: str | Path, tables: Iterable[pa.Table]) -> None:
    """Write the crystals of several tables to one, piece by piece; see ``crystals_in`` for what is written."""
    schema = pa.schema(GEOMETRY, metadata=_BY_US)
    with whole_file(path) as target, pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for rows in tables:
            if len(found := _found(rows)):
                writer.write_table(found.replace_schema_metadata(_BY_US))


def count_rows(path: str | Path) -> int | None:
    """Rows of a table, from its last bytes alone; None where it cannot be read."""
    try:
        with _opened(path) as file:
            return int(file.metadata.num_rows)
    except NesfError:
        return None


def _found(rows: pa.Table) -> pa.Table:
    geometry = rows.select(list(GEOMETRY)).cast(pa.schema(GEOMETRY))
    return geometry.filter(geometry["numbers"].is_valid())


def _offsets(counts: Sequence[int]) -> Any:
    return pa.array(np.concatenate(([0], np.cumsum(counts))).astype(np.int32))


def _triple_column(parts: Sequence[NDArray[np.float64]]) -> Any:
    flat = np.concatenate([*parts, np.empty((0, 3))])
    return pa.ListArray.from_arrays(_offsets([3] * len(flat)), pa.array(flat.ravel()))


def _opened(path: str | Path) -> pq.ParquetFile:
    if not Path(path).is_file():
        raise NesfError(f"File {path} does not exist.")
    try:
        # Buffered, so that of a table in one row group not all columns are in memory at once.
        return pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise NesfError(f"File {path} is no Parquet table: {one_line(error)}.") from None


def _bounded(file: pq.ParquetFile, most: int) -> int:
    """Rows to be read at once, fewer where they are long.

    What is said about single columns is not asked for: where it is damaged, pyarrow ends the process.
    """
    largest = 1.0
    for group in map(file.metadata.row_group, range(file.metadata.num_row_groups)):
        largest = max(largest, group.total_byte_size / max(group.num_rows, 1))
    return max(1, min(most, int(BYTES_AT_ONCE / largest)))


def _batches(file: pq.ParquetFile, path: str | Path, size: int) -> Iterator[Any]:
    batches = file.iter_batches(size)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
            raise NesfError(f"Table {path} is damaged: {one_line(error)}.") from None
        if batch is None:
            return
        yield batch


def _rows(batch: Any, start: int, path: str | Path, as_found: bool) -> Iterator[Crystal | Failure]:
    try:
        ids = batch["material_id"].cast(pa.string()).to_pylist()
        numbers = _lists(batch["numbers"].cast(pa.list_(pa.int64())))
        positions = _triples(batch["positions"])
        cells = _triples(batch["cell"])
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise NesfError(f"Table {path} has a geometry column of the wrong type: {one_line(error)}.") from None
    try:
        further = {name: batch[name].to_pylist() for name in batch.schema.names if name not in GEOMETRY}
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise NesfError(f"Table {path} has a column with values that cannot be read: {one_line(error)}.") from None
    rows = zip(ids, numbers, positions, cells, strict=True)
    for index, (given, z, cart, cell) in enumerate(rows):
        properties = {name: values[index] for name, values in further.items() if values[index] is not None}
        name = given or f"{Path(path).stem}-row{start + index + 1}"
        for column, value in (("numbers", z), ("positions", cart), ("cell", cell)):
            if value is None:
                yield Failure(name, f"Row {start + index + 1} of {Path(path).name} has null or ragged {column}.")
                break
        else:
            try:
                crystal = _crystal(name, z, cart, cell, properties)
                yield crystal if as_found else _inside(crystal)
            except NesfError as error:
                yield Failure(name, str(error))


def _crystal(id: str, numbers: Any, cart: Any, cell: Any, properties: dict[str, Any]) -> Crystal:
    try:
        return Crystal(id, numbers, cart, cell, properties)
    except NesfError:
        # Most cells are in our frame, so the others are looked for only here.
        foreign = cell.shape == (3, 3) and np.isfinite(cell).all() and not lattice.is_standard(torch.from_numpy(cell))
        if foreign and abs(np.linalg.det(cell)) > 1e-3:
            return Crystal.from_frac(id, numbers, cart @ np.linalg.inv(cell), cell, properties)
        raise


def _inside(crystal: Crystal) -> Crystal:
    """The crystal with atoms of other cells folded into this one, as those of all other files are."""
    listed = np.linalg.solve(crystal.cell.T, crystal.cart.T).T
    if listed.min() > -lattice.FOLD_TOLERANCE and listed.max() < 1 - lattice.FOLD_TOLERANCE:
        return crystal
    frac = lattice.fold(torch.from_numpy(listed)).numpy()
    # What stays where it is keeps its last digits, too.
    folded = (frac != listed).any(1, keepdims=True)
    return replace(crystal, cart=np.where(folded, frac @ crystal.cell, crystal.cart))


def _lists(column: Any) -> list[NDArray[Any] | None]:
    """One array for each row; None where the row, or a value in it, is null."""
    offsets = column.offsets.to_numpy()
    values = column.values
    whole = column.is_valid().to_numpy(zero_copy_only=False)
    if values.null_count:
        nulls = np.concatenate(([0], values.is_null().to_numpy(zero_copy_only=False).cumsum()))
        whole = whole & (nulls[offsets[1:]] == nulls[offsets[:-1]])
        values = values.fill_null(0)
    flat = values.to_numpy()
    spans = zip(offsets[:-1].tolist(), offsets[1:].tolist(), whole.tolist(), strict=True)
    return [flat[i:j] if ok else None for i, j, ok in spans]


def _triples(column: Any) -> list[NDArray[np.float64] | None]:
    """One (n, 3) array for each row; None where the row is null or holds anything but whole triples."""
    column = column.cast(GEOMETRY["positions"])
    triples, offsets = column.values, column.offsets.to_numpy()
    begins, values = triples.offsets.to_numpy(), triples.values
    good = triples.is_valid().to_numpy(zero_copy_only=False) & (np.diff(begins) == 3)
    if values.null_count:
        nulls = np.concatenate(([0], values.is_null().to_numpy(zero_copy_only=False).cumsum()))
        good = good & (nulls[begins[1:]] == nulls[begins[:-1]])
        values = values.fill_null(0)
    flat = values.to_numpy()[begins[:-1][good][:, None] + np.arange(3)]
    counts = np.concatenate(([0], good.cumsum()))
    whole = column.is_valid().to_numpy(zero_copy_only=False)
    whole = whole & (counts[offsets[1:]] - counts[offsets[:-1]] == np.diff(offsets))
    spans = zip(counts[offsets[:-1]].tolist(), counts[offsets[1:]].tolist(), whole.tolist(), strict=True)
    return [flat[i:j] if ok else None for i, j, ok in spans]


def _column(values: list[Any]) -> Any:
    values = [value.item() if isinstance(value, np.generic) else value for value in values]
    kinds = {type(value) for value in values if value is not None}
    if kinds in ({bool}, {int}):
        return pa.array(values)
    if kinds and kinds <= {int, float}:
        return pa.array(values, pa.float64(), from_pandas=True)
    return pa.array([None if value is None else str(value) for value in values], pa.string())
