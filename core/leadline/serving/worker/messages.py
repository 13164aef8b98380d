"""What front and worker say to each other: one JSON object with the message's name, then its frames.

Both come from the same installation, so there are no versions here, and no checks but the types themselves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: Where bytes are: ``["frame", index]`` of this message, ``["arena", offset, nbytes]``, or
#: ``["block", number, descriptor, size, offset, nbytes]`` of memory lent to a client.
Place: TypeAlias = list[Any]


@dataclass(frozen=True)
class Job:
    """One image of a batch.

    Attributes:
        shape: (H, W, 1 or 3) of the image, uint8.
        places: Of the image and, after it, of the sparse depth.
        rooms: Where values and uncertainty may be written; None for a map that travels in a frame.
        sparse: What the request says about its sparse depth.
        trace: Of the request, for the log.
        film: Whose frame it is: client and film; None where it shall not be held still.
        validity: Whether validity is wanted.
    """

    shape: Sequence[int]
    places: list[Place]
    rooms: list[Place | None]
    seed: int
    reply: str
    sparse: dict[str, Any] | None = None
    trace: str | None = None
    film: Sequence[str] | None = None
    validity: bool = False


@dataclass(frozen=True)
class Run:
    """Compute a batch. ``makes_way``: between its layers, look whether a small one shall be computed first."""

    batch: int
    model: str
    steps: int | None
    ensemble: int
    size: int | None
    detail: str
    output: str
    jobs: list[Job]
    makes_way: bool = False


@dataclass(frozen=True)
class Stop:
    """Nobody wants this batch any more."""

    batch: int


@dataclass(frozen=True)
class Forget:
    """A lent block is used no more."""

    block: int


@dataclass(frozen=True)
class Reload:
    """Load models anew when they are next asked for: name → what the loader takes."""

    models: dict[str, str]


@dataclass(frozen=True)
class Exit:
    """Leave."""


@dataclass(frozen=True)
class Ready:
    """The worker is up. ``shares``: it can open what the front lends to clients."""

    pid: int
    shares: bool


@dataclass(frozen=True)
class Pulse:
    """The worker lives. ``moves`` counts what its loop has done, ``effort_s`` what its process has."""

    moves: int
    effort_s: float


@dataclass(frozen=True)
class Loaded:
    """A model is in memory; ``info`` is what ``hello`` tells of it."""

    info: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class Moved:
    """A batch got further."""

    batch: int
    stage: str
    fraction: float


@dataclass(frozen=True)
class Rest:
    """The batch is done: the models now in memory, least recently used first, and how long it took."""

    models: list[str]
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A job of a batch failed. With the last one of the batch comes ``rest``."""

    batch: int
    index: int
    code: str
    message: str
    rest: Rest | None = None


@dataclass(frozen=True)
class Done:
    """A job of a batch has its maps at ``places``. ``result`` is the reply's header without id."""

    batch: int
    index: int
    result: dict[str, Any]
    places: list[Place] = field(default_factory=list)
    rest: Rest | None = None


Message: TypeAlias = Run | Stop | Forget | Reload | Exit | Ready | Pulse | Loaded | Moved | Failed | Done
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Run, Stop, Forget, Reload, Exit, Ready, Pulse, Loaded, Moved, Failed, Done)
}


_encode = json.JSONEncoder(default=vars).encode


def pack(message: Message) -> bytes:
    """The first frame of a message."""
    return _encode([type(message).__name__, vars(message)]).encode()


def unpack(frame: bytes) -> Any:
    """The message of a first frame."""
    kind, fields = json.loads(frame)
    if fields.get("jobs"):
        fields["jobs"] = [Job(**job) for job in fields["jobs"]]
    if fields.get("rest"):
        fields["rest"] = Rest(**fields["rest"])
    return _KINDS[kind](**fields)
