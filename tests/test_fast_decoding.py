"""The fast preset against the literal path: on true fields, and on fields about which everything is wrong."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nesf import testing
from nesf.config import FAST
from nesf.crystal import Crystal, Failure
from nesf.data.textbook import textbook
from nesf.decoding import estimate
from nesf.decoding.estimate import PARTICLES_AT_ONCE
from nesf.fields import TrueField
from test_decoding import IN_CELL, Altered, agree, altered, ids, relaxed, same_crystal

# The fast preset; on a true field particles arrive at once, so that the literal path need not take 64 steps.
QUICK = replace(FAST.estimation, iterations=8)


def test_the_fast_preset_agrees_with_the_literal_path_on_known_crystals():
    crystals = [*testing.known_crystals(), *textbook()]
    for i in range(0, len(crystals), 32):
        some = crystals[i : i + 32]
        agree(TrueField.of(some), len(some), QUICK)
        found = estimate(TrueField.of(some), ids(some), QUICK)
        assert [c.id for c, f in zip(some, found, strict=True) if not same_crystal(c, f)] == []


@relaxed
@given(st.lists(testing.crystals(), min_size=1, max_size=4))
def test_and_on_any(crystals):
    agree(TrueField.of(crystals), len(crystals), QUICK)
    agree(TrueField.of(crystals), len(crystals), replace(QUICK, region="training_box", margin=1.0, refine="best"))


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_the_fast_preset_agrees_on_noisy_fields(noise):
    agree(altered(testing.known_crystals(), noise=noise), 5, FAST.estimation)


@pytest.mark.parametrize(
    "reach",
    [
        2.0,  # round in a two-cycle for ever
        1.95,  # as well, closing in on the atom for hundreds of steps
        0.05,  # creeping: on the way at the end
    ],
)
def test_it_agrees_where_particles_never_arrive(reach):
    # No two particles of this crystal are equally good, so that both paths take the same one first.
    field, how = altered([testing.triclinic()], reach=reach), replace(FAST.estimation, min_particles=1)
    agree(field, 1, how)
    assert isinstance(estimate(field, ["x"], how)[0], Crystal)


SPOILT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "everywhere": lambda _, owner: torch.ones_like(owner, dtype=torch.bool),
    "in half of space": lambda points, _: points[:, 0] > 2.0,
    "far from the atom at the origin": lambda points, _: points.norm(dim=1) > 0.1,
    "in one of the crystals": lambda _, owner: owner == 2,
    "here and there": lambda points, _: (50 * points.sum(1)).sin() > 0.5,
}


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 3e38])
@pytest.mark.parametrize("where", SPOILT)
def test_fields_without_values_give_what_the_literal_path_gives(where, value):
    crystals = testing.known_crystals()
    field = altered(crystals, spoilt=SPOILT[where], value=value)
    for how in (QUICK, replace(QUICK, min_particles=1), IN_CELL):
        agree(field, 5, how)
    found = estimate(field, ids(crystals), QUICK)
    whole = [same_crystal(*pair) for pair in zip(crystals, found, strict=True)]
    if where == "everywhere":
        assert found == [Failure(c.id, "No atom was found in the field.") for c in crystals]
    if where == "in one of the crystals":
        assert whole == [True, True, False, True, True]


class Leak(Altered):
    """A field that sends everything away without end and says there that it has arrived."""

    def displacement(self, points: Tensor, owner: Tensor) -> Tensor:  # noqa: ARG002
        return torch.where(points.isfinite(), torch.inf, 0.0)


def test_an_atom_at_no_place_is_no_crystal():
    field = Leak(truth := TrueField.of([testing.rocksalt()]), truth.cells)
    for how in (replace(QUICK, min_particles=1), IN_CELL):
        assert estimate(field, ["NaCl"], how) == [Failure("NaCl", "No atom was found in the field.")]


def test_a_draft_only_saves_time():
    crystals = testing.known_crystals()
    field = altered(crystals, noise=0.02)
    expected = estimate(field, ids(crystals), FAST.estimation)
    drafts = (
        altered(crystals, noise=0.05),
        altered(crystals),  # sends to places that are 0.02 Å off, and says there that all have arrived
        altered(crystals, noise=0.05, spoilt=SPOILT["here and there"]),
        altered(crystals, spoilt=SPOILT["everywhere"]),
    )
    # Were the draft to name elements, a useless one would be believed.
    how = replace(FAST.estimation, quick_votes=False)
    for draft in drafts:
        for one, other in zip(estimate(field, ids(crystals), how, draft=draft), expected, strict=True):
            assert isinstance(other, Crystal)
            assert same_crystal(other, one, within=testing.FLOAT32_ANGSTROM)


def test_a_draft_that_is_not_wanted_is_not_asked():
    crystals = testing.known_crystals()
    field = altered(crystals, noise=0.02)
    never = replace(FAST.estimation, draft_above=torch.inf, quick_votes=False)
    assert estimate(field, ids(crystals), never, draft=altered(crystals, noise=0.1)) == estimate(
        field, ids(crystals), never
    )


@pytest.mark.parametrize(("noise", "at_once"), [(0.0, 1), (0.02, 3000), (0.1, 3000)])
def test_groups_order_and_neighbours_do_not_matter_to_the_last_digit(noise, at_once, monkeypatch):
    crystals = [*testing.known_crystals(), *textbook()[::20]]
    together = estimate(altered(crystals, noise=noise), ids(crystals), FAST.estimation)
    monkeypatch.setitem(PARTICLES_AT_ONCE, "cpu", at_once)
    assert estimate(altered(crystals, noise=noise), ids(crystals), FAST.estimation) == together
    turned = crystals[::-1]
    assert estimate(altered(turned, noise=noise), ids(turned), FAST.estimation) == together[::-1]
    for crystal, expected in zip(crystals, together, strict=True):
        assert estimate(altered([crystal], noise=noise), [crystal.id], FAST.estimation) == [expected]
