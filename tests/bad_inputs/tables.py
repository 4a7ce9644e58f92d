"""Parquet and csv tables, rows and whole files."""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bad_inputs.case import Case, refused, works
from bad_inputs.cif import GOOD

CELL = [[4.0, 0, 0], [0, 4.0, 0], [0, 0, 4.0]]


def parquet(**columns: Any) -> bytes:
    """A table of one crystal, with other columns; one that is None is left away."""
    base = {"material_id": ["a"], "numbers": [[11]], "positions": [[[0.0, 0, 0]]], "cell": [CELL], **columns}
    file = io.BytesIO()
    pq.write_table(pa.table({name: values for name, values in base.items() if values is not None}), file)
    return file.getvalue()


def rows(*numbers: list[int]) -> bytes:
    """A table of several crystals of one atom each, of which some may be none."""
    n = len(numbers)
    names = [f"row{i}" for i in range(n)]
    return parquet(material_id=names, numbers=list(numbers), positions=[[[0.0, 0, 0]]] * n, cell=[CELL] * n)


def csv(text: str, head: str = "material_id,cif") -> str:
    quoted = text.replace('"', '""')
    return f'{head}\na,"{quoted}"\n'


FULL = parquet()
CASES: tuple[Case, ...] = (
    works("single_precision.parquet", parquet(positions=pa.array([[[0, 0, 0]]], pa.list_(pa.list_(pa.float32())))), 1),
    works("other_frame.parquet", parquet(cell=[[[0, 4.0, 0], [0, 0, 4.0], [4.0, 0, 0]]]), 1),
    works("left_handed.parquet", parquet(cell=[[[0, 4.0, 0], [4.0, 0, 0], [0, 0, 4.0]]]), 1),
    refused("no_numbers.parquet", parquet(numbers=None), "lacks the column numbers"),
    refused("no_geometry.parquet", parquet(positions=None, cell=None), "lacks the columns positions, cell"),
    refused("numbers_text.parquet", parquet(numbers=["NaCl"]), "wrong type"),
    refused("positions_flat.parquet", parquet(positions=[[0.0, 0, 0]]), "wrong type"),
    refused("cell_text.parquet", parquet(cell=["cubic"]), "wrong type"),
    refused("numbers_fractional.parquet", parquet(numbers=[[11.5]]), "wrong type"),
    refused("ids_nested.parquet", parquet(material_id=[["a"]]), "wrong type"),
    refused(
        "null_cell.parquet", parquet(cell=pa.array([None], pa.list_(pa.list_(pa.float64())))), "null or ragged cell"
    ),
    refused("ragged.parquet", parquet(positions=[[[0.0, 0.0]]]), "null or ragged positions"),
    refused("nan.parquet", parquet(positions=[[[0.0, float("nan"), 0]]]), "not a finite number"),
    refused("cell_infinite.parquet", parquet(cell=[[[float("inf"), 0, 0], *CELL[1:]]]), "not a finite number"),
    refused("cell_flat.parquet", parquet(cell=[[CELL[0], CELL[0], CELL[2]]]), "without volume"),
    refused("zero_atoms.parquet", parquet(numbers=pa.array([[]], pa.list_(pa.int64()))), "no atoms"),
    refused("element_0.parquet", parquet(numbers=[[0]]), "atomic number 0"),
    refused("element_119.parquet", parquet(numbers=[[119]]), "atomic number 119"),
    refused("overlap.parquet", parquet(numbers=[[1, 1]], positions=[[[0.0, 0, 0], [4.0, 0, 0.1]]]), "0.10 Å from"),
    refused("own_image.parquet", parquet(cell=[[[0.4, 0, 0], *CELL[1:]]]), "from its own image"),
    Case("some_rows.parquet", rows([11], [0], [12], []), atoms=(1, 1), says=("atomic number 0", "no atoms")),
    refused("no_table.parquet", "material_id,cif\n", "no Parquet table"),
    refused("empty.parquet", "", "no Parquet table"),
    refused("truncated.parquet", FULL[: len(FULL) // 2], "no Parquet table"),
    refused("no_head.parquet", bytes(200) + FULL[200:], "damaged"),
    refused("no_cif.csv", "material_id,formula\na,NaCl\n", "no column 'cif'"),
    refused("broken_cif.csv", csv("data_x\n_cell_length_a oops\n"), "'a' has no"),
    refused("long_id.csv", f"material_id,cif\n{'a' * 500},x\n", "material_id of 500 letters"),
    refused("empty_cif.csv", csv(""), "'a' has no"),
    refused("disordered.csv", csv(GOOD.replace("0 0 0 1", "0 0 0 0.5")), "disordered"),
    refused("short_row.csv", "material_id,cif\na\n", "'a' has no"),
    refused("latin1.csv", "material_id,cif\ncaf\xe9,x\n".encode("latin-1"), "no readable csv"),
    works("long_row.csv", csv(GOOD).rstrip("\n") + ",1,2,3\n", 2),
    works("byte_order_mark.csv", b"\xef\xbb\xbf" + csv(GOOD).encode(), 2),
    Case("some_rows.csv", (csv(GOOD) + "b,nothing\n" + csv(GOOD)[16:]).encode(), atoms=(2, 2), says=("'b' has no",)),
)
