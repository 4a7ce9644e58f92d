"""Latent vectors in the plane as an interactive page, which needs nothing but a browser."""

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from nesf.plots.latent_map import SYSTEM_COLORS

LONGEST_NAME = 60
"""Longer ids are cut in the labels."""
LAST_GROUP = 230
"""The highest number of a space group."""
_HOVER = (
    "<b>%{customdata[0]}</b>  %{customdata[1]}<br>a, b, c = %{customdata[2]} Å<br>volume %{customdata[3]} Å³, "
    "%{customdata[4]} atoms<br>space group %{customdata[5]}, %{customdata[6]}<extra></extra>"
)
# Beyond this many points, browsers draw faster through WebGL, which not every one has.
_MOST_SVG = 10_000


class Point(NamedTuple):
    """A crystal on the map.

    Attributes:
        id: its id.
        formula: reduced formula.
        x: place.
        y: place.
        lengths: a, b, c, angstrom.
        volume: of the cell, cubic angstrom.
        atoms: in the cell.
        group: international number of the space group.
        system: index of the crystal system.
    """

    id: str
    formula: str
    x: float
    y: float
    lengths: tuple[float, float, float]
    volume: float
    atoms: int
    group: int
    system: int


def map_page(points: Sequence[Point], systems: Sequence[str], title: str) -> str:
    """A complete HTML document with the points, their labels, and a menu for the colours; plotly.js is inside."""
    import plotly.graph_objects as go

    kind = go.Scatter if len(points) <= _MOST_SVG else go.Scattergl
    choices = _colourings(points, systems)
    trace = kind(
        x=[round(point.x, 3) for point in points],
        y=[round(point.y, 3) for point in points],
        mode="markers",
        marker={"size": 5, "opacity": 0.85, **choices[0][1]},
        customdata=[_label(point, systems) for point in points],
        hovertemplate=_HOVER,
    )
    buttons = [
        {"label": name, "method": "restyle", "args": [{f"marker.{key}": [value] for key, value in marker.items()}]}
        for name, marker in choices
    ]
    menu = {"buttons": buttons, "type": "buttons", "direction": "right", "x": 0, "xanchor": "left", "y": 1.06}
    bare = {"visible": False}
    figure = go.Figure(trace)
    figure.update_layout(
        template="plotly_white",
        updatemenus=[menu],
        xaxis=bare,
        yaxis={**bare, "scaleanchor": "x"},
        margin={"l": 10, "r": 10, "t": 50, "b": 10},
    )
    chart = figure.to_html(
        full_html=False, include_plotlyjs=True, default_height="88vh", div_id="map", config={"displaylogo": False}
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title></head>\n'
        f'<body style="font-family: sans-serif">\n<h1 style="font-size: 1.2rem">{escape(title)}</h1>\n{chart}\n'
        "</body>\n</html>\n"
    )


def _label(point: Point, systems: Sequence[str]) -> list[Any]:
    # Labels are markup to plotly, and names come from files.
    name = point.id if len(point.id) <= LONGEST_NAME else point.id[: LONGEST_NAME - 1] + "…"
    lengths = ", ".join(f"{length:.3f}" for length in point.lengths)
    return [
        escape(name),
        escape(point.formula),
        lengths,
        round(point.volume, 2),
        point.atoms,
        point.group,
        systems[point.system],
    ]


def _colourings(points: Sequence[Point], systems: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """What the points can be coloured by: a name, and the settings of plotly's marker."""
    volume = [round(point.volume, 1) for point in points]
    atoms = [point.atoms for point in points]
    edges = [i / len(systems) for i in range(len(systems) + 1)]
    steps = zip(SYSTEM_COLORS, edges, edges[1:], strict=False)
    scale = [[edge, color] for color, *both in steps for edge in both]
    named = {"tickvals": list(range(len(systems))), "ticktext": list(systems)}
    system = {
        **{"color": [point.system for point in points], "colorscale": scale, "cmin": -0.5, "cmax": len(systems) - 0.5},
        "colorbar": {"title": {"text": "crystal system"}, "thickness": 15, **named},
    }
    group = _continuous([point.group for point in points], "space group", "Turbo") | {"cmin": 1, "cmax": LAST_GROUP}
    return [
        ("cell volume", _continuous(volume, "cell volume [Å³]")),
        ("number of atoms", _continuous(atoms, "atoms in the cell")),
        ("crystal system", system),
        ("space group", group),
    ]


def _continuous(values: Sequence[int] | Sequence[float], title: str, scale: str = "Viridis") -> dict[str, Any]:
    bar = {"title": {"text": title}, "thickness": 15}
    return {
        **{"color": list(values), "colorscale": scale, "cmin": min(values), "cmax": max(values)},
        "showscale": True,
        "colorbar": bar,
    }
