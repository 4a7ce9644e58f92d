"""Many crystals judged as structures: match rates, the RMSD of GLASS, recovery of the space group."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from nesf.crystal import Failure
from nesf.metrics.assignment import Assignment
from nesf.metrics.means import Mean


@dataclass(frozen=True)
class Verdict:
    """What is found out about one crystal.

    Attributes:
        id: id of the true crystal.
        found: whether there is a found crystal; where not, all that follows but the last two says no.
        rms: root mean square displacement of the match, as a share of (volume / atoms)^(1/3); None for a miss.
        valid_geometry: whether no atoms of the found crystal are too near, and it has a volume.
        valid_composition: whether its composition is chemically sensible.
        assignment: of its atoms to the true ones; None where their numbers differ.
        same_group: whether it has the space group of the true crystal.
        true_valid: whether the true crystal is itself valid, in geometry and composition.
        undecided: why a question had to be left open, and so counts as answered with no; None where none was.
    """

    id: str
    found: bool
    rms: float | None
    valid_geometry: bool
    valid_composition: bool
    assignment: Assignment | None
    same_group: bool
    true_valid: bool
    undecided: str | None = None

    @property
    def valid(self) -> bool:
        """Whether the found crystal is valid, in geometry and composition."""
        return self.valid_geometry and self.valid_composition


@dataclass(frozen=True)
class MatchScore:
    """The verdicts on all crystals, together; a mean of nothing is None.

    Attributes:
        match_rate_all: crystals that match, as a share (0 to 1) of all; a failure is a miss.
        match_rate_valid: crystals that match and are valid, as a share of all (the rule of CDVAE).
        match_rmse: mean of the normalised displacements over the matches.
        match_crmse: the same over all crystals, where a miss counts as the site tolerance.
        glass_rmsd: mean over the crystals with the right number of atoms of the RMSD of assigned atoms, Å.
        glass_species_percent: assigned atoms of the right element, %, all atoms of these crystals pooled.
        spacegroup_recovered_percent: crystals with the space group of the true one, % of all.
        counts: how many crystals, or atoms, entered each mean and passed each test, by name.
        undecided: crystals of which a question had to be left open, with the reason.
    """

    match_rate_all: float | None
    match_rate_valid: float | None
    match_rmse: float | None
    match_crmse: float | None
    glass_rmsd: float | None
    glass_species_percent: float | None
    spacegroup_recovered_percent: float | None
    counts: Mapping[str, int]
    undecided: tuple[Failure, ...]

    def to_dict(self) -> dict[str, Any]:
        """The seven values, and under "match" the counts and what was left undecided; ready for JSON."""
        values = {key: getattr(self, key) for key in KEYS}
        undecided = [asdict(failure) for failure in self.undecided]
        return {**values, "match": {**self.counts, "undecided": undecided}}


KEYS = tuple(MatchScore.__dataclass_fields__)[:7]
"""The seven values of a MatchScore."""
_COUNTED = (
    "found",
    "matched",
    "valid_geometry",
    "valid_composition",
    "valid",
    "matched_and_valid",
    "right_count",
    "same_spacegroup",
    "true_valid",
)
_MEANS = ("rmse", "crmse", "rmsd")


class MatchTally:
    """A MatchScore in the making; tallies of parts, merged, give the score of the whole to the last digit.

    Args:
        miss: what a miss counts as in ``match_crmse``: the site tolerance of the matching.
    """

    def __init__(self, miss: float) -> None:
        self.miss = miss
        self.counts = dict.fromkeys(("n", *_COUNTED, "glass_atoms", "glass_right_species"), 0)
        self.means = {name: Mean() for name in _MEANS}
        self.undecided: list[Failure] = []

    def add(self, verdict: Verdict) -> None:
        """Add the verdict on a crystal."""
        matched = verdict.rms is not None
        answers = (
            verdict.found,
            matched,
            verdict.valid_geometry,
            verdict.valid_composition,
            verdict.valid,
            matched and verdict.valid,
            verdict.assignment is not None,
            verdict.same_group,
            verdict.true_valid,
        )
        self.counts["n"] += 1
        for name, answer in zip(_COUNTED, answers, strict=True):
            self.counts[name] += answer
        self.means["crmse"].add([self.miss if verdict.rms is None else verdict.rms])
        if verdict.rms is not None:
            self.means["rmse"].add([verdict.rms])
        if verdict.assignment is not None:
            self.means["rmsd"].add([verdict.assignment.rmsd])
            self.counts["glass_atoms"] += verdict.assignment.n_atoms
            self.counts["glass_right_species"] += verdict.assignment.n_right_species
        if verdict.undecided is not None:
            self.undecided.append(Failure(verdict.id, verdict.undecided))

    def merge(self, other: "MatchTally") -> None:
        """Add all crystals of another tally."""
        for name, count in other.counts.items():
            self.counts[name] += count
        for name, mean in other.means.items():
            self.means[name].merge(mean)
        self.undecided += other.undecided

    def score(self) -> MatchScore:
        """The score of all crystals added."""
        counts = self.counts
        species = _share(counts["glass_right_species"], counts["glass_atoms"])
        groups = _share(counts["same_spacegroup"], counts["n"])
        return MatchScore(
            match_rate_all=_share(counts["matched"], counts["n"]),
            match_rate_valid=_share(counts["matched_and_valid"], counts["n"]),
            match_rmse=self.means["rmse"].value,
            match_crmse=self.means["crmse"].value,
            glass_rmsd=self.means["rmsd"].value,
            glass_species_percent=None if species is None else 100 * species,
            spacegroup_recovered_percent=None if groups is None else 100 * groups,
            counts=dict(counts),
            undecided=tuple(self.undecided),
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything about it as plain values, ready for JSON."""
        return {
            "miss": self.miss,
            "counts": dict(self.counts),
            "means": {name: mean.to_dict() for name, mean in self.means.items()},
            "undecided": [asdict(failure) for failure in self.undecided],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MatchTally":
        """The inverse of ``to_dict``."""
        tally = cls(values["miss"])
        tally.counts = dict(values["counts"])
        tally.means = {name: Mean.from_dict(mean) for name, mean in values["means"].items()}
        tally.undecided = [Failure(**failure) for failure in values["undecided"]]
        return tally


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
