import builtins
import json
import os
import pickle
import pickletools
from contextlib import suppress

import numpy as np
import pytest

from nesf.crystal import Failure
from nesf.errors import NesfError
from nesf.io import read
from nesf.io.released import read_released

ROW = (np.array([[0.0, 0, 0], [2, 2, 2]]), np.array([1, 0]), (4.0, 4.0, 4.0), (np.pi / 2,) * 3, "mp-1")


def released(folder, rows, protocol=4, payload=None):
    folder.mkdir(exist_ok=True)
    (folder / "dataset_attr.json").write_text(json.dumps({"num_species": 2, "sidx_to_z": [9, 55], "mpid": ["mp-1"]}))
    (folder / "dataset.pkl").write_bytes(payload or pickle.dumps(rows, protocol=protocol))
    return folder


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_data_set_is_read(tmp_path):
    for protocol in (3, 4):
        [crystal] = read_released(released(tmp_path / "set", [ROW], protocol))
        assert (crystal.id, crystal.numbers.tolist()) == ("mp-1", [55, 9])
        np.testing.assert_array_equal(crystal.cart, ROW[0])
        np.testing.assert_allclose(crystal.cell, 4 * np.eye(3), atol=1e-12)


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f8"])
def test_any_float_and_order_is_read(tmp_path, dtype):
    positions = np.asfortranarray(np.array([[0, 0, 0.5], [2, 1, 2]], dtype=dtype))
    [crystal] = read_released(released(tmp_path / "set", [(positions, *ROW[1:])], 3))
    np.testing.assert_array_equal(crystal.cart, positions)


def hostile(mark):
    """Pickles that would each write the file ``mark`` if they were loaded."""
    touch = f"touch {mark}"
    code = f"open({str(mark)!r}, 'w').close()"
    system, evaluate = Calls(os.system, touch), Calls(builtins.eval, code)
    boxed = np.empty(1, dtype=object)
    boxed[0] = system
    rows = {
        "system": system,
        "nested": [{"a": (1, [system])}],
        "in a row": [(system, *ROW[1:])],
        "after good rows": [ROW, ROW, system],
        "eval": evaluate,
        "exec": Calls(builtins.exec, code),
        "getattr": Calls(builtins.getattr, "", "join"),
        "object array": [(boxed, *ROW[1:])],
        "numpy gadget": Calls(np.testing.assert_raises, ValueError, eval, code),
        "numpy loader": Calls(np.load, str(mark)),
    }
    for name, value in rows.items():
        yield name, pickle.dumps(value, protocol=3)
    for module, attribute in (
        ("numpy.testing._private.utils", "runstring"),
        ("numpy", "ndarray.__reduce__"),
        ("numpy.core.multiarray", "_reconstruct.__globals__"),
        ("numpy.f2py.diagnose", "run_command"),
        ("builtins", "eval"),
        ("os", "system"),
    ):
        text = code if attribute == "eval" else touch
        raw = f"c{module}\n{attribute}\n(V{text}\ntR.".encode()
        yield f"raw {module}.{attribute}", raw
    # a call of eval hidden as the state of an admitted array
    yield "state", b"cnumpy\nndarray\n(I1\ntR(cbuiltins\neval\n(V" + code.encode() + b"\ntRtb."


def test_the_hostile_pickles_are_hostile(tmp_path):
    ran = set()
    for name, payload in hostile(tmp_path / "mark"):
        with suppress(Exception):  # some gadgets exist in other versions of NumPy only
            pickle.loads(payload)  # noqa: S301 (that it runs code is what is to be shown)
        if (tmp_path / "mark").exists():
            ran.add(name)
            (tmp_path / "mark").unlink()
    assert {"system", "nested", "in a row", "after good rows", "eval", "exec", "object array", "state"} <= ran


def test_a_hostile_pickle_runs_no_code_and_is_refused(tmp_path):
    for name, payload in hostile(tmp_path / "mark"):
        folder = released(tmp_path / "set", None, payload=payload)
        with pytest.raises(NesfError, match="only plain NumPy arrays are admitted") as caught:
            list(read_released(folder))
        assert "dataset.pkl" in str(caught.value), name
        assert not (tmp_path / "mark").exists(), name


def test_an_object_array_of_plain_values_is_refused_too(tmp_path):
    boxed = np.array([[0, 0, 0]], dtype=object)
    [failure] = read_released(released(tmp_path / "set", [(boxed, np.array([0]), *ROW[2:])], 3))
    assert isinstance(failure, Failure)
    assert failure.id == "mp-1"
    assert "plain numbers" in failure.reason


def test_only_the_inert_stand_in_is_ever_made(tmp_path):
    payload = pickle.dumps([ROW], protocol=3)
    names = {arg for op, arg, _ in pickletools.genops(payload) if op.name == "GLOBAL"}
    assert {name.split()[1] for name in names} == {"_reconstruct", "ndarray", "dtype"}
    assert len(read(released(tmp_path / "set", None, payload=payload))) == 1


def test_damaged_data_sets_are_refused_by_name(tmp_path):
    whole = pickle.dumps([ROW], protocol=3)
    for payload, text in (
        (b"junk", "refused"),
        (whole[:60], "refused"),
        (b"\x80\x03.", "refused"),
        (b"K\x01.", "no list"),
    ):
        folder = released(tmp_path / "set", None, payload=payload)
        with pytest.raises(NesfError, match=text) as caught:
            list(read_released(folder))
        assert "dataset.pkl" in str(caught.value)
    (tmp_path / "set" / "dataset_attr.json").write_text("{}")
    with pytest.raises(NesfError, match=r"dataset_attr\.json has no list"):
        list(read_released(tmp_path / "set"))


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ((ROW[0], np.array([1, 2]), *ROW[2:]), "species index"),
        ((ROW[0], np.array([-1, 0]), *ROW[2:]), "species index"),
        ((ROW[0], np.array([1.0, 0.0]), *ROW[2:]), "species index"),
        ((ROW[0][:1], *ROW[1:]), "2 atoms but positions"),
        ((*ROW[:2], (4.0, 4.0), *ROW[3:]), "not \\(positions"),
        ((*ROW[:3], (0.1, 0.1, 3.0), "mp-1"), "without volume"),
        (ROW[:4], "not \\(positions"),
        ("text", "not \\(positions"),
    ],
)
def test_a_bad_row_is_a_failure_and_the_others_are_read(tmp_path, row, text):
    first, failure, last = read_released(released(tmp_path / "set", [ROW, row, ROW], 3))
    assert first == last
    assert isinstance(failure, Failure)
    with pytest.raises(ValueError, match=text):
        raise ValueError(failure.reason)
