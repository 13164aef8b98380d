"""What the front tells the gateway when it starts it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from leadline.serving.protocol.messages import Limits


@dataclass(frozen=True)
class GatewayConfig:
    """How to serve HTTP.

    Attributes:
        descriptor: Of the listening socket, which the front has bound.
        endpoint: Of the front, for the gateway alone.
        limits: The front's.
        keys: Folder of the key ring; None: everybody may come in.
        hosts: Names by which browsers may reach it; empty: any.
    """

    descriptor: int
    endpoint: str
    limits: Limits
    keys: Path | None
    hosts: tuple[str, ...]
    log_style: str
    log_level: str

    def to_json(self) -> str:
        """As one line."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, line: str) -> GatewayConfig:
        """The inverse of :meth:`to_json`."""
        fields = json.loads(line)
        fields["limits"] = Limits(**fields["limits"])
        fields["keys"] = None if fields["keys"] is None else Path(fields["keys"])
        fields["hosts"] = tuple(fields["hosts"])
        return cls(**fields)
