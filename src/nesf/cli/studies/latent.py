"""``nesf study interpolate``, ``nesf study map`` and ``nesf study properties``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from nesf.cli.console import Data, Model, note_failures, notes, parse, progress
from nesf.cli.studies.conduct import OUT, conduct, note_unfit, read_data
from nesf.crystal import Crystal, Failure
from nesf.errors import NesfError
from nesf.io import Cell
from nesf.precision import best_device

if TYPE_CHECKING:
    from nesf.codec import Codec
    from nesf.data.datasets import Dataset
    from nesf.studies import Outcome

Ends = Annotated[Positional[tuple[str, ...]], arg(metavar="FROM TO...")]


def interpolate(arguments: Sequence[str]) -> None:
    """The command ``nesf study interpolate``."""

    def command(
        model: Positional[Model],
        ends: Ends = (),
        /,
        data: tuple[str, ...] = ("textbook",),
        pairs: Literal["paper"] | None = None,
        steps: int = 50,
        cell: Cell = "as-is",
        tolerance: float | None = None,
        out: Path = OUT,
    ) -> None:
        """Decode the latent vectors on the straight line between two crystals: a chain of formulas, crystals, pictures.

        Several pairs may be given, one after the other. An end that is not found, or that the model refuses, is said,
        and the other pairs go on.

        Args:
            model: a run folder, a weights file or the name of a shipped model.
            ends: files with one crystal each, or ids of crystals in the tables of --data; from, to, and so on.
            data: where ids are looked up, the first first: tables, files, folders or textbook.
            pairs: all pairs of the paper (ids of the Materials Project, to be found in --data).
            steps: steps from one end to the other.
            cell: convert the ends to this cell first; universal takes any, lcs6a-paper conventional standard cells.
            tolerance: of the space group search in what was decoded, angstrom; by default as in the model's CIFs.
            out: the folder of all studies; this one writes into the folder interpolate in it.
        """
        from nesf import codec
        from nesf.studies.endpoints import describe_files
        from nesf.studies.interpolation import study
        from nesf.studies.published_chains import PUBLISHED

        if len(ends) % 2:
            raise NesfError(f"Ends come in pairs, FROM and TO; {len(ends)} were given.")
        named = [(ends[i], ends[i + 1]) for i in range(0, len(ends), 2)]
        named += [(one.source, one.target) for one in PUBLISHED] if pairs == "paper" else []
        if not named:
            raise NesfError("Give two crystals, FROM and TO, by file or id, or --pairs paper.")
        loaded = codec.load(model, best_device())
        tables = [read_data(one) for one in data]
        usable, left_out = _usable(loaded, named, tables, cell)

        def work() -> "Outcome":
            with progress("interpolating", len(usable)) as done:
                return study(loaded, usable, steps=steps, tolerance=tolerance, left_out=left_out, progress=done)

        files = describe_files(name for pair in named for name in pair)
        settings = {"pairs": named, "files": files, "steps": steps, "cell": cell, "tolerance_angstrom": tolerance}
        conduct("interpolate", arguments, out, work, models=[loaded], data=tables, settings=settings)

    parse(command, "study interpolate", arguments)


def map_(arguments: Sequence[str]) -> None:
    """The command ``nesf study map``."""

    def command(
        model: Positional[Model],
        data: Positional[Data],
        /,
        method: Literal["tsne", "umap"] = "tsne",
        perplexity: float = 30.0,
        seed: int = 0,
        out: Path = OUT,
    ) -> None:
        """Draw the latent vectors of a data set in the plane, and measure how much of a crystal its neighbours share.

        Writes a picture with three colourings (volume, atoms, crystal system), the coordinates, and a page to be
        opened in a browser, where each point tells what it is and the space group is a fourth colouring.

        Args:
            model: a run folder, a weights file or the name of a shipped model.
            data: a Parquet table, any other readable file or folder, or the name of an embedded data set (textbook).
            method: t-SNE, or UMAP (which needs the extra umap).
            perplexity: how many neighbours count; lowered where there are few crystals.
            seed: of the method.
            out: the folder of all studies; this one writes into the folder map (or map-umap) in it.
        """
        from nesf import codec
        from nesf.studies.latent_map import study

        loaded, dataset = codec.load(model, best_device()), read_data(data)

        def work() -> "Outcome":
            with progress("mapping", 3) as done:
                found = study(loaded, dataset, method=method, seed=seed, perplexity=perplexity, progress=done)
            note_unfit(loaded, dataset)
            return found

        settings = {"method": method, "perplexity": perplexity}
        folder = "map" if method == "tsne" else f"map-{method}"
        conduct(
            "map", arguments, out, work, models=[loaded], data=[dataset], settings=settings, seed=seed, folder=folder
        )

    parse(command, "study map", arguments)


def properties(arguments: Sequence[str]) -> None:
    """The command ``nesf study properties``."""

    def command(
        model: Positional[Model],
        /,
        train: str,
        test: str,
        properties: tuple[str, ...] = (),
        seeds: int = 3,
        out: Path = OUT,
    ) -> None:
        """Predict properties from latent vectors by support vectors, nearest neighbours and a neural network.

        Crystals whose property is unknown are left out and counted. On 5,000 crystals a run of the network takes
        some seconds for each property. Where TEST has the file name of a data set of the paper (such as
        lcs6a_val.parquet or icsg3d_val.parquet), the numbers that the paper printed for it stand beside ours.

        Args:
            model: a run folder, a weights file or the name of a shipped model.
            train: crystals to learn from; a table with columns of properties.
            test: crystals to predict; none of them should be in the training table.
            properties: columns of the tables that are quantities; by default the three of the paper and
                formation_energy_per_atom. Further ones of the project's tables are bulk_modulus and shear_modulus.
            seeds: runs of the network, with the seeds 0, 1, ...
            out: the folder of all studies; this one writes into the folder properties in it.
        """
        from nesf import codec
        from nesf.studies.properties import DEFAULT, shared_ids, study

        names = properties or DEFAULT
        loaded = codec.load(model, best_device())
        known, asked = read_data(train), read_data(test)
        for one in (known, asked):
            note_unfit(loaded, one)
        if shared := shared_ids(known, asked):
            of = f"{len(shared)} of the {len(asked.crystals)} crystals of {asked.name} are in {known.name}, too (by id)"
            notes.print(f"{of}: what is learned by heart is no prediction.", style="yellow", markup=False)

        def work() -> "Outcome":
            with progress("predicting", len(names)) as done:
                return study(loaded, known, asked, properties=names, seeds=seeds, progress=done)

        settings = {"properties": list(names), "seeds": seeds}
        conduct("properties", arguments, out, work, models=[loaded], data=[known, asked], settings=settings, seed=0)

    parse(command, "study properties", arguments)


def _usable(
    model: "Codec", named: Sequence[tuple[str, str]], data: "Sequence[Dataset]", cell: Cell
) -> tuple[list[tuple[Crystal, Crystal]], list[Failure]]:
    """The pairs whose ends are there and taken by the model; the other ends are said and returned with their reason.

    Raises:
        NesfError: where no pair is left.
    """
    from nesf.studies.endpoints import find_usable

    found = find_usable(model, [name for pair in named for name in pair], data, cell)
    left_out = [one for one in found.values() if isinstance(one, Failure)]
    ends = [(found[source], found[target]) for source, target in named]
    usable = [(a, b) for a, b in ends if isinstance(a, Crystal) and isinstance(b, Crystal)]
    if not usable:
        raise NesfError(f"No pair is left: {left_out[0].id}: {left_out[0].reason}")
    note_failures(left_out, "crystals cannot be used")
    return usable, left_out
