"""DepthEstimator: the one way from image to DepthPrediction."""

from __future__ import annotations

import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from leadline.checkpoints.bundle import ModelBundle
from leadline.checkpoints.resolve import resolve
from leadline.checkpoints.small_decoders import small_decoder_for
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.files.image import ImageLike, read_image
from leadline.inference.compiling import CompileMode, compile_stages
from leadline.inference.devices import choose_devices, choose_precision, precision_name
from leadline.inference.framing import (
    Framed,
    FramingMode,
    frame_official_depthfm,
    frame_official_one_step,
    frame_padded,
    normalise,
)
from leadline.inference.memory import MemoryBudget, parse_bytes
from leadline.inference.views import laid_over, views
from leadline.models import Codec, DepthModel
from leadline.models.blocks import placed, streamline
from leadline.models.folding import fold, sharing_copy
from leadline.models.small_decoder import SmallDecoder

#: One of many images: a list of paths is a list of images, too.
Picture = TypeVar("Picture", bound=ImageLike)

#: Called with a stage ("encode", "solve", "decode") and the fraction done of the whole call; may raise to stop it.
OnProgress = Callable[[str, float], None]

#: What a model sees besides the photograph, once it is known how that is framed: float32 (K, 3, h, w) pictures in [-1, 1] of
#: the size of ``Framed.pixels``. A model takes as many as it was trained with (sparse depth and distance: 2).
Condition = Callable[[Framed], Tensor]

#: Pixels decoded at once, by device type: bounds memory whatever the batch and the ensemble.
PIXELS_AT_ONCE = {"cuda": 16 * 768 * 768, "mps": 4 * 768 * 768, "cpu": 2 * 768 * 768}


def load(
    name_or_path: str | Path,
    device: str = "auto",
    precision: str = "auto",
    vae: str | Path | None = None,
    decoder: str | Path = "full",
    memory_budget: str | int | None = None,
    compiled: CompileMode = "off",
    **settings: Any,
) -> DepthEstimator:
    """A model by catalog name ("depthfm-mini", "depthmaster" ...) or from disk.

    Args:
        name_or_path: A name (`leadline models` lists them), a Leadline ``.safetensors`` file, a DepthFM ``.ckpt``, or
            a DepthMaster or FiffDepth diffusers folder.
        device: "auto", "cpu", "cuda", "cuda:1", "mps", or several with commas.
        precision: "auto", "fp32", "fp16" or "bf16".
        vae: Folder of the ``AutoencoderKL`` for checkpoints that come without one (DepthFM).
        decoder: "full", "small" (the mini models': many times faster, a little less exact) or the file of a small
            decoder distilled from this model's codec.
        memory_budget: What the process may take ("4GB", or bytes), on CUDA what it may take of the GPU: fewer members
            run at once. None: a fixed number of pixels at once for each kind of device.
        compiled: "graphs" or "kernels" to run through torch.compile, with or without CUDA graphs: for streams of frames of
            one size. The first prediction of every size takes minutes; :meth:`DepthEstimator.warm_up` has it done early.
        **settings: Changes to the checkpoint's :class:`~leadline.models.ModelSpec`, such as
            ``token_count_scaling=True``, ``family="fiffdepth"`` or ``space="disparity"``.

    Raises:
        CheckpointError: The weights are not here, damaged, or of another model.
        InputError: Device or precision cannot be used here.
    """
    choose_precision(precision, choose_devices(device)[0])  # complain about these before reading gigabytes
    bundle = resolve(name_or_path, vae=vae, **settings)
    return DepthEstimator(
        bundle, device=device, precision=precision, decoder=decoder, memory_budget=memory_budget, compiled=compiled
    )


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
    ) -> None:
        self.devices = choose_devices(device)
        self.dtype = choose_precision(precision, self.devices[0])
        self.bundle = bundle
        small = None if str(decoder) == "full" else small_decoder_for(bundle.codec, decoder)
        self._replicas = [
            _Replica(bundle, device, self.dtype, fold_constants, small, compiled) for device in self.devices
        ]
        if memory_budget is not None:
            for replica in self._replicas:
                replica.limit_memory(parse_bytes(memory_budget))
        self.decoder = "full" if small is None else "small"
        self.weights_hash = bundle.weights_hash if small is None else small.fingerprint(bundle.weights_hash)
        self.spec = bundle.spec

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.name or self.spec.family

    @property
    def family(self) -> str:
        """ "depthfm", "depthmaster" or "fiffdepth"."""
        return self.spec.family

    @property
    def space(self) -> Space:
        """What the values of its predictions are affine in."""
        return self.spec.space

    @property
    def default_steps(self) -> int:
        """Network evaluations when none are asked for."""
        return self.spec.default_steps

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
        on_progress: OnProgress | None = None,
    ) -> DepthPrediction | list[DepthPrediction]:
        """Depth of an image, or of each image in a list or batch.

        Args:
            image: A path, bytes, PIL image, array or tensor (see :func:`leadline.files.image.read_image`); a list or tuple
                of them gives a list of predictions. So does a batch, an array or tensor of 4 dimensions, which type
                checkers cannot see: pass ``list(batch)`` to them.
            steps: Network evaluations (Euler steps). None: the model's default. One-step models take only 1.
            ensemble: Members. 1 (the default) gives no uncertainty; more give the mean and the standard deviation. Members start
                from different noise (DepthFM) or see the image flipped and shifted (DepthMaster, FiffDepth).
            size: Long edge in pixels for processing; 0 is the image's own; None the model's default. The result
                always has the image's own size.
            seed: Start noise, the same on every device; one number for all images or one for each.
            noise: Start noise itself instead of a seed, (C, h, w), (ensemble, C, h, w) or (images, ensemble, C, h, w).
            framing: "pad", or "official" to resize exactly as the authors' scripts do.
            out: Arrays that become the predictions' ``values``, one for each image: float32 (H, W) of the image's
                size, contiguous. For maps that belong somewhere, such as memory shared with another process.
            condition: For models trained with more than the photograph, and only for them; the same for all images.
                Sparse depth: see :func:`leadline.completion.predict_with_sparse`.
            on_progress: Called between pieces of work; may raise :class:`leadline.Cancelled` to stop.

        Returns:
            A :class:`~leadline.DepthPrediction`, or a list of them for a list or batch.

        Raises:
            InputError: An image or option cannot be used.
        """
        images, many = _one_by_one(image)
        rgb = [read_image(one) for one in images]
        ensemble = 1 if ensemble is None else ensemble
        steps = self.checked_steps(steps, ensemble, size)
        size = self.default_size if size is None else size
        framed = [self._frame(one, size, framing) for one in rgb]
        if out is not None and [getattr(one, "shape", None) for one in out] != [one.full for one in framed]:
            raise InputError("out needs one float32 array of each image's height and width")
        starts = self._start_noise(framed, ensemble, seed, noise)
        beside = [self._condition(one, condition) for one in framed]

        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, one in enumerate(framed):
            groups[tuple(one.pixels.shape)].append(index)
        jobs = [part for indices in groups.values() for part in _split(indices, len(self._replicas))]
        progress = _Progress(on_progress, len(rgb) * ensemble)
        results: list[DepthPrediction | None] = [None] * len(rgb)

        def run(job: tuple[_Replica, list[int]]) -> None:
            replica, indices = job
            started = time.perf_counter()
            places = [None if out is None else out[i] for i in indices]
            shown, begun, extra = (
                [framed[i] for i in indices],
                [starts[i] for i in indices],
                [beside[i] for i in indices],
            )
            maps = replica.run(shown, begun, extra, steps, ensemble, progress, places)
            seconds = (time.perf_counter() - started) / len(indices)
            for i, (values, spread, retried) in zip(indices, maps, strict=True):
                results[i] = DepthPrediction(
                    values=values,
                    space=self.space,
                    uncertainty=spread,
                    model=self.name,
                    meta={
                        "family": self.family,
                        "steps": steps,
                        "ensemble": ensemble,
                        "seed": seed if isinstance(seed, int) else seed[i],
                        "size": size,
                        "network_size": tuple(framed[i].pixels.shape[1:]),
                        "framing": framing,
                        "device": str(replica.device),
                        "precision": "fp32 (retried)" if retried else precision_name(self.dtype),
                        "decoder": self.decoder,
                        "weights": self.weights_hash[:12],
                        "seconds": round(seconds, 4),
                    },
                )

        assigned = [(self._replicas[n % len(self._replicas)], part) for n, part in enumerate(jobs)]
        if len(self._replicas) == 1:
            for job in assigned:
                run(job)
        else:
            with ThreadPoolExecutor(len(self._replicas)) as pool:
                list(pool.map(run, assigned))
        done = [result for result in results if result is not None]
        return done if many else done[0]

    def warm_up(self, height: int, width: int, *, steps: int | None = None, ensemble: int | None = None) -> float:
        """Predict once for a blank image of the size that is to come; returns the seconds that took.

        Args:
            height, width: Of the images to come, pixels.
            steps, ensemble: As :meth:`predict` will get them.
        """
        started = time.perf_counter()
        self.predict(np.zeros((height, width, 3), dtype=np.uint8), steps=steps, ensemble=ensemble)
        return time.perf_counter() - started

    def checked_steps(self, steps: int | None, ensemble: int, size: int | None) -> int:
        """The steps that :meth:`predict` takes with these options; before many images, to hear of a mistake once.

        Raises:
            InputError: The options do not fit this model.
        """
        steps = self.default_steps if steps is None else steps
        if steps < 1 or (steps > 1 and not self.stochastic):
            raise InputError(f"steps={steps}: {self.name} takes {'1 or more' if self.stochastic else 'exactly 1'}")
        if ensemble < 1:
            raise InputError(f"ensemble={ensemble}: it needs at least 1 member")
        if size is not None and size < 0:
            raise InputError(f"size={size}: give the long edge in pixels, or 0 for the image's own size")
        return steps

    def _frame(self, rgb: Any, size: int, framing: FramingMode) -> Framed:
        if framing == "pad":
            return frame_padded(rgb, size, self.spec.pad_multiple)
        if framing != "official":
            raise InputError(f"framing '{framing}' is unknown; use 'pad' or 'official'")
        return (frame_official_depthfm if self.family == "depthfm" else frame_official_one_step)(rgb, size)

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
        if not self.stochastic:
            raise InputError(f"{self.name} is not of the DepthFM family; only that takes sparse depth beside the image")
        pictures = condition(framed)
        if pictures.shape != (wanted, *framed.pixels.shape):
            raise InputError(
                f"the condition is {tuple(pictures.shape)}, {self.name} needs {(wanted, *framed.pixels.shape)} here"
            )
        return pictures

    def _start_noise(
        self, framed: list[Framed], ensemble: int, seed: int | Sequence[int], noise: Any
    ) -> list[Tensor | None]:
        """Start noise (ensemble, C, h, w) for each image, or None where the model takes none."""
        seeds = [seed] * len(framed) if isinstance(seed, int) else list(seed)
        if len(seeds) != len(framed):
            raise InputError(f"{len(seeds)} seeds for {len(framed)} images; give one, or one for each")
        if not self.stochastic:
            if noise is not None:
                raise InputError(f"{self.name} is deterministic and takes no noise")
            return [None] * len(framed)
        codec = self.codec
        shapes = [(ensemble, codec.latent_channels, *(s // codec.factor for s in f.pixels.shape[1:])) for f in framed]
        if noise is not None:
            given = torch.as_tensor(noise, dtype=torch.float32)
            given = given.expand(len(framed), *given.shape) if given.ndim == 4 else given
            given = given.expand(len(framed), ensemble, *given.shape) if given.ndim == 3 else given
            for one, shape in zip(given, shapes, strict=True):
                if tuple(one.shape) != shape:
                    raise InputError(f"noise is {tuple(one.shape)}, this image needs (ensemble, C, h, w) = {shape}")
            return list(given)
        return [
            torch.randn(shape, generator=torch.Generator().manual_seed(one))
            for shape, one in zip(shapes, seeds, strict=True)
        ]


class _Replica:
    """A bundle on one device. Every image of a run has the same network size."""

    def __init__(
        self,
        bundle: ModelBundle,
        device: torch.device,
        dtype: torch.dtype,
        fold_constants: bool,
        small: SmallDecoder | None,
        compiled: CompileMode = "off",
    ) -> None:
        self.device = device
        self.dtype = dtype
        self._original, self._small = bundle, small
        model, codec = sharing_copy(bundle.model), sharing_copy(bundle.codec)
        if fold_constants:
            fold(model)
        self.model, self.codec = placed(model, device, dtype), placed(codec, device, dtype)
        if fold_constants:
            exact = device.type == "cpu" and dtype == torch.float32
            streamline(self.model, exact_cpu=exact)
            streamline(self.codec if small is None else self.codec.vae.encoder, exact_cpu=exact)
        self.decoder: Codec | SmallDecoder = self.codec
        if small is not None:
            self.decoder = sharing_copy(small).to(device, dtype)
        if compiled != "off":
            stages: list[tuple[torch.nn.Module, str]]
            stages = [(self.codec, "encode"), (self.model.unet, "body"), (self.decoder, "decode")]
            compile_stages(stages, device, compiled)
        self._budget: MemoryBudget | None = None

    def limit_memory(self, total_bytes: int) -> None:
        """Run only as many members at once as fit into ``total_bytes``."""
        originals = (self._original.model, self._original.codec) if self.device.type == "cpu" else ()
        self._budget = MemoryBudget.of(total_bytes, self.model, self.codec, *originals)

    def run(
        self,
        framed: list[Framed],
        noise: list[Tensor | None],
        extra: list[Tensor | None],
        steps: int,
        ensemble: int,
        progress: _Progress,
        places: Sequence[Any],
    ) -> list[tuple[Any, Any, bool]]:
        """(values, spread or None, whether it took a float32 retry) for each image."""
        maps = self._maps(framed, noise, extra, steps, ensemble, progress)
        retried = self.dtype != torch.float32 and not bool(torch.isfinite(maps).all())
        if retried:
            warnings.warn(
                f"{precision_name(self.dtype)} overflowed; this image was done again in fp32 (use precision='fp32' "
                "to avoid the detour)",
                stacklevel=4,
            )
            exact = _Replica(self._original, self.device, torch.float32, True, self._small)
            maps = exact._maps(framed, noise, extra, steps, ensemble, _Progress(None, 1))
        if not bool(torch.isfinite(maps).all()):
            raise InputError("the network gave NaN in fp32, too; the checkpoint is damaged, import or pull it again")
        return [
            (*self._combine(one, frame, place), retried) for one, frame, place in zip(maps, framed, places, strict=True)
        ]

    @torch.inference_mode()
    def _maps(
        self,
        framed: list[Framed],
        noise: list[Tensor | None],
        extra: list[Tensor | None],
        steps: int,
        ensemble: int,
        progress: _Progress,
    ) -> Tensor:
        """float32 (images, ensemble, h, w) in the model's space, on the device."""
        pixels = torch.stack([one.pixels for one in framed])
        height, width = pixels.shape[-2:]
        at_once = max(1, PIXELS_AT_ONCE[self.device.type] // (height * width))
        if self._budget is not None:
            at_once = self._budget.at_once(height, width, len(framed) * ensemble)
        starts: Tensor | None = None
        conditions: Tensor | None = None
        if self.model.stochastic:  # one encode per image, whatever the ensemble
            latents = torch.cat([self._encode(part, progress) for part in pixels.split(at_once)])
            latents = latents.repeat_interleave(ensemble, dim=0).contiguous(memory_format=torch.channels_last)
            starts = torch.cat([one for one in noise if one is not None])
            given = [one for one in extra if one is not None]
            if given:
                conditions = self._encode_condition(given).repeat_interleave(ensemble, dim=0)
        else:
            seen = torch.stack([view.apply(pixels) for view in views(ensemble)], dim=1).flatten(0, 1)
            latents = torch.cat([self._encode(part, progress) for part in seen.split(at_once)])
        maps = []
        for first in range(0, len(latents), at_once):
            part = latents[first : first + at_once]
            start = None if starts is None else starts[first : first + at_once].to(self.device, self.dtype)
            beside = None if conditions is None else conditions[first : first + at_once]
            depth_latents = self.model.solve(part, steps, start, beside, on_step=progress.solving(len(part)))
            maps.append(self.model.finish(self.decoder.decode(depth_latents)))
            progress.decoded(len(part))
        members = torch.cat(maps).unflatten(0, (len(framed), ensemble)).squeeze(2)
        if not self.model.stochastic:
            members = laid_over(members)
        return members

    def _encode(self, pixels: Tensor, progress: _Progress) -> Tensor:
        progress.report("encode")
        images = normalise(pixels, self.device, self.dtype).contiguous(memory_format=torch.channels_last)
        return self.codec.encode(images)

    def _encode_condition(self, pictures: list[Tensor]) -> Tensor:
        """Pictures (K, 3, H, W) of each image to latents (images, K·C, h, w), one picture's after the other's."""
        parts = []
        for one in pictures:
            seen = one.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)
            parts.append(self.codec.encode(seen).flatten(0, 1))
        return torch.stack(parts)

    @torch.inference_mode()
    def _combine(self, members: Tensor, framed: Framed, place: Any) -> tuple[Any, Any]:
        """Members (ensemble, h, w) to mean and standard deviation at the image's size, float32 NumPy."""
        mean = members.mean(0, keepdim=True)[None]
        if place is None:
            values = np.ascontiguousarray(framed.restore(mean)[0, 0].cpu().numpy())
        else:
            framed.restore(mean, torch.from_numpy(place)[None, None])
            values = place
        if len(members) == 1:
            return values, None
        spread = framed.restore(members.std(0, keepdim=True)[None])[0, 0].clamp_min(0).cpu().numpy()
        return values, np.ascontiguousarray(spread)


class _Progress:
    """Counts members through solve (60 %) and decode (40 %), and tells the caller."""

    def __init__(self, callback: OnProgress | None, members: int) -> None:
        self.callback = callback
        self.members = members
        self.fraction = 0.0

    def report(self, stage: str, advance: float = 0.0) -> None:
        self.fraction = min(1.0, self.fraction + advance / self.members)
        if self.callback is not None:
            self.callback(stage, self.fraction)

    def solving(self, count: int) -> Callable[[int, int], None]:
        return lambda done, total: self.report("solve", 0.6 * count / total)

    def decoded(self, count: int) -> None:
        self.report("decode", 0.4 * count)


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
