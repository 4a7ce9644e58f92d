"""Anchors: fields in closed form, with known answers, and the crystals that are found in them again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nesf import testing
from nesf.config import UNIVERSAL
from nesf.crystal import CrystalBatch
from nesf.data.textbook import textbook
from nesf.decoding import estimate
from nesf.elements import Vocabulary
from nesf.fields import StructureField, TrueField
from nesf.fields.sampling import Queries
from nesf.model import AnchorSettings, NetworkSettings
from nesf.model.anchor_decoder import AnchorDecoder
from nesf.model.anchors import AnchorField, Anchors
from nesf.model.estimates import LatticeEstimate
from nesf.model.set_autoencoder import SetAutoencoder
from test_oracle import difference

relaxed = settings(deadline=None, max_examples=20)
ALL = Vocabulary(tuple(range(1, 95)))
HOW = UNIVERSAL.estimation
SHARP, SURE, NEVER = 50.0, 30.0, -1e4


def one_crystal(frac, pull, sharpness, logits, edge: float = 4.0) -> AnchorField:
    """The field of some anchors in a cube."""
    anchors = Anchors(*(torch.tensor(values, dtype=torch.float32)[None] for values in (frac, pull, sharpness, logits)))
    lattice = LatticeEstimate(torch.full((1, 3), edge), torch.full((1, 3), torch.pi / 2), None)
    return AnchorField(anchors, lattice, Vocabulary((11, 17)))


def at_atoms(crystals, *, extra: int = 3, sharpness: float = SHARP) -> AnchorField:
    """One sharp anchor at each atom, in a shuffled order among others that stand for none."""
    batch = CrystalBatch.from_crystals(crystals)
    tokens = int(batch.counts.max()) + extra
    random = np.random.default_rng(0)
    frac = torch.from_numpy(random.random((len(crystals), tokens, 3))).float()
    pull = torch.full((len(crystals), tokens), NEVER)
    logits = torch.from_numpy(random.standard_normal((len(crystals), tokens, len(ALL)))).float()
    for i, crystal in enumerate(crystals):
        at = torch.from_numpy(random.permutation(tokens)[: len(crystal)])
        frac[i, at] = torch.from_numpy(crystal.frac).float()
        pull[i, at] = 0.0
        classes = ALL.class_of(torch.tensor(crystal.numbers))
        logits[i, at] = SURE * torch.nn.functional.one_hot(classes, len(ALL)).float()
    anchors = Anchors(frac, pull, torch.full_like(pull, sharpness), logits)
    return AnchorField(anchors, LatticeEstimate(*batch.parameters(), None), ALL)


def random_field(crystals: int = 3, tokens: int = 5) -> AnchorField:
    torch.manual_seed(0)
    shape = (crystals, tokens)
    anchors = Anchors(torch.rand(*shape, 3), torch.randn(shape), 1 + torch.rand(shape), torch.randn(*shape, 94))
    angles = torch.pi / 2 + 0.3 * torch.rand(crystals, 3)
    return AnchorField(anchors, LatticeEstimate(3 + torch.rand(crystals, 3), angles, None), ALL)


# --- known answers


def test_it_is_a_structure_field():
    assert isinstance(random_field(), StructureField)


@relaxed
@given(st.lists(st.floats(-3, 7, width=32), min_size=3, max_size=3), st.floats(-5, 5), st.floats(0.125, 50))
def test_a_single_anchor_is_all_there_is(point, pull, sharpness):
    field = one_crystal([[0.25, 0.5, 0.75]], [pull], [sharpness], [[1.0, 2.0]])
    points, owner = torch.tensor([point]), torch.zeros(1, dtype=torch.long)
    way = torch.tensor([[1.0, 2.0, 3.0]]) - points
    torch.testing.assert_close(field.displacement(points, owner), way, rtol=0, atol=1e-5)
    torch.testing.assert_close(field.species_logits(points, owner), torch.tensor([[1.0, 2.0]]))


def test_of_two_sharp_anchors_the_nearer_wins():
    field = one_crystal([[0.25, 0.5, 0.5], [0.75, 0.5, 0.5]], [0, 0], [SHARP] * 2, [[9.0, 0.0], [0.0, 9.0]])
    points = torch.tensor([[1.8, 2.0, 2.5], [2.2, 2.0, 2.5], [2.0, 0.0, 0.0]])
    owner = torch.zeros(3, dtype=torch.long)
    expected = [[-0.8, 0.0, -0.5], [0.8, 0.0, -0.5], [0.0, 2.0, 2.0]]  # the last point lies in the middle
    torch.testing.assert_close(field.displacement(points, owner), torch.tensor(expected), rtol=0, atol=1e-4)
    scores = torch.tensor([[9.0, 0.0], [0.0, 9.0], [4.5, 4.5]])
    torch.testing.assert_close(field.species_logits(points, owner), scores, rtol=0, atol=1e-3)


def test_shares_are_a_softmax_of_pull_less_sharpness_times_squared_distance():
    field = one_crystal([[0, 0, 0], [0.5, 0, 0]], [0.3, -0.2], [0.5, 1.5], [[1.0, 0.0], [0.0, 1.0]])
    share = 1 / (1 + np.exp((-0.2 - 1.5 * 1.5**2) - (0.3 - 0.5 * 0.5**2)))  # of the first, 0.5 and 1.5 Å away
    points, owner = torch.tensor([[0.5, 0.0, 0.0]]), torch.zeros(1, dtype=torch.long)
    torch.testing.assert_close(field.species_logits(points, owner), torch.tensor([[share, 1 - share]]).float())
    way = share * -0.5 + (1 - share) * 1.5
    torch.testing.assert_close(field.displacement(points, owner), torch.tensor([[way, 0.0, 0.0]]).float())


def test_an_anchor_that_stands_for_no_atom_is_ignored_even_where_it_is():
    kept = one_crystal([[0.25, 0.5, 0.5]], [0], [2.0], [[1.0, 2.0]])
    field = one_crystal([[0.25, 0.5, 0.5], [0.75, 0.5, 0.5]], [0, NEVER], [2.0] * 2, [[1.0, 2.0], [7.0, 7.0]])
    points, owner = torch.tensor([[3.0, 2.0, 2.0], [1.0, 0.0, 0.0]]), torch.zeros(2, dtype=torch.long)
    assert field.displacement(points, owner).equal(kept.displacement(points, owner))
    assert field.species_logits(points, owner).equal(kept.species_logits(points, owner))


def test_each_point_asks_its_own_crystal_however_many_are_asked():
    field = random_field()
    points = torch.rand(20_000, 3) * 5
    owner = torch.randint(3, (20_000,))
    together = field.displacement(points, owner), field.species_logits(points[:3000], owner[:3000])
    for i in range(3):
        alone = AnchorField(
            Anchors(*(values[i : i + 1] for values in vars(field.anchors).values())),
            LatticeEstimate(field.lattice.lengths[i : i + 1], field.lattice.oblique_angles_rad[i : i + 1], None),
            ALL,
        )
        its, few = owner == i, owner[:3000] == i
        zeros = torch.zeros(20_000, dtype=torch.long)
        torch.testing.assert_close(together[0][its], alone.displacement(points[its], zeros[: its.sum()]))
        torch.testing.assert_close(together[1][few], alone.species_logits(points[:3000][few], zeros[: few.sum()]))


@pytest.mark.parametrize("crystals", [0, 3])
def test_no_point_has_no_answer(crystals):
    field, points, none = random_field(crystals), torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)
    assert field.displacement(points, none).shape == (0, 3)
    assert field.species_logits(points, none).shape == (0, 94)


@pytest.mark.parametrize("per_crystal", [40, None])
def test_training_queries_get_the_same_answers(per_crystal):
    field = random_field()
    points, owner = torch.rand(120, 3) * 5, torch.arange(3).repeat_interleave(40)
    queries = Queries(points, owner, per_crystal)
    torch.testing.assert_close(field.displacement_at(queries), field.displacement(points, owner), rtol=0, atol=1e-4)
    found, expected = field.species_logits_at(queries), field.species_logits(points, owner)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_sharp_anchors_at_atoms_are_the_true_field():
    crystals = testing.known_crystals()
    field, truth = at_atoms(crystals, sharpness=500.0), TrueField.of(crystals, ALL)
    points, owner = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) * 4, torch.arange(2000) % 5
    far = (field.displacement(points, owner) - truth.displacement(points, owner)).norm(dim=1) > 1e-3
    assert far.float().mean() < 0.01  # within thousandths of an angstrom of a face between two atoms
    named = field.species_logits(points, owner).argmax(1) == truth.species_logits(points, owner).argmax(1)
    assert named[~far].all()


def test_within_other_cells_anchors_keep_their_fractional_coordinates():
    field = one_crystal([[0.25, 0.5, 0.5]], [0], [2.0], [[1.0, 2.0]])
    wider = field.within(torch.diag(torch.tensor([8.0, 4.0, 4.0]))[None])
    points, owner = torch.zeros(1, 3), torch.zeros(1, dtype=torch.long)
    torch.testing.assert_close(wider.displacement(points, owner), torch.tensor([[2.0, 2.0, 2.0]]))
    torch.testing.assert_close(field.displacement(points, owner), torch.tensor([[1.0, 2.0, 2.0]]), rtol=0, atol=1e-5)
    assert wider.lattice is field.lattice


# --- the oracle: what the representation can say, the estimation finds


def not_found(crystals, field, *, literal: bool = False, how=HOW) -> dict[str, str]:
    found = estimate(field, [c.id for c in crystals], how, literal=literal)
    pairs = zip(crystals, found, strict=True)
    return {true.id: reason for true, one in pairs if (reason := difference(true, one)) is not None}


@pytest.mark.parametrize("sharpness", [SHARP, 4.0])
def test_every_known_crystal_is_found_in_its_anchors(sharpness):
    crystals = testing.known_crystals()
    assert not_found(crystals, at_atoms(crystals, sharpness=sharpness)) == {}


@pytest.mark.parametrize("sharpness", [SHARP, 1.0])
def test_the_textbook_is_found_in_its_frozen_anchors(sharpness):
    crystals = textbook("as-is")
    assert any(abs(np.degrees(c.angles_rad[2]) - 120) < 0.01 for c in crystals)
    assert not_found(crystals, at_atoms(crystals, sharpness=sharpness).frozen()) == {}


def test_the_frozen_field_is_the_true_one():
    crystals = list(textbook("as-is"))[:40]
    frozen, true = at_atoms(crystals).frozen(), TrueField.of(crystals, ALL)
    assert isinstance(frozen, StructureField)
    owner = torch.arange(len(crystals)).repeat_interleave(50)
    points = (torch.rand(len(owner), 1, 3, generator=torch.Generator().manual_seed(0)) @ frozen.cells[owner]).squeeze(1)
    expected = true.displacement(points, owner)
    # Between two atoms rounding decides; what must agree is how far the nearest atom is.
    torch.testing.assert_close(frozen.displacement(points, owner).norm(dim=1), expected.norm(dim=1), rtol=0, atol=1e-3)
    same = (frozen.displacement(points, owner) - expected).norm(dim=1) < 1e-3
    named = frozen.species_logits(points, owner).argmax(1)
    assert same.float().mean() > 0.9
    assert named[same].equal(true.species_logits(points, owner).argmax(1)[same])


def test_in_a_wide_gap_a_weak_pull_makes_no_atom():
    corner, middle = [0.0, 0.0, 0.0], [0.5, 0.5, 0.5]
    field = one_crystal([corner, middle], [1.0, -20.0], [1.0, 1.0], [[9.0, 0.0], [0.0, 9.0]], edge=12.0)
    points, owner = torch.full((1, 3), 6.0), torch.zeros(1, dtype=torch.long)
    assert field.displacement(points, owner).norm() < 1e-3
    torch.testing.assert_close(field.frozen().displacement(points, owner), torch.full((1, 3), -6.0))
    none = one_crystal([corner, middle], [-9.0, -5.0], [1.0, 1.0], [[9.0, 0.0], [0.0, 9.0]])
    assert none.frozen().displacement(torch.full((1, 3), 2.0), owner).norm() < 1e-5


def test_bfloat16_layers_leave_the_geometry_exact():
    crystals = testing.known_crystals()
    owner = torch.arange(len(crystals)).repeat_interleave(30)
    points = 4 * torch.rand(len(owner), 3, generator=torch.Generator().manual_seed(0))
    queries = Queries(points, owner, 30)
    exact = at_atoms(crystals).displacement_at(queries)
    with torch.autocast("cpu", torch.bfloat16):
        assert at_atoms(crystals).displacement_at(queries).equal(exact)


def test_the_literal_path_finds_the_same():
    # Sharp anchors are reached in a step or two: the preset's other iterations only take time.
    crystals, how = testing.known_crystals(), replace(HOW, iterations=6)
    assert not_found(crystals, at_atoms(crystals), literal=True, how=how) == {}


def test_a_wrong_anchor_is_seen():
    # The oracle can fail: with one anchor of NaCl gone, an atom is missing.
    field = at_atoms([testing.rocksalt()], extra=0)
    field.anchors.pull[0, 3] = NEVER
    (found,) = estimate(field, ["NaCl"], HOW)
    assert difference(testing.rocksalt(), found) == "7 atoms instead of 8"


# --- the decoder


@torch.no_grad()
@pytest.mark.parametrize("latent", [46, 50])
def test_any_z_decodes_to_anchors_and_a_cell(latent):
    settings = AnchorSettings(tokens=8, elements=2, width=16, heads=2, encoder_layers=1, decoder_layers=2)
    network = NetworkSettings(architecture="anchors", latent=latent, anchors=settings)
    torch.manual_seed(0)
    decoder = AnchorDecoder(network, ALL).eval()
    z = 3 * torch.randn(6, latent)
    anchors, lattice = decoder(z)
    shapes = [tuple(values.shape) for values in vars(anchors).values()]
    assert shapes == [(6, 8, 3), (6, 8), (6, 8), (6, 8, 94)]
    assert (anchors.sharpness > 0).all()
    assert lattice.lengths.isfinite().all()
    # Each z by itself, and every number of it matters.
    torch.testing.assert_close(decoder(z[2:3])[0].frac, anchors.frac[2:3], rtol=1e-5, atol=1e-5)
    for i in range(latent):
        changed = z[:1].clone()
        changed[0, i] += 1
        other, its_lattice = decoder(changed)
        assert not other.frac.equal(anchors.frac[:1])
        assert its_lattice.lengths.equal(lattice.lengths[:1]) is (i not in (0, 1, 2))


@torch.no_grad()
def test_an_untrained_model_decodes_to_crystals_or_failures():
    torch.manual_seed(0)
    network = NetworkSettings(architecture="anchors", latent=46, anchors=AnchorSettings(8, 2, 16, 2, 1, 1))
    model = SetAutoencoder(network, ALL).eval()
    batch = CrystalBatch.from_crystals(testing.known_crystals())
    field = model.decode_field(model.encode(batch))
    torch.testing.assert_close(field.cells, batch.cells, rtol=1e-5, atol=1e-4)
    assert len(estimate(field, list("abcde"), HOW)) == 5
