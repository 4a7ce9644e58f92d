"""The symmetry operations that a CIF lists or names, checked: a list that is no group makes a wrong crystal."""

import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nesf.errors import NesfError
from nesf.io.cif_tags import Block

if TYPE_CHECKING:
    import gemmi

_LISTS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")
_HALLS = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NAMES = ("_space_group_name_h-m_alt", "_symmetry_space_group_name_h-m", "_space_group_name_h-m_full")
MOST_OPERATIONS = 1000
"""The largest space group has 192 in its conventional cell; somewhat more are needed for multiples of a cell."""
LONGEST_NAME = 60
METRIC_TOLERANCE = 0.02
"""Lengths and angles are rounded, so an operation may change the products of lattice vectors by this share."""

Operations = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Rotations (m, 3, 3) and translations (m, 3), in fractional coordinates."""


def operations_of(block: Block, alpha: float, gamma: float, metric: NDArray[np.float64]) -> Operations:
    """The operations of a block.

    Where none are listed, those of the Hall symbol, Hermann-Mauguin symbol or number are taken, if these leave no
    choice of origin or axes that the cell does not settle. Where nothing is named either, the identity.

    Args:
        block: the data block.
        alpha: angle of the cell, in degrees; with the next it tells hexagonal from rhombohedral axes.
        gamma: likewise.
        metric: (3, 3) products of the lattice vectors, which operations must not change.

    Raises:
        NesfError: where the operations are damaged, no group, do not fit the cell, or are not known.
    """
    tag = next((tag for tag in _LISTS if block.given(tag)), None)
    if tag is not None:
        operations = _arrays(_listed(block.column(tag) or [], block.lines[tag]))
        if not _fits(operations, metric):
            raise NesfError(
                "Its cell does not have the symmetry of its operations: they would change lengths or angles; "
                "correct the cell, or choose the setting (such as hexagonal or rhombohedral axes) that belongs to it."
            )
        return operations
    if _name(block) is None:
        if unknown := next((tag for tag in (*_NAMES, *_HALLS, *_NUMBERS) if tag in block), None):
            raise NesfError(
                f"Its space group is unknown ({unknown} on line {block.lines[unknown]} says nothing) and no operations "
                "are listed; name the group, P 1 where all atoms are listed."
            )
        return np.eye(3)[None], np.zeros((1, 3))
    return _named(block, alpha, gamma, metric)


def contradiction(block: Block, operations: Operations) -> str | None:
    """How listed operations contradict the group that is named beside them, in words; None where they do not."""
    import gemmi

    choices = _groups(block)
    if not choices:
        return None
    named, found = len(choices[0].sym_ops), len(np.unique(operations[0], axis=0))
    if named != found:
        return f"it names the space group {_name(block)!r}, which has {named} rotations, but lists {found}"
    group, other = (gemmi.find_spacegroup_by_ops(one) for one in (choices[0], _group_of(operations)))
    if group is None or other is None or group.number == other.number:  # settings that have no name are let pass
        return None
    return f"it names the space group {_name(block)!r}, but lists the operations of {other.xhm()}"


def _listed(texts: list[str], line: int) -> "gemmi.GroupOps":
    """The group of the operations that are listed; raises ``NesfError`` where they form none."""
    import gemmi

    if len(texts) > MOST_OPERATIONS:
        raise NesfError(f"Its list of symmetry operations on line {line} is longer than {MOST_OPERATIONS}; shorten it.")
    found = {}
    for row, text in enumerate(texts, start=1):
        operation = _operation(text)
        if operation is None:
            raise NesfError(
                f"Row {row} of its symmetry operations (line {line}), {text[:40]!r}, is none; write it like "
                "'x,-y,z+1/2'."
            )
        found[operation.triplet()] = operation
    try:
        group = gemmi.GroupOps(list(found.values()))
        group.add_missing_elements()
    except RuntimeError:  # there is no end to the products of these
        group = None
    if group is None or {operation.wrap().triplet() for operation in group} != found.keys():
        raise NesfError(
            f"Its {len(found)} symmetry operations (line {line}) form no group, so at least one is missing or "
            "wrong; list all of them, the identity x,y,z included."
        )
    return group


def _operation(text: str) -> "gemmi.Op | None":
    """One operation, its translations from 0 to 1; None where the text is none."""
    import gemmi

    # The library counts numbers of many digits wrong.
    if len(text) > 200 or re.search(r"(?<![.\d])\d{4}", text):
        return None
    try:
        operation = gemmi.parse_triplet(text, "x").wrap()
    except (RuntimeError, ValueError):
        return None
    return operation if abs(operation.det_rot()) == operation.DEN**3 else None


def _group_of(operations: Operations) -> "gemmi.GroupOps":
    import gemmi

    found = []
    for rotation, translation in zip(*operations, strict=True):
        operation = gemmi.Op()
        operation.rot = (rotation * gemmi.Op.DEN).round().astype(int).tolist()
        operation.tran = (translation * gemmi.Op.DEN).round().astype(int).tolist()
        found.append(operation)
    return gemmi.GroupOps(found)


def _arrays(group: "gemmi.GroupOps") -> Operations:
    seitz = np.array([operation.float_seitz() for operation in group])
    return seitz[:, :3, :3], seitz[:, :3, 3]


def _fits(operations: Operations, metric: NDArray[np.float64]) -> bool:
    rotations = operations[0]
    turned = rotations.transpose(0, 2, 1) @ metric @ rotations
    scale = np.sqrt(np.outer(metric.diagonal(), metric.diagonal()))
    return bool((abs(turned - metric) <= METRIC_TOLERANCE * scale).all())


def _named(block: Block, alpha: float, gamma: float, metric: NDArray[np.float64]) -> Operations:
    name, choices = repr((_name(block) or "")[:30]), _groups(block, alpha, gamma)
    if not choices:
        raise NesfError(
            f"It names the space group {name}, which is not known in this setting, and lists no operations; list them "
            "under _space_group_symop_operation_xyz."
        )
    operations = _arrays(choices[0])
    if not _fits(operations, metric):
        raise NesfError(f"Its cell does not fit the space group {name} that it names; correct the one or the other.")
    if len(choices) > 1:
        raise NesfError(
            f"It names the space group {name}, which has two origins, and does not say which; list its operations "
            "under _space_group_symop_operation_xyz."
        )
    return operations


def _name(block: Block) -> str | None:
    return block.one(*_NAMES) or block.one(*_HALLS) or block.one(*_NUMBERS)


def _groups(block: Block, alpha: float = 0.0, gamma: float = 0.0) -> "list[gemmi.GroupOps]":
    """The groups that a block may name: none where it is not known, two where the origin is not said."""
    import gemmi

    hall, name, number = block.one(*_HALLS), block.one(*_NAMES), block.one(*_NUMBERS)
    if hall and len(hall) <= LONGEST_NAME:
        try:
            return [gemmi.symops_from_hall(hall)]
        except (RuntimeError, ValueError):  # some files have another name there
            pass
    if name is None and number is not None and re.fullmatch("[0-9]{1,3}", number):
        group = gemmi.find_spacegroup_by_number(int(number))
        name = group.hm if group else None
    if name is None or len(name) > LONGEST_NAME:
        return []
    name = name.replace("_", "")  # as papers and databases write P2_1/c
    # The ICSD writes "F d -3 m S" and "F d -3 m Z" for the two origins.
    name = re.sub(r"\s*(?<!:)[SZ]$", lambda end: ":1" if end[0].endswith("S") else ":2", name)
    found = {}
    for origin in ("1", "2"):
        group = gemmi.find_spacegroup_by_name(name, alpha, gamma, origin)
        if group is not None:
            found[group.xhm()] = group.operations()
    return list(found.values())
