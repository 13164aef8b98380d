"""Which device and precision to use, in the words of the user."""

from __future__ import annotations

import torch

from leadline.errors import InputError

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_devices(device: str) -> list[torch.device]:
    """Devices by name: "auto", "cpu", "cuda", "cuda:1", "mps", or several with commas ("cuda:0,cuda:1").

    "auto" is CUDA if there is one, else MPS, else the CPU.

    Raises:
        InputError: The name is unknown or there is no such device here.
    """
    if device == "auto":
        available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
        device = next(name for name, here in available.items() if here)
    return [_one_device(name.strip()) for name in device.split(",")]


def _one_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device '{name}' is unknown; use auto, cpu, cuda, cuda:N or mps") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError("there is no CUDA device here; use --device cpu, or see `leadline doctor`")
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise InputError(f"there is no {name} here, only {torch.cuda.device_count()} CUDA device(s)")
    elif device.type == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("there is no MPS device here; use --device cpu")
    elif device.type != "cpu":
        raise InputError(f"device '{name}' is not supported; use auto, cpu, cuda, cuda:N or mps")
    return device


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """A dtype by name: "fp32", "fp16", "bf16", or "auto" (bf16 on GPUs that have it, else fp16 there, fp32 on CPUs).

    The CPU stays at fp32 unless asked, so that a result does not depend on which processor made it.

    Raises:
        InputError: The name is unknown.
    """
    if precision == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.float32
    if precision not in PRECISIONS:
        raise InputError(f"precision '{precision}' is unknown; use auto, fp32, fp16 or bf16")
    return PRECISIONS[precision]


def precision_name(dtype: torch.dtype) -> str:
    """The user's word for a dtype."""
    return next(name for name, known in PRECISIONS.items() if known is dtype)
