"""Pictures of crystals."""

import re
from collections.abc import Sequence
from textwrap import wrap
from typing import NamedTuple

import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from nesf.crystal import Crystal, Failure
from nesf.elements import symbol
from nesf.shapes import Float

# An orthographic view from the left, a little from the front and from above. Of all turns from -90 to 90 degrees and
# tilts from 9 to 30, in steps of 3, it keeps the atoms of the textbook's crystals best apart on the page. Of a crystal
# counts how far its two nearest atoms are from each other there, in diameters of an atom (0.12 of the picture's longer
# side) and at most one; of a view, the least of the means over cubic, hexagonal and all other cells. Views that show a
# face of a right-angled or hexagonal cell under less than 15 degrees are out: it would be a line.
_TURN, _TILT = np.radians(-60.0), np.radians(18.0)
VIEW = np.array(
    [
        [np.cos(_TURN), np.sin(_TURN), 0.0],
        [-np.sin(_TURN) * np.sin(_TILT), np.cos(_TURN) * np.sin(_TILT), np.cos(_TILT)],
        [np.sin(_TURN) * np.cos(_TILT), -np.cos(_TURN) * np.cos(_TILT), np.sin(_TILT)],
    ]
)
"""Rows: right and up on the page, and towards the viewer."""
WRONG = "#D55E00"
"""The vermilion of Okabe and Ito: what is wrong."""
_MARGIN = 0.12
"""Beside a picture on all four sides, in parts of its longer one: room for the atoms at its borders."""


class Caption(NamedTuple):
    """What is written about a pair of crystals.

    Attributes:
        head: above it, in bold.
        text: beneath it.
        wrong: for each atom found, whether it is ringed as wrong.
        missed: for each true atom, whether it is ringed, because what lies there is another element.
    """

    head: str
    text: str
    wrong: Sequence[bool] = ()
    missed: Sequence[bool] = ()


class _Size(NamedTuple):
    """Inches: of the box of a pair, and in it of its head (from the top), of what is above and below its two pictures.

    Then of the stripes for the title and the legend of the figure, and what these need in width.
    """

    width: float
    height: float
    head: float
    above: float
    below: float
    title: float
    legend: float
    least: float


_PLAIN = _Size(3.0, 1.85, head=0.05, above=0.34, below=0.04, title=0.45, legend=0.05, least=4.8)
_WRITTEN = _Size(4.6, 3.5, head=0.16, above=0.54, below=0.44, title=0.4, legend=0.35, least=6.9)

_LONGEST_ID = 44

LEGEND = "ringed: nearest true atom is another element (in the true structure: nearest found atom)"


def reconstructions(
    pairs: Sequence[tuple[Crystal, Crystal | Failure]],
    columns: int = 6,
    captions: Sequence[Caption] | None = None,
    title: str = "True (left) and found (right) structures",
) -> Figure:
    """True and found structures side by side, the two of a pair to one scale.

    Args:
        pairs: the true crystal and the one found for it; a failure is an empty place with its reason.
        columns: pairs in a row.
        captions: one for each pair; without them a pair has its id, and the formulas where they differ.
        title: of the figure.
    """
    columns = max(1, min(columns, len(pairs)))
    rows = max(1, -(-len(pairs) // columns))
    size = _PLAIN if captions is None else _WRITTEN
    inches = rows * size.height + size.title + size.legend
    # Every place is reckoned here: the solver behind constrained layouts may take hours for a hundred boxes.
    figure = Figure(figsize=(max(columns * size.width, size.least), inches))
    figure.suptitle(title, fontsize=13, y=1 - 0.12 / inches, parse_math=False)
    if captions is not None:
        ring = Line2D([], [], linestyle="", marker="o", markersize=9, markerfacecolor="none", markeredgecolor=WRONG)
        ring.set_markeredgewidth(1.8)
        figure.legend([ring], [LEGEND], loc="lower center", frameon=False, fontsize=9.5)
    # Subfigures heed the ratios of a grid, but not its margins.
    grid = figure.add_gridspec(rows + 2, columns, height_ratios=[size.title, *[size.height] * rows, size.legend])
    boxes = [figure.add_subfigure(grid[1 + i // columns, i % columns]) for i in range(len(pairs))]
    inner = {"left": 0.02, "right": 0.98, "bottom": size.below / size.height, "top": 1 - size.above / size.height}
    for i, (box, (true, found)) in enumerate(zip(boxes, pairs, strict=True)):
        caption = captions[i] if captions is not None else None
        _write(box, true, found, caption, size)
        left, right = box.subplots(1, 2, gridspec_kw={"wspace": 0.04, **inner})
        scale = 1.0 if caption is None else 1.6
        draw(left, true, caption.missed if caption is not None and isinstance(found, Crystal) else (), scale)
        if isinstance(found, Failure):
            _leave_empty(right, found.reason)
        else:
            draw(right, found, caption.wrong if caption is not None else (), scale)
            _to_one_scale(left, right)
    return figure


def draw(axes: Axes, crystal: Crystal, wrong: Sequence[bool] = (), scale: float = 1.0) -> None:
    """Draw the cell and the atoms listed in it, near ones over far ones, each with its symbol.

    Args:
        axes: where.
        crystal: what.
        wrong: for each atom, whether it is ringed as wrong; none are where it is empty.
        scale: of the area of the atoms; their symbols grow with their diameter.
    """
    edges = _edges(crystal.cell)
    farthest = min((VIEW @ corner)[2] for edge in edges for corner in edge)
    for start, end in edges:
        (x0, y0, z0), (x1, y1, z1) = VIEW @ start, VIEW @ end
        hidden = min(z0, z1) < farthest + 1e-9
        axes.plot([x0, x1], [y0, y1], color="0.55", linewidth=0.7, linestyle=":" if hidden else "-", zorder=0)
    places = crystal.cart @ VIEW.T
    _frame(axes, np.vstack([np.array(edges).reshape(-1, 3) @ VIEW.T, places])[:, :2])
    order = places[:, 2].argsort()
    rings = np.array(wrong, dtype=bool) if len(wrong) else np.zeros(len(crystal), dtype=bool)
    atoms = zip(crystal.numbers[order].tolist(), places[order], rings[order].tolist(), strict=True)
    for rank, (z, (x, y, _), ring) in enumerate(atoms):
        color = element_color(z)
        edge, width = (WRONG, 1.8) if ring else ("0.25", 0.5)
        axes.scatter(x, y, s=95 * scale, color=[color], edgecolors=edge, linewidths=width, zorder=2 * rank + 1)
        ink = "white" if sum(color) < 1.4 else "black"
        label = axes.text(x, y, symbol(z), ha="center", va="center_baseline", color=ink, zorder=2 * rank + 2)
        label.set_fontsize(5.5 * scale**0.5)
    axes.axis("off")


def _frame(axes: Axes, points: Float[np.ndarray, "points 2"]) -> None:
    """Show just these points of the page, and as much around them above and below as to the left and right."""
    axes.set_aspect("equal")
    (left, bottom), (right, top) = points.min(0), points.max(0)
    margin = _MARGIN * max(right - left, top - bottom)
    axes.set_xlim(left - margin, right + margin)
    axes.set_ylim(bottom - margin, top + margin)


def element_color(number: int) -> tuple[float, float, float]:
    """A colour for an element: neighbours in the periodic table differ, heavy elements are darker."""
    hue = (number * 0.618034) % 1.0
    red, green, blue = matplotlib.colors.hsv_to_rgb((hue, 0.45, 1.0 - 0.45 * number / 118))
    return float(red), float(green), float(blue)


def _write(box: SubFigure, true: Crystal, found: Crystal | Failure, caption: Caption | None, size: _Size) -> None:
    name = subscripted(found.formula) if isinstance(found, Crystal) else "not found"
    right = isinstance(found, Crystal) and true.formula == found.formula
    color, top = "black" if right else WRONG, 1 - size.head / size.height
    if caption is None:
        id_ = _plain(true.id if len(true.id) <= _LONGEST_ID else f"{true.id[: _LONGEST_ID - 1]}…")
        box.suptitle(id_ if right else _in_lines(id_, f" → {name}", 44), fontsize=8, color=color, y=top)
        return
    formulas = subscripted(true.formula) if right else f"{subscripted(true.formula)} → {name}"
    box.suptitle(_in_lines(formulas, f"   {_plain(caption.head)}", 56), fontsize=9.5, color=color, y=top)
    box.supxlabel(caption.text, fontsize=8.5, parse_math=False, y=0.05 / size.height)


def _in_lines(one: str, other: str, most: int) -> str:
    """Two parts of a head in a line, or, where that were longer than so many characters, in two."""
    return one + other if len(re.sub(r"[${}_\\]", "", one + other)) <= most else f"{one}\n{other.strip()}"


def _leave_empty(axes: Axes, reason: str) -> None:
    axes.axis("off")
    text = "\n".join(wrap(reason, 22))
    axes.text(
        0.5, 0.5, text, fontsize=8, color=WRONG, ha="center", va="center", transform=axes.transAxes, parse_math=False
    )


def _to_one_scale(left: Axes, right: Axes) -> None:
    """The same stretch of space in both, so that lengths and places can be compared by eye."""
    for limits, put in (("get_xlim", "set_xlim"), ("get_ylim", "set_ylim")):
        (a, b), (c, d) = getattr(left, limits)(), getattr(right, limits)()
        for axes in (left, right):
            getattr(axes, put)(min(a, c), max(b, d))


def subscripted(formula: str) -> str:
    """A formula with its numbers as subscripts, in the markup of Matplotlib.

    >>> subscripted("MgZn3S4")
    'MgZn$_{3}$S$_{4}$'
    """
    return re.sub(r"(\d+)", r"$_{\1}$", formula)


def _plain(text: str) -> str:
    """A text in which no dollar sign begins a formula."""
    return text.replace("$", r"\$")


def _edges(cell: NDArray[np.float64]) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    corners = [np.array(bits) for bits in np.ndindex(2, 2, 2)]
    pairs = [(p, q) for p in corners for q in corners if (q - p).sum() == 1 and (q >= p).all()]
    return [(p @ cell, q @ cell) for p, q in pairs]
