"""Where to compute, and which arithmetic is fast there."""

from contextlib import AbstractContextManager
from typing import Any

import torch


def best_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def computes_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16 products, so that they are faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # Older releases of PyTorch do not tell; they compute in float32 unless told otherwise.
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        names = ("avx512_bf16", "amx_bf16", "bf16")
        return any(bool(capabilities.get(name, False)) for name in names)
    return False


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context that layers compute in; "auto" is bfloat16 where the hardware multiplies in it."""
    if precision == "auto":
        precision = "bfloat16" if computes_bfloat16(device) else "float32"
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
