"""Which floating-point type to compute in: bfloat16 where the machine has instructions for it, float32 elsewhere.

Decided from the machine's features and not from a stopwatch, so that the same command gives the same bytes on the same machine. Weights,
losses and the last sums are float32 everywhere; only matrix products and convolutions are taken in bfloat16 (autocast).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from hubbleflow.errors import InputError

PRECISIONS = ("auto", "float32", "bfloat16")


def resolve_precision(wanted: str, device: torch.device) -> str:
    """ "float32" or "bfloat16" for `wanted`, which may be "auto".

    Raises:
        InputError: `wanted` is none of the three.
    """
    if wanted not in PRECISIONS:
        raise InputError(f"unknown precision {wanted!r}: choose one of {', '.join(PRECISIONS)}")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    if device.type == "cpu":
        # torch has no public name for these yet; a version without them computes in float32.
        features = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return "bfloat16" if any(getattr(torch.cpu, name, lambda: False)() for name in features) else "float32"
    return "float32"


def best_device() -> str:
    """A GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def autocast(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """The context in which networks are evaluated at `precision`."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
