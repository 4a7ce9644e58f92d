"""The architecture "anchors": an order of atoms, the cell in z, the set encoder, and its way through a file."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nesf import lattice, testing, weights
from nesf.config import UNIVERSAL
from nesf.crystal import Crystal, CrystalBatch
from nesf.data.augmentation import Deformation
from nesf.data.textbook import textbook
from nesf.domain import Domain
from nesf.elements import Vocabulary
from nesf.errors import NesfError
from nesf.model import AnchorSettings, NetworkSettings, autoencoder
from nesf.model.atom_order import along_a_direction
from nesf.model.attention import Exchange, waves
from nesf.model.cell_code import decode_cell, encode_cell
from nesf.model.layout import CELL
from nesf.model.set_autoencoder import SetAutoencoder
from nesf.model.set_encoder import BELOW, PLACES, OrderedAtoms

relaxed = settings(deadline=None, max_examples=20)
ALL = Vocabulary(tuple(range(1, 95)))
TINY = AnchorSettings(tokens=8, elements=4, width=16, heads=2, encoder_layers=2, decoder_layers=2)
# 6 numbers are the cell's, 12 those of four elements, and 4 each of eight tokens'; of 52, two more are shared.
SMALL = NetworkSettings(architecture="anchors", latent=50, anchors=TINY)
SHARED = replace(SMALL, latent=52)
LEARNED = replace(SMALL, anchors=replace(TINY, copied=False))
KINDS = {"copied": SMALL, "shared": SHARED, "learned": LEARNED}
every_kind = pytest.mark.parametrize("network", list(KINDS.values()), ids=list(KINDS))


def tiny(network: NetworkSettings = SMALL, seed: int = 0) -> SetAutoencoder:
    torch.manual_seed(seed)
    return SetAutoencoder(network, ALL).eval()


@torch.no_grad()
def encoded(model: SetAutoencoder, *crystals: Crystal) -> torch.Tensor:
    return model.encode(CrystalBatch.from_crystals(crystals))


def listed(crystal: Crystal, order) -> Crystal:
    """The same crystal with its atoms listed in another order."""
    order = np.asarray(order)
    return Crystal(crystal.id, crystal.numbers[order], crystal.cart[order], crystal.cell)


def strained(crystal: Crystal, change: np.ndarray) -> Crystal:
    """The same elements at the same fractional coordinates of another cell."""
    return Crystal.from_frac(crystal.id, crystal.numbers, crystal.frac, crystal.cell @ change)


def ordered(*crystals: Crystal) -> OrderedAtoms:
    batch = CrystalBatch.from_crystals(crystals)
    return OrderedAtoms.of(batch, ALL.class_of(batch.numbers))


# --- the order of atoms


def test_atoms_are_ordered_along_x_before_y_before_z():
    axes = torch.tensor([[0.0, 0.0, 0.5], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.5, 0.5, 0.5]])
    assert along_a_direction(axes).argsort().tolist() == [2, 0, 3, 1, 4]
    torch.testing.assert_close(along_a_direction(axes)[4], torch.tensor(0.5 * (1 + 0.7548776662 + 0.5698402910)))


def test_no_two_of_the_usual_places_meet_along_the_direction():
    usual = torch.tensor([0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4], dtype=torch.float64)
    places = torch.cartesian_prod(usual, usual, usual)
    gaps = along_a_direction(places).sort().values.diff()
    # Single precision rounds fractional coordinates by some 1e-7.
    assert gaps.min() > 1e-3


@pytest.mark.parametrize("crystal", testing.known_crystals(), ids=lambda c: c.id)
def test_a_strain_changes_no_order(crystal):
    random = np.random.default_rng(0)
    atoms = ordered(crystal, *(strained(crystal, np.eye(3) + random.uniform(-0.15, 0.15, (3, 3))) for _ in range(20)))
    assert (atoms.classes == atoms.classes[0]).all()
    torch.testing.assert_close(atoms.frac, atoms.frac[:1].expand_as(atoms.frac), rtol=0, atol=1e-5)
    batch = CrystalBatch.from_crystals([crystal] * 20)
    deformed = Deformation(0.1, 0.0)(batch, torch.Generator().manual_seed(0))
    atoms = OrderedAtoms.of(deformed, ALL.class_of(deformed.numbers))
    assert (atoms.classes == ordered(crystal).classes).all()


@relaxed
@given(st.lists(testing.crystals(max_atoms=6), min_size=1, max_size=4))
def test_ordered_atoms_are_those_sorted_by_hand(crystals):
    atoms = ordered(*crystals)
    assert atoms.exists.shape == (len(crystals), max(map(len, crystals)))
    for i, crystal in enumerate(crystals):
        n = len(crystal)
        assert atoms.exists[i].tolist() == [place < n for place in range(atoms.exists.shape[1])]
        frac = crystal.frac - np.floor(crystal.frac + BELOW)
        along = frac @ np.array([1, 0.7548776662, 0.5698402910])
        order = np.argsort(along, kind="stable")
        if np.diff(along[order]).min(initial=1) < 1e-5:
            continue  # nearer to each other than single precision tells
        np.testing.assert_allclose(atoms.frac[i, :n], frac[order], atol=1e-5)
        np.testing.assert_allclose(atoms.cart[i, :n], (frac @ crystal.cell)[order], atol=testing.FLOAT32_ANGSTROM)
        assert atoms.classes[i, :n].tolist() == (crystal.numbers[order] - 1).tolist()
        assert not any(part[i, n:].any() for part in (atoms.frac, atoms.cart, atoms.classes))


def test_atoms_are_told_where_they_are_in_a_cell_that_begins_below_its_faces():
    cell = testing.triclinic().cell
    frac = np.array([[-1e-7, 0.5, 1 + 1e-7], [1.25, -0.25, 0.5], [0.97, 0.94, -0.03]])
    atoms = ordered(Crystal("outside", [8, 22, 26], frac @ cell, cell))
    expected = np.array([[0.0, 0.5, 0.0], [0.25, 0.75, 0.5], [-0.03, 0.94, -0.03]])
    order = np.argsort(expected @ np.array([1, 0.7548776662, 0.5698402910]))
    np.testing.assert_allclose(atoms.frac[0], expected[order], atol=1e-6)
    np.testing.assert_allclose(atoms.cart[0], (expected @ cell)[order], atol=testing.FLOAT32_ANGSTROM)


@relaxed
@given(testing.crystals(max_atoms=6))
def test_crystals_are_trained_on_where_z_tells_of_them(crystal):
    model = tiny()
    batch = CrystalBatch.from_crystals([crystal])
    listed = model.listed(batch)
    frac = lattice.cart_to_frac(listed.cart, listed.cells[0])
    assert frac.min() > -BELOW - 1e-5
    assert frac.max() < 1 - BELOW + 1e-5
    moved = lattice.cart_to_frac(listed.cart - batch.cart, batch.cells[0])
    assert (moved - moved.round()).abs().max() < 1e-5


# --- the cell in z


lengths_of = st.tuples(*[st.floats(1.0, 80.0, width=32)] * 3)


@relaxed
@given(lengths_of, st.tuples(*[st.floats(20.0, 160.0, width=32)] * 3))
def test_any_lengths_and_angles_come_back_from_their_six_numbers(lengths, angles_deg):
    true = torch.tensor([lengths]), torch.tensor([angles_deg]).deg2rad()
    code = encode_cell(true[0], true[1].cos())
    assert code.shape == (1, CELL)
    found = decode_cell(code)
    torch.testing.assert_close(found.lengths.float(), true[0], rtol=1e-5, atol=0)
    torch.testing.assert_close(found.angles_rad.float(), true[1], rtol=1e-5, atol=0)


@relaxed
@given(testing.crystals(max_atoms=1))
def test_a_cell_comes_back_from_its_six_numbers(crystal):
    cells = CrystalBatch.from_crystals([crystal]).cells
    found = decode_cell(encode_cell(*lattice.lengths_and_cosines(cells)))
    again = lattice.cell_from_parameters(found.lengths, found.angles_rad).float()
    torch.testing.assert_close(again, cells, rtol=1e-5, atol=1e-4)


@relaxed
@given(st.lists(st.floats(allow_nan=False, width=32), min_size=6, max_size=6))
def test_any_six_numbers_are_lengths_and_angles(numbers):
    found = decode_cell(torch.tensor([numbers]))
    assert found.lengths.isfinite().all()
    assert (found.lengths > 0).all()
    assert ((found.angles_rad > 0) & (found.angles_rad < torch.pi)).all()
    assert lattice.cell_from_parameters(found.lengths, found.angles_rad).isfinite().all()


def test_the_numbers_of_usual_cells_are_of_the_size_of_the_rest_of_z():
    batch = CrystalBatch.from_crystals(list(textbook("as-is")))
    code = encode_cell(*lattice.lengths_and_cosines(batch.cells))
    assert code.abs().max() < 4
    assert code[:, :3].std(0).min() > 0.2


@every_kind
def test_z_begins_with_the_numbers_of_the_cell(network):
    crystals = testing.known_crystals()
    z = encoded(tiny(network), *crystals)
    assert z[:, :CELL].equal(encode_cell(*lattice.lengths_and_cosines(CrystalBatch.from_crystals(crystals).cells)))


# --- the encoder


@every_kind
def test_z_has_its_size_and_its_learned_part_is_bounded(network):
    model = tiny(network)
    with torch.no_grad():
        model.encoder.write.weight *= 100
        model.encoder.write_shared.weight *= 100
    z = encoded(model, *testing.known_crystals())
    assert z.shape == (5, network.latent)
    assert 4.5 < z[:, CELL:].abs().max() <= 5.5


@torch.no_grad()
@pytest.mark.parametrize("network", [SMALL, SHARED])
def test_what_has_learned_nothing_is_a_copy(network):
    model, crystals = tiny(network), testing.known_crystals()
    encoder, decoder = model.encoder, model.decoder
    for learned in (encoder.write, encoder.write_shared, decoder.place, decoder.element[-1]):
        learned.weight.zero_()
        learned.bias.zero_()
    atoms = ordered(*crystals)
    anchors = model.decode_field(encoded(model, *crystals)).anchors
    there = atoms.exists
    torch.testing.assert_close(anchors.frac[:, : there.shape[1]][there], atoms.frac[there], rtol=0, atol=1e-6)
    assert anchors.logits[:, : there.shape[1]].argmax(2)[there].equal(atoms.classes[there])


@torch.no_grad()
def test_without_copies_nothing_is_known_before_it_is_learned():
    model, crystals = tiny(LEARNED), testing.known_crystals()
    atoms = ordered(*crystals)
    anchors = model.decode_field(encoded(model, *crystals)).anchors
    there = atoms.exists
    right = anchors.logits[:, : there.shape[1]].argmax(2)[there] == atoms.classes[there]
    assert right.float().mean() < 0.5
    assert (anchors.frac[:, : there.shape[1]] - atoms.frac)[there].abs().mean() > 0.1


@every_kind
@relaxed
@given(st.data())
def test_z_does_not_depend_on_the_order_in_which_atoms_are_listed(network, data):
    crystal = data.draw(st.one_of(st.sampled_from(testing.known_crystals()), testing.crystals()))
    order = data.draw(st.permutations(range(len(crystal))))
    z = encoded(tiny(network), crystal, listed(crystal, order))
    torch.testing.assert_close(z[0], z[1], rtol=0, atol=1e-5)


@every_kind
def test_neighbours_in_a_batch_do_not_matter(network):
    model, crystals = tiny(network), testing.known_crystals()
    together = encoded(model, *crystals)
    alone = torch.cat([encoded(model, crystal) for crystal in crystals])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert torch.pdist(together[:, CELL:]).min() > 0.01


@every_kind
def test_other_elements_leave_the_numbers_of_the_cell_and_change_the_rest(network):
    crystal = testing.triclinic()
    other = Crystal(crystal.id, [22, 8, 9], crystal.cart, crystal.cell)
    z = encoded(tiny(network), crystal, other)
    assert z[0, :CELL].equal(z[1, :CELL])
    assert (z[0, CELL:] - z[1, CELL:]).norm() > 1e-2


@every_kind
def test_each_part_of_a_crystal_is_seen(network):
    crystal = testing.triclinic()
    moved = crystal.cart.copy()
    moved[1] += 0.5
    others = [Crystal("x", crystal.numbers, moved, crystal.cell), strained(crystal, 1.1 * np.eye(3))]
    z = encoded(tiny(network), crystal, *others)
    assert torch.pdist(z[:, CELL:]).min() > 1e-2


def crowded(n: int) -> Crystal:
    """``n`` atoms on a cubic grid, of changing elements."""
    edge = int(np.ceil(n ** (1 / 3)))
    sites = np.array(list(itertools.product(range(edge), repeat=3)))[:n] / edge
    return Crystal.from_frac(str(n), 1 + np.arange(n) % 90, sites + 0.01, 2.5 * edge * np.eye(3))


@every_kind
@pytest.mark.parametrize("atoms", [9, PLACES + 36])
def test_more_atoms_than_tokens_and_than_places_are_encoded_and_all_seen(network, atoms):
    crystal = crowded(atoms)
    # The last in the order, which has no token of its own.
    last = int(np.argmax(crystal.frac @ np.array([1, 0.7548776662, 0.5698402910])))
    numbers = crystal.numbers.copy()
    numbers[last] = 94
    model = tiny(network)
    z = encoded(model, crystal, Crystal("other", numbers, crystal.cart, crystal.cell), testing.rocksalt())
    assert z.shape == (3, network.latent)
    assert (z[0] - z[1]).norm() > 1e-4
    assert model.decode_field(z).anchors.frac.shape == (3, 8, 3)


def test_an_element_outside_the_vocabulary_is_refused():
    model = SetAutoencoder(SMALL, Vocabulary((11, 12)))
    with pytest.raises(NesfError, match="outside the vocabulary: Cl"):
        model.encode(CrystalBatch.from_crystals([testing.rocksalt()]))


# --- its parts


@torch.no_grad()
def test_what_does_not_exist_says_nothing_in_an_exchange():
    torch.manual_seed(0)
    layer = Exchange(16, 4)
    members = torch.randn(2, 3, 16)
    filled = torch.cat((members, 100 * torch.randn(2, 2, 16)), 1)
    exists = torch.tensor([[True] * 3 + [False] * 2] * 2)
    torch.testing.assert_close(layer(filled, exists=exists)[:, :3], layer(members))
    assert (layer(filled)[:, :3] - layer(members)).abs().max() > 1e-2


@torch.no_grad()
def test_members_of_an_exchange_have_no_order():
    torch.manual_seed(0)
    layer, members = Exchange(16, 4), torch.randn(2, 5, 16)
    turn = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(layer(members[:, turn]), layer(members)[:, turn])


def test_waves_start_at_the_longest_and_double_their_frequency():
    points = torch.tensor([[0.0, 0.25]])
    found = waves(points, 2, 2.0)
    # Each value in wavelengths 2 and 1: phases 0, 0, pi/4 and pi/2; all sines, then all cosines.
    half = 0.5**0.5
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0, half, 1.0, 1.0, 1.0, half, 0.0]]), rtol=0, atol=1e-6)


# --- settings, size and file


def test_the_preset_has_the_size_that_it_was_meant_to_have():
    model = autoencoder(UNIVERSAL.network, ALL)
    assert isinstance(model, SetAutoencoder)
    assert UNIVERSAL.network.latent == 192
    assert sum(p.numel() for p in model.parameters()) <= 1_000_000


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: replace(TINY, tokens=0), "must be at least 1"),
        (lambda: replace(TINY, decoder_layers=-1), "Sizes of network.anchors"),
        (lambda: replace(TINY, heads=3), "must be a multiple of heads, 3"),
        (lambda: replace(SMALL, latent=40), r"4 elements .* 8 atoms .* need at least 50"),
    ],
)
def test_settings_that_make_no_network_are_refused(wrong, words):
    with pytest.raises(NesfError, match=words):
        wrong()


@every_kind
@torch.no_grad()
def test_a_model_survives_its_file_bit_for_bit(tmp_path, network):
    domain = Domain.of(testing.known_crystals())
    card = weights.Card("tiny", "universal", replace(UNIVERSAL, network=network), domain)
    torch.manual_seed(0)
    model = autoencoder(network, domain.vocabulary).eval()
    weights.save(tmp_path / "tiny.safetensors", model, card)
    loaded, its_card = weights.load(tmp_path / "tiny.safetensors")
    assert isinstance(loaded, SetAutoencoder)
    assert its_card == card
    batch = CrystalBatch.from_crystals(testing.known_crystals())
    z = model.encode(batch)
    assert loaded.encode(batch).equal(z)
    one, other = model.decode_field(z), loaded.decode_field(z)
    assert other.displacement(batch.cart, batch.owner).equal(one.displacement(batch.cart, batch.owner))
    assert other.species_logits(batch.cart, batch.owner).equal(one.species_logits(batch.cart, batch.owner))
    assert other.cells.equal(one.cells)


@torch.no_grad()
def distances(model: SetAutoencoder, z: torch.Tensor, *crystals: Crystal) -> torch.Tensor:
    """Largest distance of the anchors of each crystal's atoms from these, angstrom."""
    atoms, cells = ordered(*crystals), CrystalBatch.from_crystals(crystals).cells
    error = (model.decode_field(z).anchors.frac[:, : atoms.exists.shape[1]] - atoms.frac) @ cells
    return (error.norm(dim=2) * atoms.exists).amax(1)


@torch.enable_grad()
def learned(steps: int = 200) -> tuple[SetAutoencoder, list[Crystal]]:
    """A network that has begun to copy three crystals, with their atoms somewhat displaced."""
    crystals = [testing.rocksalt(), testing.perovskite(), testing.triclinic()]
    model, atoms, cells = tiny(), ordered(*crystals), CrystalBatch.from_crystals(crystals).cells
    optimizer, generator = torch.optim.Adam(model.parameters(), 5e-3), torch.Generator().manual_seed(0)
    for _ in range(steps):
        off = 0.03 * torch.randn(atoms.frac.shape, generator=generator) * atoms.exists.unsqueeze(2)
        seen = replace(atoms, frac=atoms.frac + off, cart=(atoms.frac + off) @ cells)
        error = model.decoder(model.encoder(seen, cells))[0].frac[:, : atoms.exists.shape[1]] - seen.frac
        loss = error[atoms.exists].square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, crystals


def test_corrections_bring_the_anchors_nearer_and_never_farther():
    model, crystals = learned()
    moved = [Crystal(c.id, c.numbers, c.cart + 0.05 * np.sin(np.arange(len(c)))[:, None], c.cell) for c in crystals]
    batch = CrystalBatch.from_crystals(moved)
    with torch.no_grad():
        plain, close = model.encode(batch), model.encode_closely(batch)
    before, after = distances(model, plain, *moved), distances(model, close, *moved)
    assert before.min() > 1e-3
    assert after.max() < 1e-5


@every_kind
@torch.no_grad()
def test_corrections_change_nothing_of_the_cell_and_none_changes_nothing_at_all(network):
    crystals = [testing.triclinic(), crowded(9)]
    model, batch = tiny(network), CrystalBatch.from_crystals(crystals)
    close = model.encode_closely(batch)
    assert close[:, :CELL].equal(model.encode(batch)[:, :CELL])
    assert close.isfinite().all()
    none = tiny(replace(network, anchors=replace(network.anchors, corrections=0)))
    assert none.encode_closely(batch).equal(none.encode(batch))


@torch.no_grad()
def test_corrections_look_at_each_crystal_by_itself_and_at_no_order():
    model, crystals = learned(20)
    together = model.encode_closely(CrystalBatch.from_crystals(crystals))
    for z, crystal in zip(together, crystals, strict=True):
        turned = listed(crystal, np.arange(len(crystal))[::-1])
        alone = model.encode_closely(CrystalBatch.from_crystals([turned]))[0]
        torch.testing.assert_close(alone, z, rtol=1e-3, atol=1e-3)
