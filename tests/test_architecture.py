"""The house stands: who may import whom (the table of docs/architecture.md), and what the core needs."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "nesf"
FILES = sorted(SOURCE.rglob("*.py"))
# What every room stands on; `__init__` is the public face, in the table as `nesf`.
GROUND = {"errors", "shapes"}
FACE = "nesf"
# These import what a GPU machine with nothing but PyTorch lacks; all other rooms are the core.
BORDER = {"cli", "demo", "plots", "studies", "testing", "__main__"}
CORE_PACKAGES = {"numpy", "pyarrow", "safetensors", "torch"}
ONLY_IN = {
    "pymatgen": "io",
    "ase": "io",
    "gemmi": "io",
    "spglib": "io",
    "mp_api": "io",
    "smact": "io",
    "matplotlib": "plots",
    "skimage": "baselines",
    "sklearn": "studies",
    "optuna": "studies",
    "umap": "studies",
    "plotly": "plots",
    "tyro": "cli",
    "rich": "cli",
}
# Packages whose module has another name.
MODULE_OF = {
    "mp-api": "mp_api",
    "pytest-xdist": "xdist",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "umap-learn": "umap",
}
SAYS_NOTHING = {"util", "utils", "misc", "common", "helper", "helpers"}
LONGEST_FILE = 400


def room_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return FACE if first == "__init__" else first


def modules(path: Path) -> Iterator[str]:
    """Every module that a file imports anywhere: at the top, in functions, for the type checker."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name != "nesf")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} line {node.lineno}: a relative import hides the room it enters"
            if node.module == "nesf":
                yield from (f"nesf.{alias.name}" for alias in node.names)
            elif node.module:
                yield node.module
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "nesf":
            yield f"nesf.{node.attr}"


def rooms_imported(path: Path) -> set[str]:
    entered = {name.split(".")[1] for name in modules(path) if name.startswith("nesf.")}
    entered.discard("__version__")
    return {name if name in ROOMS else FACE for name in entered} - GROUND - {room_of(path)}


def section(title: str) -> str:
    """A section of docs/architecture.md."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table() -> dict[str, set[str]]:
    """The rows of the page's table: room -> rooms that it may import, in the page's order."""
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|", section("Which room may import which"), re.MULTILINE)
    return {room: set(re.findall(r"`(\w+)`", doors)) for names, doors in rows for room in re.findall(r"`(\w+)`", names)}


ROOMS = {room_of(path) for path in FILES}
TABLE = table()


def reach(room: str) -> set[str]:
    """What a room may depend on, directly or through others."""
    return TABLE[room].union(*(reach(door) for door in TABLE[room]))


def test_every_room_is_in_the_table_and_every_row_is_a_room():
    assert set(TABLE) == ROOMS - GROUND


def test_a_room_opens_only_doors_that_stand_above_it_in_the_table():
    above: set[str] = set()
    for room, doors in TABLE.items():
        assert doors <= above, f"{room} may not import {doors - above}: data flows one way, down the table"
        above.add(room)


def test_the_page_names_every_file():
    folder, named = "", set()
    for heading, file in re.findall(r"\*\*`([\w/]+/)`\*\*|`(\w+\.py)`", section("What each file is for")):
        folder = heading or folder
        named |= {folder + file} if file else set()
    # The `__init__` of a room only names its doors.
    files = {path.relative_to(SOURCE).as_posix() for path in FILES}
    assert named <= files
    assert {name for name in files - named if not name.endswith("/__init__.py")} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_keep_to_the_table(path):
    room = room_of(path)
    forbidden = rooms_imported(path) - TABLE.get(room, set())
    assert not forbidden, f"{room} may not import {sorted(forbidden)}; see docs/architecture.md"


@pytest.mark.parametrize(
    ("room", "never"),
    [
        ("lattice", set(TABLE) - {"lattice"}),
        ("fields", {"model"}),
        ("model", {"io", "data", "training", "config"}),
        ("training", {"io", "data", "decoding", "metrics", "config"}),
        ("decoding", {"model", "training"}),
        ("metrics", {"fields", "model"}),
    ],
)
def test_the_table_keeps_its_own_promises(room, never):
    assert not reach(room) & never


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_foreign_packages_stay_in_their_room(path):
    packages = {name.split(".")[0] for name in modules(path)}
    astray = {package for package in packages & set(ONLY_IN) if ONLY_IN[package] != room_of(path)}
    assert not astray, f"{sorted(astray)} may be imported only in {[ONLY_IN[package] for package in sorted(astray)]}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_are_short_have_a_name_and_can_be_checked(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE
    assert path.stem not in SAYS_NOTHING
    # Annotations that are strings are not checked at run time.
    assert "__future__" not in set(modules(path))


def run(code: str) -> str:
    """What a new interpreter prints that runs the code."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def dependencies() -> set[str]:
    """The modules of all packages that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    packages = {re.split(r"[<>=~! \[]", name)[0] for name in named} - {"nesf"}
    return {MODULE_OF.get(package, package) for package in packages}


def test_the_core_runs_where_only_its_four_packages_are_installed():
    blocked = sorted(dependencies() - CORE_PACKAGES)
    assert {
        "pymatgen",
        "ase",
        "gemmi",
        "spglib",
        "matplotlib",
        "jaxtyping",
        "rich",
        "tyro",
        "skimage",
        "mp_api",
    } <= set(blocked)
    core = [path for path in FILES if room_of(path) not in BORDER]
    names = [".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) for path in core]
    out = run(f"""
import sys
sys.modules.update(dict.fromkeys({blocked}))
from importlib import import_module
for name in {[name.removesuffix(".__init__") for name in names]}:
    import_module(name)

import numpy, torch
from nesf.config import FAST
from nesf.crystal import Crystal, CrystalBatch
from nesf.decoding import estimate
from nesf.fields import TrueField
from nesf.metrics import score
from nesf.model import Autoencoder

true = Crystal.from_frac("CsCl", [55, 17], [[0, 0, 0], [0.5, 0.5, 0.5]], 4.123 * numpy.eye(3))
field = TrueField.of([true])
model = Autoencoder(FAST.network, field.vocabulary).eval()
assert model.encode(CrystalBatch.from_crystals([true])).shape == (1, 192)
print(score(zip([true], estimate(field, ["CsCl"], FAST.estimation))).atoms_error_percent)
""")
    assert out.strip() == "0.0"


@pytest.mark.parametrize("statement", ["import nesf; nesf.__version__, dir(nesf)", "import nesf.cli"])
def test_what_a_help_page_needs_imports_nothing_heavy(statement):
    heavy = "torch", "numpy", "pymatgen", "ase", "gemmi", "spglib", "matplotlib", "pyarrow"
    assert run(f"import sys; {statement}; print([m for m in {heavy} if m in sys.modules])").strip() == "[]"
