"""Which device and precision to use, in the words of the user."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from threading import Lock

import torch

from leadline.errors import InputError

#: "int8" means 3×3 convolutions in 8-bit integers, and float32 elsewhere.
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "int8": torch.int8}


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


def wait_for(devices: Iterable[torch.device]) -> None:
    """Return when what this thread handed to GPUs is done; at once on a CPU, which queues nothing."""
    for device in devices:
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()
        elif device.type == "mps":
            torch.mps.synchronize()


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """A dtype by name: "fp32", "fp16", "bf16", or "auto": fp16 on CUDA, fp32 elsewhere.

    fp16 keeps three more bits than bf16: maps are eight times closer to fp32's (``benchmarks/half_precision.py``). What it lacks is
    range; a map that overflows is done again in fp32. The CPU stays at fp32 unless asked, so that a result does not depend on which
    processor made it.

    Raises:
        InputError: The name is unknown.
    """
    if precision == "auto":
        precision = "fp16" if device.type == "cuda" else "fp32"
    if precision not in PRECISIONS:
        raise InputError(f"precision '{precision}' is unknown; use auto, fp32, fp16, bf16 or int8")
    if precision == "bf16" and device.type == "cpu" and not cpu_computes_bf16():
        warnings.warn(
            "this processor has no bf16 instructions and is many times slower with precision='bf16' than with 'fp32'",
            stacklevel=3,
        )
    return PRECISIONS[precision]


def cpu_computes_bf16() -> bool:
    """Whether this processor has instructions for bf16 (AVX512-BF16, AMX)."""
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(bool(supported()) for supported in asked if supported is not None)


class _TrueFloat32:
    """CUDA's TF32, which keeps 10 bits of float32's 23, is off while anybody is inside; then it is as it was before."""

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._before = (True, False)

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
                self._set(False, False)
            self._inside += 1

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._set(*self._before)

    @staticmethod
    def _set(convolutions: bool, products: bool) -> None:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


#: ``with TRUE_FLOAT32:`` float32 means float32. Shared by all threads, as PyTorch's settings are.
TRUE_FLOAT32 = _TrueFloat32()


def precision_name(dtype: torch.dtype) -> str:
    """The user's word for a dtype."""
    return next(name for name, known in PRECISIONS.items() if known is dtype)
