"""What the time of a job goes to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from nesf.bench.timing import once

# Parts of the names of matrix products, among PyTorch's operators and among GPU kernels.
PRODUCTS = ("gemm", "mm_", "aten::mm", "aten::addmm", "aten::bmm", "matmul", "cutlass", "xmma", "nvjet", "cublas")
ROWS = 20


@dataclass(frozen=True)
class Profile:
    """Where the time of a job is spent.

    Attributes:
        seconds: of the job, without profiler.
        busy_share: share of this time in which the GPU computes; 1 on a processor.
        product_share: share of matrix products in the time of all operations.
        bound: what limits the job, in words.
        table: the operations that take longest.
    """

    seconds: float
    busy_share: float
    product_share: float
    bound: str
    table: str


def profiled(job: Callable[[], object], device: torch.device) -> Profile:
    """Run a job, warm it up, time it, and look into it."""
    once(job, device)
    seconds = once(job, device)
    gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with torch.profiler.profile(activities=activities) as profiler:
        once(job, device)
    averages = profiler.key_averages()
    entries = [entry for entry in averages if not gpu or _is_kernel(entry)]
    total = sum(_microseconds(entry, gpu) for entry in entries)
    products = sum(_microseconds(e, gpu) for e in entries if any(part in e.key for part in PRODUCTS))
    busy = min(1.0, total * 1e-6 / seconds) if gpu else 1.0
    share = products / total if total > 0 else 0.0
    table = averages.table(sort_by=_order(averages, gpu), row_limit=ROWS, max_name_column_width=60)
    return Profile(seconds, busy, share, _bound(busy, share), table)


def _is_kernel(entry: Any) -> bool:
    # Operators of the processor, and named stretches of time, carry the time of kernels once more.
    return "CUDA" in str(entry.device_type) and not getattr(entry, "is_user_annotation", False)


def _microseconds(entry: Any, gpu: bool) -> float:
    return float(getattr(entry, _order([entry], gpu)))


def _order(averages: Any, gpu: bool) -> str:
    if not gpu:
        return "self_cpu_time_total"
    # Renamed from "cuda" to "device" during the life of PyTorch 2.
    new = len(averages) > 0 and hasattr(averages[0], "self_device_time_total")
    return "self_device_time_total" if new else "self_cuda_time_total"


def _bound(busy: float, products: float) -> str:
    if busy < 0.5:
        return "the host, which starts kernels more slowly than the GPU runs them"
    if products > 0.5:
        return "matrix products"
    return "memory traffic and everything else that is no matrix product"
