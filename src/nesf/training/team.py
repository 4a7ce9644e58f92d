"""The processes that train one model together, as ``torchrun`` starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from nesf.errors import NesfError


@dataclass(frozen=True)
class Team:
    """This process among those that train together.

    Attributes:
        rank: number of this process.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and reports."""
        return self.rank == 0

    def part(self, n: int) -> tuple[int, int]:
        """Which of ``n`` crystals are this process's: from, and up to but not including.

        >>> [Team(rank, 3).part(8) for rank in range(3)]
        [(0, 2), (2, 5), (5, 8)]
        """
        return n * self.rank // self.size, n * (self.rank + 1) // self.size

    def total(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values


ALONE = Team()


@contextmanager
def teamwork(device: torch.device) -> Iterator[Team]:
    """The team that the environment of ``torchrun`` describes, connected for the length of the block."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Team()
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def own_device() -> torch.device:
    """The device of this process: a GPU of its own where there are any."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number = int(os.environ.get("LOCAL_RANK", "0"))
    if number >= torch.cuda.device_count():
        raise NesfError(f"There are {torch.cuda.device_count()} GPUs here, too few for process {number}; start fewer.")
    device = torch.device("cuda", number)
    torch.cuda.set_device(device)
    return device
