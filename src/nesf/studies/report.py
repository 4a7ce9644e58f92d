"""All studies of a folder on one page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nesf.crystal import Failure
from nesf.output import whole_file
from nesf.studies.report_page import page
from nesf.studies.sections import Section, collect

PAGE = "report.html"
LARGE_BYTES = 3_000_000
"""A page larger than this is a burden to send."""


@dataclass(frozen=True)
class Report:
    """A page that was written.

    Attributes:
        path: where.
        size: in bytes.
        sections: the studies on it, in their order.
        broken: folders that could not be read, with the reason.
    """

    path: Path
    size: int
    sections: Sequence[Section]
    broken: Sequence[Failure]

    @property
    def largest(self) -> tuple[str, int]:
        """The largest picture, as ``folder/name.png``, and its size in bytes."""
        sizes = {f"{one.folder}/{n}.png": len(p.png) for one in self.sections for n, p in one.pictures.items()}
        return max(sizes.items(), key=lambda item: item[1], default=("", 0))


def write_report(folder: Path) -> Report:
    """Gather the studies of a folder into ``report.html`` in it.

    Raises:
        NesfError: where there is no study.
    """
    sections, broken = collect(folder)
    path = folder / PAGE
    text = page(sections, broken)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Report(path, len(text.encode()), sections, broken)
