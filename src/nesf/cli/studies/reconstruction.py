"""``nesf study errors-by-size``, ``reconstructions``, ``sensitivity`` and ``spacegroups``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from nesf.cli.console import Data, Model, parse, progress
from nesf.cli.studies.conduct import OUT, conduct, folder_of, note_unfit, read_data
from nesf.errors import NesfError
from nesf.precision import best_device

if TYPE_CHECKING:
    from nesf.studies import Outcome


def errors_by_size(arguments: Sequence[str]) -> None:
    """The command ``nesf study errors-by-size``."""

    def work(
        model: Positional[Model],
        data: Annotated[Positional[tuple[str, ...]], arg(metavar="DATA...")],
        /,
        least: int = 10,
        out: Path = OUT,
    ) -> None:
        """Show the errors of crystals against the number of atoms in the cell (Fig. 4 of the paper).

        Medians and 68 % bands of the signed error of the number of atoms, the position error and the species error.

        Args:
            model: a run folder (also of nesf baseline train), a weights file or the name of a shipped model.
            data: one or more tables, or the name of an embedded data set; a row of panels each.
            least: sizes with fewer crystals are left out.
            out: the folder of all studies; this one writes into errors-by-size (or errors-by-size-voxel) in it.
        """
        from nesf.studies import errors_by_size as one
        from nesf.studies.models import load

        if not data:
            raise NesfError("Give at least one data set.")
        loaded = load(model, best_device())
        read = [read_data(source) for source in data]
        for each in read:
            note_unfit(loaded, each)

        def found() -> "Outcome":
            with progress("reconstructing", sum(len(each.crystals) for each in read)) as done:
                return one.study(loaded, read, least=least, progress=done)

        settings = {"least": least}
        folder = folder_of("errors-by-size", loaded)
        conduct("errors-by-size", arguments, out, found, models=[loaded], data=read, settings=settings, folder=folder)

    parse(work, "study errors-by-size", arguments)


def reconstructions(arguments: Sequence[str]) -> None:
    """The command ``nesf study reconstructions``."""

    def work(
        model: Positional[Model],
        data: Positional[Data],
        /,
        ids: Annotated[tuple[str, ...], arg(metavar="ID...")] = (),
        count: int = 12,
        out: Path = OUT,
    ) -> None:
        """Show true and found structures side by side, with their CIFs (Fig. 3 of the paper).

        Without --ids, crystals from the best to the worst, by mean position error, in equal steps of rank.

        Args:
            model: a run folder (also of nesf baseline train), a weights file or the name of a shipped model.
            data: a table, any other readable file or folder, or the name of an embedded data set.
            ids: the crystals to show.
            count: how many are shown where none is named.
            out: the folder of all studies; this one writes into reconstructions (or reconstructions-voxel) in it.
        """
        from nesf.studies import reconstructions as one
        from nesf.studies.models import load

        if count < 1:
            raise NesfError(f"--count must be at least 1, not {count}.")
        loaded, read = load(model, best_device()), read_data(data)
        note_unfit(loaded, replace(read, crystals=tuple(one.named(read, ids))) if ids else read)
        folder = folder_of("reconstructions", loaded)

        def found() -> "Outcome":
            with progress("reconstructing", len(ids or read.crystals)) as done:
                return one.study(loaded, read, ids=ids, count=count, cifs=out / folder / "cifs", progress=done)

        settings = {"ids": ids, "count": count}
        conduct(
            "reconstructions", arguments, out, found, models=[loaded], data=[read], settings=settings, folder=folder
        )

    parse(work, "study reconstructions", arguments)


def sensitivity(arguments: Sequence[str]) -> None:
    """The command ``nesf study sensitivity``."""

    def work(model: Positional[Model], data: Positional[Data], /, crystals: int | None = None, out: Path = OUT) -> None:
        """Show the errors against seven parameters of the estimation (Figs. S5, S6 of the paper).

        Each is changed alone; all others stay as the model has them. Data are encoded once, decoded some fifty times.

        Args:
            model: a run folder, a weights file or the name of a shipped model.
            data: a table, any other readable file or folder, or the name of an embedded data set.
            crystals: use so many of the crystals, evenly spread over the data; by default all.
            out: the folder of all studies.
        """
        from nesf import codec
        from nesf.studies import sensitivity as one

        loaded, read = codec.load(model, best_device()), read_data(data)
        some = one.evenly(read.crystals, crystals)
        note_unfit(loaded, replace(read, crystals=tuple(some)))

        def found() -> "Outcome":
            with progress("settings", len(one.all_settings(loaded.card.config.estimation))) as done:
                return one.study(loaded, some, progress=done)

        settings = {"crystals": crystals}
        conduct("sensitivity", arguments, out, found, models=[loaded], data=[read], settings=settings)

    parse(work, "study sensitivity", arguments)


def spacegroups(arguments: Sequence[str]) -> None:
    """The command ``nesf study spacegroups``."""

    def work(model: Positional[Model], data: Positional[Data], /, crystals: int | None = None, out: Path = OUT) -> None:
        """Show how many crystals come back in their space group, against the tolerance of --symmetrize.

        Each is decoded once and projected onto the group found within each tolerance; with the errors before and after.

        Args:
            model: a run folder, a weights file or the name of a shipped model.
            data: a table, any other readable file or folder, or the name of an embedded data set.
            crystals: use so many of the crystals, evenly spread over the data; by default all.
            out: the folder of all studies.
        """
        from nesf import codec
        from nesf.studies import spacegroups as one
        from nesf.studies.sensitivity import evenly

        loaded, read = codec.load(model, best_device()), read_data(data)
        some = evenly(read.crystals, crystals)
        note_unfit(loaded, replace(read, crystals=tuple(some)))

        def found() -> "Outcome":
            with progress("tolerances", len(one.TOLERANCES)) as done:
                return one.study(loaded, some, progress=done)

        settings = {"crystals": crystals, "tolerances": one.TOLERANCES}
        conduct("spacegroups", arguments, out, found, models=[loaded], data=[read], settings=settings)

    parse(work, "study spacegroups", arguments)
