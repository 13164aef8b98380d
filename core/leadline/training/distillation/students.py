"""Small models that start from a larger one's own layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from leadline.checkpoints.bundle import ModelBundle, build
from leadline.checkpoints.resolve import resolve
from leadline.checkpoints.small_codecs import small_decoder_for
from leadline.errors import CheckpointError, InputError
from leadline.models import ModelSpec

#: Where students of models that are too large to start from begin.
DEFAULT_START = "fiffdepth-mini"

_ENCODER = "codec.encoder.down_blocks.{}.resnets.0"
#: Residual blocks that each student does without. All have the small decoder instead of the autoencoder's own. The outer blocks of
#: the encoder see the most pixels and matter least; what the others of the network cost and bring is in docs/training.md.
STUDENTS: dict[str, tuple[str, ...]] = {
    "mini": (),
    "small": (_ENCODER.format(0), _ENCODER.format(1)),
    "nano": (
        _ENCODER.format(0), _ENCODER.format(1), _ENCODER.format(2), "codec.encoder.mid_block.resnets.1",
        "unet.up_blocks.2.resnets.1",
    ),
}  # fmt: skip


def start_for(teacher: ModelBundle | None) -> ModelBundle:
    """The teacher itself, if it gives depth in one step and the small decoder that ships is for its codec; else the default."""
    if teacher is not None and teacher.model.traits.one_step and teacher.spec.output == "depth":
        try:
            small_decoder_for(teacher.codec)
        except CheckpointError:
            return resolve(DEFAULT_START)
        return teacher
    return resolve(DEFAULT_START)


def student_of(start: ModelBundle, size: str, **description: Any) -> ModelBundle:
    """A student of one of :data:`STUDENTS` with the layers of ``start``, and the shipped small decoder.

    Args:
        start: A one-step model of the small decoder's codec; not changed.
        size: "mini", "small" or "nano".
        **description: Changes to its description, such as ``name``.

    Raises:
        InputError: There is no such student.
    """
    if size not in STUDENTS:
        raise InputError(f"student '{size}' is unknown; use {', '.join(STUDENTS)}")
    decoder = small_decoder_for(start.codec)
    shape: dict[str, Any] = {"codec": decoder.codec, **decoder.spec.as_dict()}
    dropped = tuple(dict.fromkeys([*start.spec.dropped, *STUDENTS[size]]))
    spec: ModelSpec = replace(start.spec, dropped=dropped, small_decoder=shape, **description)
    student = build(spec, start.model.prompt.detach().clone())
    _take(student.model.unet.state_dict(), start.model.unet.state_dict())
    given = start.codec.state_dict() | {f"small_decoder.{name}": part for name, part in decoder.state_dict().items()}
    _take(student.codec.state_dict(), given)
    return student


def _take(own: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    for name, tensor in own.items():
        tensor.copy_(given[name])
