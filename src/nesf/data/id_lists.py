"""Published lists of ids: which crystal is for training, validation or test."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nesf.data.selection import PARTS, Split
from nesf.errors import NesfError


@dataclass(frozen=True)
class IdLists:
    """The lists of a publication.

    Attributes:
        name: of the file or folder.
        sha256: of the contents of the files, one after the other.
        split: the ids of each part, none in two of them.
        folds: where the publication is one of folds; ``split`` is the first of them then.
        shared: how many ids stood among those for training as well as in another list. They belong to the other.
    """

    name: str
    sha256: str
    split: Split
    folds: tuple[Split, ...] = ()
    shared: int = 0

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids, in the order of the lists."""
        return self.split.train + self.split.val + self.split.test


def read_id_lists(path: str | Path) -> IdLists:
    """Read published lists.

    Readable are a JSON file ``{"train": [ids], "val": [ids], "test": [ids]}``; a JSON file with a list of folds,
    ``[{"val": [ids], "test": [ids]}, ...]``, where all other ids are for training; a folder with ``train.txt``,
    ``val.txt`` and ``test.txt``, one id a line; and the lists in data sets released with the paper, named by what
    the names of their folders have in common: ``dataset_lim_l6`` for ``dataset_lim_l6_train``, and so on.

    Raises:
        NesfError: where nothing of the kind is there, or an id is in the lists of both validation and test.
    """
    path = Path(path)
    if not path.exists() and not list(path.parent.glob(f"{path.name}_*")):
        raise NesfError(f"{path} does not exist; {_EXPECTED}.")
    files = _files(path)
    try:
        texts = {part: file.read_text(encoding="utf-8") for part, file in files.items()}
        digest = hashlib.sha256("".join(texts.values()).encode()).hexdigest()
        if set(files) == {""}:
            value = json.loads(texts[""])
            if isinstance(value, dict) and (missing := [part for part in PARTS if part not in value]):
                raise NesfError(f"{path} has no list {missing[0]!r}, which may be empty; {_EXPECTED}.")
            if isinstance(value, list):
                folds = _folds(value, path)
                return IdLists(path.name, digest, folds[0], folds)
            lists = {part: value[part] for part in PARTS}
        elif all(file.suffix == ".txt" for file in files.values()):
            lists = {part: text.split() for part, text in texts.items()}
        else:
            lists = {part: json.loads(text)["mpid"] for part, text in texts.items()}
    except NesfError:
        raise
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise NesfError(f"{path} holds no lists of ids ({type(error).__name__}: {reason}); {_EXPECTED}.") from None
    split, shared = _split(lists, path)
    return IdLists(path.name, digest, split, shared=shared)


_EXPECTED = (
    'expected is JSON {"train": [ids], "val": [ids], "test": [ids]} or a list of such folds, a folder with train.txt, '
    "val.txt and test.txt, or the common beginning of the released folders' names"
)


def _files(path: Path) -> dict[str, Path]:
    """The file of each part, or the one file of all under the name of none."""
    if path.is_file():
        return {"": path}
    for files in (
        {part: path / f"{part}.txt" for part in PARTS},
        {part: path.with_name(f"{path.name}_{part}") / "dataset_attr.json" for part in PARTS},
    ):
        if all(file.is_file() for file in files.values()):
            return files
    raise NesfError(f"{path} holds no lists of ids; {_EXPECTED}.")


def _split(lists: Mapping[Any, Any], path: Path) -> tuple[Split, int]:
    """The lists without repetition; an id for training that is held out elsewhere is held out."""
    train, val, test = (dict.fromkeys(_ids(lists[part], path)) for part in PARTS)
    if both := val.keys() & test.keys():
        raise NesfError(f"In {path}, {min(both)!r} is in the lists of both validation and test; it can be in one.")
    shared = train.keys() & (val.keys() | test.keys())
    return Split(tuple(name for name in train if name not in shared), tuple(val), tuple(test)), len(shared)


def _folds(value: list[Any], path: Path) -> tuple[Split, ...]:
    if wrong := [fold for fold in value if not isinstance(fold, dict) or not {"val", "test"} <= set(fold)]:
        raise NesfError(f"{path} holds {str(wrong[0])[:60]!r} where a fold should be; {_EXPECTED}.")
    held = [{part: _ids(fold[part], path) for part in ("val", "test")} for fold in value]
    tests = Counter(name for fold in held for name in fold["test"])
    ids = dict.fromkeys(name for fold in held for part in ("test", "val") for name in fold[part])
    if not ids:
        raise NesfError(f"{path} holds no ids; {_EXPECTED}.")
    if repeated := [name for name in ids if tests[name] != 1]:
        raise NesfError(f"In {path}, {repeated[0]!r} is tested in {tests[repeated[0]]} folds; each id wants one.")
    return tuple(_split({"train": list(ids), **fold}, path)[0] for fold in held)


def _ids(values: Any, path: Path) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(name, str) for name in values):
        raise NesfError(f"{path} holds something else than lists of texts; {_EXPECTED}.")
    return values
