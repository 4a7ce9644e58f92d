"""Atoms in z: the numbers of elements and tokens that need no learning."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from nesf.elements import Vocabulary
from nesf.model.layout import POINT, TOKEN, Layout
from nesf.shapes import Bool, Float, Int

# Fractional coordinates, elements and their numbers in the crystal are spread over as much as this, either way.
_FURTHEST = 3.0
# Where there is no atom, or no element, these numbers have this value.
_NONE = 4.0
# What is off by this share of the way to the next element is e times less likely to be the right one.
_DOUBT = 0.25
_UNLIKELY = 1e-6
# Numbers of z up to here are kept as they are, which those of atoms are; none is larger than the other.
_KEPT, _LARGEST = 4.5, 5.5


def ribbon(vocabulary: Vocabulary) -> Float[Tensor, "classes 3"]:
    """A point for each element: the line of elements, folded to fill a cube, so that neighbours on it stay neighbours.

    The line is the order of elements in formulas, from electropositive to electronegative, in which neighbours are
    mostly alike.
    """
    side = _side(len(vocabulary))
    place = vocabulary.by_electronegativity().unsqueeze(1)
    power = side ** torch.arange(POINT - 1, -1, -1)
    digit, above = place // power % side, place // (power * side)
    # Every second time a digit counts down, as a ribbon turns at its ends.
    digit = torch.where(above % 2 == 0, digit, side - 1 - digit)
    return _FURTHEST * (2 * digit.float() / (side - 1) - 1)


def _side(n_elements: int) -> int:
    """How many points there are along an edge of the cube."""
    return max(2, math.ceil(n_elements ** (1 / POINT) - 1e-9))


def encode_atoms(
    frac: Float[Tensor, "n_crystals tokens 3"],
    classes: Int[Tensor, "n_crystals tokens"],
    exists: Bool[Tensor, "n_crystals tokens"],
    points: Float[Tensor, "classes 3"],
    room: int,
) -> tuple[Float[Tensor, "n_crystals room 3"], Float[Tensor, "n_crystals tokens 4"]]:
    """The numbers of the elements that occur, in the order of the vocabulary, and of the atoms.

    Args:
        frac: fractional coordinates.
        classes: elements.
        exists: where there is an atom.
        points: of the elements (``ribbon``).
        room: for how many elements; those beyond are taken for the last of these.
    """
    occurs = torch.zeros(len(classes), len(points) + 1, dtype=torch.int32, device=classes.device)
    occurs = occurs.scatter(1, torch.where(exists, classes, len(points)), 1)[:, :-1]
    which = (occurs.cumsum(1) - 1).gather(1, classes).clamp(0, room - 1)
    first = functional.pad(occurs, (0, max(0, room - len(points))))
    first = first.argsort(dim=1, descending=True, stable=True)[:, :room]
    taken = torch.arange(room, device=classes.device) < occurs.sum(1, keepdim=True)
    elements = torch.where(taken.unsqueeze(2), points[first.clamp_max(len(points) - 1)], _NONE)
    places = torch.where(exists.unsqueeze(2), _FURTHEST * (2 * frac - 1), 0.0)
    numbers = torch.where(exists, _levels(room, frac)[which], _NONE)
    return elements, torch.cat((places, numbers.unsqueeze(2)), 2)


def decode_atoms(
    elements: Float[Tensor, "n_crystals room 3"],
    tokens: Float[Tensor, "n_crystals tokens 4"],
    points: Float[Tensor, "classes 3"],
) -> tuple[Float[Tensor, "n_crystals tokens 3"], Float[Tensor, "n_crystals tokens classes"]]:
    """The inverse of ``encode_atoms``: fractional coordinates, and logarithms of the probabilities of the elements."""
    room = elements.shape[1]
    off = (tokens[..., 3:] - _levels(room, tokens)) / (_DOUBT * 2 * _FURTHEST / max(1, room - 1))
    which = (-off.square()).softmax(2)
    off = (elements.unsqueeze(2) - points) / (_DOUBT * 2 * _FURTHEST / (_side(len(points)) - 1))
    named = (-off.square().sum(3)).softmax(2)
    return 0.5 * (tokens[..., :3] / _FURTHEST + 1), (which @ named + _UNLIKELY).log()


def move_places(
    z: Float[Tensor, "n_crystals latent"], steps: Float[Tensor, "n_crystals most 3"], layout: Layout
) -> Float[Tensor, "n_crystals latent"]:
    """Latent vectors in which the first atoms are elsewhere, by steps in fractional coordinates."""
    tokens = layout.split(z)[-1]
    further = functional.pad(2 * _FURTHEST * steps, (0, TOKEN - POINT, 0, layout.tokens - steps.shape[1]))
    return torch.cat((z[:, : -TOKEN * layout.tokens], (tokens + further).flatten(1)), 1)


def _levels(room: int, like: Tensor) -> Float[Tensor, " room"]:
    return torch.linspace(-_FURTHEST, _FURTHEST, room, device=like.device, dtype=like.dtype)


def bounded(numbers: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """The numbers themselves, unless they are so large that only a network that flees from noise can mean them."""
    kept, room = numbers.clamp(-_KEPT, _KEPT), _LARGEST - _KEPT
    return kept + room * ((numbers - kept) / room).tanh()
