"""Kill real commands at random moments, resume them, and compare the end with that of an unbroken run, bit for bit.

    python tests/long/kill.py [--kills 20] [--only train,encode] [--seed 0] [--out kill.json]

Training is killed so many times for the preset ``fast`` in float32; the other trainings and commands a fifth as often.
Moments are spread over the whole life of the process, from its start to its end; every third one is a moment at which
a file is just being written. After each kill every file must be readable; after each chain of kills nothing may be
left that the unbroken run has not left, and nothing may differ but times.
"""

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# A chunk of few crystals makes a long job of a small table.
START = "import sys, nesf.jobs, nesf.cli; nesf.jobs.CHUNK = 16; sys.exit(nesf.cli.main(sys.argv[1:]))"
VALIDATED = ["--val", "in/some.parquet", "--training.validate-every", "1", "--training.batch", "16"]
SMALL = ["--network.anchors.tokens", "16", "--network.anchors.width", "16", "--network.anchors.heads", "2"]
DONE = (0, 3)  # with 3, an entry of the input could not be read: as it should be here
TIMES = {"seconds", "training_seconds", "minutes", "hardware", "nesf.sha256"}  # the hash covers the others


@dataclass(frozen=True)
class Case:
    """A command that is killed, in a folder of its own, where ``in`` holds its input.

    Attributes:
        name: of the case.
        words: of the command line.
        resumed: the words that go on with it; None where they are the same.
        share: how often it is killed, for each kill of the first case.
    """

    name: str
    words: list[str]
    resumed: list[str] | None = None
    share: float = 0.2

    def belongs_to(self, wanted: Sequence[str]) -> bool:
        """Whether it, or its command, is named."""
        return self.name in wanted or self.name.split()[0] in wanted


def training(preset: str, precision: str, epochs: int, share: float = 0.2) -> Case:
    """A training whose run goes to the folder ``run``."""
    settings = ["--training.epochs", str(epochs), "--training.precision", precision]
    start = ["train", "in/some.parquet", "--preset", preset, *VALIDATED, *settings, "--out", "run"]
    start += SMALL if preset == "universal" else []
    resumed = ["train", "in/some.parquet", "--val", "in/some.parquet", "--resume", "run"]
    return Case(f"train {preset} {precision}", start, resumed, share)


def cases(model: str, epochs: int) -> list[Case]:
    """All cases."""
    crystals = ["in/some.parquet", "in/broken.cif"]
    return [
        training("fast", "float32", epochs, share=1.0),
        training("fast", "bfloat16", epochs),
        training("universal", "float32", max(2, epochs // 2)),
        training("universal", "bfloat16", max(2, epochs // 2)),
        Case("encode", ["encode", model, *crystals, "--out", "out/z.parquet", "--json", "out/said.json"]),
        Case("decode", ["decode", model, "in/z.parquet", "--out", "out/found", "--json", "out/said.json"]),
        Case("reconstruct", ["reconstruct", model, *crystals, "--out", "out/found", "--json", "out/said.json"]),
        Case("evaluate", ["evaluate", model, "in/some.parquet", "--json", "out/said.json"]),
        Case("data import", ["data", "import", *crystals, "--out", "out/t.parquet", "--json", "out/said.json"]),
    ]


@dataclass
class Outcome:
    """What came of a case.

    Attributes:
        case: its name.
        seconds: that the unbroken run took.
        kills: how many processes were killed, and among these at the writing of a file.
        ended: processes that were to be killed and had ended before.
        moments: the share of the unbroken run's time at which each was killed.
        faults: the promises that were broken.
    """

    case: str
    seconds: float
    kills: int = 0
    at_writing: int = 0
    ended: int = 0
    moments: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def prepare(work: Path, crystals: int) -> None:
    """The input of all cases, the same in the folder of each."""
    from nesf.data.datasets import load_dataset
    from nesf.io import write_table

    some = [one for one in load_dataset("textbook").crystals if len(one) <= 12][:crystals]
    write_table(work / "in" / "some.parquet", some)
    (work / "in" / "broken.cif").write_text("data_nothing\n")


class Started:
    """A command as a process of its own in a folder.

    Args:
        words: of the command line.
        folder: where it runs.
    """

    forked = False
    """Whether processes are copies of this one, which has all imported: quick, but without a start to be killed in."""

    def __init__(self, words: Sequence[str], folder: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with (folder / "said").open("ab") as said:
            if self.forked:
                self._copy = get_context("fork").Process(target=obey, args=(words, folder, said.fileno()))
                self._copy.start()
            else:
                command = [sys.executable, "-c", START, *words]
                self._own = subprocess.Popen(command, cwd=folder, env=environment, stderr=said, stdout=said)

    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._copy.exitcode if self.forked else self._own.poll()

    def wait(self) -> int:
        """The exit status, when it has ended."""
        if not self.forked:
            return self._own.wait()
        self._copy.join()
        return int(self._copy.exitcode or 0)

    def kill(self) -> None:
        """End it without a chance to do anything."""
        (self._copy if self.forked else self._own).kill()
        self.wait()


def obey(words: Sequence[str], folder: Path, said: int) -> None:
    """What a copy of this process does."""
    import nesf.cli
    import nesf.jobs

    nesf.jobs.CHUNK = 16
    for stream in (1, 2):
        os.dup2(said, stream)
    os.chdir(folder)
    os._exit(nesf.cli.main(words))


def run(words: Sequence[str], folder: Path) -> float:
    """A command to its end; the seconds it took."""
    start = time.monotonic()
    if (status := Started(words, folder).wait()) not in DONE:
        raise SystemExit(f"nesf {' '.join(words)} ended with status {status}: {(folder / 'said').read_text()[-1000:]}")
    return time.monotonic() - start


def kill(words: Sequence[str], folder: Path, after: float, writings: int) -> bool | None:
    """Kill a command after so many seconds, or as soon as it writes its file number so many; whether at a writing.

    None where it had ended before.
    """
    process, start, seen = Started(words, folder), time.monotonic(), set[str]()
    while process.status() is None:
        if writings:
            seen |= {path.name for path in folder.rglob("*.part")}
        if (writing := 0 < writings <= len(seen)) or (not writings and time.monotonic() - start >= after):
            process.kill()
            return writing
        time.sleep(0.0005 if writings else 0.01)
    if process.status() not in DONE:
        raise SystemExit(f"A resumed command failed: {(folder / 'said').read_text()[-1000:]}")
    return None


def unreadable(folder: Path) -> Iterator[str]:
    """The files that must be whole at any moment, and are not."""
    import pyarrow.parquet as pq
    from safetensors import safe_open

    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name.endswith(".part") or path.name in ("said", ".lock", "broken.cif"):
            continue
        try:
            if path.suffix == ".safetensors":
                with safe_open(path, framework="pt") as file:
                    assert [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118 (no mapping)
            elif path.suffix == ".parquet":
                pq.read_table(path)
            elif path.suffix == ".json":
                json.loads(path.read_bytes())
            elif path.suffix == ".jsonl":
                for line in path.read_bytes().splitlines(keepends=True)[:-1]:
                    json.loads(line)
            elif path.suffix == ".csv":
                with path.open(newline="") as file:
                    assert list(csv.DictReader(file))
        except Exception as error:
            yield f"{path.relative_to(folder)} is unreadable: {error}"


def contents(folder: Path) -> dict[str, Any]:
    """What a command has left, as far as it has to be the same."""
    return {
        path.relative_to(folder).as_posix(): timeless(path)
        for path in sorted(folder.rglob("*"))
        if path.name not in ("said", "in") and "in" not in path.relative_to(folder).parts
    }


def timeless(path: Path) -> Any:
    """The content of a file without times."""
    if path.is_dir():
        return None
    if path.suffix == ".jsonl":
        return [without_times(json.loads(line)) for line in path.read_text().splitlines()]
    if path.suffix == ".json":
        return without_times(json.loads(path.read_bytes()))
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name).numpy().tobytes() for name in sorted(file.keys())}
            header = {key: loaded(value) for key, value in (file.metadata() or {}).items()}
        return tensors, without_times(header)
    return path.read_bytes()


def loaded(text: str) -> Any:
    """An entry of a header, which may be JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def without_times(value: Any) -> Any:
    """Nested values without those that are times, or name the machine."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if key not in TIMES}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def broken(case: Case, work: Path, kills: int, chance: random.Random) -> Outcome:
    """Kill a command again and again, and compare what it comes to with an unbroken run."""
    given, whole = work / "in", fresh(work / case.name.replace(" ", "-") / "whole", work / "in")
    outcome = Outcome(case.name, run(case.words, whole))
    expected = contents(whole)
    moments = [(k + chance.random()) / kills for k in range(kills)]
    chance.shuffle(moments)
    folder, begun = fresh(whole.with_name("broken"), given), False
    for k, moment in enumerate(moments):
        words = case.resumed if begun and case.resumed else case.words
        writings = chance.randint(1, 6) if k % 3 == 2 else 0
        killed = kill(words, folder, moment * outcome.seconds, writings)
        outcome.faults += unreadable(folder)
        if killed is None:
            outcome.ended += 1
            compare(expected, folder, outcome)
            folder, begun = fresh(folder, given), False
            continue
        outcome.kills += 1
        outcome.at_writing += killed
        outcome.moments.append(round(moment, 3))
        # Before it has written what it was told, a training is given the whole command again.
        begun = (folder / "run" / "run.json").exists()
    run(case.resumed if begun and case.resumed else case.words, folder)
    compare(expected, folder, outcome)
    return outcome


def compare(expected: dict[str, Any], folder: Path, outcome: Outcome) -> None:
    """Note what a broken run has left otherwise than the unbroken one."""
    found = contents(folder)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found or name not in expected:
            outcome.faults.append(f"{name} is {'missing' if name in expected else 'left over'}")
        elif expected[name] != found[name]:
            outcome.faults.append(f"{name} differs from that of the unbroken run")


def fresh(folder: Path, given: Path) -> Path:
    """An empty folder with the input."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(given, folder / "in", copy_function=shutil.copy2)
    return folder


def main() -> int:
    """Kill, resume, compare; 1 where a promise is broken."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=20, help="of the first training; the others have a fifth of it")
    options.add_argument("--only", default="", help="names of cases or commands, separated by commas")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--epochs", type=int, default=40)
    options.add_argument("--crystals", type=int, default=100)
    options.add_argument("--model", default="lcs6a")
    options.add_argument("--out", type=Path, help="write the figures to this file")
    options.add_argument("--forked", action="store_true", help="copy a process that has all imported: a quick check")
    given = options.parse_args()
    wanted = [name.strip() for name in given.only.split(",") if name.strip()]
    Started.forked = given.forked
    if given.forked:
        import nesf.cli.codec
        import nesf.cli.data
        import nesf.cli.evaluate
        import nesf.cli.train  # noqa: F401 (so that the copies need not)
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="nesf-kill-") as work:
        prepare(Path(work), given.crystals)
        chosen = [case for case in cases(given.model, given.epochs) if not wanted or case.belongs_to(wanted)]
        if any(case.name == "decode" for case in chosen):
            run(["encode", given.model, "in/some.parquet", "--out", "in/z.parquet"], Path(work))
        for case in chosen:
            kills = max(1, round(case.share * given.kills))
            outcome = broken(case, Path(work), kills, random.Random(f"{given.seed} {case.name}"))
            outcomes.append(outcome)
            state = "; ".join(dict.fromkeys(outcome.faults)) or "the same as unbroken"
            killed = f"{outcome.kills} killed, {outcome.at_writing} of them at a writing; {outcome.ended} had ended"
            print(f"{case.name:25s} {outcome.seconds:6.1f} s unbroken; {killed}; {state}", flush=True)
    if given.out is not None:
        values = {"kills": sum(one.kills for one in outcomes), "cases": [vars(one) for one in outcomes]}
        given.out.write_text(json.dumps(values, indent=1) + "\n")
    return int(any(one.faults for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
