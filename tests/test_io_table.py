import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io import iter_table, read_latents, read_table, write_latents, write_table
from nesf.io.table import crystals_in, write_geometry
from nesf.output import whole_file
from nesf.testing import crystals, known_crystals, rocksalt

CELL = (4 * np.eye(3)).tolist()


def table(path, **columns):
    base = {"material_id": ["a"], "numbers": [[11]], "positions": [[[0.0, 0, 0]]], "cell": [CELL]}
    pq.write_table(pa.table(base | columns), path)
    return path


@given(st.lists(crystals(), max_size=4))
@settings(max_examples=20, deadline=None)
def test_table_gives_crystals_back_exactly(tmp_path_factory, drawn):
    path = tmp_path_factory.mktemp("table") / "t.parquet"
    write_table(path, drawn)
    assert read_table(path) == drawn


def test_properties_come_back_with_their_types_and_unknown_ones_are_left_out(tmp_path):
    properties = [
        {"gap": 1.5, "n": 3, "metal": True, "note": "x"},
        {"gap": 2, "n": np.int64(4)},
        {"gap": np.nan, "mixed": 1},
        {"mixed": "one"},
    ]
    nacl = rocksalt()
    rows = [Crystal("x", nacl.numbers, nacl.cart, nacl.cell, values) for values in properties]
    write_table(tmp_path / "t.parquet", rows)
    back = [dict(c.properties) for c in read_table(tmp_path / "t.parquet")]
    assert back == [
        {"gap": 1.5, "n": 3, "metal": True, "note": "x"},
        {"gap": 2.0, "n": 4},
        {"mixed": "1"},
        {"mixed": "one"},
    ]
    types = pq.read_schema(tmp_path / "t.parquet")
    expected = {"gap": "double", "n": "int64", "metal": "bool", "note": "string", "mixed": "string"}
    assert {name: str(types.field(name).type) for name in expected} == expected


def test_atoms_a_little_outside_the_cell_stay_in_our_tables_and_are_folded_in_those_of_others(tmp_path):
    cell = np.diag([30.0, 5.0, 6.0])
    frac = np.array([[-0.002, 0.5, 1.0], [0.99999, 0.2, 1.03], [0.3, 0.3, 0.3]])
    crystal = Crystal("x", [8, 22, 26], frac @ cell, cell)
    write_table(tmp_path / "ours.parquet", [crystal])
    assert read_table(tmp_path / "ours.parquet") == [crystal]
    ours = pq.read_table(tmp_path / "ours.parquet")
    assert list(crystals_in(ours)) == [crystal]
    write_geometry(tmp_path / "again.parquet", [ours])
    assert read_table(tmp_path / "again.parquet") == [crystal]
    pq.write_table(ours.replace_schema_metadata(None), tmp_path / "theirs.parquet")
    (folded,) = read_table(tmp_path / "theirs.parquet")
    np.testing.assert_allclose(folded.frac, [[0.998, 0.5, 0.0], [-0.00001, 0.2, 0.03], [0.3, 0.3, 0.3]], atol=1e-12)
    assert folded.cart[2].tolist() == crystal.cart[2].tolist()


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"positions": pa.array([None], pa.list_(pa.list_(pa.float64())))}, "null or ragged positions"),
        ({"positions": [[[0.0, 0.0]]]}, "null or ragged positions"),
        ({"positions": [[[0.0, None, 0.0]]]}, "null or ragged positions"),
        ({"positions": pa.array([[None]], pa.list_(pa.list_(pa.float64())))}, "null or ragged positions"),
        ({"positions": [[[0.0, 0, 0], [1.0, 1, 1]]]}, "1 atoms but positions of shape"),
        ({"positions": [[[0.0, np.nan, 0]]]}, "finite"),
        ({"numbers": [[None]]}, "null or ragged numbers"),
        ({"numbers": [[0]]}, "atomic number 0"),
        ({"numbers": pa.array([[]], pa.list_(pa.int64()))}, "no atoms"),
        ({"cell": [CELL[:2]]}, "cell of shape"),
        ({"cell": [[[1.0, 0, 0], [1.0, 0, 0], [0, 0, 1.0]]]}, "without volume"),
        ({"cell": [[[np.inf, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]]}, "finite"),
    ],
)
def test_hostile_rows_are_failures_and_the_others_are_read(tmp_path, columns, text):
    good = pq.read_table(table(tmp_path / "good.parquet", material_id=["good"]))
    if columns.get("numbers") == [[None]]:
        columns = {"numbers": pa.array([[None]], pa.list_(pa.int64()))}
    bad = pq.read_table(table(tmp_path / "bad.parquet", material_id=["bad"], **columns))
    path = tmp_path / "both.parquet"
    pq.write_table(pa.concat_tables([good, bad, good]), path)
    first, failure, last = read_table(path)
    assert first.id == last.id == "good"
    assert isinstance(failure, Failure)
    assert failure.id == "bad"
    assert text in failure.reason


def test_rows_are_the_same_in_any_batch_size(tmp_path):
    write_table(tmp_path / "t.parquet", known_crystals())
    for size in (1, 2, 100):
        assert list(iter_table(tmp_path / "t.parquet", size)) == list(known_crystals())


def test_a_row_without_id_is_named_after_file_and_row(tmp_path):
    [crystal] = read_table(table(tmp_path / "t.parquet", material_id=pa.array([None], pa.string())))
    assert crystal.id == "t-row1"


def test_a_cell_in_another_frame_is_turned(tmp_path):
    turn = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    crystal = rocksalt()
    path = tmp_path / "t.parquet"
    columns = {"numbers": [crystal.numbers.tolist()], "positions": [(crystal.cart @ turn).tolist()]}
    [back] = read_table(table(path, **columns, cell=[(crystal.cell @ turn).tolist()]))
    np.testing.assert_allclose(back.cell, crystal.cell, atol=1e-9)
    np.testing.assert_allclose(back.cart, crystal.cart, atol=1e-9)


def test_tables_that_are_none_are_refused_by_name(tmp_path):
    pq.write_table(pa.table({"material_id": ["a"], "cell": [CELL]}), tmp_path / "few.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    table(tmp_path / "typed.parquet", numbers=["NaCl"])
    for name, text in (
        ("few", "few.parquet lacks the columns numbers, positions"),
        ("text", "text.parquet is no Parquet"),
        ("none", "none.parquet does not exist"),
        ("typed", "typed.parquet has a geometry column of the wrong type"),
    ):
        with pytest.raises(NesfError, match=text):
            read_table(tmp_path / f"{name}.parquet")


def test_a_property_cannot_take_the_name_of_a_geometry_column(tmp_path):
    crystal = rocksalt()
    with pytest.raises(NesfError, match="'cell'"):
        write_table(tmp_path / "t.parquet", [Crystal("x", crystal.numbers, crystal.cart, crystal.cell, {"cell": 1})])


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    def interrupted():
        with whole_file(tmp_path / "f") as target:
            target.write_text("half")
            raise KeyboardInterrupt

    (tmp_path / "f").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "old"
    with pytest.raises(NesfError, match="cannot be written"), whole_file(tmp_path / "f" / "below") as target:
        target.write_text("x")


@given(st.integers(0, 5), st.integers(1, 7))
@settings(max_examples=10, deadline=None)
def test_latents_come_back_exactly(tmp_path_factory, n, d):
    path = tmp_path_factory.mktemp("z") / "z.parquet"
    z = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    write_latents(path, [f"mp-{i}" for i in range(n)], z, "lcs6a", "abc")
    back = read_latents(path)
    assert (back.ids, back.model, back.model_hash) == (tuple(f"mp-{i}" for i in range(n)), "lcs6a", "abc")
    assert back.z.dtype == np.float32
    np.testing.assert_array_equal(back.z, z)


def test_latents_that_are_none_are_refused_by_name(tmp_path):
    write_table(tmp_path / "t.parquet", [rocksalt()])
    pq.write_table(pa.table({"material_id": ["a"], "z": [[np.nan]]}), tmp_path / "nan.parquet")
    pq.write_table(pa.table({"material_id": ["a", "b"], "z": [[1.0], [1.0, 2.0]]}), tmp_path / "ragged.parquet")
    pq.write_table(pa.table({"material_id": ["a", "b"], "z": [[1.0], None]}), tmp_path / "null.parquet")
    for name, text in (
        ("t", "lacks the column z"),
        ("nan", "not finite"),
        ("ragged", "one length"),
        ("null", "null"),
        ("no", "not exist"),
    ):
        with pytest.raises(NesfError, match=text) as caught:
            read_latents(tmp_path / f"{name}.parquet")
        assert f"{name}.parquet" in str(caught.value)
    with pytest.raises(NesfError, match="as many ids"):
        write_latents(tmp_path / "z.parquet", ["a"], np.zeros((2, 3), np.float32), "m", "h")
