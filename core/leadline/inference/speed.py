"""The fastest way to run a model on this machine: small encoder and decoder, and the precision that was measured to be fastest.

Measured at first use, in about a second for the mini models, and kept in the cache folder; ``leadline doctor`` shows it.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import torch

from leadline.checkpoints.cache import cache_folder
from leadline.files.whole import write_bytes
from leadline.inference.devices import cpu_computes_bf16
from leadline.inference.tuned import SPEED


@dataclass(frozen=True)
class Measured:
    """What was measured on one machine for one model.

    Attributes:
        model: Its name.
        machine: Processor or GPU, PyTorch's version, number of threads.
        precision: The fastest of ``seconds``.
        seconds: Median of a prediction of the model's default size with an ensemble of 1, by precision.
    """

    model: str
    machine: str
    precision: str
    seconds: dict[str, float]


def fastest_precision(
    model: str, weights_hash: str, device: torch.device, one_prediction: Callable[[str], Callable[[], object]]
) -> Measured:
    """The precision in which a model is fastest here: as measured before, else measured now and kept.

    Args:
        model: Its name, for people.
        weights_hash: What the measurement belongs to, with the machine.
        device: Where it runs.
        one_prediction: For a precision, a call that makes one prediction.
    """
    machine = _machine(device)
    kept, key = _read(measurements()), f"{weights_hash} {machine}"
    if key not in kept:
        seconds = {precision: _seconds(one_prediction(precision)) for precision in candidates(device)}
        kept[key] = Measured(model, machine, min(seconds, key=lambda name: seconds[name]), seconds)
        measurements().parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({name: asdict(one) for name, one in kept.items()}, indent=1)
        write_bytes(measurements(), content.encode())
    return kept[key]


def candidates(device: torch.device) -> tuple[str, ...]:
    """Precisions that a device computes in; emulated ones are left out."""
    if device.type == "cpu":
        return ("fp32", "bf16") if cpu_computes_bf16() else ("fp32",)
    return ("fp32", "fp16", "bf16") if device.type == "cuda" else ("fp32", "fp16")


def measurements() -> Path:
    """The file of what was measured."""
    return cache_folder() / "speed.json"


def measured_here() -> list[Measured]:
    """What was measured so far."""
    return list(_read(measurements()).values())


def _seconds(call: Callable[[], object]) -> float:
    for _ in range(SPEED.warm_ups):
        call()
    times = []
    for _ in range(SPEED.runs):
        started = perf_counter()
        call()
        times.append(perf_counter() - started)
    return median(times)


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        what = torch.cuda.get_device_name(device)
    else:
        what = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    return f"{device.type}, {what}, PyTorch {torch.__version__}"


def _read(path: Path) -> dict[str, Measured]:
    """What is kept; a file that cannot be read is measured anew."""
    try:
        return {name: Measured(**one) for name, one in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
