"""``nesf data build``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

from nesf.cli.console import check_processes, notes, parse, progress, results, table, write_json
from nesf.crystal import Failure
from nesf.lock import alone
from nesf.workers import cores


def build(arguments: Sequence[str]) -> None:
    """The command ``nesf data build``."""
    parse(_build, "data build", arguments)


def _build(
    name: Annotated[Positional[str], arg(metavar="icsg3d|lcs6a|ybco-like")],
    /,
    out: Path,
    from_: Annotated[UseAppendAction[tuple[Path, ...]], arg(name="from", metavar="SOURCE")] = (),
    ids: Path | None = None,
    split: Literal["hash", "seeded"] = "hash",
    seed: int = 0,
    elements: Literal["frequent", "all"] | None = None,
    cell: Literal["conventional", "as-is"] = "conventional",
    processes: int = cores(),
    overwrite: bool = False,
    json: Path | None = None,
) -> None:
    """Build a data set of the paper by its rule, from the Materials Project or from your own crystals.

    icsg3d: formulas of the kinds AB, ABC2 and ABC3, cubic, at most 40 atoms. lcs6a: a, b, c at most 6 Å, no entry of
    the lattice matrix below -0.1 Å, the 90 % most frequent elements. ybco-like: 13 atoms, lattice vectors within 20 %
    of those of YBa2Cu3O7, the 90 % most frequent elements; with 20 folds. All are rules for conventional cells.

    Without --from the Materials Project is asked, which needs `pip install -c constraints.txt ".[mp]"` in a checkout,
    and a key in MP_API_KEY.

    Args:
        name: the data set.
        out: the folder for NAME_train.parquet, NAME_val.parquet, NAME_test.parquet, NAME_left_out.csv and NAME.json
            (rule, sources, hashes, counts); for ybco-like also ybco_like.parquet and ybco_like_folds.json.
        from_: a file or folder with crystals, instead of the Materials Project; may be given several times, and where
            two have the same id, the first is taken.
        ids: published lists of ids: JSON {"train": [...], "val": [...], "test": [...]} or a list of folds; a folder
            with train.txt, val.txt and test.txt; or what the names of released folders begin with. The rest is left
            out.
        split: without --ids: by a hash of each id (5 % test, 5 % of the rest validation; crystals added later move none
            to another part), or at random by --seed with exactly these shares.
        seed: of --split seeded, and of the folds.
        elements: whether crystals with rare elements are dropped. Which are rare, the crystals found tell, so crystals
            that were chosen so before lose more; take all for those. Default: frequent; with --ids all, because who
            made the lists has dropped them.
        cell: the cell to convert to before the rule is applied; as-is for tables of conventional cells.
        processes: how many convert cells at the same time.
        overwrite: replace files that are there.
        json: write the account, which is also NAME.json, to this file (- for the standard output).
    """
    from nesf.data.building import Recipe, from_materials_project, from_tables
    from nesf.data.building import build as build_set
    from nesf.data.built_files import check_outputs, files_of, write_built
    from nesf.data.id_lists import read_id_lists
    from nesf.data.rules import rule_named
    from nesf.data.selection import checked_seed

    check_processes(processes)
    rule = rule_named(name)
    check_outputs(rule, out, from_, overwrite)
    lists = None if ids is None else read_id_lists(ids)
    recipe = Recipe(rule, elements or ("frequent" if lists is None else "all"), cell, lists, split, checked_seed(seed))
    with alone(files_of(rule, out)["account"]):
        check_outputs(rule, out, from_, overwrite)  # once more, because another process may have been at work until now
        gathered = from_tables(from_, progress) if from_ else from_materials_project(recipe, progress)
        built = build_set(gathered, recipe, processes, progress)
        account = write_built(built, out)
    if json is not None:
        write_json(account, json)
    if json is None or str(json) != "-":
        _show(account, built.left_out, out)


def _show(account: dict[str, Any], left_out: Mapping[str, Sequence[Failure]], out: Path) -> None:
    results.print(f"{account['name']}: {account['rule']}", markup=False)
    parts = [[*account["parts"].values(), account["crystals"], len(account["elements"].split()), account["folds"]]]
    results.print(table("", [*account["parts"], "all", "elements", "folds"], parts, numbers_from=0))
    results.print(f"written to {out}", markup=False)
    for step, failures in left_out.items():
        if failures:
            first = failures[0]
            results.print(f"{len(failures):7d} {step}, such as {first.id}: {first.reason}", markup=False)
    if missing := account["split"].get("missing"):
        listed, first_ids = account["split"]["listed"], ", ".join(missing[:10])
        notes.print(f"{len(missing)} of {listed} listed ids are not in it, such as {first_ids}", markup=False)
    if shared := account["split"].get("listed_twice"):
        notes.print(f"{shared} ids listed for training are in another list, too, and belong to that one.", markup=False)
