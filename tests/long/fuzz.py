"""Fuzz the readers and the decoder: whatever the bytes, the outcome is crystals, failures or one sentence.

    python tests/long/fuzz.py [--inputs 100000] [--seed 0] [--first 0] [--findings fuzz-findings] [--out fuzz.json]

Every input is a sound or broken file of the corpus (``tests/bad_inputs``) or an embedded crystal in some format,
mutated; or latent vectors, cells and tables of latent vectors for the decoder. Input number i depends on the seed and i
alone: ``--first i --inputs 1`` runs it again. Each is read in a worker process at most ``SECONDS`` of processor time
and ``MEMORY`` bytes above what the worker began with; a worker that a signal ends (a hang, a crash of a library) is
replaced. Warnings count as errors. What is found is saved with its number.
"""

import argparse
import json
import mmap
import os
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SECONDS = 10.0
MEMORY = 2 * 2**30
SHARES = {"cif": 36, "vasp": 16, "xyz": 16, "json": 13, "csv": 8, "parquet": 6, "z": 1, "latents": 2, "cells": 2}
NUMBERS = (
    b"nan inf -inf 1e308 -1e308 1e-308 -0 0 ? . 1e999 0x10 1_0 99999999999999999999 -1 0.5(3) 1/0 NaN \xd9\xa1".split()
)
WORDS = b"loop_ data_ data_x save_ ; ' \" _cell_length_a _atom_site_label # , : = [ ] { } null true Direct T".split()
WORDS += [
    b"Lattice=",
    b"\n;\n",
    b"\0",
    b"\r",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"x,y,z",
    b"-x,-y,-z",
    b"@module",
    b"Properties=",
    b"pbc=",
]
Finding = dict[str, Any]


def main() -> int:
    """Run the fuzzer; 1 where it has found anything."""
    options = _options()
    warnings.simplefilter("error")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    begin = time.monotonic()
    try:
        seeds = corpus(folder)
        findings, outcomes, slowest = _run(options, seeds, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.monotonic() - begin
    values = {
        "inputs": options.inputs,
        "seed": options.seed,
        "seconds": round(seconds, 1),
        "inputs_per_second": round(options.inputs / seconds, 1),
        "slowest_seconds": round(slowest, 3),
        "outcomes": dict(sorted(outcomes.items())),
        "findings": findings,
    }
    if options.out:
        options.out.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    print(f"{options.inputs} inputs in {seconds:.0f} s, the slowest took {slowest:.2f} s of processor time")
    for outcome, count in sorted(outcomes.items()):
        print(f"  {count:8d}  {outcome}")
    print(f"{len(findings)} findings" + (f", saved in {options.findings}" if findings else ""))
    for finding in findings[:20]:
        print(f"  input {finding['input']} ({finding['kind']}): {finding['what']}")
    return 1 if findings else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


# What is mutated


def corpus(folder: Path) -> dict[str, list[bytes]]:
    """The inputs that all others are made of, by the ending of their files."""
    from bad_inputs import FILES
    from nesf.data import load_dataset
    from nesf.io import write_cif, write_extxyz, write_latents, write_poscar, write_table

    found: dict[str, list[bytes]] = {kind: [] for kind in SHARES}
    for case in FILES:
        if len(case.content) <= 20_000:
            found[case.file.rsplit(".", 1)[1]].append(case.content)
    for crystal in load_dataset("textbook").crystals[::3]:
        path = folder / "seed"
        for symmetrize in (True, False):
            write_cif(crystal, path, symmetrize=symmetrize)
            found["cif"].append(path.read_bytes())
        found["csv"].append(b'material_id,cif\nx,"' + path.read_bytes().replace(b'"', b'""') + b'"\n')
        for kind, write in (("vasp", write_poscar), ("xyz", lambda one, to: write_extxyz([one] * 2, to))):
            write(crystal, path)
            found[kind].append(path.read_bytes())
        write_table(path, [crystal] * 2)
        found["parquet"].append(path.read_bytes())
        sites = [{"species": [{"element": "Na", "occu": 1}], "abc": place} for place in crystal.frac.tolist()]
        found["json"].append(json.dumps({"lattice": {"matrix": crystal.cell.tolist()}, "sites": sites}).encode())
    import numpy as np

    write_latents(path, ["a", "b"], np.ones((2, 192), np.float32), "lcs6a", "")
    found["z"] = [path.read_bytes()]
    return found


def mutated(chance: random.Random, content: bytes, others: list[bytes]) -> bytes:
    """The content after none to six changes."""
    for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3, 6))):
        content = chance.choice(MUTATIONS)(chance, content, others)
    return content


def _flip(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    changed = bytearray(content)
    for _number in range(min(len(changed), chance.choice((1, 1, 4, 16)))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _cut(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    begin, end = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return content[:begin] + content[min(end, begin + chance.choice((1, 8, 10**6))) :]


def _end(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _join(chance: random.Random, content: bytes, others: list[bytes]) -> bytes:
    other = chance.choice(others)
    return content[: chance.randrange(len(content) + 1)] + other[chance.randrange(len(other) + 1) :]


def _repeat(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    begin = chance.randrange(len(content) + 1)
    piece = content[begin : begin + chance.choice((1, 10, 100))]
    return content[:begin] + piece * chance.choice((2, 3, 50)) + content[begin:]


def _number(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    places = [match.span() for match in re.finditer(rb"[-+]?\d[\d.]*(?:[eE][-+]?\d+)?", content)]
    return _replaced(chance, content, places, chance.choice(NUMBERS))


def _word(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    places = [match.span() for match in re.finditer(rb"[^\s,:\"]+", content)]
    return _replaced(chance, content, places, chance.choice(WORDS + NUMBERS))


def _replaced(chance: random.Random, content: bytes, places: list[tuple[int, int]], new: bytes) -> bytes:
    if not places:
        return content + new
    begin, end = chance.choice(places)
    return content[:begin] + new + content[end:]


def _swap(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    words = re.split(rb"(\s+)", content)
    i, j = chance.randrange(len(words)), chance.randrange(len(words))
    words[i], words[j] = words[j], words[i]
    return b"".join(words)


def _lines(chance: random.Random, content: bytes, _: list[bytes]) -> bytes:
    lines = content.split(b"\n")
    i, j = chance.randrange(len(lines)), chance.randrange(len(lines))
    kind = chance.randrange(3)
    if kind == 0:
        del lines[i]
    elif kind == 1:
        lines.insert(i, lines[j])
    else:
        lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


MUTATIONS: tuple[Callable[[random.Random, bytes, list[bytes]], bytes], ...] = (
    _flip, _cut, _end, _join, _repeat, _number, _number, _word, _word, _swap, _lines, _lines,
)  # fmt: skip


# What is asked for


def outcome_of(kind: str, chance: random.Random, seeds: dict[str, list[bytes]], path: Path) -> str:
    """Make one input, have it read or decoded, and say what came of it; any exception is a finding."""
    if kind == "latents":
        return _decode_vectors(chance)
    if kind == "cells":
        return _estimate_cells(chance)
    path.write_bytes(mutated(chance, chance.choice(seeds[kind]), seeds[kind]))
    return _read_latents(path) if kind == "z" else _read(path)


def _read(path: Path) -> str:
    """Read as the commands do, but let out what they would make a sentence of."""
    from nesf.crystal import Crystal, Failure
    from nesf.errors import NesfError
    from nesf.io.files import find
    from nesf.io.limits import objection

    crystals = failures = 0
    try:
        [(_, reader)] = find(path).readable
        for entry in reader(path):
            reason = objection(entry) if isinstance(entry, Crystal) else _checked(entry, Failure).reason
            crystals += reason is None
            failures += reason is not None
            _check_sentence(reason or "Fine.")
    except NesfError as error:
        _check_sentence(str(error))
        if path.name not in str(error):
            raise ValueError(f"the sentence does not name the file: {error}") from None
        return "refused as a whole"
    return "crystals" if not failures else "crystals and failures" if crystals else "failures"


def _checked(entry: Any, kind: type) -> Any:
    assert isinstance(entry, kind), f"a reader gives a {type(entry).__name__}"
    return entry


def _check_sentence(text: str) -> None:
    assert "\n" not in text, f"not one line: {text!r}"
    assert text.endswith("."), f"no sentence: {text!r}"
    assert len(text) < 700, f"too long: {text[:80]!r}..."


def _read_latents(path: Path) -> str:
    from nesf.errors import NesfError
    from nesf.io import read_latents

    try:
        read_latents(path)
    except NesfError as error:
        _check_sentence(str(error))
        return "latents refused"
    return "latents read"


def _decode_vectors(chance: random.Random) -> str:
    import numpy as np

    from nesf.errors import NesfError

    generator = np.random.default_rng(chance.randrange(2**32))
    scale = 10.0 ** chance.choice((-30, -2, -1, 0, 0, 0.5, 1, 2, 5, 20, 38))
    with np.errstate(over="ignore"):
        z = (generator.normal(size=(2, 192)) * scale).astype(np.float32)
    if chance.random() < 0.3:
        z[chance.randrange(2), chance.randrange(192)] = chance.choice((np.nan, np.inf, -np.inf, 3e38))
    try:
        found = _codec().decode(z)
    except NesfError as error:
        _check_sentence(str(error))
        return "vectors refused"
    return _found(found)


def _estimate_cells(chance: random.Random) -> str:
    import numpy as np
    import torch

    from nesf.crystal import CrystalBatch
    from nesf.decoding import estimate
    from nesf.elements import Vocabulary
    from nesf.fields.true_field import TrueField

    generator = np.random.default_rng(chance.randrange(2**32))
    cell = np.tril(generator.normal(size=(3, 3)) * chance.choice((0.1, 3.0, 3.0, 10.0, 1e10)))
    if chance.random() < 0.5:
        cell += 4 * np.eye(3)
    if chance.random() < 0.2:
        cell[chance.randrange(3), chance.randrange(3)] = chance.choice((np.nan, np.inf, 0, -5, 1e38))
    n = chance.choice((1, 2, 5))
    cart = generator.uniform(0, 4, size=(n, 3))
    numbers = torch.from_numpy(generator.integers(1, 5, n))
    batch = CrystalBatch(
        numbers, torch.from_numpy(cart).float(), torch.tensor([n]), torch.from_numpy(cell).float()[None]
    )
    settings = _codec().card.config.estimation
    return _found(estimate(TrueField(batch, Vocabulary((1, 2, 3, 4))), ["x"], settings, box=((0, 0, 0), (6, 6, 6))))


def _found(entries: list[Any]) -> str:
    from nesf.crystal import Crystal, Failure

    for entry in entries:
        assert isinstance(entry, (Crystal, Failure)), f"a decoder gives a {type(entry).__name__}"
        if isinstance(entry, Failure):
            _check_sentence(entry.reason)
    return "decoded" if any(isinstance(entry, Crystal) for entry in entries) else "decoded to failures"


_loaded: list[Any] = []


def _codec() -> Any:
    if not _loaded:
        from nesf.codec import load

        _loaded.append(load("lcs6a"))
    return _loaded[0]


# Who asks


def kind_of(chance: random.Random) -> str:
    """Which kind an input is of."""
    return chance.choices(list(SHARES), list(SHARES.values()))[0]


def _run(
    options: argparse.Namespace, seeds: dict[str, list[bytes]], folder: Path
) -> tuple[list[Finding], Counter[str], float]:
    """All inputs, by workers one after the other; what they found, what came of the inputs, the slowest."""
    _codec()  # before the workers begin, who share it
    place = mmap.mmap(-1, 16)  # the input that a worker is at, and the seconds that its slowest one took
    end, at = options.first + options.inputs, options.first
    findings: list[Finding] = []
    outcomes: Counter[str] = Counter()
    while at < end:
        notes = folder / "notes.jsonl"
        notes.write_text("", encoding="utf-8")
        place[:8] = struct.pack("q", at)
        worker = os.fork()
        if worker == 0:
            _work(options.seed, range(at, end), seeds, folder, place)
        _, status = os.waitpid(worker, 0)
        for note in map(json.loads, notes.read_text(encoding="utf-8").splitlines()):
            findings.append(note) if "what" in note else outcomes.update(note)
        if status == 0:
            break
        at = struct.unpack("q", place[:8])[0]
        findings.append({"input": at, "kind": kind_of(_chance(options.seed, at)), "what": _ended(status)})
        at += 1
    for finding in findings:
        _save(finding, options, seeds)
    return findings, outcomes, struct.unpack("d", place[8:])[0]


def _chance(seed: int, number: int) -> random.Random:
    return random.Random(f"{seed}:{number}")


def _ended(status: int) -> str:
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGPROF:
        return f"took more than {SECONDS:g} s of processor time"
    return f"ended the process: {signal.Signals(number).name if number else f'status {os.WEXITSTATUS(status)}'}"


def _work(seed: int, numbers: range, seeds: dict[str, list[bytes]], folder: Path, place: mmap.mmap) -> None:
    """The life of a worker; the system ends it where an input takes too long."""
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    slowest = struct.unpack("d", place[8:])[0]
    with (folder / "notes.jsonl").open("a", encoding="utf-8") as notes:
        for number in numbers:
            place[:8] = struct.pack("q", number)
            chance = _chance(seed, number)
            kind = kind_of(chance)
            ending = "parquet" if kind == "z" else kind
            begin = time.process_time()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                note: dict[str, Any] = {f"{kind}: {outcome_of(kind, chance, seeds, folder / f'input.{ending}')}": 1}
            except Exception as error:  # whatever it is, it is a finding
                where = traceback.extract_tb(error.__traceback__)[-1]
                what = f"{type(error).__name__}: {str(error)[:300]} ({Path(where.filename).name} line {where.lineno})"
                note = {"input": number, "kind": kind, "what": what}
            signal.setitimer(signal.ITIMER_PROF, 0)
            slowest = max(slowest, time.process_time() - begin)
            place[8:] = struct.pack("d", slowest)
            notes.write(json.dumps(note) + "\n")
            notes.flush()
    os._exit(0)


def _save(finding: Finding, options: argparse.Namespace, seeds: dict[str, list[bytes]]) -> None:
    """The bytes of a finding, with what it was."""
    options.findings.mkdir(parents=True, exist_ok=True)
    name = f"{options.seed}-{finding['input']}"
    (options.findings / f"{name}.txt").write_text(f"{finding['what']}\n", encoding="utf-8")
    chance = _chance(options.seed, finding["input"])
    if (kind := kind_of(chance)) not in ("latents", "cells"):
        content = mutated(chance, chance.choice(seeds[kind]), seeds[kind])
        (options.findings / f"{name}.{kind}").write_bytes(content)


def kinds(seed: int, count: int) -> Iterator[str]:
    """The kinds of the first inputs."""
    return (kind_of(_chance(seed, number)) for number in range(count))


if __name__ == "__main__":
    sys.exit(main())
