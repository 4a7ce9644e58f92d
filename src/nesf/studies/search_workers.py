"""A search in several processes of one machine."""

import multiprocessing
import os
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch

from nesf.crystal import Crystal
from nesf.data.datasets import Dataset
from nesf.data.selection import checked_seed
from nesf.errors import NesfError
from nesf.extras import require
from nesf.studies.search import Finished, Say, Search, walk

LAST_SECONDS = 60.0
"""How long a worker is waited for when all trials are done."""


def perform(search: Search, say: Say, workers: int = 1) -> list[Finished]:
    """Do all trials that are not done yet, in several processes of this machine; all stages.

    Args:
        search: what is searched.
        say: told of each trial done; with several workers it must be a function of a module.
        workers: processes, which share the threads.

    Raises:
        NesfError: where Optuna is missing, there is no worker or point, or a trial cannot be finished.
    """
    require("optuna")
    checked_seed(search.start.training.seed)
    if workers < 1:
        raise NesfError(f"--workers is {workers}; give at least 1.")
    if search.most is not None and search.most < 1:
        raise NesfError(f"--points is {search.most}; give at least 1.")
    threads = torch.get_num_threads()
    context = multiprocessing.get_context("spawn")
    share = max(1, threads // workers)
    packed = (
        replace(search, train=_empty(search.train), val=_empty(search.val)),
        *map(_arrays, (search.train, search.val)),
    )
    helpers = [context.Process(target=_help, args=(*packed, say, i, share), daemon=True) for i in range(1, workers)]
    for helper in helpers:
        helper.start()
    try:
        torch.set_num_threads(share)
        finished = walk(search, say)
        # All trials are done and kept, so a worker that does not come to its end has nothing left to give.
        for helper in helpers:
            helper.join(LAST_SECONDS)
        ended = [helper.exitcode for helper in helpers if helper.exitcode]
    finally:
        torch.set_num_threads(threads)
        for helper in helpers:
            helper.terminate()
    if ended:
        say(f"{len(ended)} workers ended early; the others did their trials.")
    return finished


def _empty(data: Dataset) -> Dataset:
    return replace(data, crystals=(), failures=())


def _arrays(data: Dataset) -> list[tuple[Any, ...]]:
    """The crystals of a data set as another process can be sent them."""
    return [(one.id, one.numbers, one.cart, one.cell) for one in data.crystals]


def _help(
    search: Search, train: list[tuple[Any, ...]], val: list[tuple[Any, ...]], say: Say, number: int, threads: int
) -> None:
    """The main function of a worker; the crystals of the search are sent beside it."""
    main = multiprocessing.parent_process()
    assert main is not None

    def follow() -> None:
        main.join()
        os._exit(1)

    # The main process may be killed without a chance to end its workers.
    threading.Thread(target=follow, daemon=True).start()
    torch.set_num_threads(threads)
    os.environ["LOCAL_RANK"] = str(number % max(1, torch.cuda.device_count()))
    # Told to stop with the main process, which says so.
    with suppress(KeyboardInterrupt):
        sets = [
            replace(data, crystals=tuple(Crystal(*one) for one in crystals))
            for data, crystals in ((search.train, train), (search.val, val))
        ]
        _walk(replace(search, train=sets[0], val=sets[1]), say)


def _walk(search: Search, say: Say) -> None:
    """Do trials; where one cannot be finished, say why and end this process."""
    try:
        walk(search, say)
    except (NesfError, OSError) as error:
        say(f"A worker ended: {error}")
        sys.exit(1)
