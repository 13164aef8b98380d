"""Teachers that give maps of pictures: any Leadline model, or a depth model of ``transformers``."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from leadline.checkpoints.capabilities import capabilities
from leadline.depth.spaces import Space
from leadline.errors import CheckpointError, InputError
from leadline.inference.estimator import DepthEstimator, load
from leadline.models import Codec
from leadline.models.families import DepthRange
from leadline.training.conversion import in_space
from leadline.types import FloatMap, RgbImage


class MapTeacher(Protocol):
    """Depth maps of pictures.

    Attributes:
        name: Of the model.
        licence: Of its weights; empty if it does not say.
        identity: Changes whenever its maps do.
        space: What the maps are affine in.
        shift_known: Whether only their scale is unknown.
    """

    name: str
    licence: str
    identity: str
    space: Space
    shift_known: bool

    def maps(self, rgb: RgbImage) -> FloatMap:
        """float32 (H, W) of RGB uint8 (H, W, 3)."""
        ...


class LeadlineTeacher:
    """An ensemble of a Leadline model's maps.

    Args:
        estimator: The model.
        ensemble: Maps that are averaged.
        steps: Network evaluations; None: the model's default.
    """

    def __init__(self, estimator: DepthEstimator, ensemble: int = 1, steps: int | None = None) -> None:
        self.estimator, self.ensemble, self.steps = estimator, ensemble, steps
        self.name, self.licence = estimator.name, estimator.spec.licence
        self.identity = f"{estimator.weights_hash} ensemble {ensemble} steps {steps}"
        self.space, self.shift_known = estimator.space, False

    @property
    def keeps_its_range(self) -> bool:
        """Whether its maps are the trained pictures themselves, brought from [-1, 1] to [0, 1]."""
        return self.estimator.model.traits.depth_range is DepthRange.CLIPPED

    def maps(self, rgb: RgbImage) -> FloatMap:
        return self.estimator.predict(rgb, ensemble=self.ensemble, steps=self.steps).values


class TransformersTeacher:
    """A ``transformers`` depth model, such as Depth Anything V2, from a local folder in the hub's layout.

    Relative models give disparity whose 0 is endlessly far, metric ones metres.

    Args:
        folder: With ``config.json``, weights and ``preprocessor_config.json``.

    Raises:
        InputError: transformers is missing, or there is no such model.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from transformers import AutoImageProcessor, AutoModelForDepthEstimation  # noqa: PLC0415
        except ImportError as error:
            raise InputError("this teacher needs the transformers package; pip install 'leadline[import]'") from error
        try:
            self._processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            self._net: Any = AutoModelForDepthEstimation.from_pretrained(folder, local_files_only=True).eval()
        except (OSError, ValueError) as error:
            raise InputError(f"{folder} holds no depth model of transformers ({error})".splitlines()[0]) from error
        self._net.requires_grad_(False)
        metric = getattr(self._net.config, "depth_estimation_type", "relative") == "metric"
        self.space = Space.DEPTH if metric else Space.DISPARITY
        self.name, self.licence, self.shift_known = folder.name, _licence_in(folder / "README.md"), True
        digest = hashlib.sha256()
        for name, tensor in sorted(self._net.state_dict().items()):
            digest.update(name.encode() + tensor.float().cpu().numpy().tobytes())
        self.identity = digest.hexdigest()

    @torch.no_grad()
    def maps(self, rgb: RgbImage) -> FloatMap:
        seen = self._processor(images=np.ascontiguousarray(rgb), return_tensors="pt")
        shown = self._net(**seen).predicted_depth[:, None].float()
        whole = interpolate(shown, rgb.shape[:2], mode="bicubic", align_corners=False)
        return np.asarray(whole[0, 0].clamp_min(0).numpy(), dtype=np.float32)


class MapLatents(nn.Module):
    """A teacher's maps of a batch's pictures as the student's depth latents, in the student's space.

    Args:
        teacher: Sees the pictures, 8 bits a channel.
        codec: The student's.
        space: The student's; what has to be assumed where it is not the teacher's is in :mod:`leadline.training.conversion`.
    """

    def __init__(self, teacher: MapTeacher, codec: Codec, space: Space) -> None:
        super().__init__()
        self.teacher, self.codec, self.space = teacher, codec, space

    @torch.no_grad()
    def forward(self, rgb: Tensor | None, latents: Tensor) -> Tensor:
        if rgb is None:
            raise InputError("this teacher needs pixels; train from pictures, not from cached latents")
        seen = ((rgb.float() * 0.5 + 0.5).clamp(0, 1) * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
        known = self.teacher.shift_known
        maps = [in_space(self.teacher.maps(one), self.teacher.space, known, self.space) for one in seen]
        pictures = torch.from_numpy(np.stack(maps))[:, None].expand(-1, 3, -1, -1).to(latents)
        return self.codec.encode(pictures)


def is_transformers_folder(name: str | Path) -> bool:
    """Whether a folder holds a ``transformers`` model, not a diffusers pipeline."""
    path = Path(name)
    return (path / "config.json").is_file() and not (path / "unet").is_dir()


def open_teacher(
    name: str | Path, ensemble: int = 1, steps: int | None = None, device: str = "auto"
) -> LeadlineTeacher | TransformersTeacher:
    """A teacher by catalog name, path, or folder of a transformers model.

    Raises:
        InputError: It gives surface normals, or an ensemble is asked of a model that knows none.
        CheckpointError: There is no such model.
    """
    if is_transformers_folder(name):
        if ensemble != 1:
            raise InputError(f"{name} gives one map, always the same; use an ensemble of 1")
        return TransformersTeacher(Path(name))
    teacher = LeadlineTeacher(load(name, device=device), ensemble, steps)
    if not teacher.licence:
        with suppress(CheckpointError):
            teacher.licence = capabilities(name).licence
    return teacher


def _licence_in(card: Path) -> str:
    """What the model card's first lines say."""
    found = re.search(r"^license:\s*(\S+)", card.read_text(errors="replace")[:4000], re.M) if card.is_file() else None
    return found[1] if found else ""
