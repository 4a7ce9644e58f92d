"""The symmetry operations that a CIF lists or names, checked: a list that is no group makes a wrong crystal."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nesf.errors import NesfError
from nesf.io.cif_block import Block
from nesf.io.structures import quiet

_LISTS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")
_HALLS = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NAMES = ("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m_full")
MOST_OPERATIONS = 1000
"""The largest space group has 192 in its conventional cell; somewhat more are needed for multiples of a cell."""
_TERM = re.compile(r"([+-]?)(?:(\d{1,3}(?:\.\d{0,12})?|\.\d{1,12})(?:/(\d{1,3}))?\*?)?([xyz]?)")
METRIC_TOLERANCE = 0.02
"""Lengths and angles are rounded, so an operation may change the products of lattice vectors by this share."""

Operations = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Rotations (m, 3, 3) and translations (m, 3), in fractional coordinates."""


def operations_of(block: Block, metric: NDArray[np.float64]) -> Operations:
    """The operations of a block.

    Where none are listed, those of the Hall symbol, Hermann-Mauguin symbol or number are taken, if these leave no
    choice of origin or axes that the cell does not settle. Where nothing is named either, the identity.

    Args:
        block: the data block.
        metric: (3, 3) products of the lattice vectors, which operations must not change.

    Raises:
        NesfError: where the operations are damaged, no group, do not fit the cell, or are not known.
    """
    listed = block.get(*_LISTS)
    if listed is not None and any(text.strip() not in ("", "?", ".") for text in listed):
        line = next(block.lines[tag] for tag in _LISTS if tag in block)
        return _listed(listed, line, metric)
    if block.one(*_HALLS, *_NAMES, *_NUMBERS) is None:
        return np.eye(3, dtype=np.int64)[None], np.zeros((1, 3))
    return _named(block, metric)


def parse_operation(text: str) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """One operation as CIF writes it, such as ``-y, x-y, z+1/3``; None where it is none.

    >>> parse_operation("-y, x-y, 1/3+Z")[0].tolist(), parse_operation("x,y"), parse_operation("x,x,z")
    ([[0, -1, 0], [1, -1, 0], [0, 0, 1]], None, None)
    """
    words = re.sub(r"\s", "", text).lower().split(",")
    if len(text) > 200 or len(words) != 3:
        return None
    rotation, translation = np.zeros((3, 3), np.int64), np.zeros(3)
    for row, word in enumerate(words):
        end = 0
        while end < len(word):
            match = _TERM.match(word, end)
            if match is None or match.end() == end or (end and not match[1]):
                return None
            sign, amount, divisor, axis = match.groups()
            if (amount is None and not axis) or (divisor is not None and int(divisor) == 0):
                return None
            value = (Fraction(amount) if amount else Fraction(1)) / int(divisor or 1) * (-1 if sign == "-" else 1)
            if not axis:
                translation[row] += float(value)
            elif value.denominator == 1:
                rotation[row, "xyz".index(axis)] += int(value)
            else:
                return None
            end = match.end()
    return (rotation, translation) if round(abs(np.linalg.det(rotation.astype(float)))) == 1 else None


def contradiction(block: Block, operations: Operations) -> str | None:
    """How listed operations contradict the group that is named beside them, in words; None where they do not."""
    orders = {_order(_operations(setting.hall)[0]) for setting in _candidates(block)}
    if not orders or _order(operations[0]) in orders:
        return None
    return (
        f"it names the space group {_name(block)}, which has {max(orders)} rotations, but lists {_order(operations[0])}"
    )


def _listed(texts: list[str], line: int, metric: NDArray[np.float64]) -> Operations:
    if len(texts) > MOST_OPERATIONS:
        raise NesfError(f"Its list of symmetry operations on line {line} is longer than {MOST_OPERATIONS}; shorten it.")
    found: dict[tuple[bytes, bytes], tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
    for row, text in enumerate(texts, start=1):
        operation = parse_operation(text)
        if operation is None:
            raise NesfError(
                f"Row {row} of its symmetry operations (line {line}), {text[:40]!r}, is none; write it like "
                "'x,-y,z+1/2'."
            )
        rotation, translation = operation
        key = rotation.tobytes(), (np.round(translation * 1000).astype(np.int64) % 1000).tobytes()
        found.setdefault(key, operation)
    rotations = np.array([rotation for rotation, _ in found.values()])
    translations = np.array([translation for _, translation in found.values()])
    _check_group(rotations, line)
    _check_metric(rotations, metric)
    return rotations, translations


def _check_group(rotations: NDArray[np.int64], line: int) -> None:
    """With each two rotations their product is there, and each as often as the others: else one is missing."""
    keys, counts = np.unique(rotations.reshape(-1, 9), axis=0, return_counts=True)
    distinct = {key.tobytes() for key in keys}
    # More than 48 distinct rotations are no group of a lattice.
    closed = len(keys) <= 48 and all(
        (left.reshape(3, 3) @ right.reshape(3, 3)).reshape(9).tobytes() in distinct for left in keys for right in keys
    )
    if not closed or len(set(counts.tolist())) > 1:
        raise NesfError(
            f"Its {len(rotations)} symmetry operations (line {line}) form no group, so at least one is missing or "
            "wrong; list all of them, the identity x,y,z included."
        )


def _check_metric(rotations: NDArray[np.int64], metric: NDArray[np.float64]) -> None:
    if not _fits(rotations, metric):
        raise NesfError(
            "Its cell does not have the symmetry of its operations: they would change lengths or angles; "
            "correct the cell, or choose the setting (such as hexagonal or rhombohedral axes) that belongs to it."
        )


def _fits(rotations: NDArray[np.int64], metric: NDArray[np.float64]) -> bool:
    turned = rotations.transpose(0, 2, 1) @ metric @ rotations
    scale = np.sqrt(np.outer(metric.diagonal(), metric.diagonal()))
    return bool((abs(turned - metric) <= METRIC_TOLERANCE * scale).all())


@dataclass(frozen=True)
class _Setting:
    """One of the 530 settings of space groups: its number there, that of its group, its choice of axes or origin."""

    hall: int
    group: int
    choice: str
    hall_symbol: str
    own_names: frozenset[str]
    all_names: frozenset[str]


def _named(block: Block, metric: NDArray[np.float64]) -> Operations:
    name, candidates = _name(block), _candidates(block)
    if not candidates:
        raise NesfError(
            f"It names the space group {name}, which is not known in this setting, and lists no operations; list them "
            "under _space_group_symop_operation_xyz."
        )
    fitting = [setting.hall for setting in candidates if _fits(_operations(setting.hall)[0], metric)]
    if not fitting:
        raise NesfError(f"Its cell does not fit the space group {name} that it names; correct the one or the other.")
    if len(fitting) > 1:
        raise NesfError(
            f"It names the space group {name}, which has two origins, and does not say which; list its operations "
            "under _space_group_symop_operation_xyz."
        )
    return _operations(fitting[0])


def _name(block: Block) -> str:
    return repr((block.one(*_NAMES) or block.one(*_HALLS) or block.one(*_NUMBERS) or "")[:30])


def _candidates(block: Block) -> list[_Setting]:
    """The settings that a block may mean; none where it names nothing that is known."""
    hall, name, number = block.one(*_HALLS), block.one(*_NAMES), block.one(*_NUMBERS)
    if hall and (exact := [one for one in _settings() if one.hall_symbol == _compact(hall)]):
        return exact
    if name:
        return _by_name(_compact(name))
    if number and number.isascii() and number.isdigit():
        return _chosen([one for one in _settings() if str(one.group) == number])
    return []


def _by_name(name: str) -> list[_Setting]:
    """The settings of a Hermann-Mauguin symbol, with or without a suffix for the choice of axes or origin."""
    plain, suffix = name, ""
    if match := re.fullmatch(r"(.+?):([12rh]|-?[abc][abc123]*)", name):
        plain, suffix = match[1], match[2]
    elif match := re.fullmatch(r"(.*[^:])([szrh])", name):  # "F d -3 m Z" and "R -3 m H", as the ICSD writes them
        plain, suffix = match[1], {"s": "1", "z": "2"}.get(match[2], match[2])
    found = [one for one in _settings() if plain in one.all_names]
    if suffix:
        return [one for one in found if one.choice == suffix]
    return _chosen([one for one in found if plain in one.own_names] or found)


def _chosen(settings: list[_Setting]) -> list[_Setting]:
    """Without another word the first choice of axes is meant; not so for origins, and the axes of rhombohedra."""
    return settings if {one.choice for one in settings} in ({"1", "2"}, {"h", "r"}) else settings[:1]


@cache
def _settings() -> tuple[_Setting, ...]:
    import spglib

    with quiet():
        kinds = [spglib.get_spacegroup_type(hall) for hall in range(1, 531)]
    found = []
    for hall, kind in enumerate(kinds, start=1):
        spellings = [kind.international_full, *kind.international.split("=")]
        words = spellings[-1].split()
        own = {_compact(spellings[0]), _compact(spellings[-1])}
        own |= {_compact("".join(word for word in words if word != "1"))} if len(words) == 4 else set()
        names = own | {_compact(kind.international_short), *map(_compact, spellings)}
        symbol = _compact(kind.hall_symbol)
        found.append(_Setting(hall, kind.number, kind.choice.lower(), symbol, frozenset(own), frozenset(names)))
    return tuple(found)


@cache
def _operations(hall: int) -> Operations:
    import spglib

    with quiet():
        found = spglib.get_symmetry_from_database(hall)
    return found["rotations"].astype(np.int64), found["translations"].astype(np.float64)


def _order(rotations: NDArray[np.int64]) -> int:
    return len({rotation.tobytes() for rotation in rotations})


def _compact(symbol: str) -> str:
    return re.sub(r"[\s_]", "", symbol).lower()
