"""What became slower than it was: this run's ratios beside stored ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leadline.errors import InputError

#: What tells two cases apart. Not the machine: a ratio of two sides in one run is about the same on many.
_CASE = ("model", "size", "steps", "ensemble", "precision", "compiled")
#: A ratio may be lower by this share.
TOLERANCE = 0.10


def read_ratios(path: Path) -> dict[tuple[Any, ...], float]:
    """Ratios by case from a ``bench.json``.

    Raises:
        InputError: It is no such file.
    """
    try:
        rows = json.loads(path.read_text())["rows"]
        return {_case(row): float(row["ratio"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no result of `leadline bench` ({error}); give a bench.json") from error


def slower(stored: Mapping[tuple[Any, ...], float], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each row of a record whose ratio is more than :data:`TOLERANCE` below the stored one."""
    lines = []
    for row in rows:
        before, now = stored.get(_case(row)), float(row["ratio"])
        if before is not None and now < (1.0 - TOLERANCE) * before:
            case = row["case"]
            lines.append(
                f"{case['model']} at {case['size']}², {case['steps']} step(s), ensemble of {case['ensemble']}: {now:.2f}× the "
                f"official schedule, was {before:.2f}×"
            )
    return lines


def compared(stored: Mapping[tuple[Any, ...], float], rows: Sequence[Mapping[str, Any]]) -> int:
    """How many of the rows have a stored ratio."""
    return sum(_case(row) in stored for row in rows)


def _case(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row["case"][name] for name in _CASE)
