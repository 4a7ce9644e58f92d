import json
import shutil

import numpy as np
import pytest
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp.inputs import Poscar

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io import find, iter_read, read, to_pymatgen, write_cif, write_extxyz, write_poscar, write_table
from nesf.io.files import LeftOut
from nesf.testing import caesium_chloride, hexagonal, known_crystals, perovskite, rocksalt

CIF = str(CifWriter(to_pymatgen(caesium_chloride())))


def ids(sources):
    return [item.id for item in read(sources)]


def test_a_folder_with_one_broken_file_gives_the_others_and_a_failure(tmp_path):
    (tmp_path / "a.cif").write_text(CIF)
    (tmp_path / "b.cif").write_text(CIF.replace("_cell_length_a", "_cell_lost"))
    (tmp_path / "c.cif").write_text(CIF)
    first, failure, last = read(tmp_path)
    assert (first.id, last.id) == ("a", "c")
    assert isinstance(failure, Failure)
    assert failure.id == "b.cif"
    assert "b.cif" in failure.reason
    assert "\n" not in failure.reason


BROKEN = {
    "x.cif": "data_x\n_cell_length_a 4\nloop_\n_atom_site_label\nNa\n",
    "empty.cif": "",
    "binary.cif": "\0\1\2",
    "x.vasp": "comment\n1.0\n4 0 0\n0 4 0\n",
    "x.xyz": "2\nLattice=\"4 0 0 0 4 0 0 0 4\"\nNa 0 0 0\n",
    "y.xyz": "one\n\n",
    "z.xyz": "1\nLattice=\"4 0 0 0 4 0 0 0 4\" Properties=species:S:1:pos:R:3\nNa 0 zero 0\n",
    "molecule.xyz": "1\ncomment\nH 0 0 0\n",
    "slab.xyz": "1\nLattice=\"4 0 0 0 4 0 0 0 4\" pbc=\"T T F\"\nH 0 0 0\n",
    "x.json": "{",
    "y.json": '{"a": 1}',
    "z.json": '[{"lattice": {}, "sites": []}]',
    "x.parquet": "no table",
    "x.csv": "a,b\n1,2\n",
    "disordered.cif": CIF.replace("0.00000000  0.00000000  0.00000000  1", "0.00000000  0.00000000  0.00000000  0.5"),
    "POSCAR_names": "comment\n1.0\n4 0 0\n0 4 0\n0 0 4\n1 1\nDirect\n0 0 0\n0.5 0.5 0.5\n",
}  # fmt: skip
REASONS = {
    "molecule.xyz": "molecule, not a crystal",
    "slab.xyz": "pbc TTF",
    "disordered.cif": "disordered",
    "POSCAR_names": "does not name its elements",
    "x.csv": "no column 'cif'",
    "x.xyz": "ends in the middle",
}


@pytest.mark.parametrize("name", BROKEN)
def test_every_broken_file_is_one_sentence_that_names_it(tmp_path, name):
    (tmp_path / name).write_text(BROKEN[name])
    [failure] = read(tmp_path / name)
    assert isinstance(failure, Failure)
    assert name in failure.reason
    assert REASONS.get(name, "") in failure.reason
    assert "\n" not in failure.reason
    assert failure.reason.endswith(".")
    assert len(failure.reason) < 500


def test_paths_that_cannot_be_read_are_refused_before_anything_is_read(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "a.cif").write_text(CIF)
    for name, text in (("none.cif", "does not exist"), ("empty", "nothing readable"), ("notes.txt", "unknown ending")):
        with pytest.raises(NesfError, match=text) as caught:
            iter_read([tmp_path / "a.cif", tmp_path / name])
        assert name in str(caught.value)


def test_folders_are_searched_to_their_depth_in_order_and_other_files_passed_over(tmp_path):
    for name in ("b/2.cif", "b/1.cif", "a/deep/3.cif", ".git/4.cif", "0.cif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(CIF)
    (tmp_path / "notes.txt").write_text("x")
    assert ids([tmp_path]) == ["0", "3", "1", "2"]


def test_equal_ids_get_suffixes(tmp_path):
    for folder in "abc":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.cif").write_text(CIF)
    (tmp_path / "d.json").write_text(json.dumps({"x-2": to_pymatgen(rocksalt()).as_dict() | {"properties": {}}}))
    assert ids([tmp_path]) == ["x", "x-2", "x-3", "x-2-2"]


def test_ids_of_cif_blocks(tmp_path):
    (tmp_path / "one.cif").write_text(CIF)
    (tmp_path / "equal.cif").write_text(CIF + CIF)
    (tmp_path / "named.cif").write_text("data_global\n_x 1\n" + CIF.replace("data_CsCl", "data_p") + CIF)
    assert ids([tmp_path / "one.cif"]) == ["one"]
    assert ids([tmp_path / "equal.cif"]) == ["equal-1", "equal-2"]
    assert ids([tmp_path / "named.cif"]) == ["p", "CsCl"]


def test_one_broken_block_leaves_the_other(tmp_path):
    (tmp_path / "two.cif").write_text(CIF.replace("data_CsCl", "data_p").replace("_cell_length_a", "_lost") + CIF)
    failure, crystal = read(tmp_path)
    assert (failure.id, crystal.id) == ("p", "CsCl")
    assert "two.cif" in failure.reason


def test_ids_of_poscars(tmp_path):
    for name in ("run1/POSCAR", "run1/CONTCAR", "POSCAR_b", "c.vasp", "d.poscar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Poscar(to_pymatgen(perovskite())).write_file(tmp_path / name)
    write_poscar(perovskite(), tmp_path / "e.vasp")
    assert ids([tmp_path]) == ["POSCAR_b", "c", "d", "e", "run1", "run1-2"]
    assert {tuple(sorted(item.numbers.tolist())) for item in read(tmp_path)} == {(8, 8, 8, 22, 38)}


def test_ids_of_frames(tmp_path):
    write_extxyz(known_crystals(), tmp_path / "all.xyz")
    assert read(tmp_path / "all.xyz")[1].id == "CsCl"
    frame = '1\nLattice="4 0 0 0 4 0 0 0 4" {}\nNa 0 0 0\n'
    (tmp_path / "one.xyz").write_text(frame.format("energy=-1.5 label=x"))
    (tmp_path / "three.xyz").write_text("".join(frame.format(text) for text in ("", "id=007", 'material_id="a b"')))
    assert ids([tmp_path / "one.xyz"]) == ["one"]
    assert dict(read(tmp_path / "one.xyz")[0].properties) == {"energy": -1.5, "label": "x"}
    assert ids([tmp_path / "three.xyz"]) == ["three-1", "007", "a b"]


def test_a_bad_frame_leaves_the_others(tmp_path):
    good = '1\nLattice="4 0 0 0 4 0 0 0 4"\nNa 0 0 0\n'
    (tmp_path / "three.xyz").write_text(good + "1\nno lattice\nNa 0 0 0\n" + good)
    first, failure, last = read(tmp_path)
    assert (first.id, failure.id, last.id) == ("three-1", "three-2", "three-3")
    assert "three.xyz" in failure.reason


def test_layouts_of_json(tmp_path):
    plain = to_pymatgen(hexagonal()).as_dict() | {"properties": {}}
    record = {"material_id": "mp-153", "structure": plain, "band_gap": 0.0, "elements": ["Mg"]}
    for name, data in (
        ("one", plain),
        ("own", to_pymatgen(hexagonal()).as_dict()),
        ("list", [plain, plain]),
        ("map", {"first": plain, "second": plain}),
        ("records", [record]),
        ("partly", {"good": plain, "bad": {"x": 1}}),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    assert ids([tmp_path / "one.json"]) == ["one"]
    assert ids([tmp_path / "own.json"]) == ["Mg"]
    assert ids([tmp_path / "list.json"]) == ["list-1", "list-2"]
    assert ids([tmp_path / "map.json"]) == ["first", "second"]
    [crystal] = read(tmp_path / "records.json")
    assert (crystal.id, dict(crystal.properties)) == ("mp-153", {"band_gap": 0.0})
    good, bad = read(tmp_path / "partly.json")
    assert (good.id, bad.id, type(bad)) == ("good", "bad", Failure)


def test_columns_of_cdvae_csv_become_properties(tmp_path):
    field = '"' + CIF.replace('"', '""') + '"'
    rows = [f"0,7,{field},NaN,1,2.5,", f"1,8,{field},Na3N,2,inf,x", "2,9,broken,InF,3,1,y"]
    (tmp_path / "t.csv").write_text(",material_id,cif,formula,n,gap,note\n" + "\n".join(rows) + "\n")
    first, second, failure = read(tmp_path)
    assert (first.id, dict(first.properties)) == ("7", {"formula": "NaN", "n": 1, "gap": 2.5})
    assert dict(second.properties) == {"formula": "Na3N", "n": 2, "note": "x"}
    assert (failure.id, type(failure)) == ("9", Failure)
    assert "t.csv" in failure.reason


def test_a_long_csv_field_is_read(tmp_path):
    (tmp_path / "t.csv").write_text('cif\n"' + CIF + "# " + "x" * 200_000 + '"\n')
    assert ids([tmp_path]) == ["t-1"]


def test_a_folder_may_hold_a_released_data_set_beside_other_files(tmp_path, shared_data):
    released = shared_data / "official_pickles" / "dataset_YBCO13_fold0_test"
    for name in ("dataset.pkl", "dataset_attr.json"):
        (tmp_path / "set").mkdir(exist_ok=True)
        shutil.copyfile(released / name, tmp_path / "set" / name)
    write_cif(rocksalt(), tmp_path / "z.cif")
    assert ids([tmp_path]) == ["mp-1214583", "mp-1250948", "mp-985569", "mp-1260870", "mvc-1081", "NaCl"]
    assert len(read(tmp_path / "set" / "dataset.pkl")) == 5


def test_conversion_says_so_and_its_failures_are_values(tmp_path):
    on_top = Crystal.from_frac("bad", [1, 1], [[0, 0, 0], [0, 0, 0.001]], 4 * np.eye(3))
    write_table(tmp_path / "t.parquet", [rocksalt(), on_top])
    converted, failure = iter_read(tmp_path / "t.parquet", cell="primitive")
    assert (len(converted), converted.id) == (2, "NaCl")
    assert converted.properties["cell_conversion"] == "primitive, symprec 0.01 Å"
    assert isinstance(failure, Failure)
    assert failure.id == "bad"
    assert "t.parquet" in failure.reason
    assert "cell_conversion" not in read(tmp_path / "t.parquet")[0].properties


def named_table(path, *names):
    write_table(path, [rocksalt().renamed(name) for name in names])
    return path


def test_an_objection_meets_the_ids_of_the_files_before_they_get_suffixes(tmp_path):
    tables = [named_table(tmp_path / "a.parquet", "x", "y"), named_table(tmp_path / "b.parquet", "x", "x-2", "y")]
    entries = list(find(tables).entries(objection=lambda crystal: "No." if crystal.id == "x-2" else None))
    left_out = LeftOut("x-2", f"In {tables[1]}: No.", "No.")
    assert [getattr(entry, "id", None) for entry in entries] == ["x", "y", "x-2", "x-2", "y-2"]
    assert [entry for entry in entries if isinstance(entry, Failure)] == [left_out] == [entries[3]]


def test_what_is_objected_to_takes_no_id_from_the_others(tmp_path):
    tables = [named_table(tmp_path / "a.parquet", "x"), named_table(tmp_path / "b.parquet", "x")]
    verdicts = iter(["No.", None])
    left_out, kept = find(tables).entries(objection=lambda _: next(verdicts))
    assert isinstance(left_out, LeftOut)
    assert isinstance(kept, Crystal)
    assert kept.id == "x"


def test_an_objection_is_asked_before_the_cell_is_converted_and_never_about_what_is_passed_over(tmp_path):
    on_top = Crystal.from_frac("bad", [1, 1], [[0, 0, 0], [0, 0, 0.5]], 4 * np.eye(3))
    write_table(tmp_path / "t.parquet", [perovskite(), rocksalt(), on_top])
    asked = []

    def objection(crystal):
        asked.append((crystal.id, len(crystal)))
        return "It has hydrogen." if 1 in crystal.numbers else None

    kept, left_out = find(tmp_path / "t.parquet", "primitive").entries(1, objection=objection)
    assert asked == [("NaCl", 8), ("bad", 2)]
    assert len(kept) == 2
    assert left_out.objection == "It has hydrogen."


def test_the_ids_of_files_are_those_of_all_entries_as_they_stand(tmp_path):
    named_table(tmp_path / "a.parquet", "x", "x", "y")
    (tmp_path / "two.cif").write_text(CIF.replace("data_CsCl", "data_p").replace("_cell_length_a", "_lost") + CIF)
    assert find(tmp_path).ids() == {"x", "y", "p", "CsCl"}


@pytest.mark.parametrize("name", ["x.cif", "x.parquet", "x.vasp", "x.csv"])
def test_of_a_file_that_cannot_be_read_the_ids_are_not_guessed(tmp_path, name):
    (tmp_path / "a.cif").write_text(CIF)
    (tmp_path / name).write_text(BROKEN[name])
    with pytest.raises(NesfError, match="not known") as caught:
        find(tmp_path).ids()
    assert str(tmp_path / name) in str(caught.value)
