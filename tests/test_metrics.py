"""Laws and known answers of the metrics."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nesf import metrics, testing
from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.metrics.means import Mean
from nesf.testing import FLOAT64_ANGSTROM

relaxed = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def moved(crystal: Crystal, shift) -> Crystal:
    """The same crystal with every atom displaced by a Cartesian vector (Å), not folded back."""
    return replace(crystal, cart=crystal.cart + np.asarray(shift))


def permuted(crystal: Crystal, order) -> Crystal:
    return replace(crystal, numbers=crystal.numbers[order], cart=crystal.cart[order])


def without(crystal: Crystal, index: int) -> Crystal:
    return permuted(crystal, np.delete(np.arange(len(crystal)), index))


def errors(score: metrics.Score) -> list[float | None]:
    return [score.to_dict()[column.key] for column in metrics.COLUMNS]


@pytest.mark.parametrize("crystal", testing.known_crystals(), ids=lambda c: c.id)
def test_a_perfect_reconstruction_has_no_error(crystal):
    score = metrics.score([(crystal, crystal)])
    assert errors(score) == [0.0] * 7
    periodic = score.periodic
    assert periodic.position_actual == pytest.approx(0, abs=FLOAT64_ANGSTROM)
    assert periodic.position_detected == pytest.approx(0, abs=FLOAT64_ANGSTROM)
    assert (periodic.species_actual_percent, periodic.species_detected_percent) == (0.0, 0.0)


def test_known_answer_of_a_small_displacement():
    true = testing.caesium_chloride()
    found = replace(true, cart=true.cart + np.array([[0.3, 0, 0.4], [0, 0, 0]]))
    comparison = metrics.compare(true, found)
    assert comparison.actual.distances == pytest.approx([0.5, 0.0])
    assert metrics.score([(true, found)]).position_actual == pytest.approx(0.25)


def test_a_missing_atom_costs_only_the_actual_errors():
    true = testing.caesium_chloride()
    found = without(true, 1)
    score = metrics.score([(true, found)])
    assert score.atoms_error_percent == 100
    assert score.position_actual == pytest.approx(4.123 * 3**0.5 / 2 / 2)  # the centre atom sees the corner atom
    assert score.species_actual_percent == 50
    assert (score.position_detected, score.species_detected_percent) == (0, 0)


def test_a_surplus_atom_costs_only_the_detected_errors():
    true = testing.caesium_chloride()
    found = Crystal(true.id, np.append(true.numbers, 8), np.vstack([true.cart, [1.0, 0, 0]]), true.cell)
    score = metrics.score([(true, found)])
    assert score.atoms_error_percent == 100
    assert (score.position_actual, score.species_actual_percent) == (0, 0)
    assert score.position_detected == pytest.approx(1 / 3)
    assert score.species_detected_percent == pytest.approx(100 / 3)


def test_a_wrong_element_is_a_species_error_and_nothing_else():
    true = testing.perovskite()
    numbers = true.numbers.copy()
    numbers[0] = 56
    score = metrics.score([(true, replace(true, numbers=numbers))])
    assert errors(score) == [0, 0, 0, 20, 20, 0, 0]


def test_lattice_errors_are_absolute_and_averaged_over_axes():
    true = testing.perovskite()
    cell = np.diag([3.905 + 0.3, 3.905 - 0.6, 3.905])
    score = metrics.score([(true, replace(true, cell=cell))])
    assert score.length_error == pytest.approx(0.3)
    assert score.angle_error == pytest.approx(0)
    bent = np.array([[4.0, 0, 0], [0, 4, 0], [4 * np.tan(np.radians(6)), 0, 4]])
    assert metrics.compare(true, replace(true, cell=bent)).angle_errors == pytest.approx([0, 6, 0])


def test_a_lattice_translation_costs_a_cell_in_plain_and_nothing_in_periodic_distances():
    true = testing.triclinic()
    lone = permuted(true, [0])
    found = moved(lone, true.cell[1])
    assert metrics.compare(lone, found).actual.distances == pytest.approx([4.9])
    assert metrics.compare(lone, found, periodic=True).actual.distances == pytest.approx([0], abs=FLOAT64_ANGSTROM)


@relaxed
@given(testing.crystals(), st.tuples(*[st.integers(-3, 3)] * 3))
def test_periodic_errors_do_not_see_lattice_translations(crystal, steps):
    found = moved(crystal, np.array(steps) @ crystal.cell)
    comparison = metrics.compare(crystal, found, periodic=True)
    assert comparison.actual.distances == pytest.approx(0, abs=FLOAT64_ANGSTROM)
    assert not comparison.actual.wrong_species.any()


@relaxed
@given(testing.crystals(), testing.crystals(), st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_the_atoms_does_not_matter(true, found, random, periodic):
    order = random.sample(range(len(found)), len(found))
    before = metrics.compare(true, found, periodic)
    after = metrics.compare(true, permuted(found, order), periodic)
    assert after.actual.distances == pytest.approx(before.actual.distances)
    assert (after.actual.wrong_species == before.actual.wrong_species).all()
    assert after.detected.distances == pytest.approx(before.detected.distances[order])
    assert (after.detected.wrong_species == before.detected.wrong_species[order]).all()


def test_among_equally_near_atoms_one_of_another_element_is_an_error_in_either_order():
    cell = 4 * np.eye(3)
    true = Crystal("x", np.array([8]), np.array([[1.0, 1, 1]]), cell)
    found = Crystal("x", np.array([8, 9]), np.array([[1.5, 1, 1], [0.5, 1, 1]]), cell)
    assert metrics.compare(true, found).actual.wrong_species.all()
    assert metrics.compare(true, permuted(found, [1, 0])).actual.wrong_species.all()


@relaxed
@given(testing.crystals(), testing.crystals())
def test_exchanging_true_and_found_exchanges_actual_and_detected(first, second):
    there, back = metrics.compare(first, second), metrics.compare(second, first)
    assert (there.actual.distances == back.detected.distances).all()
    assert (there.detected.wrong_species == back.actual.wrong_species).all()
    assert there.length_errors == pytest.approx(back.length_errors)


@relaxed
@given(testing.crystals(), testing.crystals())
def test_periodic_distances_agree_with_pymatgen_and_never_exceed_plain_ones(true, found):
    from pymatgen.core import Lattice

    frac = found.cart @ np.linalg.inv(true.cell)
    expected = Lattice(true.cell).get_all_distances(true.frac, frac)
    comparison = metrics.compare(true, found, periodic=True)
    assert comparison.actual.distances == pytest.approx(expected.min(1), abs=1e-6)
    assert comparison.detected.distances == pytest.approx(expected.min(0), abs=1e-6)
    plain = metrics.compare(true, found).actual.distances
    assert (comparison.actual.distances <= plain + FLOAT64_ANGSTROM).all()


def test_means_pool_atoms_not_crystals():
    small, large = testing.caesium_chloride(), testing.rocksalt()  # 2 and 8 atoms
    score = metrics.score([(small, moved(small, [0.5, 0, 0])), (large, large)])
    assert score.position_actual == pytest.approx(0.5 * 2 / 10)
    assert score.position_detected == pytest.approx(0.5 * 2 / 10)
    assert (score.n_atoms_true, score.n_atoms_found) == (10, 10)


def test_a_failure_counts_as_wrong_and_is_left_out_where_nothing_can_be_measured():
    good, lost = testing.rocksalt(), testing.caesium_chloride()
    found = moved(good, [0.1, 0, 0])
    score = metrics.score([(good, found), (lost, Failure(lost.id, "no atom was found"))])
    assert score.atoms_error_percent == 50
    assert score.species_actual_percent == 20  # 2 of 10 atoms
    assert score.species_detected_percent == 0
    assert score.position_actual == pytest.approx(0.1)
    assert (score.length_error, score.angle_error) == (0, 0)
    row = score.to_dict()
    assert row["failures"] == 1
    assert row["failure_reasons"] == [{"id": "CsCl", "reason": "no atom was found"}]
    assert row["position_crystals_left_out"] == row["lattice_crystals_left_out"] == 1
    assert row["coverage"]["position_actual"] == {"crystals": 1, "atoms": 8}
    assert row["coverage"]["species_actual_percent"] == {"crystals": 2, "atoms": 10}
    assert row["periodic"]["species_actual_percent"] == 20


def test_means_of_nothing_are_null_in_json():
    crystal = testing.caesium_chloride()
    all_lost = metrics.score([(crystal, Failure(crystal.id, "lost"))])
    assert errors(all_lost) == [100, None, None, 100, None, None, None]
    assert errors(metrics.score([])) == [None] * 7
    for score in (all_lost, metrics.score([])):
        assert json.loads(json.dumps(score.to_dict(), allow_nan=False)) == score.to_dict()


@given(st.lists(st.floats(-1e9, 1e9)), st.data())
def test_a_mean_is_exact_in_any_order_and_in_any_parts(values, data):
    shuffled = data.draw(st.permutations(values))
    cut = data.draw(st.integers(0, len(values)))
    part = Mean.from_dict(json.loads(json.dumps(Mean(shuffled[:cut]).to_dict())))
    part.merge(Mean(shuffled[cut:]))
    exact = sum(map(Fraction, values), Fraction(0))
    assert part.value == (float(exact) / len(values) if values else None)
    assert part.count == len(values)


@pytest.mark.parametrize("values", [[float("nan")], [1.0, float("inf")], [float("inf"), -float("inf")], [1e308, 1e308]])
def test_a_mean_of_what_is_not_finite_is_refused_and_keeps_what_it_had(values):
    mean = Mean([1.0, 3.0])
    with pytest.raises(ValueError, match="not finite, or too large"):
        mean.add(values)
    assert (mean.value, mean.count) == (2.0, 2)


@relaxed
@given(st.lists(st.tuples(testing.crystals(), testing.crystals(), st.booleans()), min_size=1, max_size=6), st.data())
def test_the_score_is_that_of_all_atoms_pooled_and_of_merged_parts(drawn, data):
    pairs = [(true, Failure(true.id, "lost") if lost else found.renamed(true.id)) for true, found, lost in drawn]
    cut = data.draw(st.integers(0, len(pairs)))
    whole, parts = metrics.Tally(), [metrics.Tally(), metrics.Tally()]
    for i, pair in enumerate(pairs):
        whole.add(*pair)
        parts[i >= cut].add(*pair)
    kept = [metrics.Tally.from_dict(json.loads(json.dumps(part.to_dict()))) for part in parts]
    kept[0].merge(kept[1])
    score = metrics.score(pairs)
    assert score == whole.score() == kept[0].score()

    both = [metrics.compare(*pair) for pair in pairs]
    found = [one for one in both if one.found]
    pooled = {
        "position_actual": [one.actual.distances for one in found],
        "position_detected": [one.detected.distances for one in found],
        "species_actual_percent": [100.0 * one.actual.wrong_species for one in both],
        "species_detected_percent": [100.0 * one.detected.wrong_species for one in found],
        "length_error": [one.length_errors for one in found],
        "angle_error": [one.angle_errors for one in found],
        "atoms_error_percent": [[100.0 * (one.n_true != one.n_found)] for one in both],
    }
    for key, values in pooled.items():
        expected = np.concatenate(values).mean() if values else None
        assert score.to_dict()[key] == (None if expected is None else pytest.approx(expected, rel=1e-14, abs=1e-14))

    images = [metrics.compare(*pair, periodic=True) for pair in pairs]
    distances = [max(*one.actual.distances, *one.detected.distances) for one in images if one.found]
    assert (score.farthest.distance if score.farthest else None) == max(distances, default=None)


def test_the_farthest_atom_is_named_whether_it_is_missing_moved_or_too_many():
    sound = testing.rocksalt()
    assert metrics.score([(sound, sound.renamed("NaCl"))]).farthest == metrics.Farthest("NaCl", 0.0)
    # One of the two atoms is missing, or one too many: half a diagonal away from the other.
    true = testing.caesium_chloride()
    one = without(true, 1)
    for pair in [(true, one), (one, true)]:
        farthest = metrics.score([(sound, sound), pair]).farthest
        assert (farthest.id, farthest.distance) == ("CsCl", pytest.approx(np.sqrt(0.75) * 4.123))
    # An atom that came back at the opposite face is where it was.
    across = replace(true, cart=true.cart + np.array([[4.123, 0, 0], [0, 0, 0]]))
    assert metrics.score([(true, across)]).farthest.distance < 1e-12
    assert metrics.score([(true, Failure("CsCl", "lost"))]).farthest is None


def test_pairs_of_different_crystals_are_refused():
    with pytest.raises(NesfError, match=r"'NaCl' is paired with 'CsCl'"):
        metrics.score([(testing.rocksalt(), testing.caesium_chloride())])
    with pytest.raises(NesfError, match="paired"):
        metrics.per_crystal_table([(testing.rocksalt(), Failure("CsCl", "lost"))])


def test_the_table_has_a_row_for_each_crystal_and_says_what_it_could_not_measure():
    crystals = testing.known_crystals()
    pairs = [(c, moved(c, [0, 0.2, 0])) for c in crystals[:-1]] + [(crystals[-1], Failure("TiO2", "lost"))]
    rows = metrics.per_crystal_table(pairs)
    assert [row["id"] for row in rows] == [c.id for c in crystals]
    assert [row["n_true"] for row in rows] == [len(c) for c in crystals]
    assert rows[0]["position_actual"] == pytest.approx(0.2)
    assert rows[0]["ok"] is True
    lost = rows[-1]
    assert (lost["ok"], lost["reason"], lost["n_found"], lost["species_actual_percent"]) == (False, "lost", 0, 100)
    assert [lost[key] for key in ("position_actual", "position_detected", "length_error", "angle_error")] == [None] * 4
    alone = metrics.score([pairs[1]]).to_dict()
    assert {key: rows[1][key] for key in rows[1].keys() & alone.keys()}.items() <= alone.items()


def test_published_rows_are_complete_and_those_of_the_paper():
    assert len(metrics.PUBLISHED) == 3 * 3 * 2
    keys = [column.key for column in metrics.COLUMNS]
    assert all(list(row.mean) == keys for row in metrics.PUBLISHED)
    row = metrics.published("lcs6a", "val")
    assert list(row.mean.values()) == [6.33, 0.1503, 0.1083, 13.22, 12.22, 0.05, 0.15]
    assert list(metrics.published("ybco_like", "test").mean.values()) == [12, 0.2631, 0.2448, 14.78, 19.89, 0.25, 2.91]
    assert metrics.published("icsg3d", "train", "icsg3d").deviation["species_actual_percent"] == 1.84
    assert metrics.published("ybco_like", "val").deviation["angle_error"] is None
    assert metrics.published("lcs6a", "all") is None


def test_both_readings_of_the_papers_position_rows_are_at_hand():
    row = metrics.published("lcs6a", "test")
    other = row.exchanged()
    assert (other.mean["position_actual"], other.mean["position_detected"]) == (0.1632, 0.1161)
    assert other.mean["species_actual_percent"] == row.mean["species_actual_percent"]
    assert json.loads(json.dumps(other.to_dict()))["mean"] == dict(other.mean)


def test_the_closest_approach_looks_across_faces_and_at_images():
    near = Crystal.from_frac("x", [1, 1], [[0.05, 0, 0], [0.95, 0, 0]], 4 * np.eye(3))
    assert metrics.closest_approach(near) == pytest.approx(0.4)
    alone = Crystal.from_frac("x", [1], [[0, 0, 0]], np.diag([3.0, 4.0, 5.0]))
    assert metrics.closest_approach(alone) == pytest.approx(3.0)


def test_periodic_errors_are_exact_in_cells_that_look_nothing_like_their_lattice():
    # By the 27 images next to each other in this cell, the missing atom is 8.7 angstrom away.
    cell = np.array([[3.0, 0, 0], [19, 3, 0], [20, 20, 4]])
    true = Crystal("x", [11, 17], np.array([[0, 0, 0], [0.3, 0.5, 0.5]]) @ cell, cell)
    steps = np.stack(np.meshgrid(*[np.arange(-20, 21)] * 3), -1).reshape(-1, 3) @ cell
    nearest = np.linalg.norm(true.cart[1] - true.cart[0] + steps, axis=1).min()
    comparison = metrics.compare(true, without(true, 1), periodic=True)
    assert comparison.actual.distances.tolist() == pytest.approx([0.0, nearest])
