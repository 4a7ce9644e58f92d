"""Pictures of crystals and of measurements: data in, Figure out; nothing here shows or saves."""

from matplotlib.figure import Figure

from nesf.plots.comparison import error_ratios
from nesf.plots.errors import Band, Sweep, errors_by_size, sensitivity
from nesf.plots.latent_map import map_figure
from nesf.plots.latent_page import map_page
from nesf.plots.parity import parities
from nesf.plots.search import search_stage
from nesf.plots.speed import growth, learning_curve
from nesf.plots.strips import strip
from nesf.plots.structures import Caption, draw, element_color, reconstructions
from nesf.plots.symmetry import symmetry_recovery

__all__ = [
    "Band",
    "Caption",
    "Figure",
    "Sweep",
    "draw",
    "element_color",
    "error_ratios",
    "errors_by_size",
    "growth",
    "learning_curve",
    "map_figure",
    "map_page",
    "parities",
    "reconstructions",
    "search_stage",
    "sensitivity",
    "strip",
    "symmetry_recovery",
]
