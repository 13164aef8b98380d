"""What models can do, before they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from leadline.checkpoints.capabilities import capabilities
from leadline.errors import LeadlineError

#: Where files are on this computer is nobody's business.
_PRIVATE = ("name", "path", "source", "present", "packaged", "downloadable", "download_mb")


def known_models(models: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Name → its capabilities as ``hello`` tells them; nothing for a model that only its loader knows."""
    known = {}
    for name, source in models.items():
        try:
            said = asdict(capabilities(source))
        except (LeadlineError, OSError, ValueError):
            continue
        known[name] = {key: value for key, value in said.items() if key not in _PRIVATE}
    return known
