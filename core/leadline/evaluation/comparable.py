"""May a paper's figure stand beside ours? Every way in which the two were made differently, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leadline.evaluation.papers import Published
from leadline.evaluation.protocols import PROTOCOLS, RULES, Rules, described_rules

#: Put after a method whose figure was made by another rule than some row of ours in the same table.
MARK = "≠"


def differences(row: Published, summary: Mapping[str, Any], model: Mapping[str, Any]) -> tuple[str, ...]:
    """How a published figure was made differently from a model's in a summary; empty if in no known way.

    Args:
        row: The figure.
        summary: Of a run, as :func:`leadline.evaluation.results.read_summary` gives it.
        model: One of its models.
    """
    reasons = [*row.unstated]
    name, protocol = summary["protocol"]["name"], PROTOCOLS.get(summary["protocol"]["name"])
    if row.protocols and name not in row.protocols:
        reasons.append(f"ours is by protocol {name}, the paper's by {' or '.join(row.protocols)}")
    if "boundary_f1" in row.scores and row.holes is not None and summary["protocol"].get("holes") != row.holes.value:
        reasons.append(f"holes in boundary F1: ours {summary['protocol'].get('holes')}, the paper {row.holes.value}")
    if row.images is not None and model["scored"] != row.images:
        reasons.append(f"ours is over {model['scored']} images, the paper's over {row.images}")
    there = summary["dataset"]["images"] + summary["dataset"].get("not_asked", 0)
    if row.images is None and model["scored"] != there:
        reasons.append(f"ours is over {model['scored']} of the {there} images there are")
    usual, used = described_rules(RULES.get(row.dataset, Rules())), summary["rules"]
    reasons += [f"{key} {used.get(key)} instead of {value}" for key, value in usual.items() if used.get(key) != value]
    sampling = model.get("sampling", {})
    if protocol is not None and protocol.aligned and model.get("family") != "baseline":
        wanted = {"ensemble": protocol.ensemble, "steps": protocol.steps if sampling.get("steps") != 1 else None}
        if protocol.paper_size:
            wanted["size"] = usual["size"]
        reasons += [
            f"{key} {_size(sampling[key]) if key == 'size' else sampling[key]} instead of {_size(value) if key == 'size' else value}"
            for key, value in wanted.items()
            if value is not None and key in sampling and sampling[key] != value
        ]
    return tuple(dict.fromkeys(reasons))


def completion_differences(row: Published, summary: Mapping[str, Any], pattern: str, images: int) -> tuple[str, ...]:
    """How a published RMSE of completion was made differently from ours in a completion summary."""
    reasons = [*row.unstated]
    if row.pattern and row.pattern != pattern:
        reasons.append(f"from {_points(row.pattern)}, ours from {_points(pattern)}")
    if summary["score"] != "all":
        reasons.append("ours is over hidden points, the paper's over all of the ground truth")
    if summary["outliers"]:
        reasons.append("ours starts from points of which some are wrong")
    if row.images is not None and images != row.images:
        reasons.append(f"ours is over {images} images, the paper's over {row.images}")
    return tuple(reasons)


def _points(pattern: str) -> str:
    return (
        f"{pattern} points" if pattern.isdigit() else f"{pattern} of the pixels" if pattern.endswith("%") else pattern
    )


def _size(long_edge_px: int) -> str:
    return f"{long_edge_px} px" if long_edge_px else "native"
