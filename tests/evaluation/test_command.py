"""`leadline eval` and its subcommands on real files with real (tiny) networks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import layouts
import numpy as np
import pytest
from click.testing import CliRunner, Result
from tiny import tiny_bundle

from leadline.checkpoints.native import save_model
from leadline.cli.main import cli
from leadline.errors import InputError
from leadline.evaluation.datasets import READERS
from leadline.evaluation.metrics import METRICS
from leadline.evaluation.papers import PUBLISHED, published_on
from leadline.evaluation.protocols import PROTOCOLS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    layouts.pairs(root)
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_model(tiny_bundle("depthfm"), path)
    return path


def leadline(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def test_help_and_import_do_without_torch() -> None:
    code = "import sys, leadline.cli.eval_command; sys.exit(bool({'torch', 'cv2', 'scipy', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_table_summary_and_report(data: Path, model: Path, tmp_path: Path) -> None:
    arguments = ("eval", "--dataset", "pairs", "--root", data, "-m", model, "--size", 32, "-o", tmp_path / "out")
    done = leadline(*arguments)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[2:5]] == ["constant", "row", "depthfm-tiny"]
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["models"]["depthfm-tiny"]["scored"] == 4
    assert summary["models"]["depthfm-tiny"]["sampling"]["size"] == 32
    assert (tmp_path / "out/report.html").stat().st_size > 20_000
    again = leadline(*arguments, "--no-report", "--markdown")
    assert again.exit_code == 0
    assert "| depthfm-tiny | 4/4 |" in again.stdout


def test_decoder_and_speed_reach_the_model(data: Path, model: Path, tmp_path: Path) -> None:
    arguments = ("eval", "-d", "pairs", "--root", data, "-m", model, "--size", 32, "-o", tmp_path / "out")
    missing = leadline(*arguments, "--decoder", tmp_path / "nosuch.safetensors")
    assert "check the path of the decoder" in str(missing.exception)
    unfit = leadline(*arguments, "--speed", "realtime")
    assert "leadline train small-" in str(unfit.exception)


def test_two_models_of_one_name(data: Path, model: Path, tmp_path: Path) -> None:
    done = leadline(
        "eval",
        "-d",
        "pairs",
        "--root",
        data,
        "-m",
        model,
        "-m",
        model,
        "--no-baselines",
        "--size",
        32,
        "--limit",
        1,
        "--no-report",
        "-o",
        tmp_path,
    )
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.stdout.splitlines()[2:4]] == ["depthfm-tiny", "tiny"]


def test_compare_puts_the_papers_beside(tmp_path: Path) -> None:
    layouts.kitti(tmp_path / "data")
    done = leadline(
        "eval",
        "-d",
        "kitti",
        "--root",
        tmp_path / "data",
        "-m",
        "row",
        "--no-baselines",
        "-p",
        "depthmaster",
        "--no-report",
        "-o",
        tmp_path / "a",
    )
    assert done.exit_code == 0, done.output
    compared = leadline("eval", "compare", tmp_path / "a/summary.json", tmp_path / "a")
    assert compared.exit_code == 0, compared.output
    assert "FiffDepth [2] ≠" in compared.stdout
    assert "ours is over 2 images, the paper's over 652" in compared.stdout
    assert "DepthMaster" in compared.stdout
    assert "not a summary" in str(leadline("eval", "compare", tmp_path / "a/row/run.json").exception)


def test_sweep_over_steps_ensemble_and_noise(data: Path, model: Path, tmp_path: Path) -> None:
    done = leadline(
        "eval",
        "sweep",
        "-m",
        model,
        "--root",
        data,
        "--limit",
        2,
        "--steps",
        "1,2",
        "--noise",
        "200,400",
        "--ensemble",
        "2",
        "-o",
        tmp_path,
    )
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "sweep.json").read_text())
    assert [(p["steps"], p["ensemble"], p["noise"]) for p in report["points"]] == [
        (1, 2, 200),
        (1, 2, 400),
        (2, 2, 200),
        (2, 2, 400),
    ]
    assert len({p["means"]["abs_rel"] for p in report["points"]}) == 4  # every knob reaches the network
    assert (tmp_path / "sweep.png").stat().st_size > 5000
    bad = leadline("eval", "sweep", "-m", model, "--root", data, "--steps", "one")
    assert bad.exit_code == 2
    assert "not a list of whole numbers" in bad.output
    assert "at least one of" in str(leadline("eval", "sweep", "-m", model, "--root", data, "-o", tmp_path).exception)


def test_completion_table(data: Path, model: Path, tmp_path: Path) -> None:
    done = leadline(
        "eval",
        "completion",
        "--root",
        data,
        "-m",
        model,
        "--pattern",
        "100",
        "--size",
        32,
        "--limit",
        2,
        "-o",
        tmp_path,
        "--outliers",
        0.3,
    )
    assert done.exit_code == 0, done.output
    assert "pairs: 100 points, 30 % of them wrong" in done.stdout
    assert "depthfm-tiny: completion" in done.stdout
    assert json.loads((tmp_path / "completion.json").read_text())["outliers"] == 0.3


def test_flicker_of_a_still_folder(model: Path, tmp_path: Path) -> None:
    for n in range(3):
        layouts.write(tmp_path / f"{n:03}.png", layouts.picture(40, 56))
    done = leadline("eval", "flicker", tmp_path, "-m", model, "--size", 32)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("depthfm-tiny: 0.00 % per frame over 3 frames")
    assert isinstance(leadline("eval", "flicker", tmp_path / "gone", "-m", model).exception, InputError)


def test_lists() -> None:
    for what, names in (("datasets", READERS), ("protocols", PROTOCOLS), ("metrics", METRICS)):
        listed = leadline("eval", what)
        assert listed.exit_code == 0
        assert all(any(line.startswith(name) for line in listed.stdout.splitlines()) for name in names)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--root", "."), "--dataset and --root are needed"),
        (("-d", "pairs", "--root", "/nonexistent"), "neither a folder nor an archive"),
        (("-d", "nope", "--root", "."), "no data set 'nope'"),
        (("-d", "pairs", "--root", ".", "-p", "nope"), "no protocol 'nope'"),
    ],
)
def test_wrong_options(arguments: tuple[str, ...], complaint: str) -> None:
    done = leadline("eval", *arguments)
    assert done.exit_code != 0
    assert complaint in done.output + str(done.exception)


class TestPublishedFigures:
    """Spot checks against the papers' text."""

    def test_depthfm(self) -> None:
        ours = {p.dataset: p.scores for p in PUBLISHED if p.method == "DepthFM-ID"}
        assert ours["nyu"] == {"abs_rel": 0.055, "delta1": pytest.approx(0.963)}
        assert ours["diode"] == {"abs_rel": 0.212, "delta1": pytest.approx(0.800)}

    def test_fiffdepth(self) -> None:
        ours = {p.dataset: p.scores for p in PUBLISHED if p.method == "FiffDepth"}
        assert ours["eth3d"] == {"abs_rel": pytest.approx(0.071), "delta1": pytest.approx(0.972)}
        assert ours["da2k"] == {"pair_accuracy": pytest.approx(0.971)}
        assert ours["sintel"] == {"boundary_f1": 0.423}

    def test_all_are_shares_with_a_source_and_a_known_data_set(self) -> None:
        for row in PUBLISHED:
            assert row.dataset in READERS
            assert "Table" in row.source or "text" in row.source
            assert set(row.scores) <= set(METRICS)
            assert set(row.protocols) <= set(PROTOCOLS)
            assert all(0 < value < (4 if name == "error_ratio" else 1) for name, value in row.scores.items())
        assert not any(
            row.method.startswith("Depth Anything") and row.source.endswith("Table 2") for row in published_on("diode")
        )


def test_real_frames_reproduce_the_known_floor(eval_dev: Path, tmp_path: Path) -> None:
    """A constant and 'log depth falls with the row' are known on these frames; a change in protocol would show here."""
    done = leadline(
        "eval",
        "-d",
        "pairs",
        "--root",
        eval_dev,
        "-m",
        "constant",
        "-m",
        "row",
        "--no-baselines",
        "--no-report",
        "-o",
        tmp_path,
    )
    assert done.exit_code == 0, done.output
    models = json.loads((tmp_path / "summary.json").read_text())["models"]
    assert models["constant"]["scored"] == models["row"]["scored"] == 9
    assert models["constant"]["means"]["abs_rel"] == pytest.approx(0.283, abs=5e-4)
    assert models["row"]["means"]["abs_rel"] == pytest.approx(0.166, abs=5e-4)
    assert np.isfinite(models["row"]["means"]["boundary_f1"])


def test_a_shorter_run_keeps_the_rows_of_a_longer_one(data: Path, model: Path, tmp_path: Path) -> None:
    arguments = (
        "eval",
        "-d",
        "pairs",
        "--root",
        data,
        "-m",
        model,
        "--size",
        32,
        "-o",
        tmp_path,
        "--no-report",
        "--quiet",
    )
    assert leadline(*arguments, "--no-baselines").exit_code == 0
    table = tmp_path / "depthfm-tiny" / "images.csv"
    before = table.read_text()
    short = leadline(*arguments, "--no-baselines", "--limit", 2)
    assert short.exit_code == 0, short.output
    assert "2 earlier rows stay" in short.stderr
    assert "2/2" in short.stdout
    assert sorted(table.read_text().splitlines()) == sorted(before.splitlines())
