"""Replica: a model on one device, from framed images to maps."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leadline.checkpoints.bundle import ModelBundle
from leadline.errors import InputError
from leadline.inference.allocator import keep_large_blocks
from leadline.inference.compiling import CompileMode, compile_stages, largest_bucket
from leadline.inference.devices import TRUE_FLOAT32, precision_name
from leadline.inference.eight_bits import to_eight_bits
from leadline.inference.ensembles import align_members, mean_direction, merge, of_one_scale
from leadline.inference.framing import Framed, normalise
from leadline.inference.graph import TraceableFourier
from leadline.inference.memory import MemoryBudget
from leadline.inference.noise import Noise, draw
from leadline.inference.openvino_stages import Backend, run_by_openvino
from leadline.inference.progress import Progress
from leadline.inference.views import laid_over, views
from leadline.models.blocks import placed, streamline
from leadline.models.codec import Codec
from leadline.models.families import DepthRange
from leadline.models.folding import fold, sharing_copy
from leadline.models.fourier import FourierEnhancement
from leadline.models.small_decoder import SmallDecoder
from leadline.models.small_encoder import SmallEncoder
from leadline.models.values import stretched, unit

#: Pixels decoded at once, by device type: bounds memory whatever the batch and the ensemble.
#: CUDA: beyond 2³¹ numbers in one tensor (256 channels at full resolution) convolutions are split and index with 64 bits.
PIXELS_AT_ONCE = {"cuda": (2**31 - 1) // 256, "mps": 4 * 768 * 768, "cpu": 2 * 768 * 768}


class Replica:
    """A bundle on one device. Every image of a run has the same network size."""

    def __init__(
        self,
        bundle: ModelBundle,
        device: torch.device,
        dtype: torch.dtype,
        fold_constants: bool,
        small: SmallDecoder | None,
        compiled: CompileMode = "off",
        small_encoder: SmallEncoder | None = None,
        backend: Backend = "torch",
    ) -> None:
        if small_encoder is not None and bundle.spec.samples_encoding:
            raise InputError("this model draws its image latent, which the small encoder cannot; use encoder='full'")
        if small is not None and bundle.spec.output == "normals":
            raise InputError("the small decoder makes grey maps, not normals; use decoder='full'")
        if device.type == "cpu":
            keep_large_blocks()  # a network's activations, faulted in anew, are a twelfth of the time at the published size
        self.device = device
        by_openvino = backend == "openvino"
        precision, dtype = dtype, torch.float32 if by_openvino else dtype
        self.dtype = dtype
        self._original, self._small = bundle, small
        self._small_encoder = small_encoder
        model, codec = sharing_copy(bundle.model), sharing_copy(bundle.codec)
        if fold_constants:
            fold(model, tabulate=not by_openvino)
        self.model, self.codec = placed(model, device, dtype), placed(codec, device, dtype)
        if fold_constants and not by_openvino:
            exact = device.type == "cpu" and dtype == torch.float32
            streamline(self.model, exact_cpu=exact)
            streamline(self.codec if small is None else self.codec.vae.encoder, exact_cpu=exact)
        self.encoder: SmallEncoder | None = None
        if small_encoder is not None:
            self.encoder = placed(sharing_copy(small_encoder), device, dtype)
        self.decoder: Codec | SmallDecoder = self.codec
        if small is not None:
            self.decoder = sharing_copy(small).to(device, dtype)
        if by_openvino:
            if isinstance(self.model.unet.fftblock, FourierEnhancement):
                self.model.unet.fftblock = TraceableFourier(self.model.unet.fftblock)
            if precision == torch.int8:
                to_eight_bits([owner for owner, _ in self._stages()], self._example)
            run_by_openvino(self._stages(), precision)
        elif compiled != "off":
            compile_stages(self._stages(), device, compiled)
        self._compiled = compiled != "off"
        # Compiled stages have one set of inputs and results: threads take turns. Eager ones run side by side.
        self._turn: AbstractContextManager[Any] = Lock() if self._compiled or by_openvino else nullcontext()
        self._accuracy: AbstractContextManager[Any] = TRUE_FLOAT32 if dtype == torch.float32 else nullcontext()
        self._budget: MemoryBudget | None = None
        self._exact: Replica | None = None  # made once, when half precision first overflows

    def _stages(self) -> list[tuple[torch.nn.Module, str]]:
        """Nearly all of the work, as (owner, name) of methods."""
        encoding = (self.codec, "moments") if self.encoder is None else (self.encoder, "encode")
        in_colour = isinstance(self.decoder, Codec) and self.model.needs_channels
        return [encoding, (self.model.unet, "body"), (self.decoder, "decode_rgb" if in_colour else "decode")]

    def _example(self, picture: Tensor) -> None:
        """All that a prediction for a picture, uint8 (3, h, w), calls; with few steps and with several, if the model takes any number."""
        size = (picture.shape[1], picture.shape[2])
        latent = (self.codec.latent_channels, *(side // self.codec.factor for side in size))
        for steps in (1,) if self.model.traits.one_step else (1, 4):
            noise = draw(self.model, 0, 1, steps, latent)  # type: ignore[arg-type]
            self._maps([Framed(picture, None, size)], [noise], [None], steps, 1, Progress(None, 1), 1)

    def limit_memory(self, total_bytes: int, *others: torch.nn.Module) -> None:
        """Run only as many members at once as fit into ``total_bytes``, beside the weights of ``others``."""
        originals = (self._original.model, self._original.codec) if self.device.type == "cpu" else ()
        self._budget = MemoryBudget.of(total_bytes, self.model, self.codec, *originals, *others)

    def run(
        self,
        framed: list[Framed],
        noise: list[Noise],
        extra: list[Tensor | None],
        steps: int,
        ensemble: int,
        progress: Progress,
        places: Sequence[Any],
    ) -> list[tuple[Any, Any, bool]]:
        """(values, spread or None, whether it took a float32 retry) for each image."""
        maps = self._fitting_maps(framed, noise, extra, steps, ensemble, progress)
        finite = bool(torch.isfinite(maps).all())  # waits for the device
        retried = self.dtype != torch.float32 and not finite
        if retried:
            warnings.warn(
                f"{precision_name(self.dtype)} overflowed; this image was done again in fp32 (use precision='bf16' "
                "or 'fp32' to avoid the detour)",
                stacklevel=4,
            )
            if self._exact is None:
                self._exact = Replica(
                    self._original, self.device, torch.float32, True, self._small, "off", self._small_encoder
                )
                if self._budget is not None:
                    self._exact.limit_memory(self._budget.total_bytes, self.model, self.codec)
            maps = self._exact._fitting_maps(framed, noise, extra, steps, ensemble, Progress(None, 1))
            finite = bool(torch.isfinite(maps).all())
        if not finite:
            raise InputError("the network gave NaN in fp32, too; the checkpoint is damaged, import or pull it again")
        return [
            (*self._combine(one, frame, place), retried) for one, frame, place in zip(maps, framed, places, strict=True)
        ]

    def _fitting_maps(
        self,
        framed: list[Framed],
        noise: list[Noise],
        extra: list[Tensor | None],
        steps: int,
        ensemble: int,
        progress: Progress,
    ) -> Tensor:
        """:meth:`_maps` with fewer members at once where the device's memory is too small for as many as planned."""
        height, width = framed[0].pixels.shape[-2:]
        at_once = max(1, PIXELS_AT_ONCE[self.device.type] // (height * width))
        if self._budget is not None:
            at_once = self._budget.at_once(height, width, len(framed) * ensemble)
        at_once = min(at_once, len(framed) * ensemble)
        while True:
            if self._compiled:
                at_once = largest_bucket(at_once)
            try:
                with self._turn, self._accuracy:
                    return self._maps(framed, noise, extra, steps, ensemble, progress, at_once)
            except torch.OutOfMemoryError as error:
                if at_once == 1:
                    raise InputError(
                        f"{self.device} has too little free memory for {width}×{height}; use a smaller size, "
                        "precision='bf16', or close what else uses it"
                    ) from error
            warnings.warn(
                f"{self.device} ran out of memory with {at_once} at once; trying {at_once // 2} (memory_budget sets this)",
                stacklevel=4,
            )
            at_once //= 2

    @torch.inference_mode()
    def _maps(
        self,
        framed: list[Framed],
        noise: list[Noise],
        extra: list[Tensor | None],
        steps: int,
        ensemble: int,
        progress: Progress,
        at_once: int,
    ) -> Tensor:
        """Published numbers of every member, float32 (images, ensemble, 1 or 3, h, w), on the device."""
        pixels = torch.stack([one.pixels for one in framed])
        posterior = self._stacked([one.posterior for one in noise], ensemble)
        conditions: Tensor | None = None
        if self.model.stochastic:  # one encode per image, whatever the ensemble
            latents = self._encode(pixels, posterior if posterior is None else posterior[::ensemble], at_once, progress)
            latents = latents.repeat_interleave(ensemble, dim=0).contiguous(memory_format=torch.channels_last)
            given = [one for one in extra if one is not None]
            if given:
                conditions = self._encode_condition(given).repeat_interleave(ensemble, dim=0)
        else:
            seen = torch.stack([view.apply(pixels) for view in views(ensemble)], dim=1).flatten(0, 1)
            latents = self._encode(seen, posterior, at_once, progress)
        starts = [one.start for one in noise if one.start is not None]
        start = torch.cat(starts).to(self.device, self.dtype) if starts else None
        added = [one.fresh for one in noise if one.fresh is not None]
        fresh = list(torch.cat(added, dim=1).to(self.device, self.dtype)) if added else []
        maps = []
        for first in range(0, len(latents), at_once):
            part = slice(first, first + at_once)
            solved = self.model.solve(
                latents[part],
                steps,
                None if start is None else start[part],
                None if conditions is None else conditions[part],
                on_step=progress.solving(len(latents[part])),
                fresh=[one[part] for one in fresh],
            )
            maps.append(self.model.finish(self._decode(solved)))
            progress.decoded(len(solved))
        members = torch.cat(maps).unflatten(0, (len(framed), ensemble))
        if self.model.stochastic:
            return members
        if self.model.spec.output == "normals":  # in a mirror image left is right
            mirrored = [index for index, view in enumerate(views(ensemble)) if view.flip]
            members[:, mirrored, 0] *= -1.0
        return laid_over(members)

    def _decode(self, latents: Tensor) -> Tensor:
        """Decoded channels, or their mean where that is enough."""
        if self.model.needs_channels and isinstance(self.decoder, Codec):
            return self.decoder.decode_rgb(latents)
        return self.decoder.decode(latents)

    def _encode(self, pixels: Tensor, posterior: Tensor | None, at_once: int, progress: Progress) -> Tensor:
        parts = []
        for first in range(0, len(pixels), at_once):
            progress.report("encode")
            images = normalise(pixels[first : first + at_once], self.device, self.dtype)
            images = images.contiguous(memory_format=torch.channels_last)
            noise = None if posterior is None else posterior[first : first + at_once]
            parts.append(self.codec.encode(images, noise) if self.encoder is None else self.encoder.encode(images))
        return torch.cat(parts)

    def _stacked(self, noise: list[Tensor | None], ensemble: int) -> Tensor | None:
        """One (C, h, w) an image to (images · ensemble, C, h, w) on the device."""
        given = [one for one in noise if one is not None]
        if not given:
            return None
        return torch.stack(given).repeat_interleave(ensemble, dim=0).to(self.device, self.dtype)

    def _encode_condition(self, pictures: list[Tensor]) -> Tensor:
        """Pictures (K, 3, H, W) of each image to latents (images, K·C, h, w), one picture's after the other's."""
        parts = []
        for one in pictures:
            seen = one.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)
            parts.append(self.codec.encode(seen).flatten(0, 1))
        return torch.stack(parts)

    @torch.inference_mode()
    def _combine(self, members: Tensor, framed: Framed, place: Any) -> tuple[Any, Any]:
        """Members (ensemble, C, h, w) to one map or normals and its spread, at the image's size, float32 NumPy."""
        members = framed.crop(members)
        if self.model.spec.output == "normals":
            return self._combine_normals(members, framed)
        maps = members[:, 0]
        if self.model.traits.depth_range is DepthRange.STRETCHED:
            maps = stretched(maps)
        spread: Tensor | None = None
        if len(maps) == 1:
            mean = maps[0]
        elif self.model.traits.aligned:
            mean, spread = merge(maps, align_members(maps))
        elif self.model.stochastic and not self.model.spec.condition_channels:
            mean, spread = maps.mean(0), of_one_scale(maps).std(0)
        else:  # one normalisation for all members: a picture's, or its points'
            mean, spread = maps.mean(0), maps.std(0)
        if place is None:
            values = np.ascontiguousarray(framed.restore(mean[None, None])[0, 0].cpu().numpy())
        else:
            framed.restore(mean[None, None], torch.from_numpy(place)[None, None])
            values = place
        return values, self._restored_spread(spread, framed)

    def _combine_normals(self, members: Tensor, framed: Framed) -> tuple[Any, Any]:
        """Unit vectors, except where the authors' own framing is asked for, which does not make them so."""
        spread: Tensor | None = None
        normals = members[0]
        if len(members) > 1:
            normals, spread = mean_direction(unit(members))
        restored = framed.restore(normals[None])
        if framed.unit_normals:
            restored = unit(restored)
        if self.model.traits.normals_x_left:
            restored = restored * restored.new_tensor([-1.0, 1.0, 1.0])[:, None, None]
        values = np.ascontiguousarray(restored[0].permute(1, 2, 0).cpu().numpy())
        return values, self._restored_spread(spread, framed)

    @staticmethod
    def _restored_spread(spread: Tensor | None, framed: Framed) -> Any:
        if spread is None:
            return None
        return np.ascontiguousarray(framed.restore(spread[None, None])[0, 0].clamp_min(0).cpu().numpy())
