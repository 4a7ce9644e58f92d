"""Neural structure fields: the codec for crystals.

A crystal becomes a short latent vector, and the vector becomes a crystal again:

    model = nesf.load()
    z = model.encode(structures)      # pymatgen, ASE or nesf.Crystal -> (n, 192)
    found = model.decode(z)           # (n, 192) -> crystals
    field = model.field(z)            # continuous fields, to be queried at any point
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nesf.codec import Codec, load
    from nesf.crystal import Crystal, Failure
    from nesf.data.datasets import load_dataset
    from nesf.errors import NesfError
    from nesf.evaluation import evaluate
    from nesf.io import from_any, read, to_ase, to_pymatgen, write_cif

__version__ = "0.1.0"

_HOME = {
    "Codec": "nesf.codec",
    "Crystal": "nesf.crystal",
    "Failure": "nesf.crystal",
    "NesfError": "nesf.errors",
    "evaluate": "nesf.evaluation",
    "from_any": "nesf.io",
    "load": "nesf.codec",
    "load_dataset": "nesf.data.datasets",
    "read": "nesf.io",
    "to_ase": "nesf.io",
    "to_pymatgen": "nesf.io",
    "write_cif": "nesf.io",
}

__all__ = [
    "Codec",
    "Crystal",
    "Failure",
    "NesfError",
    "evaluate",
    "from_any",
    "load",
    "load_dataset",
    "read",
    "to_ase",
    "to_pymatgen",
    "write_cif",
]


def __getattr__(name: str) -> Any:
    # PyTorch takes a second to import: `nesf --help` and `nesf.__version__` need not wait for it.
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'nesf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
