"""Found crystals judged as structures: match, validity, GLASS, space group; alone, over processes, by the command."""

import json
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nesf
from nesf import match
from nesf.cli import main
from nesf.codec import Codec
from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io import read_table, write_table
from nesf.io.composition import valid_composition
from nesf.io.matcher import STOL, rms_distance
from nesf.match import Judge, total, valid_geometry, verdict
from nesf.metrics.assignment import assign
from nesf.metrics.images import closest_approach, nearest_distances, reduced_cell
from nesf.metrics.match_score import KEYS, MatchTally, Verdict
from nesf.testing import FLOAT64_ANGSTROM, caesium_chloride, crystals, hexagonal, known_crystals, perovskite, rocksalt
from nesf.workers import end, follow

CELLS = st.tuples(st.lists(st.floats(-1, 1), min_size=9, max_size=9), st.integers(0, 2**32 - 1), st.integers(0, 12))


def skewed(drawn) -> tuple[np.ndarray, np.ndarray]:
    """A tame cell, and another one of the same lattice, skewed by many random shears."""
    values, seed, shears = drawn
    tame = 3 * np.eye(3) + 0.6 * np.array(values).reshape(3, 3)
    random, cell = np.random.default_rng(seed), tame.copy()
    for _ in range(shears):
        i, j = random.permutation(3)[:2]
        cell[i] += random.integers(-3, 4) * cell[j]
    return tame, cell


def supercell(crystal: Crystal) -> Crystal:
    """Two cells of a crystal along a."""
    frac = crystal.frac / [2, 1, 1]
    both = np.concatenate((frac, frac + np.array([0.5, 0, 0])))
    return Crystal.from_frac(crystal.id, np.tile(crystal.numbers, 2), both, crystal.cell * [[2], [1], [1]])


def shifted(crystal: Crystal, shift: list[float]) -> Crystal:
    return Crystal.from_frac(crystal.id, crystal.numbers, crystal.frac + shift, crystal.cell)


# Nearest images.


@given(CELLS)
def test_a_reduced_cell_has_the_shortest_vectors_of_the_same_lattice(drawn):
    tame, cell = skewed(drawn)
    reduced = reduced_cell(cell)
    whole = reduced @ np.linalg.inv(tame)
    np.testing.assert_allclose(whole, whole.round(), atol=1e-6)
    assert abs(np.linalg.det(whole)) == pytest.approx(1)
    images = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), axis=-1).reshape(-1, 3) @ tame
    shortest = np.sort(np.linalg.norm(images, axis=-1))[1]
    assert np.linalg.norm(reduced[0]) == pytest.approx(shortest)


@given(CELLS, st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_distances_are_to_the_nearest_image_however_skewed_the_cell(drawn, frac):
    tame, cell = skewed(drawn)
    point = np.array(frac) @ tame
    images = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), axis=-1).reshape(-1, 3) @ tame
    expected = np.linalg.norm(point + images, axis=-1).min()
    found = nearest_distances(np.zeros((1, 3)), point[None], cell)
    np.testing.assert_allclose(found, [[expected]], atol=1e-6)


@pytest.mark.parametrize(
    ("crystal", "expected"),
    [(rocksalt(), 2.82), (caesium_chloride(), 4.123 * np.sqrt(0.75)), (perovskite(), 1.9525)],
)
def test_the_closest_approach_is_the_bond_length(crystal, expected):
    assert closest_approach(crystal) == pytest.approx(expected)


# GLASS.


def test_the_rmsd_of_glass_by_hand():
    true = Crystal("x", np.array([3, 9]), np.array([[0.0, 0, 0], [2, 0, 0]]), 4 * np.eye(3))
    # In the found cell of 5 Å the first true atom is 0.3 Å from the second found one, across the face, and the second
    # 1.5 Å from the first; in a cell of 4 Å the other assignment is the shorter, with 0.5 and 1.3 Å.
    found = Crystal("x", np.array([9, 9]), np.array([[3.5, 0, 0], [4.7, 0, 0]]), 5 * np.eye(3))
    result = assign(true, found)
    assert result.rmsd == pytest.approx(np.sqrt((0.3**2 + 1.5**2) / 2))
    assert (result.n_atoms, result.n_right_species) == (2, 1)
    smaller = assign(true, replace(found, cell=4 * np.eye(3)))
    assert smaller.rmsd == pytest.approx(np.sqrt((0.5**2 + 1.3**2) / 2))


def test_nothing_is_rescaled_or_shifted():
    true = caesium_chloride()
    larger = Crystal.from_frac("CsCl", true.numbers, true.frac, 1.1 * true.cell)
    # The atom at the origin stays, the one in the centre moves by half of a tenth of the diagonal.
    assert assign(true, larger).rmsd == pytest.approx(0.05 * 4.123 * np.sqrt(3) / np.sqrt(2))
    assert assign(true, shifted(true, [0.1, 0, 0])).rmsd == pytest.approx(0.4123)


def test_only_crystals_with_the_right_count_are_assigned():
    assert assign(perovskite(), caesium_chloride()) is None


@settings(max_examples=25)
@given(crystals(), st.randoms(use_true_random=False))
def test_the_order_of_atoms_and_their_images_do_not_matter(crystal, random):
    order = random.sample(range(len(crystal)), len(crystal))
    moved = replace(crystal, numbers=crystal.numbers[order], cart=crystal.cart[order] + crystal.cell[2])
    result = assign(crystal, moved)
    assert result.rmsd == pytest.approx(0, abs=1e-6)
    assert result.n_right_species == len(crystal)


# Match.


@pytest.mark.parametrize("crystal", known_crystals(), ids=lambda crystal: crystal.id)
def test_a_crystal_matches_itself_its_supercell_and_any_origin(crystal):
    for same in (crystal, supercell(crystal), shifted(crystal, [0.3, 0.1, 0.45])):
        assert rms_distance(same, crystal) == pytest.approx(0, abs=FLOAT64_ANGSTROM)


def test_the_displacement_is_a_share_of_the_length_per_atom():
    true = caesium_chloride()
    found = replace(true, cart=true.cart + np.array([[0, 0, 0], [0.4, 0, 0]]))
    # With a free origin each of the two atoms is 0.2 Å off.
    assert rms_distance(found, true) == pytest.approx(0.2 / (4.123**3 / 2) ** (1 / 3), rel=1e-3)


def test_other_species_or_another_structure_are_no_match():
    salt = rocksalt()
    assert rms_distance(replace(salt, numbers=np.where(salt.numbers == 11, 19, 17)), salt) is None
    assert rms_distance(perovskite(), salt) is None
    titanium_for_strontium = replace(perovskite(), numbers=np.array([22, 38, 8, 8, 8]))
    assert rms_distance(titanium_for_strontium, perovskite()) is None


# Validity.


@pytest.mark.parametrize(
    ("numbers", "valid"),
    [
        ([11, 17], True),
        ([11] * 4 + [17] * 4, True),
        ([11, 17, 17], False),
        ([6, 6], True),  # one element
        ([29, 30, 26], True),  # an alloy
        ([2, 8], False),  # no oxidation states
        ([118, 8], False),  # not in SMACT's table
        ([26, 26, 26, 8, 8, 8, 8], False),  # Fe3O4 needs two states of iron
    ],
)
def test_the_composition_rule(numbers, valid):
    assert valid_composition(numbers) == valid


def test_about_91_of_100_real_crystals_pass_the_composition_rule(shared_data):
    path = shared_data / "mp20_val.parquet"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    sample = read_table(path)[::30]
    share = sum(valid_composition(crystal.numbers.tolist()) for crystal in sample) / len(sample)
    assert len(sample) > 200
    assert 0.87 < share < 0.95


def test_atoms_must_keep_apart_images_included():
    def pair(distance: float) -> Crystal:
        return Crystal("x", np.array([11, 17]), np.array([[0, 0, 0], [distance, 0, 0]]), 4 * np.eye(3))

    assert valid_geometry(pair(0.51))
    assert not valid_geometry(pair(0.49))
    assert not valid_geometry(pair(3.51))
    assert not valid_geometry(Crystal("x", np.array([3]), np.zeros((1, 3)), np.diag([4, 4, 0.49])))
    # Sheared along a, this cell has edges of 4 Å and yet images 0.3 Å apart.
    thin = np.array([[4.0, 0, 0], [4, 0.3, 0], [0, 0, 4]])
    assert not valid_geometry(Crystal("x", np.array([3]), np.zeros((1, 3)), thin))


# Verdicts, together.


def some_pairs() -> list[tuple[Crystal, Crystal | Failure]]:
    """A hit, a hit whose composition is not valid, a miss, a wrong count and a failure, over and over."""
    salt, perov, magnesium = rocksalt(), perovskite(), hexagonal()
    oxide = Crystal.from_frac("NaCl2", [11, 17, 17], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]], 4 * np.eye(3))
    near = replace(salt, cart=salt.cart + 0.05 * np.eye(8, 3))
    one = [
        (salt, near),
        (oxide, oxide),
        (perov, replace(perov, numbers=np.array([22, 38, 8, 8, 8]))),
        (magnesium, replace(caesium_chloride(), id="Mg", numbers=np.array([12, 12]))),
        (perov, Failure("SrTiO3", "lost")),
        (perov, replace(salt, id="SrTiO3")),
    ]
    return [(replace(true, id=f"{i}"), replace(found, id=f"{i}")) for i, (true, found) in enumerate(one * 3)]


def test_the_score_by_hand():
    values = Judge()(some_pairs()).score().to_dict()
    near = rms_distance(some_pairs()[0][1], rocksalt())
    assert values["match_rate_all"] == pytest.approx(2 / 6)
    assert values["match_rate_valid"] == pytest.approx(1 / 6)
    assert values["match_rmse"] == pytest.approx(near / 2)
    assert values["match_crmse"] == pytest.approx((near + 4 * STOL) / 6)
    assert values["glass_species_percent"] == pytest.approx(100 * (8 + 3 + 3 + 2) / (8 + 3 + 5 + 2))
    counts = values["match"]
    assert (counts["n"], counts["found"], counts["matched"], counts["right_count"]) == (18, 15, 6, 12)
    assert (counts["true_valid"], counts["glass_atoms"], counts["undecided"]) == (15, 3 * 18, [])
    assert counts["valid"] == 12


def test_every_key_is_there_and_a_mean_of_nothing_is_none():
    empty = MatchTally(STOL).score().to_dict()
    assert set(empty) == {*KEYS, "match"}
    assert {empty[key] for key in KEYS} == {None}
    lost = Judge()([(rocksalt(), Failure("NaCl", "lost"))]).score()
    assert (lost.match_rate_all, lost.match_rmse, lost.match_crmse, lost.glass_rmsd) == (0, None, STOL, None)
    assert (lost.glass_species_percent, lost.spacegroup_recovered_percent) == (None, 0)
    assert " ".join(KEYS) == (
        "match_rate_all match_rate_valid match_rmse match_crmse glass_rmsd glass_species_percent "
        "spacegroup_recovered_percent"
    )


def test_two_processes_judge_as_one_does_to_the_last_digit(monkeypatch):
    monkeypatch.setattr(match, "WORTH_PROCESSES", 2)
    told: list[int] = []
    alone = Judge()(some_pairs(), told.append)
    assert sum(told) == len(some_pairs())
    with Judge(processes=2) as judge:
        both = judge(some_pairs(), told.append)
        assert judge._pool is not None
    assert both.to_dict() == alone.to_dict()
    assert sum(told) == 2 * len(some_pairs())


def test_tallies_of_parts_add_up_through_json():
    pairs = some_pairs()
    parts = [Judge()(part).to_dict() for part in (pairs[:5], pairs[5:7], pairs[7:])]
    assert total(json.loads(json.dumps(parts))) == Judge()(pairs).score()


def test_the_space_group_is_searched_with_a_tolerance_for_each():
    salt = rocksalt()
    near = replace(salt, cart=salt.cart + 0.05 * np.eye(8, 3))
    assert verdict(salt, near, 0.2).same_group
    assert not verdict(salt, near, 0.01).same_group
    assert not verdict(near, salt, 0.2).same_group, "the true one is not symmetrised away"
    for wrong in (0.0, 2.0, float("nan")):
        with pytest.raises(NesfError, match="tolerance"):
            Judge(tolerance=wrong)


def test_what_takes_too_long_is_a_miss_with_its_reason(monkeypatch):
    def forever(*_):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            pass

    match.valid_composition([11, 17])  # SMACT takes its time when it is first used
    monkeypatch.setattr(match, "LONGEST_SECONDS", 0.5)
    monkeypatch.setattr(match, "rms_distance", forever)
    one = verdict(rocksalt(), rocksalt())
    assert (one.rms, one.valid) == (None, True)
    assert one.undecided == "the matching took longer than 0.5 s"


def test_a_ring_that_comes_with_the_answer_changes_nothing(monkeypatch):
    before, stop = signal.getsignal(signal.SIGVTALRM), signal.setitimer

    def late(clock, *seconds):
        if seconds == (0,):
            signal.raise_signal(signal.SIGVTALRM)
        return stop(clock, *seconds)

    monkeypatch.setattr(signal, "setitimer", late)
    assert match._in_time(lambda: 7) == 7
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)
    assert signal.getsignal(signal.SIGVTALRM) == before


def test_what_pymatgen_stumbles_over_is_a_miss_with_its_reason(monkeypatch):
    def stumble(*_):
        raise ZeroDivisionError("cell is flat")

    monkeypatch.setattr(match, "rms_distance", stumble)
    tally = MatchTally(STOL)
    tally.add(verdict(rocksalt(), rocksalt()))
    score = tally.score()
    assert (score.match_rate_all, score.match_rate_valid) == (0, 0)
    assert score.undecided == (Failure("NaCl", "the matching failed (cell is flat)"),)


def test_a_verdict_is_valid_only_in_geometry_and_composition():
    for geometry in (False, True):
        for composition in (False, True):
            one = Verdict("x", True, None, geometry, composition, None, False, True)
            assert one.valid == (geometry and composition)


# The command.


def slightly_off(_self, items, progress, **_) -> list[Crystal | Failure]:
    """Stands in for the model: the first atom of each crystal a little off, magnesium not found."""
    progress(len(items))
    found = [replace(one, cart=one.cart + 0.02 * np.eye(len(one), 3)) for one in items]
    return [Failure(one.id, "lost") if one.id.startswith("Mg") else one for one in found]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("nesf.jobs.CHUNK", 3)
    monkeypatch.setattr(Codec, "reconstruct", slightly_off)
    write_table(tmp_path / "t.parquet", [one.renamed(f"{one.id}-{i}") for i in (1, 2) for one in known_crystals()])
    return tmp_path / "t.parquet"


def test_the_command_says_what_it_judged_and_with_what(table, tmp_path, capsys):
    out = tmp_path / "said.json"
    assert main(["evaluate", "lcs6a", str(table), "--match", "--json", str(out)]) == 0
    values = json.loads(out.read_text())
    assert values["match_rate_all"] == values["match_rate_valid"] == 0.8
    assert 0 < values["match_rmse"] < 0.01 < values["match_crmse"]
    assert values["glass_species_percent"] == 100
    said = values["match"]["settings"]
    assert (said["stol"], said["ltol"], said["angle_tol_degrees"]) == (0.5, 0.3, 10)
    # The tolerance of the model's CIFs, where no other is asked for.
    assert said["spacegroup_tolerance_found_angstrom"] == nesf.load("lcs6a").tolerance == 0.01
    assert {"smact", "pymatgen", "spglib", "oxidation_states"} <= set(said)
    assert "StructureMatcher" in values["match"]["protocol"]
    text = " ".join(capsys.readouterr().out.split())
    assert "8 of 10 crystals" in text
    assert "80.00 %" in text


def test_an_interrupted_command_goes_on_to_the_same_values(table, tmp_path, monkeypatch, capsys):
    whole, broken = tmp_path / "whole.json", tmp_path / "broken.json"
    words = ["evaluate", "lcs6a", str(table), "--match", "--json"]
    assert main([*words, str(whole)]) == 0
    calls: list[int] = []

    def stopped(self, items, **options):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(items))
        return slightly_off(self, items, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Codec, "reconstruct", stopped)
        assert main([*words, str(broken)]) == 130
    assert main([*words, str(broken)]) == 0
    assert "continuing after 6 crystals" in capsys.readouterr().err
    assert broken.read_bytes() == whole.read_bytes()


def test_results_without_the_judgement_are_not_taken_for_ones_with_it(table, tmp_path, monkeypatch, capsys):
    words = ["evaluate", "lcs6a", str(table), "--json", str(tmp_path / "said.json")]
    with monkeypatch.context() as patched:
        patched.setattr("nesf.cli.evaluate.write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(words) == 130
    assert main([*words, "--match"]) == 0
    assert "it is dropped" in " ".join(capsys.readouterr().err.split())


def test_the_shipped_model_gives_real_compounds_back(tmp_path):
    from nesf.data.textbook import textbook

    some = [one for one in textbook() if one.id in {"Al-fcc", "W-bcc", "Si-diamond", "Mg-hcp"}]
    write_table(tmp_path / "t.parquet", some)
    out = tmp_path / "said.json"
    assert main(["evaluate", "lcs6a", str(tmp_path / "t.parquet"), "--match", "--json", str(out)]) == 0
    values = json.loads(out.read_text())
    assert values["n"] == values["match"]["n"] == len(some) == 4
    assert values["match"]["found"] == 4 - values["failures"] == 3, "hexagonal magnesium is refused"
    assert values["match_rate_all"] == values["match_rate_valid"] == 0.75


def test_without_smact_one_sentence_says_what_to_install(table, monkeypatch, capsys):
    monkeypatch.setattr("nesf.extras.find_spec", lambda _: None)
    assert main(["evaluate", "lcs6a", str(table), "--match"]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert 'This needs SMACT, which is not installed; `pip install -c constraints.txt ".[match]"` in a' in said


def test_an_interruption_ends_the_processes_that_match_at_once():
    pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=follow)
    assert pool.submit(abs, -1).result(timeout=120) == 1
    waiting = pool.submit(time.sleep, 120)
    start = time.monotonic()
    end(pool, at_once=True)
    assert time.monotonic() - start < 60
    assert waiting.done()
