"""Data sets by name or path, with what could not be read and a fingerprint."""

import hashlib

import pytest

from nesf import testing
from nesf.crystal import Failure
from nesf.data.datasets import load_dataset
from nesf.data.textbook import textbook
from nesf.errors import NesfError
from nesf.io import write_cif, write_table


def test_the_embedded_set_needs_no_file():
    data = load_dataset("textbook")
    assert data.name == "textbook"
    assert [c.id for c in data.crystals] == [c.id for c in textbook()]
    assert data.failures == ()
    assert load_dataset("textbook").sha256 == data.sha256


def test_a_file_keeps_its_order_and_its_hash(tmp_path):
    path = tmp_path / "known.parquet"
    write_table(path, testing.known_crystals())
    data = load_dataset(path)
    assert data.name == "known.parquet"
    assert data.crystals == testing.known_crystals()
    assert data.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_dataset(str(path)) == data


def test_a_file_of_the_name_of_an_embedded_set_comes_first(tmp_path, monkeypatch):
    (tmp_path / "textbook").mkdir()
    write_cif(testing.rocksalt(), tmp_path / "textbook" / "salt.cif")
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("textbook").crystals) == 1


def test_what_cannot_be_read_is_kept_beside_the_rest(tmp_path):
    write_cif(testing.rocksalt(), tmp_path / "a.cif")
    (tmp_path / "b.cif").write_text("data_nothing\n")
    write_cif(testing.perovskite(), tmp_path / "c.cif")
    data = load_dataset(tmp_path)
    assert [c.formula for c in data.crystals] == ["NaCl", "SrTiO3"]
    assert [type(failure) for failure in data.failures] == [Failure]
    assert "b.cif" in data.failures[0].id + data.failures[0].reason


def test_the_fingerprint_of_a_folder_is_that_of_its_files_in_order(tmp_path):
    write_cif(testing.rocksalt(), tmp_path / "a.cif")
    (tmp_path / "sub").mkdir()
    write_cif(testing.perovskite(), tmp_path / "sub" / "b.cif")
    before = load_dataset(tmp_path).sha256
    both = (tmp_path / "a.cif").read_bytes() + (tmp_path / "sub" / "b.cif").read_bytes()
    assert before == hashlib.sha256(both).hexdigest()
    write_cif(testing.hexagonal(), tmp_path / "sub" / "b.cif")
    assert load_dataset(tmp_path).sha256 != before


def test_what_is_no_data_is_refused(tmp_path):
    with pytest.raises(NesfError, match=r"nowhere is neither a file or folder nor an embedded data set .textbook."):
        load_dataset("nowhere")
    (tmp_path / "broken.cif").write_text("data_nothing\n")
    with pytest.raises(NesfError, match="holds no crystal that can be read; the first reason: "):
        load_dataset(tmp_path)
