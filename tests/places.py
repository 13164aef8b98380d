"""Where things lie."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parent.parent
_DATA = Path(__file__).parent / "data"


def _whole_or_part(name: str, variable: str) -> Path:
    """A set of published numbers: all of it where a developer has it (or names it), else the part that ships here."""
    whole = Path(os.environ.get(variable, ROOT.parent / "shared" / name))
    return whole if (whole / "MANIFEST.json").exists() else _DATA / name


#: Numbers made by the authors' implementations of DepthFM, DepthMaster and FiffDepth on tiny networks.
GOLDEN = _whole_or_part("golden", "LEADLINE_GOLDEN")
#: The same for Marigold, E2E-FT, Lotus and GenPercept.
GOLDEN_FAMILY = _whole_or_part("golden_family", "LEADLINE_GOLDEN_FAMILY")
#: Photographs of a building, of a room, of small things and of animals.
PHOTOGRAPHS = Path(os.environ.get("LEADLINE_PHOTOGRAPHS", ROOT.parent / "shared" / "photos"))
