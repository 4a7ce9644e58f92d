"""What of the elements and the atoms is written into z without learning, and read from it."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nesf.config import UNIVERSAL
from nesf.elements import Vocabulary, symbol
from nesf.errors import NesfError
from nesf.model.atom_code import bounded, decode_atoms, encode_atoms, ribbon
from nesf.model.layout import CELL, POINT, TOKEN, Layout

relaxed = settings(deadline=None, max_examples=50)
ALL = Vocabulary(tuple(range(1, 95)))
TOKENS, ROOM = 6, 4


def drawn(seed: int, counts: list[int], vocabulary: Vocabulary = ALL, most: int = ROOM):
    """Places, elements (of each crystal at most so many) and existence of random atoms."""
    random = torch.Generator().manual_seed(seed)
    size = (len(counts), TOKENS)
    frac = torch.rand(*size, 3, generator=random)
    some = torch.randint(0, len(vocabulary), (len(counts), most), generator=random)
    classes = some.gather(1, torch.randint(0, most, size, generator=random))
    return frac, classes, torch.arange(TOKENS) < torch.tensor(counts).unsqueeze(1)


# --- elements as points


@pytest.mark.parametrize("numbers", [range(1, 95), [8], [1, 8], [1, 8, 26], range(20, 48), range(1, 119)])
def test_each_element_has_a_point_of_its_own_in_the_cube(numbers):
    points = ribbon(Vocabulary(tuple(numbers)))
    assert points.shape == (len(numbers), 3)
    assert points.abs().max() <= 3
    assert len({tuple(point) for point in points.tolist()}) == len(numbers)


def test_neighbours_on_the_line_of_elements_are_neighbours_in_the_cube():
    points = ribbon(ALL)
    along = points[ALL.by_electronegativity().argsort()]
    steps = along.diff(dim=0).norm(dim=1)
    # Five points along each edge of length six.
    torch.testing.assert_close(steps, torch.full((93,), 1.5))
    torch.testing.assert_close(torch.pdist(points).min(), torch.tensor(1.5))


def test_the_line_of_elements_goes_from_noble_gases_and_metals_to_fluorine():
    order = [symbol(ALL.numbers[i]) for i in ALL.by_electronegativity().argsort().tolist()]
    assert order[-1] == "F"
    for alike in (["Rb", "K", "Na", "Li"], ["S", "O"], ["I", "Br", "Cl", "F"], ["Zr", "Ti"], ["La", "Y"]):
        places = [order.index(name) for name in alike]
        assert places == sorted(places)
        assert places[-1] - places[0] <= len(alike)


# --- atoms


@relaxed
@given(st.integers(0, 2**31), st.lists(st.integers(1, TOKENS), min_size=1, max_size=5))
def test_atoms_come_back_from_their_numbers(seed, counts):
    frac, classes, exists = drawn(seed, counts)
    points = ribbon(ALL)
    elements, tokens = encode_atoms(frac, classes, exists, points, ROOM)
    assert elements.shape == (len(counts), ROOM, POINT)
    assert tokens.shape == (len(counts), TOKENS, TOKEN)
    found, scores = decode_atoms(elements, tokens, points)
    torch.testing.assert_close(found[exists], frac[exists], rtol=0, atol=1e-6)
    assert scores.argmax(2)[exists].equal(classes[exists])
    assert scores[exists].exp().amax(1).min() > 0.99


@relaxed
@given(st.integers(0, 2**31))
def test_errors_of_z_ten_times_as_large_as_in_training_change_no_element(seed):
    room = UNIVERSAL.network.layout.elements
    frac, classes, exists = drawn(seed, [TOKENS] * 8, most=TOKENS)
    points, random = ribbon(ALL), torch.Generator().manual_seed(seed)
    elements, tokens = encode_atoms(frac, classes, exists, points, room)
    most = 3 * 10 * UNIVERSAL.training.latent_noise
    noisy = [part + most * (2 * torch.rand(part.shape, generator=random) - 1) for part in (elements, tokens)]
    _, scores = decode_atoms(*noisy, points)
    assert scores.argmax(2).equal(classes)


def test_the_elements_of_a_crystal_are_those_that_occur_in_the_order_of_the_vocabulary():
    points = ribbon(ALL)
    classes = torch.tensor([[25, 7, 25, 7, 2, 0], [7, 50, 50, 50, 50, 50]])
    exists = torch.tensor([[True] * 5 + [False], [True] + [False] * 5])
    elements, tokens = encode_atoms(torch.rand(2, 6, 3), classes, exists, points, ROOM)
    assert elements[0, :3].equal(points[[2, 7, 25]])
    assert elements[1, :1].equal(points[[7]])
    # No element, and no atom, have a number beyond all others.
    assert (elements[0, 3:] == 4).all()
    assert (elements[1, 1:] == 4).all()
    assert tokens[0, :, 3].tolist() == [1.0, -1.0, 1.0, -1.0, -3.0, 4.0]
    assert tokens[1, :, 3].tolist() == [-3.0] + [4.0] * 5
    assert not tokens[1, 1:, :3].any()


def test_elements_beyond_the_room_are_taken_for_the_last_that_has_some():
    frac, exists, points = torch.rand(1, 6, 3), torch.ones(1, 6, dtype=torch.bool), ribbon(ALL)
    classes = torch.tensor([[0, 1, 2, 3, 4, 5]])
    _, scores = decode_atoms(*encode_atoms(frac, classes, exists, points, ROOM), points)
    assert scores.argmax(2).tolist() == [[0, 1, 2, 3, 3, 3]]


@pytest.mark.parametrize("numbers", [(8,), (1, 8)])
def test_there_may_be_room_for_more_elements_than_there_are(numbers):
    vocabulary = Vocabulary(numbers)
    frac, classes, exists = drawn(0, [TOKENS, 1], vocabulary)
    points = ribbon(vocabulary)
    found, scores = decode_atoms(*encode_atoms(frac, classes, exists, points, ROOM), points)
    assert scores.argmax(2)[exists].equal(classes[exists])
    torch.testing.assert_close(found[exists], frac[exists], rtol=0, atol=1e-6)


# --- z


@pytest.mark.parametrize(("latent", "tokens", "elements"), [(192, 40, 8), (192, 45, 2), (192, 1, 1), (50, 8, 4)])
def test_the_parts_of_z_are_all_of_it_and_in_their_order(latent, tokens, elements):
    layout = Layout.of(latent, tokens, elements)
    z = torch.arange(2.0 * latent).view(2, latent)
    parts = layout.split(z)
    assert torch.cat([part.flatten(1) for part in parts], 1).equal(z)
    assert [tuple(part.shape[1:]) for part in parts] == [
        (CELL,),
        (elements, POINT),
        (layout.rest,),
        (tokens, TOKEN),
    ]


def test_a_z_that_is_too_short_is_refused_with_the_least_size():
    assert Layout.of(50, 8, 4).rest == 0
    with pytest.raises(NesfError, match=r"network\.latent is 49; the cell, 4 elements .* 8 atoms .* at least 50"):
        Layout.of(49, 8, 4)


def test_numbers_are_kept_up_to_a_limit_and_never_pass_another():
    kept = torch.linspace(-4.5, 4.5, 91)
    assert bounded(kept).equal(kept)
    far = torch.tensor([4.6, 5.0, 6.0, 100.0, 1e30])
    assert (bounded(far) <= 5.5).all()
    assert (bounded(far).diff() >= 0).all()
    assert bounded(-far).equal(-bounded(far))
    for one, other in itertools.pairwise(torch.linspace(-6, 6, 121)):
        assert bounded(other) > bounded(one)
