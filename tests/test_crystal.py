"""Crystal, validated once at the door, and CrystalBatch against plain Python."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nesf import testing
from nesf.crystal import Crystal, CrystalBatch
from nesf.errors import NesfError

relaxed = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
several = st.lists(testing.crystals(max_atoms=5), min_size=1, max_size=6)

CUBE = 4.0 * np.eye(3)
ORIGIN = np.zeros((1, 3))


@pytest.mark.parametrize(
    ("numbers", "cart", "cell", "words"),
    [
        ([], np.zeros((0, 3)), CUBE, "has no atoms"),
        (11, ORIGIN, CUBE, "has no atoms"),
        ([[11]], ORIGIN, CUBE, "has no atoms"),
        ([11, 17], ORIGIN, CUBE, r"has 2 atoms but positions of shape \(1, 3\)"),
        ([11], np.zeros((1, 2)), CUBE, r"positions of shape \(1, 2\); expected \(n, 3\)"),
        ([11], ORIGIN, np.eye(2), r"has a cell of shape \(2, 2\)"),
        ([11], ORIGIN, np.ones(3), r"has a cell of shape \(3,\)"),
        ([11], [[0, 0, np.nan]], CUBE, "not a finite number"),
        ([11], ORIGIN, np.full((3, 3), np.inf), "not a finite number"),
        ([0], ORIGIN, CUBE, "atomic number 0; expected 1 to 118"),
        ([11, 119], np.zeros((2, 3)), CUBE, "atomic number 119"),
        ([11], ORIGIN, np.diag([4.0, 4.0, 0.0]), "without volume"),
        ([11], ORIGIN, CUBE[[1, 0, 2]], "not in the standard frame .use Crystal.from_frac"),
        ([11], ORIGIN, -CUBE, "not in the standard frame"),
        (["Na"], ORIGIN, CUBE, "not regular arrays"),
        ([11, 11], [[0, 0, 0], [0, 0]], CUBE, "not regular arrays"),
    ],
)
def test_each_refusal_names_the_crystal_and_the_reason(numbers, cart, cell, words):
    with pytest.raises(NesfError, match=f"^Crystal 'bad' .*{words}"):
        Crystal("bad", numbers, cart, cell)


@pytest.mark.parametrize(
    ("frac", "cell"),
    [(ORIGIN, np.eye(2)), (np.zeros(4), CUBE), ([[0, 0, 0], [0, 0]], CUBE), ("here", CUBE)],
)
def test_wrong_shapes_of_fractional_coordinates_are_refused(frac, cell):
    with pytest.raises(NesfError, match=r"^Crystal 'bad' has coordinates or a cell of the wrong shape"):
        Crystal.from_frac("bad", [11], frac, cell)


def test_what_was_validated_stays_so():
    numbers, cart, cell, properties = np.array([11]), np.zeros((1, 3)), CUBE.copy(), {"band_gap": 8.5}
    crystal = Crystal("x", numbers, cart, cell, properties)
    for name in ("numbers", "cart", "cell"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(crystal, name)[...] = 0
    with pytest.raises(TypeError):
        crystal.properties["band_gap"] = 0.0
    numbers[:], cart[:], cell[:], properties["band_gap"] = 1, 9, 0, 0.0
    assert crystal == Crystal("x", [11], ORIGIN, CUBE)
    assert crystal.properties == {"band_gap": 8.5}


@pytest.mark.parametrize("kind", [list, np.array])
def test_plain_python_numbers_make_the_same_crystal(kind):
    made = Crystal.from_frac("x", kind([11, 17]), kind([(0, 0, 0), (1, 1, 1)]), kind([(4, 0, 0), (0, 4, 0), (0, 0, 4)]))
    assert made.numbers.tolist() == [11, 17]
    np.testing.assert_allclose(made.cart, np.zeros((2, 3)), atol=testing.FLOAT64_ANGSTROM)
    np.testing.assert_allclose(made.cell, CUBE, atol=testing.FLOAT64_ANGSTROM)
    assert (made.numbers.dtype, made.cart.dtype, made.cell.dtype) == (np.int64, np.float64, np.float64)


@relaxed
@given(testing.crystals(), st.integers(0, 2**32 - 1), st.tuples(*[st.integers(-2, 2)] * 3))
def test_frame_and_whole_cells_do_not_matter(crystal, seed, steps):
    turned = crystal.cell @ Rotation.random(rng=seed).as_matrix()
    # A coordinate within rounding of the fold may land on either face.
    frac = np.where(crystal.frac < 1e-6, 0, crystal.frac)
    again = Crystal.from_frac(crystal.id, crystal.numbers, frac + steps, turned)
    np.testing.assert_allclose(again.cart, frac @ crystal.cell, rtol=0, atol=1e-8)
    np.testing.assert_allclose(again.cell, crystal.cell, rtol=0, atol=testing.FLOAT64_ANGSTROM)
    np.testing.assert_allclose(again.frac, frac, rtol=0, atol=1e-8)


def test_equality_is_of_all_that_is_measured():
    one = testing.rocksalt()
    assert one == testing.rocksalt()
    others = [one.renamed("y"), testing.perovskite().renamed("NaCl"), "NaCl"]
    others += [Crystal("NaCl", one.numbers[::-1], one.cart, one.cell)]
    others += [Crystal("NaCl", one.numbers, one.cart + 1e-9, one.cell), Crystal("NaCl", one.numbers, one.cart, CUBE)]
    assert [one == other for other in others] == [False] * 6


@pytest.mark.parametrize(
    ("numbers", "formula"), [([8, 8, 22], "TiO2"), ([6] * 8, "C"), ([8] * 6 + [13] * 4, "Al2O3"), ([1], "H")]
)
def test_formulas_are_reduced(numbers, formula):
    frac = np.linspace(0, 0.9, len(numbers))[:, None] * np.ones(3)
    assert Crystal.from_frac("x", numbers, frac, CUBE).formula == formula


@relaxed
@given(several, st.data())
def test_a_batch_is_the_list_of_its_crystals(crystals, data):
    batch = CrystalBatch.from_crystals(crystals)
    chosen = data.draw(st.lists(st.integers(0, len(crystals) - 1), min_size=1, max_size=8))
    picked = batch.select(torch.tensor(chosen))
    wanted = [crystals[i] for i in chosen]
    assert len(picked) == len(wanted)
    assert picked.numbers.tolist() == [z for c in wanted for z in c.numbers.tolist()]
    assert picked.owner.tolist() == [i for i, c in enumerate(wanted) for _ in range(len(c))]
    cart = np.concatenate([c.cart for c in wanted]).astype(np.float32)
    assert np.array_equal(picked.cart.numpy(), cart)
    assert np.array_equal(picked.cells.numpy(), np.stack([c.cell for c in wanted]).astype(np.float32))


@relaxed
@given(several)
def test_padding_is_infinitely_far_and_of_no_element(crystals):
    cart, numbers = CrystalBatch.from_crystals(crystals).padded()
    most = max(len(c) for c in crystals)
    assert cart.shape == (len(crystals), most, 3)
    for i, crystal in enumerate(crystals):
        missing = most - len(crystal)
        assert numbers[i].tolist() == crystal.numbers.tolist() + [0] * missing
        assert np.array_equal(cart[i, : len(crystal)].numpy(), crystal.cart.astype(np.float32))
        assert cart[i, len(crystal) :].eq(torch.inf).all()


@relaxed
@given(several, st.integers(1, 4))
def test_chunks_are_slices(crystals, size):
    batch = CrystalBatch.from_crystals(crystals)
    parts = list(batch.chunks(size))
    assert [len(part) for part in parts] == [len(crystals[i : i + size]) for i in range(0, len(crystals), size)]
    assert torch.cat([part.numbers for part in parts]).equal(batch.numbers)
    assert torch.cat([part.cart for part in parts]).equal(batch.cart)
    assert torch.cat([part.cells for part in parts]).equal(batch.cells)


def test_a_batch_has_the_parameters_of_its_crystals():
    lengths, angles_rad = CrystalBatch.from_crystals(testing.known_crystals()).parameters()
    np.testing.assert_allclose(lengths, [c.lengths for c in testing.known_crystals()], rtol=1e-6)
    np.testing.assert_allclose(angles_rad, [c.angles_rad for c in testing.known_crystals()], rtol=1e-6)


def test_an_empty_batch_is_refused():
    with pytest.raises(NesfError, match="at least one crystal"):
        CrystalBatch.from_crystals([])
