"""The domain of a model: what it accepts, what it refuses, and in which words."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nesf import testing
from nesf.crystal import Crystal
from nesf.domain import Domain
from nesf.errors import NesfError
from nesf.io.table import read_table

relaxed = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def cubic(a: float, numbers=(11, 17)) -> Crystal:
    frac = np.linspace(0, 1, len(numbers), endpoint=False)[:, None] * np.ones(3)
    return Crystal.from_frac("cubic", list(numbers), frac, a * np.eye(3))


@pytest.fixture
def domain() -> Domain:
    return Domain.of([cubic(4.0), cubic(6.0)])


@relaxed
@given(st.lists(testing.crystals(max_atoms=4), min_size=1, max_size=3))
def test_every_training_crystal_is_accepted(crystals):
    domain = Domain.of(crystals)
    assert [domain.refusal(c) for c in crystals] == [None] * len(crystals)


@relaxed
@given(st.lists(testing.crystals(max_atoms=4), min_size=1, max_size=3))
def test_a_domain_survives_json_exactly(crystals):
    domain = Domain.of(crystals)
    assert Domain.from_dict(json.loads(json.dumps(domain.to_dict()))) == domain


def test_known_extent():
    domain = Domain.of([testing.rocksalt(), testing.triclinic()])
    assert domain.vocabulary.numbers == (8, 11, 17, 22)
    assert domain.max_atoms == 8
    assert domain.lengths_angstrom == pytest.approx((4.1, 5.64))
    assert domain.angles_deg == pytest.approx((70, 90))
    assert domain.lowest_cell_entry == pytest.approx(0, abs=1e-12)
    assert domain.atoms_lower == pytest.approx((0, 0, 0))
    both = np.vstack([testing.rocksalt().cart, testing.triclinic().cart])
    assert domain.atoms_upper == pytest.approx(both.max(0))


@pytest.mark.parametrize(
    ("crystal", "words"),
    [
        (cubic(5.0, (11, 54)), "contains Xe"),
        (cubic(5.0, (11, 17, 17)), "3 atoms, and the model takes at most 2"),
        (cubic(8.4), "a = 8.40 Å is outside the trained 3.92 to 6.12 Å"),
        (cubic(3.5), "a = 3.50 Å is outside the trained"),
        (
            Crystal.from_frac("x", [11], np.zeros((1, 3)), testing.hexagonal().cell * 1.3),
            "no obtuse cell, e.g. hexagonal",
        ),
        (Crystal.from_frac("x", [11], np.zeros((1, 3)), testing.triclinic().cell), "alpha = 80.0° is outside"),
        (replace(cubic(5.0), cart=np.array([[0, 0, 0], [0, 0, 4.9]])), "atom 2 lies at z = 4.90 Å"),
    ],
)
def test_each_refusal_names_its_reason(domain, crystal, words):
    assert words in domain.refusal(crystal)


def test_the_margins_are_those_stated(domain):
    assert domain.refusal(cubic(6.0 * 1.019)) is None
    assert domain.refusal(cubic(6.0 * 1.021)) is not None
    assert domain.refusal(cubic(4.0 * 0.981)) is None
    assert domain.refusal(cubic(4.0 * 0.979)) is not None


def test_an_empty_training_set_has_no_domain():
    with pytest.raises(NesfError, match="at least one"):
        Domain.of([])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": "red"}, "does not know the key 'colour'"),
        ({"max_atoms": None}, "None for 'max_atoms'"),
        ({"angles_deg": [90.0]}, r"\[90.0\] for 'angles_deg'; expected 2"),
        ({"vocabulary": ["Fe"]}, "for 'vocabulary'"),
    ],
)
def test_a_wrong_description_is_refused(domain, change, words):
    with pytest.raises(NesfError, match=words):
        Domain.from_dict({**domain.to_dict(), **change})


def test_a_lacking_entry_is_named(domain):
    data = domain.to_dict()
    del data["atoms_upper"]
    with pytest.raises(NesfError, match="lacks the key 'atoms_upper'"):
        Domain.from_dict(data)


def test_the_lcs6a_domain_takes_its_validation_set_and_no_hexagonal_cell(shared_data):
    domain = Domain.of(read_table(shared_data / "lcs6a_train.parquet"))
    assert len(domain.vocabulary) == 80
    assert domain.max_atoms == 28
    refused = {c.id: domain.refusal(c) for c in read_table(shared_data / "lcs6a_val.parquet")}
    assert {key: reason for key, reason in refused.items() if reason} == {}
    assert "hexagonal" in domain.refusal(testing.hexagonal())
    assert domain.refusal(testing.rocksalt()) is None


def test_a_model_for_any_setting_has_no_limits_of_axes_and_places():
    conventional = replace(Domain.of([testing.perovskite()]), angles_deg=(60.0, 120.0))
    anywhere = replace(conventional, setting="any")
    one = testing.perovskite()
    oblique = Crystal.from_frac("oblique", one.numbers, one.frac, one.cell + np.tril(np.full((3, 3), -0.5), -1))
    aside = Crystal.from_frac("aside", one.numbers, (one.frac + 0.4) % 1, one.cell)
    assert "reaches -0.50 Å" in conventional.refusal(oblique)
    assert "Its atom" in conventional.refusal(aside)
    assert (anywhere.refusal(oblique), anywhere.refusal(aside)) == (None, None)
    assert "contains Na" in anywhere.refusal(testing.rocksalt())


def test_a_model_with_room_for_few_elements_refuses_crystals_of_more():
    domain = Domain.of(testing.known_crystals())
    for room, expected in ((3, None), (2, "It is made of 3 elements, and the model's vectors have room for 2.")):
        assert replace(domain, max_elements=room).refusal(testing.perovskite()) == expected
    assert Domain.from_dict(replace(domain, max_elements=2).to_dict()).max_elements == 2
    for wrong in (0, True, 2.5, "2"):
        with pytest.raises(NesfError, match=r"max_elements.*whole number from 1"):
            Domain.from_dict(domain.to_dict() | {"max_elements": wrong})
    # Cards of before say nothing of it.
    before = {key: value for key, value in domain.to_dict().items() if key != "max_elements"}
    assert Domain.from_dict(before) == domain
