"""OpenVINO for the stages of a prediction on a CPU: each is converted and compiled once for every shape of its inputs.

Every conversion is checked against PyTorch on inputs of that shape before its first result is used.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from leadline.errors import InputError, LeadlineError
from leadline.inference.devices import precision_name
from leadline.inference.tuned import OPENVINO

#: What runs the network: PyTorch; OpenVINO; or PyTorch, and with ``speed="realtime"`` the faster one.
Backend = Literal["auto", "torch", "openvino"]

Stage = Callable[..., Tensor]

#: OpenVINO's words for a precision; 8-bit integers it finds in the graph (:mod:`leadline.inference.eight_bits`).
_HINTS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.int8: "f32"}


def openvino_version() -> str | None:
    """Which OpenVINO is installed; None: none."""
    return version("openvino") if find_spec("openvino") is not None else None


def check_openvino(device: torch.device, precision: torch.dtype) -> None:
    """
    Raises:
        InputError: OpenVINO is not installed, or does not run on this device or in this precision.
    """
    if openvino_version() is None:
        raise InputError("backend 'openvino' needs OpenVINO; pip install 'leadline[openvino]'")
    if device.type != "cpu":
        raise InputError(f"backend 'openvino' runs on the CPU, not on {device}; use --device cpu, or backend 'torch'")
    if precision not in _HINTS:
        raise InputError("backend 'openvino' computes in fp32, bf16 or int8; use one of these, or backend 'torch'")


class OpenVinoStage:
    """A function of tensors, and of constants (None), run by OpenVINO.

    Not to be called by several threads at once.

    Args:
        name: For messages.
        stage: The function.
        precision: float32, bfloat16 or int8: what OpenVINO computes in. Inputs and results are float32.
    """

    def __init__(self, name: str, stage: Stage, precision: torch.dtype) -> None:
        self._name, self._stage, self._precision = name, stage, precision
        self._compiled: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def __call__(self, batch: Tensor, *others: Tensor | None) -> Tensor:
        inputs = (batch, *others)
        key = tuple(None if one is None else tuple(one.shape) for one in inputs)
        if key in self._compiled:
            self._compiled.move_to_end(key)
        else:
            self._compiled[key] = self._checked_request(batch, others)
            if len(self._compiled) > OPENVINO.shapes_kept:
                self._compiled.popitem(last=False)
        return _infer(self._compiled[key], inputs)

    def _checked_request(self, batch: Tensor, others: tuple[Tensor | None, ...]) -> Any:
        """An inference request for inputs of these shapes, whose results were compared with PyTorch's.

        Raises:
            InputError: The processor does not compute in this precision.
            LeadlineError: The results differ.
        """
        example = _varied(batch)
        expected = self._stage(example, *others)
        request = _request(self._stage, (example, *others), self._precision)
        apart = (_infer(request, (example, *others)) - expected).abs() / (expected.max() - expected.min()).clamp_min(
            1e-6
        )
        means = {torch.bfloat16: OPENVINO.mean_bf16, torch.int8: OPENVINO.mean_int8}
        most = means.get(self._precision, OPENVINO.worst_fp32)
        seen = apart.mean() if self._precision in means else apart.max()
        if not float(seen) <= most:
            raise LeadlineError(
                f"OpenVINO {openvino_version()} differs from PyTorch by {float(seen):.1e} of the range in {self._name} "
                f"({precision_name(self._precision)}, {tuple(example.shape)}), more than {most:.0e}; use backend 'torch'"
            )
        return request


def run_by_openvino(stages: list[tuple[nn.Module, str]], precision: torch.dtype) -> None:
    """Replace methods, given as (owner, name), by ones that OpenVINO runs."""
    for owner, name in stages:
        setattr(owner, name, OpenVinoStage(name, getattr(owner, name), precision))


class _Traceable(nn.Module):
    """A stage as a module of its tensors alone, which is what OpenVINO converts."""

    def __init__(self, stage: Stage, inputs: tuple[Tensor | None, ...]) -> None:
        super().__init__()
        self._stage, self._given = stage, [one is not None for one in inputs]

    def forward(self, *tensors: Tensor) -> Tensor:
        remaining = iter(tensors)
        return self._stage(*(next(remaining) if given else None for given in self._given))


@cache
def _core() -> Any:
    """The one OpenVINO of this process."""
    os.environ.setdefault("OPENVINO_TELEMETRY_OPT_OUT", "1")
    import openvino  # noqa: PLC0415  (an extra)

    return openvino.Core()


def _request(stage: Stage, inputs: tuple[Tensor | None, ...], precision: torch.dtype) -> Any:
    """An inference request for inputs of these shapes."""
    core = _core()
    import openvino  # noqa: PLC0415  (an extra)

    tensors = tuple(one.detach().contiguous() for one in inputs if one is not None)
    with torch.no_grad(), _quiet():
        traced = torch.jit.trace(
            _Traceable(stage, inputs).eval(), tensors, check_trace=False
        )  # results are compared below
        graph = openvino.convert_model(traced, example_input=tensors, input=[list(one.shape) for one in tensors])
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,  # pinned threads wait for whoever else is on their core
    }
    compiled = core.compile_model(graph, "CPU", settings)
    got = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if got != _HINTS[precision]:
        raise InputError(
            f"OpenVINO computes in {got} on this processor, not in {_HINTS[precision]}; use precision 'fp32'"
        )
    return compiled.create_infer_request()


def _infer(request: Any, inputs: tuple[Tensor | None, ...]) -> Tensor:
    arrays = [one.contiguous().numpy() for one in inputs if one is not None]
    results = request.infer(arrays, share_inputs=True)
    return torch.from_numpy(results[0])


def _varied(batch: Tensor) -> Tensor:
    """``batch`` (N, C, h, w) with smooth structure added: an example that is never blank."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(*batch.shape[:2], 8, 8, generator=generator)
    return batch + 0.5 * interpolate(coarse, batch.shape[-2:], mode="bilinear")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what tracing says about shapes that become constants: they are, for each has a graph of its own."""
    logger = logging.getLogger("openvino")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
