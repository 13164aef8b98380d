"""The comparison measures what it says."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from tiny import tiny_bundle, tiny_spec

from leadline.benchmarking import against_diffusers as against
from leadline.benchmarking import measure as measuring
from leadline.benchmarking.measure import Case, Measurement, measure, measure_in_child, peak_memory_mb, stage_gflops
from leadline.benchmarking.reference import reference
from leadline.benchmarking.report import Machine, as_markdown, as_record, plot
from leadline.checkpoints.bundle import build
from leadline.depth.spaces import Space
from leadline.errors import InputError, LeadlineError
from leadline.inference.estimator import DepthEstimator
from leadline.models import ModelSpec

MACHINE = Machine("a processor", 1, "cpu", "fp32", "cpu", "2.0", 100.0)
ROW = Measurement(Case("depthfm-mini", 256, 4, 10), 3.0, 1.5, 2e-6, 300.0, 200.0, 900.0, 600.0)


@pytest.fixture
def tiny_models(monkeypatch):
    monkeypatch.setattr(measuring, "resolve", tiny_bundle)


@pytest.mark.parametrize(
    ("family", "steps", "members"), [("depthfm", 2, 3), ("depthmaster", 1, 1), ("fiffdepth", 1, 1)]
)
def test_reference_and_ours_agree(family, steps, members):
    bundle = tiny_bundle(family)
    noise = torch.randn(members, 4, 8, 8) if bundle.model.stochastic else None
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    ours = DepthEstimator(bundle, precision="fp32").predict(image, size=0, steps=steps, ensemble=members, noise=noise)
    np.testing.assert_allclose(reference(bundle, image, steps, noise, members), ours.values, atol=2e-5)


def test_one_case(tiny_models):
    row = measure(Case("depthfm", 64, steps=2, ensemble=3, device="cpu", precision="fp32", repeat=1))
    assert row.difference < 1e-4
    assert 0 < row.ours_s < 60
    assert 0 < row.ours_gflop < row.reference_gflop  # one encode instead of three


@pytest.mark.parametrize(
    ("case", "message"),
    [(Case("fiffdepth", 64, ensemble=2), "no ensemble"), (Case("fiffdepth", 60), "multiples of 16")],
)
def test_cases_that_do_not_compare(case, message, tiny_models):
    with pytest.raises(InputError, match=message):
        measure(case)


def test_flops_of_the_published_size():
    """As counted independently for Stable Diffusion 2.1 at 512²: 1117, 797 and 2515 GFLOP."""
    assert stage_gflops("fiffdepth-official", 512) == pytest.approx((1117, 797, 2515), rel=2e-3)


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is measured on Linux and macOS")
def test_processes_of_their_own():
    case = Case("fiffdepth-mini", 64, device="cpu", precision="fp32", threads=1, repeat=1)
    row = measure_in_child(case)
    assert row.case == case
    assert row.difference < 1e-4
    assert 100 < peak_memory_mb(case, "ours") < 4000
    with pytest.raises(LeadlineError, match="no-such-model"):
        measure_in_child(Case("no-such-model", 64))


def test_report(tmp_path):
    text = as_markdown(MACHINE, [ROW])
    assert "| depthfm-mini | 256² | 4 | 10 | 3 | 1.5 | **2.00×** | 2e-06 | 900 → 600 | 133% |" in text
    record = json.loads(json.dumps(as_record(MACHINE, [ROW])))
    assert record["rows"][0]["ratio"] == 2.0
    assert record["rows"][0]["case"]["ensemble"] == 10
    plot(tmp_path / "new" / "bench.png", MACHINE, [ROW, ROW])
    assert (tmp_path / "new" / "bench.png").stat().st_size > 5000


def test_command(tmp_path, monkeypatch):
    from leadline.cli.bench import command

    monkeypatch.setattr(measuring, "measure_in_child", lambda case: Measurement(case, 2.0, 1.0, 1e-6, 3.0, 2.0))
    options = ["-m", "depthfm-mini", "-m", "fiffdepth-mini", "--steps", "1", "--ensemble", "1", "--ensemble", "2"]
    done = CliRunner().invoke(command, [*options, "--no-memory", "-o", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [(row["case"]["model"], row["case"]["ensemble"]) for row in rows] == [
        ("depthfm-mini", 1), ("depthfm-mini", 2), ("fiffdepth-mini", 1),
    ]  # fmt: skip
    assert "2.00×" in (tmp_path / "bench.md").read_text()
    assert (tmp_path / "bench.png").exists()


def test_unequal_maps_are_an_error(tmp_path, monkeypatch):
    from leadline.cli.bench import command

    monkeypatch.setattr(measuring, "measure_in_child", lambda case: Measurement(case, 2.0, 1.0, 1e-2, 3.0, 2.0))
    options = ["-m", "fiffdepth-mini", "--precision", "fp32", "--no-memory", "-o", str(tmp_path)]
    done = CliRunner().invoke(command, options)
    assert done.exit_code == 1
    assert "differs by 1e-02" in done.output


def test_against_diffusers_tells_time_difference_and_both_peaks(monkeypatch):
    """At the published size it takes minutes: here with a small network of the same kind."""
    from leadline.cli.bench import command

    pytest.importorskip("diffusers")
    spec = tiny_spec("depthfm")
    small = ModelSpec("marigold", Space.DEPTH, spec.unet, spec.codec, schedule=against._SCHEDULE.settings())
    monkeypatch.setattr(against, "full_size_marigold", lambda: build(small, torch.randn(1, 2, 16)))
    monkeypatch.setattr(against, "peak_memory_mb", lambda task, side: {"diffusers": 2e3, "ours": 1e3}[side])
    options = ["--against", "diffusers", "--size", "64", "--steps", "1", "--ensemble", "1", "--repeat", "1"]
    result = CliRunner().invoke(command, options, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    row = result.output.strip().splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:3] == ["64²", "1", "1"]
    assert float(cells[6].split(" / ")[1]) < 1e-3  # of the range: the same map
    assert cells[7:] == ["2.10 GB", "1.05 GB"]
