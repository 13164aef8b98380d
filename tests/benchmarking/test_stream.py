"""A camera's view: drops, latency and jitter of a stream whose clock the test moves; and what became slower."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from leadline.benchmarking.guard import compared, read_ratios, slower
from leadline.benchmarking.stream import run_stream
from leadline.errors import InputError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


def test_a_model_that_keeps_up_drops_nothing() -> None:
    clock = Clock()
    report = run_stream(lambda k: clock.pass_(0.03), 20.0, 2.0, clock=clock, sleep=clock.pass_)
    assert (report.frames, report.predicted, report.dropped) == (40, 40, 0)
    assert report.latency_p50_ms == pytest.approx(30.0)
    assert report.latency_p95_ms == pytest.approx(30.0)
    assert report.jitter_ms == pytest.approx(0.0, abs=1e-6)
    assert report.fps == pytest.approx(20.0, rel=0.02)


def test_one_that_is_too_slow_takes_the_newest_frame_and_counts_the_others() -> None:
    clock, seen = Clock(), []

    def predict(k: int) -> None:
        seen.append(k)
        clock.pass_(0.12)

    report = run_stream(predict, 20.0, 1.0, clock=clock, sleep=clock.pass_)
    assert seen == [0, 2, 4, 7, 9, 12, 14, 16, 19]
    assert report.dropped == 20 - len(seen)
    assert report.latency_max_ms == pytest.approx(160.0)  # it was 40 ms old when its turn came


def record(**ratios: float) -> dict[str, object]:
    case = {"size": 256, "steps": 1, "ensemble": 1, "precision": "auto", "compiled": "off", "threads": 1}
    return {"rows": [{"case": {"model": name, **case}, "ratio": ratio} for name, ratio in ratios.items()]}


def test_what_became_slower_by_more_than_a_tenth_is_named(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(json.dumps(record(a=2.0, b=1.5)))
    stored = read_ratios(tmp_path / "bench.json")
    now = record(a=1.79, b=1.36, c=0.1)["rows"]
    assert slower(stored, now) == ["a at 256², 1 step(s), ensemble of 1: 1.79× the official schedule, was 2.00×"]  # type: ignore[arg-type]
    assert compared(stored, now) == 2  # type: ignore[arg-type]


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(InputError, match="no result of `leadline bench`"):
        read_ratios(tmp_path / "x.json")


def test_the_stored_ratios_are_those_that_make_bench_measures() -> None:
    root = Path(__file__).parents[2]
    stored = read_ratios(root / "benchmarks" / "ratios.json")
    bench = next(line for line in (root / "Makefile").read_text().splitlines() if "--against" in line)
    assert {case[0] for case in stored} == {word for word in bench.split() if word.endswith("-mini")}
