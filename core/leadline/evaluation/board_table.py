"""The stress board as Markdown tables: how many cells meet each goal, and a line for every cell with what it misses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from leadline.evaluation.faults import NO_FAULT
from leadline.evaluation.tables import Table

#: What completion is held to: coverage of one and two sigma, of one sigma in each third of depth; the share of cells with a
#: fault in which it must be better than linear interpolation.
COVERAGE_1S, COVERAGE_2S, COVERAGE_1S_PART = (0.60, 0.76), (0.90, 0.98), (0.55, 0.80)
BETTER_WITH_FAULTS = 0.8

Numbers = Mapping[str, float]
Means = Mapping[tuple[str, str], Mapping[str, Numbers]]


def misses(fault: str, fused: Numbers, others: Mapping[str, Numbers]) -> list[str]:
    """What a cell misses, in words; without a fault the whole list is asked, with one only errors below linear."""
    found = []
    for name in ("linear", "nearest") if fault == NO_FAULT else ("linear",):
        for metric, words in (("rmse_share", "RMSE"), ("abs_rel", "REL")):
            if name in others and not fused[metric] < others[name][metric]:
                found.append(f"{words} over {name}")
    if fault == NO_FAULT:
        wanted = [("coverage_1s", "1σ", COVERAGE_1S), ("coverage_2s", "2σ", COVERAGE_2S)]
        wanted += [(f"coverage_1s_{part}", f"1σ {part}", COVERAGE_1S_PART) for part in ("near", "middle", "far")]
        found += [
            f"{words} {100 * fused[name]:.0f} %"
            for name, words, (low, high) in wanted
            if name in fused and not low <= fused[name] <= high
        ]
        if "nll" in fused and not fused["nll"] < fused["nll_constant"]:
            found.append("NLL over constant")
    return found


#: What a pattern without a fault is held to, and what a miss of it looks like in :func:`misses`.
GOALS = {
    "RMSE and REL below linear interpolation and nearest neighbour": r"(RMSE|REL) over",
    "one sigma holds 60 to 76 %": r"1σ \d",
    "two sigma hold 90 to 98 %": r"2σ \d",
    "one sigma holds 55 to 80 % in the near, middle and far third": r"1σ (near|middle|far)",
    "negative log likelihood below that of the best constant relative sigma": r"NLL over",
}


def goals_table(means: Means, method: str) -> Table:
    """How many cells of a board meet each goal, and which do not; arguments as for :func:`board_table`."""
    clean: dict[str, list[str]] = {}
    faulted: dict[str, list[str]] = {}
    for (pattern, fault), by_method in means.items():
        fused = by_method.get(method)
        if fused is not None and "rmse_share" in fused:
            group, name = (clean, f"`{pattern}`") if fault == NO_FAULT else (faulted, f"`{pattern}` with `{fault}`")
            group[name] = misses(fault, fused, by_method)
    rows = []
    for goal, looks in GOALS.items():
        failing = [name for name, missed in clean.items() if any(re.match(looks, miss) for miss in missed)]
        rows.append([f"without a fault: {goal}", _share(clean, failing), ", ".join(failing)])
    failing = [name for name, missed in clean.items() if missed]
    rows.append(
        ["without a fault: all of these at once", _share(clean, failing), f"all but {', '.join(_rest(clean, failing))}"]
    )
    failing = [name for name, missed in faulted.items() if missed]
    wanted = f"with a fault: RMSE and REL below linear interpolation in {100 * BETTER_WITH_FAULTS:.0f} % of the cells"
    rows.append([wanted, _share(faulted, failing), ", ".join(failing)])
    return Table(["goal", "met", "missed by"], rows, [])


def _rest(cells: Mapping[str, Sequence[str]], failing: Sequence[str]) -> list[str]:
    return [name for name in cells if name not in failing] or ["none"]


def _share(cells: Mapping[str, Sequence[str]], failing: Sequence[str]) -> str:
    return f"{len(cells) - len(failing)} of {len(cells)}"


def board_table(means: Means, method: str) -> Table:
    """Every cell of a board for one completion.

    Args:
        means: Of :func:`leadline.evaluation.board.means`.
        method: A row of it, such as ``"fiffdepth-mini: completion"``.
    """
    header = [
        "pattern", "fault", "frames", "fused", "linear", "nearest", "1σ", "2σ", "1σ near, middle, far",
        "1σ close, between, away from points", "NLL (constant)", "AUSE", "misses",
    ]  # fmt: skip
    rows, with_fault, worse = [], 0, 0
    clean, clean_missed = 0, 0
    for (pattern, fault), by_method in means.items():
        fused = by_method.get(method)
        if fused is None or "rmse_share" not in fused:
            rows.append([pattern, fault, "0", *("–" * 9), "no frame could be done"])
            continue
        missed = misses(fault, fused, by_method)
        if fault == NO_FAULT:
            clean, clean_missed = clean + 1, clean_missed + bool(missed)
        else:
            with_fault, worse = with_fault + 1, worse + bool(missed)
        rows.append([pattern, fault, f"{fused['frames']:.0f}", *(_errors(by_method.get(m)) for m in (method, "linear", "nearest")),
                     *(_percent(fused, f"coverage_{k}s") for k in (1, 2)), _parts(fused, ""), _parts(fused, "_from_points"),
                     _nll(fused), _number(fused, "ause"), ", ".join(missed)])  # fmt: skip
    notes = [
        "errors are RMSE as a share of the frame's median depth / mean relative error",
        f"patterns without a fault that meet everything: {clean - clean_missed} of {clean}",
    ]
    if with_fault:
        share = 1 - worse / with_fault
        notes.append(
            f"cells with a fault in which RMSE and REL are below linear interpolation: {with_fault - worse} of {with_fault} "
            f"({100 * share:.0f} %, wanted {100 * BETTER_WITH_FAULTS:.0f} %)"
        )
    return Table(header, rows, notes)


def _errors(numbers: Numbers | None) -> str:
    return (
        "–"
        if not numbers or "abs_rel" not in numbers
        else f"{numbers['rmse_share']:.3f} / {100 * numbers['abs_rel']:.2f} %"
    )


def _percent(numbers: Numbers, name: str) -> str:
    return f"{100 * numbers[name]:.0f} %" if name in numbers else "–"


def _parts(numbers: Numbers, suffix: str) -> str:
    return ", ".join(_percent(numbers, f"coverage_1s_{part}{suffix}") for part in ("near", "middle", "far"))


def _number(numbers: Numbers, name: str) -> str:
    return f"{numbers[name]:.3f}" if name in numbers else "–"


def _nll(numbers: Numbers) -> str:
    return f"{numbers['nll']:.2f} ({numbers['nll_constant']:.2f})" if "nll" in numbers else "–"


def markdown(means: Means, settings: Mapping[str, Any], methods: Sequence[str]) -> str:
    """The page: settings, and for each completion its goals and its cells."""
    parts = ["# Completion board\n", ", ".join(f"{key}: {value}" for key, value in settings.items()) + "\n"]
    parts += [
        f"## {method}\n\n{goals_table(means, method).markdown()}\n\n{board_table(means, method).markdown()}\n"
        for method in methods
    ]
    return "\n".join(parts)
