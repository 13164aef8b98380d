"""What the server says of itself: the answers to ``hello`` and ``status``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from leadline.serving.protocol import messages
from leadline.serving.protocol.messages import Limits
from leadline.serving.server.pool import Pool
from leadline.version import __version__


def common(request: messages.Hello | messages.Status) -> dict[str, Any]:
    """What both begin with."""
    return {"op": type(request).__name__.lower(), "id": request.id, "server": f"leadline {__version__}",
            "protocol": messages.PROTOCOL}  # fmt: skip


def models(names: Mapping[str, str], about: Callable[[str], Mapping[str, Any]], pool: Pool) -> dict[str, Any]:
    """Which there are, what is known of them, and which are in memory."""
    loaded = frozenset().union(*(slot.models for slot in pool.slots))
    return {
        "models": [{**about(name), "name": name, "loaded": name in loaded} for name in names],
        "default_model": next(iter(names)),
    }


def protocol(limits: Limits, tick_s: float) -> dict[str, Any]:
    """What a client may ask for, and how."""
    return {
        "limits": asdict(limits),
        "encodings": {"image": messages.IMAGE_ENCODINGS, "reply": messages.REPLY_ENCODINGS},
        "tick_s": tick_s,
    }


def workers(pool: Pool, now: float) -> list[dict[str, Any]]:
    """The workers that there are or should be."""
    return [
        {
            "device": slot.device,
            "state": slot.state,
            "pid": slot.pid,
            "models": sorted(slot.models),
            "reason": slot.reason,
            "quiet_s": round(slot.vitals.quiet_s(now), 2) if slot.vitals is not None else None,
        }
        for slot in pool.present()
    ]
