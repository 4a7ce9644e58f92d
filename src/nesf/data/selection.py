"""Choosing from a collection of crystals: by an objection, by the frequency of elements, into parts and folds."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Literal

import numpy as np

from nesf.crystal import Crystal, Failure
from nesf.elements import symbol
from nesf.errors import NesfError

FREQUENT_SHARE_PERCENT = 90
"""Of the elements that occur, this share, the most frequent ones, is kept (rounded down)."""


@dataclass(frozen=True)
class Selection:
    """What a rule kept, in the order given, and what it left out with the reason."""

    kept: tuple[Crystal, ...]
    left_out: tuple[Failure, ...]


def without(crystals: Iterable[Crystal], objection: Callable[[Crystal], str | None]) -> Selection:
    """The crystals to which there is no objection, and the others with it."""
    kept, left_out = [], []
    for crystal in crystals:
        reason = objection(crystal)
        if reason is None:
            kept.append(crystal)
        else:
            left_out.append(Failure(crystal.id, reason))
    return Selection(tuple(kept), tuple(left_out))


def keep_frequent(crystals: Sequence[Crystal]) -> Selection:
    """Drop the crystals that contain a rare element; which are rare, this collection tells."""
    frequent = frequent_elements(crystals)

    def objection(crystal: Crystal) -> str | None:
        rare = sorted(set(crystal.numbers.tolist()) - frequent)
        where = f"which is not among the {len(frequent)} most frequent elements"
        return f"It contains {symbol(rare[0])}, {where}." if rare else None

    return without(crystals, objection)


def frequent_elements(crystals: Iterable[Crystal]) -> frozenset[int]:
    """Atomic numbers of the most frequent 90 % of the elements that occur, rounded down.

    The frequency of an element is the number of crystals that contain it; where two are equal, the
    lighter one goes first. (With 89 elements this keeps 80, as in the paper; which count of
    frequency the paper took is not printed.)
    """
    counts = Counter(z for crystal in crystals for z in set(crystal.numbers.tolist()))
    ranked = sorted(counts, key=lambda z: (-counts[z], z))
    return frozenset(ranked[: len(ranked) * FREQUENT_SHARE_PERCENT // 100])


Part = Literal["train", "val", "test"]
PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """The ids of a data set in three parts."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


def stable_part(id: str) -> Part:
    """The part that an id belongs to by itself, whatever others there are: 5 % are test, 5 % of the rest validation.

    The first eight bytes of the id's SHA-256, read as a number from 0 to 1, are below 0.05 for the test part, and
    below 0.0975 for validation.

    >>> stable_part("mp-22862"), stable_part("mp-149")
    ('train', 'train')
    """
    digest = sha256(id.encode("utf-8", "surrogatepass")).digest()
    unit = int.from_bytes(digest[:8], "big") / 2**64
    if unit < 0.05:
        return "test"
    return "val" if unit < 0.05 + 0.95 * 0.05 else "train"


def stable_split(ids: Iterable[str]) -> Split:
    """Split by ``stable_part``: further ids never move an id to another part. Of few ids a part may be empty.

    Raises:
        NesfError: where an id comes twice.
    """
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for name in _distinct(ids):
        parts[stable_part(name)].append(name)
    return Split(*(tuple(parts[part]) for part in PARTS))


def split(ids: Iterable[str], seed: int) -> Split:
    """Split at random: 5 % to test, 5 % of the rest to validation, both rounded up.

    The same ids and seed give the same split, in whatever order the ids come.

    Raises:
        NesfError: where an id comes twice, there are fewer than three, or the seed is negative.

    >>> parts = split((f"mp-{i}" for i in range(6005)), seed=0)
    >>> len(parts.train), len(parts.val), len(parts.test)
    (5418, 286, 301)
    """
    shuffled = _shuffled(ids, seed, at_least=3)
    n_test = _twentieth(len(shuffled))
    n_val = _twentieth(len(shuffled) - n_test)
    return Split(shuffled[n_test + n_val :], shuffled[n_test : n_test + n_val], shuffled[:n_test])


def folds(ids: Iterable[str], seed: int, count: int = 20) -> tuple[Split, ...]:
    """Cross-validation: every id is tested in one fold, validates in another and trains in the rest.

    Raises:
        NesfError: where an id comes twice, there are fewer ids than folds or than three folds, or the seed is negative.
    """
    if count < 3:
        raise NesfError(f"Cross-validation needs at least 3 folds (train, validation, test), not {count}.")
    shuffled = _shuffled(ids, seed, at_least=count)
    parts = [tuple(part.tolist()) for part in np.array_split(np.array(shuffled, dtype=object), count)]
    splits = []
    for k, test in enumerate(parts):
        v = (k + 1) % count
        train = tuple(name for i, part in enumerate(parts) if i not in (k, v) for name in part)
        splits.append(Split(train, parts[v], test))
    return tuple(splits)


def checked_seed(seed: int) -> int:
    """The seed, if every generator takes it.

    Raises:
        NesfError: where it is negative or has more than 32 bits.
    """
    if not 0 <= seed < 2**32:
        raise NesfError(f"The seed is {seed}; give a whole number from 0 to {2**32 - 1}.")
    return seed


def _twentieth(count: int) -> int:
    return -(-count // 20)


def _distinct(ids: Iterable[str]) -> list[str]:
    ordered = sorted(ids)
    repeated = [a for a, b in pairwise(ordered) if a == b]
    if repeated:
        raise NesfError(f"The id {repeated[0]!r} comes more than once; the ids of a data set must differ.")
    return ordered


def _shuffled(ids: Iterable[str], seed: int, at_least: int) -> tuple[str, ...]:
    ordered = _distinct(ids)
    if len(ordered) < at_least:
        raise NesfError(f"A data set of {len(ordered)} crystals is too small to split; at least {at_least} are needed.")
    return tuple(ordered[i] for i in np.random.default_rng(checked_seed(seed)).permutation(len(ordered)))
