"""bfloat16 where a recipe asks for it and the device computes in it."""

from contextlib import AbstractContextManager

import torch


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


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context that a forward pass runs in: matrix products in bfloat16 for `bf16`, untouched for `fp32`."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=chosen(precision, device) == "bf16")
