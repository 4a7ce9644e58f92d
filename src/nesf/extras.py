"""Packages that only some commands need, and what to install where one is missing."""

from importlib.util import find_spec

from nesf.errors import NesfError

_EXTRAS = {
    "optuna": ("Optuna", "studies"),
    "plotly": ("plotly", "studies"),
    "sklearn": ("scikit-learn", "studies"),
    "smact": ("SMACT", "match"),
    "umap": ("umap-learn", "umap"),
}


def require(*modules: str) -> None:
    """Raise ``NesfError`` where one of the modules is not installed, with the command that installs it.

    >>> require("sklearn", "plotly")
    """
    for module in modules:
        if find_spec(module) is None:
            package, extra = _EXTRAS[module]
            cure = f'`pip install -c constraints.txt ".[{extra}]"` in a checkout of nesf does'
            raise NesfError(f"This needs {package}, which is not installed; {cure}.")
