"""What the voxel representation costs before any network errs: true labels read back, on real and on known crystals.

Measured over the whole tables, in the order number of atoms, position (actual), position (detected), species (actual):
LCS6Å validation 3.50 %, 0.049 Å, 0.053 Å, 0.8 %, and with balls that keep apart and true angles 0.70 %, 0.018 Å,
0.016 Å, 0.2 %; ICSG3D validation 0.29 %, 0.036 Å, 0.023 Å, 0.6 %; YBCO-like 80 %, 0.46 Å, 0.26 Å, 13.8 %, and with
balls that keep apart 0 %, 0.050 Å, 0.050 Å, 0 %. The tests take a part of each.
"""

import numpy as np
import pytest

from nesf.baselines.voxel.grid import GridSettings
from nesf.baselines.voxel.oracle import oracle
from nesf.crystal import Crystal, Failure
from nesf.io.table import read_table
from nesf.metrics import Score, score
from nesf.testing import known_crystals, rocksalt

PUBLISHED = GridSettings()
APART = GridSettings(label_fraction=0.5, label_voxels=1.5, angles="true")
APART_YBCO = GridSettings(label_fraction=0.6, label_voxels=1.3, angles="true")


def ceiling(crystals: list[Crystal], settings: GridSettings) -> Score:
    return score(zip(crystals, oracle(crystals, settings), strict=True))


def some(path, part=slice(None)) -> list[Crystal]:
    return [row for row in read_table(path)[part] if isinstance(row, Crystal)]


def test_lcs6a_loses_atoms_whose_balls_overlap(shared_data):
    score = ceiling(some(shared_data / "lcs6a_val.parquet", slice(0, None, 5)), PUBLISHED)
    assert score.atoms_error_percent == pytest.approx(3.5, abs=1.0)
    assert score.position_actual == pytest.approx(0.027, abs=0.01)
    assert score.position_detected == pytest.approx(0.046, abs=0.01)
    assert score.species_actual_percent < 1.0
    assert score.length_error == pytest.approx(0.0, abs=1e-4)


def test_lcs6a_is_nearly_free_where_balls_keep_apart(shared_data):
    score = ceiling(some(shared_data / "lcs6a_val.parquet", slice(0, None, 5)), APART)
    assert score.atoms_error_percent < 1.0
    assert score.position_actual < 0.025
    assert score.species_actual_percent < 0.5


def test_right_angles_cost_only_the_cells_without(shared_data):
    oblique = [c for c in some(shared_data / "lcs6a_val.parquet") if np.abs(c.angles_rad - np.pi / 2).max() > 0.01]
    assert 0 < len(oblique) < 12
    right = ceiling(oblique, PUBLISHED)
    true = ceiling(oblique, GridSettings(angles="true"))
    assert true.angle_error == pytest.approx(0.0, abs=1e-4)
    assert right.angle_error > 5
    assert right.position_actual > 0.3 > 0.2 > true.position_actual


def test_icsg3d_is_nearly_free(shared_data):
    score = ceiling(some(shared_data / "icsg3d_val.parquet", slice(0, None, 8)), PUBLISHED)
    assert score.atoms_error_percent < 3.0
    assert score.position_actual == pytest.approx(0.022, abs=0.005)
    assert score.species_actual_percent < 0.5


def test_most_ybco_like_crystals_cannot_be_read_because_of_the_balls_not_the_grid(shared_data):
    few = some(shared_data / "ybco_like.parquet", slice(0, None, 8))
    assert ceiling(few, PUBLISHED).atoms_error_percent >= 70
    apart = ceiling(few, APART_YBCO)
    assert apart.atoms_error_percent == 0
    assert apart.position_actual < 0.065
    assert apart.species_actual_percent == 0


def test_known_crystals_come_back_through_small_balls():
    for true, found in zip(known_crystals(), oracle(known_crystals(), APART), strict=True):
        assert isinstance(found, Crystal)
        assert len(found) == len(true)
        distance = np.linalg.norm(true.cart[:, None] - found.cart[None], axis=-1)
        match = distance.argmin(1)
        assert sorted(match.tolist()) == list(range(len(true)))
        assert distance.min(1).max() < 0.07
        assert (found.numbers[match] == true.numbers).all()
        assert found.cell == pytest.approx(true.cell, abs=1e-6)


def test_with_right_angles_an_oblique_cell_is_found_as_a_box():
    (true,) = (c for c in known_crystals() if c.id == "Mg")
    (found,) = oracle([true], GridSettings(label_fraction=0.5, label_voxels=1.5))
    assert isinstance(found, Crystal)
    assert found.cell == pytest.approx(np.diag(true.lengths), abs=1e-6)
    in_box = true.frac * true.lengths
    assert np.linalg.norm(in_box[:, None] - found.cart[None], axis=-1).min(1).max() < 0.07


def test_an_element_without_a_class_is_a_failure_and_the_others_are_found():
    curium = Crystal.from_frac("Cm", [96], [[0.5, 0.5, 0.5]], 5.0 * np.eye(3))
    steps: list[int] = []
    found = oracle([rocksalt(), curium, rocksalt()], APART, steps.append)
    assert [type(f) for f in found] == [Crystal, Failure, Crystal]
    assert isinstance(found[1], Failure)
    assert found[1].id == "Cm"
    assert "Cm has no class" in found[1].reason
    assert sum(steps) == 3
