"""Many crystals in another cell, over several processes: the search for symmetry takes 5 to 30 ms a crystal."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io.structures import Cell, convert
from nesf.workers import end, follow

CHUNK = 64
"""Crystals that are handed to a process at once."""
WORTH_PROCESSES = 1000
"""With fewer crystals, starting the processes takes longer than they save."""

_Packed = tuple[Any, ...]


def converted(
    crystals: Sequence[Crystal], cell: Cell, processes: int, tell: Callable[[int], None]
) -> list[Crystal | Failure]:
    """The crystals in the wanted cell, in order; one for which no such cell is found becomes a Failure.

    Args:
        crystals: what to convert.
        cell: see ``nesf.io.convert``.
        processes: how many work at the same time; few crystals are converted in this one.
        tell: is called with the number of crystals done.

    Raises:
        NesfError: where a process is ended from outside.
    """
    if cell == "as-is":
        return list(crystals)
    chunks = [crystals[i : i + CHUNK] for i in range(0, len(crystals), CHUNK)]
    results: list[Crystal | Failure] = []
    with _spglib_silent():
        if processes < 2 or len(crystals) < WORTH_PROCESSES:
            found: Iterator[list[Crystal | Failure]] = ([_convert(one, cell) for one in chunk] for chunk in chunks)
        else:
            found = _in_processes(chunks, cell, processes)
        for some in found:
            results += some
            tell(len(some))
    return results


@contextmanager
def _spglib_silent() -> Iterator[None]:
    """Keep the C library from writing to the standard error, here and in the processes started inside.

    It reports each tolerance that it gives up on its way to an answer.
    """
    before = os.environ.get("SPGLIB_WARNING")
    os.environ["SPGLIB_WARNING"] = "OFF"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SPGLIB_WARNING"]
        else:
            os.environ["SPGLIB_WARNING"] = before


def _in_processes(chunks: Sequence[Sequence[Crystal]], cell: Cell, processes: int) -> Iterator[list[Crystal | Failure]]:
    packed = [[_pack(crystal) for crystal in chunk] for chunk in chunks]
    # New interpreters, because a copy of this one would share the locks of PyTorch's threads.
    pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=follow)
    done = False
    try:
        for found in pool.map(_convert_packed, packed, [cell] * len(packed)):
            yield [one if isinstance(one, Failure) else Crystal(*one) for one in found]
        done = True
    except BrokenProcessPool:
        raise NesfError(
            "A process that converted cells was ended from outside; try again with --processes 1."
        ) from None
    finally:
        end(pool, at_once=not done)


def _convert_packed(chunk: list[_Packed], cell: Cell) -> list[_Packed | Failure]:
    found = [_convert(Crystal(*one), cell) for one in chunk]
    return [one if isinstance(one, Failure) else _pack(one) for one in found]


def _convert(crystal: Crystal, cell: Cell) -> Crystal | Failure:
    try:
        return convert(crystal, cell)
    except NesfError as error:
        return Failure(crystal.id, str(error))


def _pack(crystal: Crystal) -> _Packed:
    """A crystal as a tuple of its fields, because its read-only properties cannot be sent to another process."""
    return crystal.id, crystal.numbers, crystal.cart, crystal.cell, dict(crystal.properties)
