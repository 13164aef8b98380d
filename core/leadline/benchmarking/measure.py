"""One comparison, measured: seconds by turns in one process, memory in a process for each side, FLOPs counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from leadline.benchmarking.apart import answer_parent, peak_mb, run_module
from leadline.benchmarking.reference import official_bundle, official_spec, reference, reference_copy
from leadline.checkpoints.bundle import ModelBundle, build_empty
from leadline.checkpoints.resolve import resolve
from leadline.errors import InputError
from leadline.inference.compiling import CompileMode
from leadline.inference.devices import choose_devices, choose_precision
from leadline.inference.estimator import DepthEstimator

Side = Literal["ours", "reference"]
Clock = Literal["wall", "cpu"]

#: In runs longer than this, what happens only in the first one does not show.
LONG_S = 5.0

OFFICIAL_MODELS = ("depthfm-official", "depthmaster-official", "fiffdepth-official")


@dataclass(frozen=True)
class Case:
    """What is compared.

    Attributes:
        model: A model's name, or "FAMILY-official": the published size with random weights.
        size: Side of the square image, pixels.
        steps, ensemble: As :meth:`DepthEstimator.predict` takes them.
        device, precision: As :func:`leadline.load` takes them.
        threads: CPU threads; None leaves PyTorch's choice.
        repeat: Runs of each side; the best counts.
        clock: "wall", or "cpu" to count the process's own processor seconds: on a machine that others use, too, and
            with one thread, this is what the wall clock would say if it were quiet.
        compiled: Ours through torch.compile, as :func:`leadline.load` takes it; the reference stays eager.
    """

    model: str
    size: int
    steps: int = 1
    ensemble: int = 1
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    repeat: int = 3
    clock: Clock = "wall"
    compiled: CompileMode = "off"


@dataclass(frozen=True)
class Measurement:
    """One row of the report. Memory is the peak resident set of a process that ran one side alone (None: not measured).

    Attributes:
        case: What was compared.
        reference_s, ours_s: Best seconds of one call.
        difference: Largest absolute difference between the two maps.
        reference_gflop, ours_gflop: Products and sums of each schedule, with every convolution counted as a direct one.
        reference_mb, ours_mb: Peak memory.
    """

    case: Case
    reference_s: float
    ours_s: float
    difference: float
    reference_gflop: float
    ours_gflop: float
    reference_mb: float | None = None
    ours_mb: float | None = None

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.reference_s / self.ours_s

    def share_of(self, ceiling_gflops: float) -> float:
        """Achieved GFLOP/s over a measured ceiling; above 1 where convolutions take fewer products than direct ones."""
        return self.ours_gflop / self.ours_s / ceiling_gflops


def bundle_of(model: str) -> ModelBundle:
    """Weights of a named model, or random ones for "FAMILY-official"."""
    return official_bundle(model.removesuffix("-official")) if model in OFFICIAL_MODELS else resolve(model)


def measure(case: Case) -> Measurement:
    """Run both sides by turns in this process.

    Raises:
        InputError: The case is not one that both sides compute alike.
    """
    bundle = bundle_of(case.model)
    sides: tuple[Side, Side] = ("reference", "ours")
    seconds = dict.fromkeys(sides, float("inf"))
    ready: dict[Side, Callable[[], np.ndarray]] = {}
    maps = {}
    for turn in range(case.repeat + 1):
        spent = {}
        for side in sides:
            run = ready.pop(side, None) or _runner(case, side, bundle)
            spent[side], maps[side] = _timed(run, case)
            if spent[side] < LONG_S or case.compiled != "off":
                ready[side] = run
            del run  # a heavy side makes room for the other
        # short runs need the first turn to warm up, compiled ones to compile
        if turn > 0 or (min(spent.values()) > LONG_S and case.compiled == "off"):
            seconds = {side: min(seconds[side], spent[side]) for side in sides}
        if turn + 1 >= case.repeat and max(seconds.values()) < float("inf"):
            break
    difference = float(np.abs(maps["ours"] - maps["reference"]).max())
    encode, step, decode = stage_gflops(case.model, case.size)
    work = step * case.steps + decode
    return Measurement(
        case, seconds["reference"], seconds["ours"], difference, case.ensemble * (encode + work), encode + case.ensemble * work
    )  # fmt: skip


def peak_memory_mb(case: Case, side: Side) -> float:
    """Peak resident set (on CUDA: peak allocated memory) of a fresh process that runs one side once."""
    return float(_in_child("memory", case, side)["peak_mb"])


def measure_in_child(case: Case) -> Measurement:
    """:func:`measure` in a fresh process, so that a case neither warms nor weighs on the next."""
    return Measurement(case, **_in_child("time", case, "ours"))


def stage_gflops(model: str, size: int) -> tuple[float, float, float]:
    """GFLOP (2 for a product and its sum) of one encode, one network evaluation and one decode of a square image.

    Counted on meta tensors, so nothing is computed; every convolution counts as a direct one.
    """
    spec = official_spec(model.removesuffix("-official")) if model in OFFICIAL_MODELS else resolve(model).spec
    prompt = torch.empty(1, 77 if spec.family == "depthfm" else 2, spec.unet["cross_attention_dim"])
    bundle = build_empty(spec, prompt)
    bundle.model.register_buffer("prompt", prompt.to("meta"), persistent=False)
    cells = size // bundle.codec.factor
    latents = torch.empty(1, bundle.codec.latent_channels, cells, cells, device="meta")
    stacked = torch.empty(1, bundle.model.unet.in_channels, cells, cells, device="meta")
    time_zero = torch.zeros(1, device="meta")
    stages: list[Callable[[], Tensor]] = [
        lambda: bundle.codec.encode(torch.empty(1, 3, size, size, device="meta")),
        lambda: bundle.model.unet(stacked, time_zero, bundle.model.prompt),
        lambda: bundle.codec.decode_rgb(latents),
    ]
    counts = []
    for stage in stages:
        counter = FlopCounterMode(display=False)
        with counter, sdpa_kernel(SDPBackend.MATH), torch.inference_mode():
            stage()
        counts.append(counter.get_total_flops() / 1e9)
    return counts[0], counts[1], counts[2]


def ceiling_gflops(device: str, precision: str, repeat: int = 3) -> float:
    """The best of a large matrix product and a large 3×3 convolution, measured here, GFLOP/s."""
    where = choose_devices(device)[0]
    dtype = choose_precision(precision, where)
    n = 8192 if where.type == "cuda" else 2048
    a = torch.randn(n, n, device=where, dtype=dtype)
    images = torch.randn(1, 256, 64, 64, device=where, dtype=dtype)
    weight = torch.randn(256, 256, 3, 3, device=where, dtype=dtype)
    works: list[tuple[float, Callable[[], Tensor]]] = [
        (2 * n**3, lambda: a @ a),
        (2 * 9 * 256**2 * 64**2, lambda: torch.nn.functional.conv2d(images, weight, padding=1)),
    ]
    case = Case("", 0, device=device, clock="cpu" if torch.get_num_threads() == 1 and where.type == "cpu" else "wall")
    best = 0.0
    for flop, work in works:
        _timed(work, case)
        best = max(best, *(flop / _timed(work, case)[0] / 1e9 for _ in range(repeat)))
    return best


def _runner(case: Case, side: Side, bundle: ModelBundle) -> Callable[[], np.ndarray]:
    device = choose_devices(case.device)[0]
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (case.size, case.size, 3), dtype=np.uint8)
    stochastic = bundle.model.stochastic
    multiple = bundle.spec.pad_multiple
    if case.size % multiple:
        raise InputError(f"size {case.size}: {case.model} takes multiples of {multiple}")
    if case.ensemble > 1 and not stochastic:
        raise InputError(f"{case.model} has no ensemble in its official code; only DepthFM does")
    cells = case.size // bundle.codec.factor
    start = torch.randn(
        case.ensemble, bundle.codec.latent_channels, cells, cells, generator=torch.Generator().manual_seed(0)
    )
    noise = start if stochastic else None
    if side == "reference":
        plain = reference_copy(bundle, device, choose_precision(case.precision, device))
        return lambda: reference(plain, image, case.steps, noise, case.ensemble)
    estimator = DepthEstimator(bundle, device=case.device, precision=case.precision, compiled=case.compiled)
    return lambda: estimator.predict(image, size=0, steps=case.steps, ensemble=case.ensemble, noise=noise).values


def _timed(run: Callable[[], Any], case: Case) -> tuple[float, Any]:
    """(seconds, result) of one call, the device's queue emptied."""
    clock = time.process_time if case.clock == "cpu" else time.perf_counter
    started = clock()
    result = run()
    device = choose_devices(case.device)[0]
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started, result


def _in_child(what: str, case: Case, side: Side) -> dict[str, Any]:
    return run_module(__name__, {"what": what, "case": asdict(case), "side": side}, f"{case.model} at {case.size}")


def _child(asked: dict[str, Any]) -> dict[str, Any]:
    case = Case(**asked["case"])
    if case.threads is not None:
        torch.set_num_threads(case.threads)
    if asked["what"] == "time":
        answer = asdict(measure(case))
        answer.pop("case")
        return answer
    _runner(case, asked["side"], bundle_of(case.model))()
    return {"peak_mb": peak_mb(choose_devices(case.device)[0])}


if __name__ == "__main__":
    answer_parent(_child)
