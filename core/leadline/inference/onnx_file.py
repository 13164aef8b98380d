"""ONNX files: a whole model in one graph, checked against PyTorch, described in its own metadata."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leadline.checkpoints.bundle import ModelBundle
from leadline.errors import InputError, LeadlineError
from leadline.inference.graph import DepthGraph

#: onnxruntime and PyTorch must agree to this share of the map's range (at least of 1), in float32.
TOLERANCE = 1e-3
OPSET = 18
#: Protocol buffers end at 2 GB: larger models keep their weights in a second file beside the first.
SINGLE_FILE_BYTES = 1_900_000_000


@dataclass(frozen=True)
class Exported:
    """What was written: the files, and the largest difference to PyTorch over the map's range."""

    files: list[Path]
    difference: float


def export_onnx(
    bundle: ModelBundle, path: Path, height: int, width: int, steps: int | None = None, dynamic_batch: bool = False
) -> Exported:
    """Write ``path`` and check it in onnxruntime.

    The graph takes ``image`` (N, 3, height, width), RGB in [0, 1], for models that start from noise also ``noise`` (N, C, h, w), and gives
    ``depth`` (N, height, width) in the model's space. N is 1, or free with ``dynamic_batch``.

    Raises:
        InputError: Size or steps do not suit the model, or a package is missing.
        LeadlineError: onnxruntime's map differs from PyTorch's by more than TOLERANCE.
    """
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    if missing:
        raise InputError(f"exporting needs {', '.join(missing)}; pip install 'leadline[onnx]'")
    spec = bundle.spec
    steps = spec.default_steps if steps is None else steps
    bundle.model.check_steps(steps)
    if spec.space is None:
        raise InputError(f"{spec.name} gives surface normals; only depth models can be exported")
    if any(step.fresh for step in bundle.model.plan(steps)):
        raise InputError(
            f"{spec.name} adds fresh noise between steps, which a graph cannot draw; export it with 1 step"
        )
    if height < 1 or width < 1 or height % spec.pad_multiple or width % spec.pad_multiple:
        raise InputError(f"{height}x{width}: {spec.name} takes sides that are multiples of {spec.pad_multiple}")
    if bundle.model.prompt.device.type != "cpu":
        raise InputError("export takes a model on the CPU")
    graph = DepthGraph(bundle, height, width, steps).eval()
    inputs = example_inputs(graph, height, width, count=2 if dynamic_batch else 1)
    weight_bytes = sum(tensor.nbytes for tensor in graph.state_dict().values())
    dynamic = tuple({0: torch.export.Dim("batch")} for _ in inputs) if dynamic_batch else None
    with torch.inference_mode(), _quiet():
        expected = graph(*inputs).numpy()
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            graph, inputs, dynamo=True, opset_version=OPSET, input_names=["image", "noise"][: len(inputs)],
            output_names=["depth"], dynamic_shapes=dynamic, optimize=True, verbose=False,
        )  # fmt: skip
    assert program is not None
    program.model.metadata_props.update(_metadata(bundle, height, width, steps))
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name(path.name + ".data")
    for old in (path, data):
        old.unlink(missing_ok=True)
    program.save(str(path), external_data=weight_bytes > SINGLE_FILE_BYTES)
    difference = _difference(path, inputs, expected)
    files = [file for file in (path, data) if file.exists()]
    if not difference <= TOLERANCE:
        for file in files:
            os.replace(file, file.with_name(file.name + ".wrong"))
        raise LeadlineError(
            f"onnxruntime's map differs from PyTorch's by {difference:.1e} of its range, more than {TOLERANCE:.0e}; "
            f"the file is kept as {path}.wrong"
        )
    return Exported(files, difference)


def example_inputs(graph: DepthGraph, height: int, width: int, count: int = 1) -> tuple[Tensor, ...]:
    """Inputs of the right shapes: an image with structure, and noise where the model takes it."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    image = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear").clamp(0, 1)
    if not graph.model.stochastic:
        return (image,)
    cells = height // graph.codec.factor, width // graph.codec.factor
    return image, torch.randn(count, graph.codec.latent_channels, *cells, generator=generator)


def session(path: Path, threads: int | None = None) -> Any:
    """An onnxruntime session on the CPU, with its own choice of threads where none is given."""
    import onnxruntime  # noqa: PLC0415  (an extra)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _difference(path: Path, inputs: tuple[Tensor, ...], expected: np.ndarray) -> float:
    """Largest difference over the range of the expected map, or over 1 where the range is smaller."""
    names = ("image", "noise")
    feed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=False)}
    got = session(path).run(["depth"], feed)[0]
    return float(np.abs(got - expected).max() / max(1.0, float(np.ptp(expected))))


def _metadata(bundle: ModelBundle, height: int, width: int, steps: int) -> dict[str, str]:
    spec = bundle.spec
    assert spec.space is not None
    words = {
        "model": spec.name or spec.family,
        "family": spec.family,
        "weights": bundle.weights_hash,
        "licence": spec.licence,
        "space": spec.space.value,
        "near_is_high": spec.space.near_is_high,
        "metric": False,
        "height": height,
        "width": width,
        "pad_multiple": spec.pad_multiple,
        "steps": steps,
        "input": "image: RGB, float32 (N, 3, height, width) in [0, 1]"
        + ("; noise: standard normal, float32 (N, C, h, w)" if bundle.model.stochastic else ""),
        "output": "depth: float32 (N, height, width), affine in the space; not metres",
        "token_count_scaling": spec.token_count_scaling,
    }
    return {f"leadline.{key}": value if isinstance(value, str) else json.dumps(value) for key, value in words.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's own warnings; its errors still come."""
    names = ("torch.onnx", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
