"""The benchmark of a training at official size, at a tenth of it."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "train_official_size.py"


def test_it_trains_and_says_the_peak_memory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--size", "32", "--pixels", "64", "--steps", "3"])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert "M numbers in the network" in lines[0]
    assert len(lines) == 5
    assert lines[-1].startswith("3 steps: depth loss ")
    assert 0.1 < float(lines[-1].split("peak memory ")[1].removesuffix(" GB")) < 20
