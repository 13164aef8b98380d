"""DepthEstimator: the one way from image to DepthPrediction."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.checkpoints.bundle import ModelBundle
from leadline.checkpoints.presets import Quality, preset
from leadline.checkpoints.quality import Speed, parts_at
from leadline.checkpoints.resolve import resolve
from leadline.checkpoints.small_codecs import small_decoder_for, small_encoder_for
from leadline.depth.normals import NormalsPrediction
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.files.image import ImageLike, read_image
from leadline.inference.compiling import CompileMode
from leadline.inference.devices import choose_devices, choose_precision, precision_name, wait_for
from leadline.inference.framing import Framed, FramingMode, frame
from leadline.inference.memory import parse_bytes
from leadline.inference.noise import Noise, checked, draw
from leadline.inference.openvino_stages import Backend, check_openvino
from leadline.inference.progress import OnProgress, Progress
from leadline.inference.refine import Detail, PredictTiles, refine
from leadline.inference.replica import Replica
from leadline.inference.speed import Asked, Way, fastest_way
from leadline.models import Codec, DepthModel
from leadline.models.small_decoder import fingerprint_of
from leadline.types import FloatMap, RgbImage

#: One of many images: a list of paths is a list of images, too.
Picture = TypeVar("Picture", bound=ImageLike)

#: What a model sees besides the photograph, once it is known how that is framed: float32 (K, 3, h, w) pictures in [-1, 1] of
#: the size of ``Framed.pixels``. A model takes as many as it was trained with (sparse depth and distance: 2).
Condition = Callable[[Framed], Tensor]


def load(
    name_or_path: str | Path,
    device: str = "auto",
    precision: str = "auto",
    vae: str | Path | None = None,
    base: str | Path | None = None,
    decoder: str | Path = "full",
    memory_budget: str | int | None = None,
    compiled: CompileMode = "off",
    encoder: str | Path = "full",
    speed: Speed = "full",
    backend: Backend = "auto",
    **settings: Any,
) -> DepthEstimator:
    """A model by catalog name ("depthfm-mini", "depthmaster" ...) or from disk.

    Args:
        name_or_path: A name (`leadline models` lists them), a Leadline ``.safetensors`` file, a DepthFM ``.ckpt``, or
            a diffusers folder of any family.
        device: "auto", "cpu", "cuda", "cuda:1", "mps", or several with commas.
        precision: "auto", "fp32", "fp16", "bf16", or "int8" (convolutions in 8-bit integers, with ``backend="openvino"``: for
            processors without bf16 or with VNNI).
        vae: Folder of the ``AutoencoderKL`` for checkpoints that come without one (DepthFM).
        base: Diffusers folder with what the checkpoint's folder lacks: VAE, text encoder and tokenizer, scheduler.
        decoder: "full", "small" (the mini models': many times faster, a little less exact) or the file of a small
            decoder distilled from this model's codec.
        memory_budget: What the process may take ("4GB", or bytes), on CUDA what it may take of the GPU: fewer members
            run at once. None: a fixed number of pixels at once for each kind of device.
        compiled: "graphs" or "kernels" to run through torch.compile, with or without CUDA graphs: for streams of frames of
            one size. The first prediction of every size takes minutes; :meth:`DepthEstimator.warm_up` has it done early.
        encoder: "full", "small" (the mini models') or the file of a small encoder distilled from this model's codec.
        speed: "realtime": the small encoder and decoder, unless files are given, and for ``precision`` and ``backend`` that are
            "auto" those that are fastest on this machine (:mod:`leadline.inference.speed`). For cameras; maps differ a little.
        backend: "torch"; "openvino" (on a CPU, with the extra ``openvino``): about 1.5 times faster with the small encoder and
            decoder, and every size of picture takes seconds when it first comes; "auto": PyTorch, but see ``speed``.
        **settings: Changes to the checkpoint's :class:`~leadline.models.ModelSpec`, such as
            ``token_count_scaling=True``, ``family="fiffdepth"`` or ``space="disparity"``.

    Raises:
        CheckpointError: The weights are not here, damaged, or of another model.
        InputError: Device or precision cannot be used here.
    """
    choose_precision(precision, choose_devices(device)[0])  # complain about these before reading gigabytes
    bundle = resolve(name_or_path, vae=vae, base=base, **settings)
    if speed == "realtime":
        encoder, decoder = parts_at(speed, encoder, decoder)
        if memory_budget is not None or compiled != "off":
            backend = "torch" if backend == "auto" else backend
        if "auto" in (precision, backend):
            way = _fastest_way(bundle, choose_devices(device)[0], encoder, decoder, Asked(precision, backend))
            precision, backend = way.precision, way.backend
    return DepthEstimator(
        bundle, device=device, precision=precision, decoder=decoder, memory_budget=memory_budget, compiled=compiled,
        encoder=encoder, backend=backend,
    )  # fmt: skip


def _fastest_way(
    bundle: ModelBundle, device: torch.device, encoder: str | Path, decoder: str | Path, asked: Asked
) -> Way:
    picture = np.full((3 * bundle.spec.default_size // 4, bundle.spec.default_size, 3), 128, np.uint8)

    def one_prediction(way: Way) -> Callable[[], object]:
        estimator = DepthEstimator(
            bundle, device=str(device), precision=way.precision, encoder=encoder, decoder=decoder, backend=way.backend
        )
        return lambda: estimator.predict(picture, ensemble=1)

    eight_bits = not bundle.spec.condition_channels
    return fastest_way(bundle.spec.name, bundle.weights_hash, device, one_prediction, asked, eight_bits)


class DepthEstimator:
    """A loaded model that turns images into :class:`~leadline.DepthPrediction`.

    Args:
        bundle: Model and codec.
        device: See :func:`load`. With several devices, the images of a batch are shared out between them.
        precision: See :func:`load`.
        fold_constants: Compute once what a fixed prompt and timestep make constant (exact; see
            :mod:`leadline.models.folding`). ``bundle`` itself is never changed.
        decoder: See :func:`load`.
        memory_budget: See :func:`load`.
        compiled: See :func:`load`.
        encoder: See :func:`load`.
        backend: See :func:`load`; "auto" is PyTorch.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        device: str = "auto",
        precision: str = "auto",
        fold_constants: bool = True,
        decoder: str | Path = "full",
        memory_budget: str | int | None = None,
        compiled: CompileMode = "off",
        encoder: str | Path = "full",
        backend: Backend = "auto",
    ) -> None:
        self.devices = choose_devices(device)
        self.dtype = choose_precision(precision, self.devices[0])
        self.backend = "torch" if backend == "auto" else backend
        if self.backend == "openvino":
            check_openvino(self.devices[0], self.dtype)
            if compiled != "off":
                raise InputError("backend 'openvino' compiles by itself; leave out --compile, or use backend 'torch'")
            if memory_budget is not None:
                raise InputError("backend 'openvino' knows no memory budget; leave it out, or use backend 'torch'")
        elif self.dtype == torch.int8:
            raise InputError("precision 'int8' is for backend 'openvino'; use that, or another precision")
        if self.dtype == torch.int8 and bundle.spec.condition_channels:
            raise InputError("precision 'int8' is for models that see the photograph alone; use 'fp32'")
        self.bundle = bundle
        self._compiled = compiled
        small = None if str(decoder) == "full" else small_decoder_for(bundle.codec, decoder)
        small_encoder = None if str(encoder) == "full" else small_encoder_for(bundle.codec, encoder)
        self._replicas = [
            Replica(bundle, device, self.dtype, fold_constants, small, compiled, small_encoder, self.backend)
            for device in self.devices
        ]
        if memory_budget is not None:
            for replica in self._replicas:
                replica.limit_memory(parse_bytes(memory_budget))
        self.decoder = "full" if small is None else "small"
        self.encoder = "full" if small_encoder is None else "small"
        parts = [part for part in (small, small_encoder) if part is not None]
        self.weights_hash = fingerprint_of(parts, bundle.weights_hash) if parts else bundle.weights_hash
        self.spec = bundle.spec

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.name or self.spec.family

    @property
    def family(self) -> str:
        """Name of its family (:data:`leadline.models.families.FAMILIES`)."""
        return self.spec.family

    @property
    def space(self) -> Space:
        """What the values of its predictions are affine in.

        Raises:
            InputError: The model gives surface normals.
        """
        if self.spec.space is None:
            raise InputError(f"{self.name} gives surface normals, not depth; use .normals() or `leadline normals`")
        return self.spec.space

    @property
    def default_steps(self) -> int:
        """Network evaluations when none are asked for."""
        return self.spec.default_steps

    @property
    def min_steps(self) -> int:
        """The fewest network evaluations that it takes."""
        return 1

    @property
    def max_steps(self) -> int | None:
        """The most network evaluations that it takes; None: any number."""
        return self.bundle.model.max_steps

    @property
    def default_size(self) -> int:
        """Processing long edge in pixels when none is asked for."""
        return self.spec.default_size

    @property
    def model(self) -> DepthModel:
        """The network on the first device."""
        return self._replicas[0].model

    @property
    def codec(self) -> Codec:
        """The autoencoder on the first device."""
        return self._replicas[0].codec

    @property
    def nbytes(self) -> int:
        """Bytes of the weights on its devices; those that several parts share count once."""
        modules = [part for replica in self._replicas for part in (replica.model, replica.codec, replica.decoder)]
        tensors = [tensor for one in modules for tensor in (*one.parameters(), *one.buffers())]
        storages = {(one.device, one.untyped_storage().data_ptr()): one.untyped_storage().nbytes() for one in tensors}
        return sum(storages.values())

    @property
    def stochastic(self) -> bool:
        """Whether members of an ensemble come from noise (True) or from flips and shifts (False)."""
        return self.model.stochastic

    @overload
    def predict(
        self,
        image: ImageLike,
        *,
        steps: int | None = ...,
        ensemble: int | None = ...,
        size: int | None = ...,
        seed: int | Sequence[int] = ...,
        noise: Any = ...,
        framing: FramingMode = ...,
        out: Sequence[Any] | None = ...,
        condition: Condition | None = ...,
        detail: Detail = ...,
        quality: Quality | None = ...,
        on_progress: OnProgress | None = ...,
    ) -> DepthPrediction: ...

    @overload
    def predict(
        self,
        image: list[Picture] | tuple[Picture, ...],
        *,
        steps: int | None = ...,
        ensemble: int | None = ...,
        size: int | None = ...,
        seed: int | Sequence[int] = ...,
        noise: Any = ...,
        framing: FramingMode = ...,
        out: Sequence[Any] | None = ...,
        condition: Condition | None = ...,
        detail: Detail = ...,
        quality: Quality | None = ...,
        on_progress: OnProgress | None = ...,
    ) -> list[DepthPrediction]: ...

    def predict(
        self,
        image: ImageLike | list[Picture] | tuple[Picture, ...],
        *,
        steps: int | None = None,
        ensemble: int | None = None,
        size: int | None = None,
        seed: int | Sequence[int] = 0,
        noise: Any = None,
        framing: FramingMode = "pad",
        out: Sequence[Any] | None = None,
        condition: Condition | None = None,
        detail: Detail = "off",
        quality: Quality | None = None,
        on_progress: OnProgress | None = None,
    ) -> DepthPrediction | list[DepthPrediction]:
        """Depth of an image, or of each image in a list or batch.

        Args:
            image: A path, bytes, PIL image, array or tensor (see :func:`leadline.files.image.read_image`); a list or tuple
                of them gives a list of predictions. So does a batch, an array or tensor of 4 dimensions, which type
                checkers cannot see: pass ``list(batch)`` to them.
            steps: Network evaluations. None: the model's default. One-step models take only 1.
            ensemble: Members. 1 (the default) gives no uncertainty; more give one map and the standard deviation. Members start
                from different noise, or see the image flipped and shifted, where the model starts from none. Members known only
                up to their own scale and shift (Marigold) are aligned first.
            size: Long edge in pixels for processing; 0 is the image's own; None the model's default. The result
                always has the image's own size.
            seed: Start noise, the same on every device; one number for all images or one for each.
            noise: Start noise itself instead of a seed, (C, h, w), (ensemble, C, h, w) or (images, ensemble, C, h, w), or for
                one image a :class:`leadline.inference.noise.Noise`.
            framing: "pad", or "official" to resize exactly as the authors' scripts do, or for Marigold "diffusers".
            out: Arrays that become the predictions' ``values``, one for each image: float32 (H, W) of the image's
                size, contiguous. For maps that belong somewhere, such as memory shared with another process.
            condition: For models trained with more than the photograph, and only for them; the same for all images.
                Sparse depth: see :func:`leadline.completion.predict_with_sparse`.
            detail: "edges" puts the steps in depth where the photograph has its edges, in tens of milliseconds
                (:mod:`leadline.inference.refine.edges`); "tiles" first looks at overlapping parts of the picture at twice the
                size, each of which costs as much as the whole (:mod:`leadline.inference.refine.tiles`).
            quality: "fast", "balanced" or "fine": what they mean depends on the steps that this model takes. ``steps`` and
                ``ensemble`` that are given win over it. None: the model's steps and an ensemble of 1.
            on_progress: Called between pieces of work; may raise :class:`leadline.Cancelled` to stop.

        Returns:
            A :class:`~leadline.DepthPrediction`, or a list of them for a list or batch.

        Raises:
            InputError: An image or option cannot be used, or the model gives surface normals.
        """
        space = self.space
        if quality is not None:
            if quality not in get_args(Quality):
                raise InputError(f"quality '{quality}' is unknown; use {', '.join(get_args(Quality))}")
            chosen = preset(quality, self)
            steps = chosen.steps if steps is None else steps
            ensemble = chosen.ensemble if ensemble is None else ensemble
        if detail not in ("off", "edges", "tiles"):
            raise InputError(f"detail '{detail}' is unknown; use 'off', 'edges' or 'tiles'")
        if detail == "tiles" and condition is not None:
            raise InputError("detail 'tiles' cannot be used with sparse depth; use 'edges'")

        def prediction(values: Any, spread: Any, meta: dict[str, Any], edge: int) -> DepthPrediction:
            return DepthPrediction(values, space, spread, model=self.name, meta=meta)

        def with_edge(values: Any, spread: Any, meta: dict[str, Any], edge: int) -> tuple[DepthPrediction, int]:
            return prediction(values, spread, meta, edge), edge

        if detail == "off":
            return self._run(
                image, steps, ensemble, size, seed, noise, framing, out, condition, on_progress, prediction
            )
        images, many = _one_by_one(image)
        rgb = [read_image(one) for one in images]
        rough = self._run(rgb, steps, ensemble, size, seed, noise, framing, out, condition, on_progress, with_edge)
        results = []
        for i, (picture, (whole, edge)) in enumerate(zip(rgb, rough, strict=True)):
            start = int(seed) if isinstance(seed, int | np.integer) else seed[i]
            closer = self._closer(edge, start, steps, framing, on_progress)
            result = refine(whole, picture, detail, edge, closer, str(self.devices[0]))
            if out is not None:
                out[i][...] = result.values
            results.append(result if out is None else replace(result, values=out[i]))
        return results if many else results[0]

    def _closer(
        self, edge: int, seed: int, steps: int | None, framing: FramingMode, on_progress: OnProgress | None
    ) -> PredictTiles:
        """The same network for parts of a picture, at the size (long ``edge``) at which it saw the whole."""

        def cancellable(stage: str, fraction: float) -> None:
            if on_progress is not None:
                on_progress(stage, 1.0)

        def predict(tiles: list[RgbImage]) -> list[FloatMap]:
            maps = self.predict(tiles, steps=steps, size=edge, seed=seed, framing=framing, on_progress=cancellable)
            return [one.values for one in maps]

        return predict

    def normals(
        self,
        image: ImageLike | list[Picture] | tuple[Picture, ...],
        *,
        steps: int | None = None,
        ensemble: int | None = None,
        size: int | None = None,
        seed: int | Sequence[int] = 0,
        noise: Any = None,
        framing: FramingMode = "pad",
        on_progress: OnProgress | None = None,
    ) -> Any:
        """Surface normals of an image, or of each image in a list or batch; options as :meth:`predict` has them.

        Returns:
            A :class:`~leadline.depth.normals.NormalsPrediction`, or a list of them for a list or batch.

        Raises:
            InputError: An image or option cannot be used, or the model gives depth.
        """
        if self.spec.output != "normals":
            raise InputError(f"{self.name} gives depth, not surface normals; use .predict() or another model")

        def prediction(values: Any, spread: Any, meta: dict[str, Any], edge: int) -> NormalsPrediction:
            return NormalsPrediction(values, spread, self.name, meta)

        return self._run(image, steps, ensemble, size, seed, noise, framing, None, None, on_progress, prediction)

    def _run(
        self,
        image: ImageLike | list[Picture] | tuple[Picture, ...],
        steps: int | None,
        ensemble: int | None,
        size: int | None,
        seed: int | Sequence[int],
        noise: Any,
        framing: FramingMode,
        out: Sequence[Any] | None,
        condition: Condition | None,
        on_progress: OnProgress | None,
        prediction: Callable[[Any, Any, dict[str, Any], int], Any],
    ) -> Any:
        images, many = _one_by_one(image)
        rgb = [read_image(one) for one in images]
        ensemble = 1 if ensemble is None else ensemble
        steps = self.checked_steps(steps, ensemble, size)
        size = self.default_size if size is None else size
        place = self.devices[0] if len(self.devices) == 1 and self.devices[0].type == "cuda" else None
        framed = [frame(one, size, framing, self.model.traits, self.spec.pad_multiple, place) for one in rgb]
        if out is not None and [getattr(one, "shape", None) for one in out] != [one.full for one in framed]:
            raise InputError("out needs one float32 array of each image's height and width")
        draws = self._noise(framed, ensemble, steps, seed, noise)
        beside = [self._condition(one, condition) for one in framed]

        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, one in enumerate(framed):
            groups[tuple(one.pixels.shape)].append(index)
        jobs = [part for indices in groups.values() for part in _split(indices, len(self._replicas))]
        progress = Progress(on_progress, len(rgb) * ensemble, partial(wait_for, self.devices))
        results: list[Any] = [None] * len(rgb)

        def run(job: tuple[Replica, list[int]]) -> None:
            replica, indices = job
            started = time.perf_counter()
            maps = replica.run(
                [framed[i] for i in indices],
                [draws[i] for i in indices],
                [beside[i] for i in indices],
                steps,
                ensemble,
                progress,
                [None if out is None else out[i] for i in indices],
            )
            seconds = (time.perf_counter() - started) / len(indices)
            for i, (values, spread, retried) in zip(indices, maps, strict=True):
                meta = {
                    "family": self.family,
                    "steps": steps,
                    "ensemble": ensemble,
                    "seed": int(seed) if isinstance(seed, int | np.integer) else seed[i],
                    "size": size,
                    "network_size": tuple(framed[i].pixels.shape[1:]),
                    "framing": framing,
                    "device": str(replica.device),
                    "precision": "fp32 (retried)" if retried else precision_name(self.dtype),
                    "decoder": self.decoder,
                    "encoder": self.encoder,
                    "backend": self.backend,
                    "weights": self.weights_hash[:12],
                    "seconds": round(seconds, 4),
                }
                results[i] = prediction(values, spread, meta, max(framed[i].pixels.shape[1:]))

        assigned = [(self._replicas[n % len(self._replicas)], part) for n, part in enumerate(jobs)]
        if len(self._replicas) == 1:
            for job in assigned:
                run(job)
        else:
            with ThreadPoolExecutor(len(self._replicas)) as pool:
                list(pool.map(run, assigned))
        return results if many else results[0]

    def warm_up(
        self,
        height: int,
        width: int,
        *,
        steps: int | None = None,
        ensemble: int | None = None,
        size: int | None = None,
    ) -> float:
        """Predict for a blank image of the size that is to come; returns the seconds that took.

        Once; compiled three times, for CUDA graphs are recorded in the second call and replayed from the third on.

        Args:
            height, width: Of the images to come, pixels.
            steps, ensemble, size: As :meth:`predict` will get them.
        """
        started = time.perf_counter()
        for _ in range(1 if self._compiled == "off" else 3):
            self.predict(np.zeros((height, width, 3), dtype=np.uint8), steps=steps, ensemble=ensemble, size=size)
        return time.perf_counter() - started

    def checked_steps(self, steps: int | None, ensemble: int, size: int | None) -> int:
        """The steps that :meth:`predict` takes with these options; before many images, to hear of a mistake once.

        Raises:
            InputError: The options do not fit this model.
        """
        steps = self.default_steps if steps is None else steps
        self.bundle.model.check_steps(steps)
        if ensemble < 1:
            raise InputError(f"ensemble={ensemble}: it needs at least 1 member")
        if size is not None and size < 0:
            raise InputError(f"size={size}: give the long edge in pixels, or 0 for the image's own size")
        return steps

    def _condition(self, framed: Framed, condition: Condition | None) -> Tensor | None:
        """Pictures (K, 3, h, w) for the model, or None for a model that takes none."""
        wanted = self.spec.condition_channels // self.codec.latent_channels
        if condition is None and not wanted:
            return None
        if not wanted:
            raise InputError(
                f"{self.name} takes nothing but the image; use a completion model (depthfm-mini-completion)"
            )
        if condition is None:
            raise InputError(
                f"{self.name} needs sparse depth beside the image; use leadline complete --method depthfm, or "
                "leadline.completion.complete_with()"
            )
        if not self.model.traits.takes_sparse_depth:
            raise InputError(f"models of the family {self.family} take no sparse depth beside the image")
        pictures = condition(framed)
        if pictures.shape != (wanted, *framed.pixels.shape):
            raise InputError(
                f"the condition is {tuple(pictures.shape)}, {self.name} needs {(wanted, *framed.pixels.shape)} here"
            )
        return pictures

    def _noise(
        self, framed: list[Framed], ensemble: int, steps: int, seed: int | Sequence[int], given: Any
    ) -> list[Noise]:
        """What each image's prediction draws: from its seed, or given."""
        seeds = [seed] * len(framed) if isinstance(seed, int | np.integer) else list(seed)
        if len(seeds) != len(framed):
            raise InputError(f"{len(seeds)} seeds for {len(framed)} images; give one, or one for each")
        codec, model = self.codec, self.bundle.model
        shapes = [(codec.latent_channels, *(s // codec.factor for s in f.pixels.shape[1:])) for f in framed]
        draws = [draw(model, one, ensemble, steps, shape) for one, shape in zip(seeds, shapes, strict=True)]  # type: ignore[arg-type]
        if given is None:
            return draws
        if isinstance(given, Noise) or np.ndim(given) <= 4:
            given = [given] * len(framed)
        if len(given) != len(framed):
            raise InputError(f"noise for {len(given)} images, there are {len(framed)}")
        return [checked(one, drawn) for one, drawn in zip(given, draws, strict=True)]


def _one_by_one(image: ImageLike | Sequence[ImageLike]) -> tuple[list[ImageLike], bool]:
    """The images of a list, tuple or batch and True, or the one image and False."""
    if isinstance(image, list | tuple):
        return list(image), True
    if getattr(image, "ndim", 0) == 4:
        return list(cast("npt.NDArray[Any]", image)), True
    return [cast("ImageLike", image)], False


def _split(indices: list[int], parts: int) -> list[list[int]]:
    """Share indices out into at most ``parts`` non-empty runs of nearly equal length."""
    size = -(-len(indices) // parts)
    return [indices[i : i + size] for i in range(0, len(indices), size)]
