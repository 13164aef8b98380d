"""A paper's figure stands beside ours with a mark unless both were made by one rule."""

from __future__ import annotations

from typing import Any

import pytest

from leadline.evaluation.comparable import MARK, completion_differences, differences
from leadline.evaluation.completion import completion_tables
from leadline.evaluation.papers import published_on
from leadline.evaluation.protocols import PROTOCOLS, RULES, Rules, described_rules
from leadline.evaluation.tables import summary_table


def summary(dataset: str, protocol: str, scored: int, **sampling: Any) -> dict[str, Any]:
    """What a run on a data set says of itself, for one full-size model."""
    means = {"abs_rel": 0.06, "delta1": 0.95, "boundary_f1": 0.1}
    model = {
        "family": "depthfm", "scored": scored, "images": scored, "failed": 0, "unscored": 0, "means": means, "inverted_fits": 0,
        "degenerate_fits": 0, "sampling": {"steps": 4, "ensemble": 10, "size": RULES.get(dataset, Rules()).size} | sampling,
    }  # fmt: skip
    rules = described_rules(RULES.get(dataset, Rules()))
    about = {"name": dataset, "title": dataset, "images": scored, "left_out": 0}
    return {"dataset": about, "protocol": PROTOCOLS[protocol].describe(), "rules": rules, "models": {"ours": model}}


def few(dataset: str, protocol: str, scored: int, of: int, not_asked: int = 0) -> dict[str, Any]:
    """A run that left frames out: some that failed, some that were not asked for."""
    run = summary(dataset, protocol, scored, steps=1, ensemble=1)
    run["dataset"] |= {"images": of, "not_asked": not_asked}
    return run


def row(dataset: str, method: str) -> Any:
    return next(row for row in published_on(dataset) if row.method == method)


def reasons(run: dict[str, Any], method: str) -> str:
    return "; ".join(differences(row(run["dataset"]["name"], method), run, run["models"]["ours"]))


def test_a_run_by_the_papers_own_rules_needs_no_mark() -> None:
    for dataset, images in (("nyu", 654), ("kitti", 652), ("eth3d", 454), ("scannet", 800), ("diode", 771)):
        assert reasons(summary(dataset, "depthfm", images), "DepthFM-ID") == ""
        assert reasons(summary(dataset, "fiffdepth", images, steps=1, ensemble=1), "FiffDepth") == ""


@pytest.mark.parametrize(
    ("run", "method", "said"),
    [
        (summary("nyu", "own", 654), "DepthFM-ID", "by protocol own, the paper's by depthfm"),
        (summary("nyu", "depthfm", 600), "DepthFM-ID", "600 images, the paper's over 654"),
        (summary("nyu", "depthfm", 654, ensemble=1), "DepthFM-ID", "ensemble 1 instead of 10"),
        (summary("nyu", "depthfm", 654, steps=2), "DepthFM-ID", "steps 2 instead of 4"),
        (summary("nyu", "depthfm", 654, size=256), "DepthFM-ID", "size 256 px instead of native"),
        (summary("nyu", "depthfm", 654), "MiDaS", "does not say in which space"),
        (summary("kitti", "depthfm", 652) | {"rules": {**described_rules(RULES["kitti"]), "crop": "garg"}}, "DepthFM-ID", "crop garg instead of eigen"),
        (few("ibims", "fiffdepth", 90, of=100), "FiffDepth", "ours is over 90 of the 100 images there are"),
        (few("da2k", "fiffdepth", 7, of=7, not_asked=3), "FiffDepth", "ours is over 7 of the 10 images there are"),
        (summary("spring", "fiffdepth", 5), "FiffDepth", "which of the set's frames and renderings"),
        (summary("ibims", "own", 100), "FiffDepth", "holes in boundary F1: ours pairs with a hole left out, the paper holes as they are"),
    ],
)  # fmt: skip
def test_every_other_rule_is_said(run: dict[str, Any], method: str, said: str) -> None:
    assert said in reasons(run, method)


def test_the_table_marks_rows_and_says_why() -> None:
    text = summary_table([summary("nyu", "depthfm", 654)], papers=True).text()
    lines = {line.split(" [")[0]: line for line in text.splitlines() if "paper " in line}
    assert MARK not in lines["DepthFM-ID"]
    assert MARK in lines["FiffDepth"]
    assert f"{MARK} [2] (FiffDepth): ours is by protocol depthfm, the paper's by marigold or fiffdepth" in text
    assert f"{MARK} [1] (Marigold, GeoWizard): ours is by protocol depthfm, the paper's by marigold" in text
    few = summary_table([summary("nyu", "depthfm", 2)], papers=True).text()
    assert f"{MARK} [1]: ours is over 2 images, the paper's over 654" in few
    assert "paper" in few


def completion_summary(pattern: str, score: str = "all", images: int = 654, outliers: float = 0.0) -> dict[str, Any]:
    means = {
        "linear": {"images": images, "rmse_share": 0.1, "rmse": 0.2, "mae": 0.1, "abs_rel": 0.05, "milliseconds": 1.0}
    }
    about = {"name": "nyu-completion", "title": "NYU depth completion"}
    return {"dataset": about, "score": score, "outliers": outliers, "means": {pattern: means}}


def test_completion_compares_points_and_scored_pixels() -> None:
    nlspn, depthfm = row("nyu-completion", "NLSPN"), row("nyu-completion", "DepthFM")
    assert completion_differences(nlspn, completion_summary("500"), "500", 654) == ()
    assert completion_differences(depthfm, completion_summary("2%"), "2%", 654) == ()
    assert (
        "2% of the pixels, ours from 500 points"
        in completion_differences(depthfm, completion_summary("500"), "500", 654)[0]
    )
    assert "hidden points" in completion_differences(nlspn, completion_summary("500", "hidden"), "500", 654)[0]
    (table,) = completion_tables(completion_summary("500")).values()
    methods = [line[0] for line in table.rows]
    assert "NLSPN" in methods
    assert f"DepthFM {MARK}" in methods
    assert "scored on all of the ground truth" in table.notes
