"""bfloat16 where a recipe asks for it and the device computes in it."""

from contextlib import AbstractContextManager

import torch
from torch import nn

from segue.errors import InputError, nearest

PRECISIONS = ("auto", "fp32", "bf16")


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is a native type of the device: elsewhere it is emulated, slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("bf16"))


def chosen(precision: str, device: torch.device) -> str:
    """`fp32` or `bf16`: what a recipe's `auto`, `fp32` or `bf16` comes to on a device."""
    if precision == "auto":
        return "bf16" if computes_in_bfloat16(device) else "fp32"
    return precision


def compute_in(model: nn.Module, precision: str) -> None:
    """Let a model, and one it was made from, predict in `fp32`, `bf16` or `auto`. Raises InputError for another."""
    if precision not in PRECISIONS:
        raise InputError(f"--precision: found {precision!r}. {nearest(precision, PRECISIONS)}")
    for module in model.modules():
        if hasattr(module, "precision"):
            module.precision = precision  # type: ignore[assignment]


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context that a forward pass runs in: matrix products in bfloat16 for `bf16`, untouched for `fp32`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=chosen(precision, device) == "bf16")
