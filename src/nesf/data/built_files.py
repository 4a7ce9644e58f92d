"""The files of a data set that was built by rule."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nesf import __version__
from nesf.data.building import BuiltSet
from nesf.data.datasets import open_dataset
from nesf.data.rules import Rule
from nesf.data.selection import FREQUENT_SHARE_PERCENT, PARTS
from nesf.elements import symbol
from nesf.errors import NesfError
from nesf.io.export import refuse_to_replace, write_left_out
from nesf.io.structures import CONVERSION_SYMPREC_ANGSTROM
from nesf.io.table import write_table
from nesf.output import whole_file


def files_of(rule: Rule, folder: Path) -> dict[str, Path]:
    """The files that a data set consists of, by what is in them."""
    names = {part: f"{rule.name}_{part}.parquet" for part in PARTS}
    if rule.folds:
        names |= {"all": f"{rule.name}.parquet", "folds": f"{rule.name}_folds.json"}
    names |= {"left_out": f"{rule.name}_left_out.csv", "account": f"{rule.name}.json"}
    return {content: folder / name for content, name in names.items()}


def check_outputs(rule: Rule, folder: Path, inputs: Sequence[Path], overwrite: bool) -> None:
    """Look, before anything else is done, whether files may be written.

    Raises:
        NesfError: where one of them is there already and may not be replaced, or is an input.
    """
    for path in files_of(rule, folder).values():
        refuse_to_replace(path, inputs)
        if path.exists() and not overwrite:
            raise NesfError(f"{path} is there already; choose another --out, or replace it with --overwrite.")


def write_built(built: BuiltSet, folder: Path) -> dict[str, Any]:
    """Write all files of a data set; what is in its account is returned, too."""
    files = files_of(built.recipe.rule, folder)
    for part in PARTS:
        write_table(files[part], built.part(part))
    if built.folds:
        write_table(files["all"], built.crystals)
        _write_json(files["folds"], [{"val": fold.val, "test": fold.test} for fold in built.folds])
    write_left_out((failure for failures in built.left_out.values() for failure in failures), files["left_out"])
    hashes = {path.name: open_dataset(path).sha256 for path in files.values() if path.suffix == ".parquet"}
    account = account_of(built) | {"sha256": hashes}
    _write_json(files["account"], account)
    return account


def account_of(built: BuiltSet) -> dict[str, Any]:
    """How a data set came about: rule, sources, split, counts."""
    recipe = built.recipe
    cell = f"conventional, symprec {CONVERSION_SYMPREC_ANGSTROM} Å" if recipe.cell == "conventional" else recipe.cell
    drops = recipe.elements == "frequent" and recipe.rule.frequent_elements
    frequent = f"; the {FREQUENT_SHARE_PERCENT} % most frequent elements" if drops else ""
    elements = sorted({z for crystal in built.crystals for z in crystal.numbers.tolist()})
    return {
        "name": recipe.rule.name,
        "rule": recipe.rule.text + frequent,
        "elements": " ".join(symbol(z) for z in elements),
        "cell": cell,
        "sources": [dict(origin) for origin in built.origins],
        "split": _split_of(built),
        "crystals": len(built.crystals),
        "parts": {part: len(getattr(built.split, part)) for part in PARTS},
        "folds": len(built.folds),
        "left_out": {step: len(failures) for step, failures in built.left_out.items()},
        "nesf": __version__,
    }


def _split_of(built: BuiltSet) -> Mapping[str, Any]:
    lists, recipe = built.recipe.lists, built.recipe
    seed = {"seed": recipe.seed} if recipe.split == "seeded" or recipe.rule.folds else {}
    if lists is None:
        return {"by": "hash of the id" if recipe.split == "hash" else "seed", **seed}
    listed = {"ids": lists.name, "sha256": lists.sha256, "listed": len(lists.ids), "listed_twice": lists.shared}
    return {"by": "published ids", **listed, "missing": list(built.missing), **({} if lists.folds else seed)}


def _write_json(path: Path, value: Any) -> None:
    with whole_file(path) as target:
        target.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
