"""Found crystals judged as structures, by the measures of CDVAE and GLASS and by symmetry; over several processes."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from importlib import metadata
from multiprocessing import get_context
from threading import current_thread, main_thread
from types import FrameType
from typing import Any, TypeVar

from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io.composition import OXIDATION_STATES, smact_version, valid_composition
from nesf.io.matcher import ANGLE_TOL_DEGREES, LTOL, STOL, rms_distance
from nesf.io.structures import one_line
from nesf.io.symmetry import space_group
from nesf.metrics.assignment import assign
from nesf.metrics.images import closest_approach
from nesf.metrics.match_score import MatchScore, MatchTally, Verdict
from nesf.workers import end, follow

T = TypeVar("T")
Pair = tuple[Crystal, Crystal | Failure]
_Packed = tuple[Any, ...]

CLOSEST_ANGSTROM = 0.5
SMALLEST_VOLUME = 0.1
"""Å³; with atoms nearer than the above or a cell smaller than this, a crystal is not valid."""
TRUE_TOLERANCE_ANGSTROM = 0.01
"""How far atoms may lie from their symmetric places; in a found crystal, unless another tolerance is asked for."""
LONGEST_SECONDS = 60.0
"""Processor time after which a question about a crystal is left open: some would keep the matching busy for hours."""
PIECE = 4
"""Crystals that are handed to a process at once."""
WORTH_PROCESSES = 256
"""With fewer crystals, starting the processes takes longer than they save."""

PROTOCOL = (
    "match_rate_all: share of all crystals that pymatgen's StructureMatcher matches with the true one; a failure is a "
    "miss. match_rate_valid: the match counts only where the found crystal is valid: no two atoms, images included, "
    f"nearer than {CLOSEST_ANGSTROM:g} Å, a volume of at least {SMALLEST_VOLUME:g} Å³, and a composition that passes "
    "SMACT (neutral and Pauling's test; one element or metals alone pass); divided by all crystals, of which "
    "true_valid are themselves valid. match_rmse: mean over the matches of the root mean square displacement, as a "
    "share of (volume / atoms)^(1/3); match_crmse: over all crystals, a miss counts as stol. glass_rmsd (Å): over the "
    "right_count crystals with the right number of atoms, the mean of their root mean square distance after Hungarian "
    "assignment of Cartesian positions, nearest images in the found cell, no rescaling or shift; "
    "glass_species_percent: right elements under that assignment, their glass_atoms atoms pooled. "
    "spacegroup_recovered_percent: of all crystals, by spglib."
)


def settings(tolerance: float = TRUE_TOLERANCE_ANGSTROM) -> dict[str, Any]:
    """All that the judgement depends on, versions included.

    Raises:
        NesfError: where SMACT is not installed, or the tolerance is none.
    """
    if not 0 < tolerance < 1:
        raise NesfError(f"The tolerance of the space group is {tolerance}; give one between 0 and 1 Å, such as 0.1.")
    return {
        "stol": STOL,
        "ltol": LTOL,
        "angle_tol_degrees": ANGLE_TOL_DEGREES,
        "spacegroup_tolerance_true_angstrom": TRUE_TOLERANCE_ANGSTROM,
        "spacegroup_tolerance_found_angstrom": tolerance,
        "longest_seconds": LONGEST_SECONDS,
        "oxidation_states": OXIDATION_STATES,
        "smact": smact_version(),
        "pymatgen": metadata.version("pymatgen"),
        "spglib": metadata.version("spglib"),
    }


class Judge:
    """Judges pairs of a true crystal and what was found for it; a context, because it may hold processes.

    Args:
        processes: how many work at the same time; few crystals are judged in this one. The answers are the same.
        tolerance: of the space group of found crystals, in angstrom.

    Raises:
        NesfError: where SMACT is not installed.

    >>> from nesf.testing import perovskite
    >>> with Judge() as judge:
    ...     judge([(perovskite(), perovskite())]).score().match_rate_valid
    1.0
    """

    def __init__(self, processes: int = 1, tolerance: float = TRUE_TOLERANCE_ANGSTROM) -> None:
        self.settings = settings(tolerance)
        self._tolerance = tolerance
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._pool is not None:
            end(self._pool, at_once=kind is not None)

    def __call__(self, pairs: Sequence[Pair], tell: Callable[[int], None] = lambda _: None) -> MatchTally:
        """The tally of the verdicts on some pairs; ``tell`` is called with the number of crystals done.

        Raises:
            NesfError: where a process is ended from outside.
        """
        tally = MatchTally(STOL)
        pieces = [pairs[i : i + PIECE] for i in range(0, len(pairs), PIECE)]
        with _quiet_children():
            alone = self._processes < 2 or (self._pool is None and len(pairs) < WORTH_PROCESSES)
            for verdicts in self._alone(pieces) if alone else self._in_processes(pieces):
                for one in verdicts:
                    tally.add(one)
                tell(len(verdicts))
        return tally

    def _alone(self, pieces: Sequence[Sequence[Pair]]) -> Iterator[list[Verdict]]:
        for piece in pieces:
            yield [verdict(true, found, self._tolerance) for true, found in piece]

    def _in_processes(self, pieces: Sequence[Sequence[Pair]]) -> Iterator[list[Verdict]]:
        if self._pool is None:
            # New interpreters, because a copy of this one would share the locks of PyTorch's threads.
            self._pool = ProcessPoolExecutor(self._processes, get_context("spawn"), follow)
        packed = [[(_pack(true), _pack(found)) for true, found in piece] for piece in pieces]
        try:
            yield from self._pool.map(_judge_packed, packed, [self._tolerance] * len(packed))
        except BrokenProcessPool:
            raise NesfError(
                "A process that matched crystals was ended from outside; try again with --processes 1."
            ) from None


def total(tallies: Iterable[Mapping[str, Any]]) -> MatchScore:
    """The score of all crystals of some tallies, each as plain values (``MatchTally.to_dict``)."""
    tally = MatchTally(STOL)
    for values in tallies:
        tally.merge(MatchTally.from_dict(values))
    return tally.score()


def verdict(true: Crystal, found: Crystal | Failure, tolerance: float = TRUE_TOLERANCE_ANGSTROM) -> Verdict:
    """Judge one found crystal, or the failure to find it; never raises for what is wrong with a crystal."""
    undecided: list[str] = []

    def ask(question: str, function: Callable[..., T], *given: Any) -> T | None:
        try:
            return _in_time(function, *given)
        except _TooLong:
            undecided.append(f"{question} took longer than {LONGEST_SECONDS:g} s")
        except NesfError:
            raise
        except Exception as error:  # pymatgen and SMACT raise many kinds
            undecided.append(f"{question} failed ({one_line(error)})")
        return None

    def sensible(crystal: Crystal) -> bool:
        return bool(ask("the composition rule", valid_composition, crystal.numbers.tolist()))

    true_valid = valid_geometry(true) and sensible(true)
    if isinstance(found, Failure):
        return Verdict(true.id, False, None, False, False, None, False, true_valid, " and ".join(undecided) or None)
    groups = space_group(true, TRUE_TOLERANCE_ANGSTROM), space_group(found, tolerance)
    return Verdict(
        id=true.id,
        found=True,
        rms=ask("the matching", rms_distance, found, true),
        valid_geometry=valid_geometry(found),
        valid_composition=sensible(found),
        assignment=assign(true, found),
        same_group=groups[0].number == groups[1].number,
        true_valid=true_valid,
        undecided=" and ".join(undecided) or None,
    )


def valid_geometry(crystal: Crystal) -> bool:
    """Whether all atoms, images of the same atom included, are 0.5 Å apart, and the cell has a volume of 0.1 Å³."""
    a_x, b_y, c_z = crystal.cell.diagonal().tolist()  # the cell is lower triangular
    return a_x * b_y * c_z >= SMALLEST_VOLUME and closest_approach(crystal) >= CLOSEST_ANGSTROM


class _TooLong(BaseException):
    """Rung by the clock; no Exception, so that foreign code that catches those does not swallow it."""


def _in_time(function: Callable[..., T], *given: Any) -> T:
    """Call a function; raise ``_TooLong`` after a while. Without limit where there is no clock that interrupts.

    The time is the processor's, so that a busy machine judges as an idle one does.
    """
    if not hasattr(signal, "setitimer") or current_thread() is not main_thread():
        return function(*given)

    waiting = True

    def ring(_signal: int, _frame: FrameType | None) -> None:
        if waiting:
            raise _TooLong

    before = signal.signal(signal.SIGVTALRM, ring)
    # It rings again, should the first time fall into a place that swallows everything, such as a destructor.
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_SECONDS, LONGEST_SECONDS)
    try:
        try:
            return function(*given)
        finally:
            waiting = False  # a ring from here on must not keep the clock from being stopped
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def _quiet_children() -> Iterator[None]:
    """One thread for each process started inside, and no word of spglib's C library, here or there."""
    wanted = {"OMP_NUM_THREADS": "1", "SPGLIB_WARNING": "OFF"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _judge_packed(piece: list[tuple[_Packed, _Packed | Failure]], tolerance: float) -> list[Verdict]:
    return [
        verdict(Crystal(*true), found if isinstance(found, Failure) else Crystal(*found), tolerance)
        for true, found in piece
    ]


def _pack(crystal: Crystal | Failure) -> Any:
    """A crystal as a tuple of its fields, because its read-only properties cannot be sent to another process."""
    if isinstance(crystal, Failure):
        return crystal
    return crystal.id, crystal.numbers, crystal.cart, crystal.cell
