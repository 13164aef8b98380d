"""The fastest way to run a model on this machine: small encoder and decoder, and what was measured to be fastest.

Measured at first use, in some seconds for the mini models, and kept in the cache folder; ``leadline doctor`` shows it.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import torch

from leadline.checkpoints.cache import cache_folder
from leadline.files.whole import write_bytes
from leadline.inference.devices import cpu_computes_bf16
from leadline.inference.openvino_stages import Backend, openvino_version
from leadline.inference.tuned import SPEED


class Way(NamedTuple):
    """A precision, and what computes in it.

    >>> str(Way("bf16", "openvino")), str(Way("fp32", "torch"))
    ('bf16 by OpenVINO', 'fp32')
    """

    precision: str
    backend: Backend

    def __str__(self) -> str:
        return self.precision if self.backend == "torch" else f"{self.precision} by OpenVINO"


class Asked(NamedTuple):
    """What a user wants; "auto" takes whatever is fastest."""

    precision: str = "auto"
    backend: Backend = "auto"

    def allows(self, way: Way) -> bool:
        """Whether ``way`` is what was asked for."""
        return self.precision in ("auto", way.precision) and self.backend in ("auto", way.backend)


ANY = Asked()


@dataclass(frozen=True)
class Measured:
    """What was measured on one machine for one model.

    Attributes:
        model: Its name.
        machine: Processor or GPU, versions, number of threads.
        seconds: Least of a prediction of the model's default size with an ensemble of 1, by way.
    """

    model: str
    machine: str
    seconds: dict[str, float]

    @property
    def fastest(self) -> str:
        """The way that took the least."""
        return min(self.seconds, key=lambda name: self.seconds[name])


def fastest_way(
    model: str,
    weights_hash: str,
    device: torch.device,
    one_prediction: Callable[[Way], Callable[[], object]],
    asked: Asked = ANY,
    eight_bits: bool = True,
) -> Way:
    """The way in which a model is fastest here: as measured before, else measured now and kept.

    Args:
        model: Its name, for people.
        weights_hash: What the measurement belongs to, with the machine.
        device: Where it runs.
        one_prediction: For a way, a call that makes one prediction.
        asked: What the way has to be.
        eight_bits: Whether the model can be run in 8-bit integers.
    """
    allowed = [way for way in candidates(device) if asked.allows(way) and (eight_bits or way.precision != "int8")]
    if not allowed:  # an error when it is loaded, or slow: as asked
        precision = "fp32" if asked.precision == "auto" else asked.precision
        return Way(precision, "torch" if asked.backend == "auto" else asked.backend)
    if len(allowed) == 1:
        return allowed[0]
    machine = _machine(device)
    kept, key = _read(measurements()), f"{weights_hash} {machine}"
    seconds = kept[key].seconds if key in kept else {}
    if not {str(way) for way in allowed} <= seconds.keys():
        seconds = seconds | _seconds({str(way): one_prediction(way) for way in allowed})
        kept[key] = Measured(model, machine, seconds)
        measurements().parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({name: asdict(one) for name, one in kept.items()}, indent=1)
        write_bytes(measurements(), content.encode())
    return min(allowed, key=lambda way: seconds[str(way)])


def candidates(device: torch.device) -> tuple[Way, ...]:
    """Ways that a device computes in; emulated precisions and what is not installed are left out."""
    if device.type == "cpu":
        precisions = ("fp32", "bf16") if cpu_computes_bf16() else ("fp32",)
        backends: tuple[Backend, ...] = ("torch",) if openvino_version() is None else ("torch", "openvino")
        ways = tuple(Way(precision, backend) for backend in backends for precision in precisions)
        # With VNNI, 8-bit integers can be quicker than bf16 on processors that have both.
        return (*ways, Way("int8", "openvino")) if "openvino" in backends else ways
    return tuple(Way(one, "torch") for one in (("fp32", "fp16", "bf16") if device.type == "cuda" else ("fp32", "fp16")))


def measurements() -> Path:
    """The file of what was measured."""
    return cache_folder() / "speed.json"


def measured_here() -> list[Measured]:
    """What was measured so far."""
    return list(_read(measurements()).values())


def _seconds(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The least that each takes. They run by turns, so that what else the machine does then meets all of them."""
    for call in calls.values():
        for _ in range(SPEED.warm_ups):
            call()
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(SPEED.runs):
        for name, call in calls.items():
            started = perf_counter()
            call()
            least[name] = min(least[name], perf_counter() - started)
    return least


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        what = torch.cuda.get_device_name(device)
    else:
        what = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    also = openvino_version() if device.type == "cpu" else None
    return f"{device.type}, {what}, PyTorch {torch.__version__}" + ("" if also is None else f", OpenVINO {also}")


def _read(path: Path) -> dict[str, Measured]:
    """What is kept; a file that cannot be read is measured anew."""
    try:
        kept = {name: Measured(**one) for name, one in json.loads(path.read_text()).items()}
        return kept if all(one.fastest for one in kept.values()) else {}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
