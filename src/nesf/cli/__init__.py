"""The command line: it translates, and holds no logic.

Each command lives in a module of its own, which is imported when the command is used, so that
``nesf --help`` answers at once.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from nesf.cli import completeness
from nesf.cli.ending import give_closed_streams, silence, stoppable
from nesf.errors import NesfError

COMMANDS = {
    "demo": (
        "nesf.cli.demo:demo",
        "reconstruct the embedded crystals with the shipped model; table, CIFs, one picture",
    ),
    "data import": ("nesf.cli.data:import_", "crystals from files or folders into one Parquet table"),
    "data build": ("nesf.cli.build:build", "the paper's data sets by rule, from the Materials Project or yours"),
    "data info": ("nesf.cli.data:info", "what a data set holds, and what a model would leave out of it"),
    "train": ("nesf.cli.train:train", "train a model on your data"),
    "encode": ("nesf.cli.codec:encode", "crystals to latent vectors"),
    "decode": ("nesf.cli.codec:decode", "latent vectors to crystals"),
    "reconstruct": ("nesf.cli.codec:reconstruct", "crystals to latent vectors and back, with a table of errors"),
    "evaluate": ("nesf.cli.evaluate:evaluate", "the metrics of the paper on a data set"),
    "baseline train": ("nesf.cli.baseline:train", "train the voxel baseline (ICSG3D, re-implemented)"),
    "baseline evaluate": ("nesf.cli.baseline:evaluate", "the metrics of the paper for a trained baseline"),
    "baseline oracle": ("nesf.cli.baseline:ceiling", "what the voxel grid costs before any network errs"),
    "bench": ("nesf.cli.bench:bench", "speed and memory on this machine, against the published algorithms"),
    "study errors-by-size": (
        "nesf.cli.studies.reconstruction:errors_by_size",
        "errors against the number of atoms (Fig. 4 of the paper)",
    ),
    "study reconstructions": (
        "nesf.cli.studies.reconstruction:reconstructions",
        "true and found structures side by side (Fig. 3)",
    ),
    "study sensitivity": (
        "nesf.cli.studies.reconstruction:sensitivity",
        "errors against the parameters of the estimation (Figs. S5, S6)",
    ),
    "study spacegroups": (
        "nesf.cli.studies.reconstruction:spacegroups",
        "space groups that come back, as decoded and projected, against the tolerance",
    ),
    "study table1": (
        "nesf.cli.studies.table1:table1",
        "the paper's tables of errors, over seeds or folds (Tables 1, S1, S2)",
    ),
    "study interpolate": ("nesf.cli.studies.latent:interpolate", "crystals between two crystals (Figs. 5, 6, S1-S4)"),
    "study map": ("nesf.cli.studies.latent:map_", "the latent vectors of a data set in the plane (Fig. 7)"),
    "study properties": ("nesf.cli.studies.latent:properties", "properties predicted from latent vectors (Table S3)"),
    "study search": ("nesf.cli.studies.search:search", "the staged search for hyperparameters (Note 7)"),
    "study report": ("nesf.cli.studies.report:report", "all studies on one self-contained page"),
}
"""Each command's function and its line of help."""
DEBUG = "--debug"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Bad input ends with one sentence and status 1, wrong usage with status 2, a fault of nesf itself with status 70;
    status 3 says that the work is done, but without entries that could not be read. With ``--debug`` anywhere among
    the arguments the traceback is shown, too.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in words
    words = [word for word in words if word != DEBUG]
    if words in (["--version"], ["-V"]):
        from nesf import __version__

        print(__version__)
        return 0
    name = next((name for name in COMMANDS if words[: len(name.split())] == name.split()), None)
    if name is None:
        return _overview(words)
    give_closed_streams()
    completeness.begin()
    with stoppable() as stop:
        try:
            _function(COMMANDS[name][0])(words[len(name.split()) :])
            sys.stdout.flush()
        except NesfError as error:
            return _failed(" ".join(str(error).split()), 1, error if debug else None)
        except BrokenPipeError:
            silence(sys.stdout)
            return 128 + 13  # as of a program that SIGPIPE ends
        except OSError as error:
            if error.filename is None:
                silence(sys.stdout)  # it may be the one that takes no more
            return _failed(f"{error.filename or 'The output'}: {error.strerror or error}.", 1, error if debug else None)
        except KeyboardInterrupt as interruption:
            return _failed(str(interruption) or "Interrupted.", stop.status)
        except Exception as error:  # a fault of ours: users get a sentence of it, too
            text = " ".join(str(error).split())[:300].rstrip(".")
            cure = f"run the command with {DEBUG} to see where, and report it"
            return _failed(f"Unexpected {type(error).__name__}: {text}; {cure}.", 70, error if debug else None)
    return completeness.status()


def _function(home: str) -> Callable[[Sequence[str]], None]:
    module, _, function = home.partition(":")
    command: Callable[[Sequence[str]], None] = getattr(import_module(module), function)
    return command


def _overview(words: list[str]) -> int:
    group = words[0] if words and not words[0].startswith("-") else None
    shown = {name: text for name, (_, text) in COMMANDS.items() if group is None or name.split()[0] == group}
    asked = not words or any(word in ("-h", "--help", "help") for word in words) or (shown and len(words) == 1)
    if not asked or not shown:
        return _failed(f"There is no command {' '.join(words)!r}; `nesf --help` lists them.", 2)
    width = max(map(len, shown))
    command = "COMMAND" if group is None else f"{group} COMMAND"
    print(f"usage: nesf {command} [ARGUMENTS]   (`nesf {command} --help` explains a command)\n")
    print("Neural structure fields: any crystal to 192 numbers and back.\n")
    for name, text in shown.items():
        print(f"  {name:<{width}}  {text}")
    print(f"\n  {DEBUG:<{width}}  beside any command: show the traceback of an error")
    return 0


def _failed(sentence: str, status: int, shown: Exception | None = None) -> int:
    if shown is not None:
        _show_traceback(shown)
    print(f"nesf: {sentence}", file=sys.stderr)
    return status


def _show_traceback(error: BaseException) -> None:
    """The whole chain, also what was replaced by a sentence for users."""
    import traceback

    link: BaseException | None = error
    while link is not None:
        link.__suppress_context__ = False
        link = link.__context__
    traceback.print_exception(error)
