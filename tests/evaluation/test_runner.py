"""Runs over real files: complete, resumed, with broken frames, over Ray; summaries, tables and reports."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
from tiny import tiny_estimator

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.evaluation.baselines import Baseline
from leadline.evaluation.cases import extremes
from leadline.evaluation.datasets import Dataset, open_dataset
from leadline.evaluation.protocols import PROTOCOLS, Protocol, get_protocol
from leadline.evaluation.report import write_report
from leadline.evaluation.results import Row, append_rows, read_rows, read_summary, summarise
from leadline.evaluation.runner import Entry, Outcome, Sampling, evaluate_frames, run
from leadline.evaluation.scoring import score
from leadline.evaluation.tables import summary_table
from leadline.files.image import read_image


class TruthTeller:
    """Predicts the fixtures' true depth, up to the scale and shift that a run has to find; counts its calls."""

    name, family, weights_hash, default_steps, default_size, stochastic = "truth", "test", "1" * 64, 1, 0, False

    def __init__(self, space: Space = Space.LOG_DEPTH, scale: float = 2.0, shift: float = 0.3) -> None:
        self.space, self._scale, self._shift, self.images = space, scale, shift, 0

    def predict(self, image: Any, ensemble: int = 1, **options: Any) -> Any:
        if isinstance(image, list):
            return [self.predict(one, ensemble) for one in image]
        self.images += 1
        rgb = read_image(image)
        values = (self.space.from_depth(layouts.plane(*rgb.shape[:2])) - self._shift) / self._scale
        sigma = np.full(values.shape, 0.01, np.float32) if ensemble > 1 else None
        return DepthPrediction(values.astype(np.float32), self.space, sigma, model=self.name)


OWN, QUICK = get_protocol("own"), Sampling(batch=2)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    layouts.pairs(tmp_path / "data")
    return open_dataset("pairs", tmp_path / "data")


def broken(root: Path) -> Dataset:
    """Seven frames, three of which cannot be scored for different reasons."""
    layouts.pairs(root)
    layouts.write(root / "e.png", b"not a picture")
    layouts.write(root / "e.depth.npy", layouts.npy(np.ones(layouts.SIZE)))
    layouts.write(root / "f.png", layouts.picture(*layouts.SIZE))
    layouts.write(root / "g.png", layouts.picture(*layouts.SIZE))
    layouts.write(root / "g.depth.npy", layouts.npy(np.zeros(layouts.SIZE)))
    return open_dataset("pairs", root)


@pytest.mark.parametrize("space", list(Space))
@pytest.mark.parametrize("name", ["own", "robust"])
def test_a_perfect_map_scores_perfectly_in_its_space(space: Space, name: str, data: Dataset, tmp_path: Path) -> None:
    summary = run([Entry("truth", TruthTeller(space))], data, get_protocol(name), QUICK, tmp_path / "out")
    means = summary["models"]["truth"]["means"]
    assert means["abs_rel"] < 1e-3  # c.depth.png is rounded to millimetres
    assert means["delta1"] == 1.0
    assert means["boundary_f1"] > 0.99
    assert summary["models"]["truth"]["counts"]["abs_rel"] == 4


def test_a_map_fitted_in_the_wrong_space_scores_worse_and_is_said_to_be(data: Dataset, tmp_path: Path) -> None:
    summary = run(
        [Entry("truth", TruthTeller(Space.DISPARITY))], data, get_protocol("marigold"), QUICK, tmp_path / "out"
    )
    assert summary["models"]["truth"]["means"]["abs_rel"] > 0.05
    assert summary["models"]["truth"]["space_differs"]
    assert any(
        "truth speaks disparity, protocol marigold fits in depth" in note for note in summary_table([summary]).notes
    )


def test_uncertainty_columns_come_with_an_ensemble(data: Dataset, tmp_path: Path) -> None:
    summary = run([Entry("truth", TruthTeller())], data, OWN, Sampling(ensemble=4), tmp_path / "out")
    assert summary["models"]["truth"]["means"]["coverage_1s"] == 1.0
    assert "in 1σ" in summary_table([summary]).header


def test_metric_protocol_takes_metres_only(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not one of 4 images .* protocol 'metric' takes metres"):
        run([Entry("truth", TruthTeller())], data, get_protocol("metric"), QUICK, tmp_path / "out")
    sample = data.load(0)
    assert sample.depth_m is not None
    exact = DepthPrediction(sample.depth_m, Space.DEPTH, metric=True)
    scored = score(sample, exact, get_protocol("metric"), data.reader.rules)
    assert scored.scores["rmse"] == 0.0
    assert scored.fit is None


class TestBrokenFrames:
    def test_are_reported_by_name_and_the_run_finishes(self, tmp_path: Path) -> None:
        summary = run([Entry("truth", TruthTeller())], broken(tmp_path / "data"), OWN, QUICK, tmp_path / "out")
        model = summary["models"]["truth"]
        assert (model["images"], model["scored"], model["failed"], model["unscored"]) == (7, 4, 2, 1)
        problems = {p["name"]: p["message"] for p in model["problems"]}
        assert re.search("e.png.*not an image", problems["e"])
        assert "f.depth.npz is missing" in problems["f"]
        assert "no valid ground truth" in problems["g"]
        assert np.isfinite(list(model["means"].values())).all()
        json.loads((tmp_path / "out" / "summary.json").read_text())

    def test_a_mended_file_is_scored_on_the_next_run_and_nothing_else(self, tmp_path: Path) -> None:
        data = broken(tmp_path / "data")
        run([Entry("truth", TruthTeller())], data, OWN, QUICK, tmp_path / "out")
        layouts.write(tmp_path / "data" / "e.png", layouts.picture(*layouts.SIZE))
        again = TruthTeller()
        summary = run([Entry("truth", again)], data, OWN, QUICK, tmp_path / "out")
        assert again.images == 1
        assert summary["models"]["truth"]["scored"] == 5

    def test_a_model_that_fails_on_one_image_of_a_batch(self, data: Dataset, tmp_path: Path) -> None:
        class Picky(TruthTeller):
            def predict(self, image: Any, ensemble: int = 1, **options: Any) -> Any:
                if not isinstance(image, list) and image.shape[0] == 40:
                    raise RuntimeError("out of memory\nwhile being picky")
                return super().predict(image, ensemble, **options)

        summary = run([Entry("truth", Picky())], data, OWN, Sampling(batch=4), tmp_path / "out")
        assert summary["models"]["truth"]["scored"] == 3
        assert summary["models"]["truth"]["problems"][0]["message"] == "RuntimeError: out of memory while being picky"

    def test_nothing_scored_at_all_is_an_error(self, tmp_path: Path) -> None:
        layouts.write(tmp_path / "data" / "a.png", b"")
        with pytest.raises(InputError, match="not one of 1 images could be scored"):
            run([Entry("truth", TruthTeller())], open_dataset("pairs", tmp_path / "data"), OWN, QUICK, tmp_path / "out")


class TestResume:
    def test_goes_on_where_it_was_killed(self, data: Dataset, tmp_path: Path) -> None:
        class Killed(Exception):
            pass

        def die_after_two(label: str, done: int, images: int, row: Row) -> None:
            if done == 2:
                raise Killed

        with pytest.raises(Killed):
            run(
                [Entry("truth", TruthTeller())],
                data,
                OWN,
                Sampling(batch=1),
                tmp_path / "out",
                on_outcome=die_after_two,
            )
        with open(tmp_path / "out/truth/images.csv", "a") as file:
            file.write("c,,scored,,half a li")  # the line a crash cut off
        again = TruthTeller()
        resumed = run([Entry("truth", again)], data, OWN, Sampling(batch=1), tmp_path / "out")
        assert again.images == 2
        whole = run([Entry("truth", TruthTeller())], data, OWN, QUICK, tmp_path / "other")
        assert resumed["models"]["truth"]["means"] == whole["models"]["truth"]["means"]

    def test_another_run_is_not_overwritten_unless_told_to(self, data: Dataset, tmp_path: Path) -> None:
        run([Entry("truth", TruthTeller())], data, OWN, QUICK, tmp_path / "out")
        with pytest.raises(InputError, match="holds another run"):
            run([Entry("truth", TruthTeller())], data, OWN, Sampling(seed=1), tmp_path / "out")
        again = TruthTeller()
        run([Entry("truth", again)], data, OWN, Sampling(seed=1), tmp_path / "out", fresh=True)
        assert again.images == 4

    def test_rows_survive_the_csv(self, tmp_path: Path) -> None:
        rows = [
            Row(
                "a, b\nc",
                "g",
                "scored",
                "",
                3,
                4,
                5,
                6,
                0.1,
                1 / 3,
                -2e-17,
                "ok",
                False,
                {"rmse": 0.1, "abs_rel": 1 / 7},
            ),
            Row("ä", status="failed", message='say "no"'),
        ]
        append_rows(tmp_path / "t.csv", rows)
        back = list(read_rows(tmp_path / "t.csv").values())
        assert back[0].name == "a, b c"
        assert back[0].scores == rows[0].scores
        assert (back[0].scale, back[0].metric_truth, back[1]) == (1 / 3, False, rows[1])


def test_summary_counts_pairs_not_images(tmp_path: Path) -> None:
    rows = [Row("a", pairs=3, scores={"pair_accuracy": 1.0}), Row("b", pairs=1, scores={"pair_accuracy": 0.0})]
    assert summarise(rows)["means"]["pair_accuracy"] == 0.75


def test_da2k_and_mattes_run_end_to_end(tmp_path: Path) -> None:
    layouts.da2k(tmp_path / "da2k")
    summary = run([Entry("truth", TruthTeller())], open_dataset("da2k", tmp_path / "da2k"), OWN, QUICK, tmp_path / "a")
    assert summary["models"]["truth"]["means"] == {"pair_accuracy": 1.0}
    flipped = run(
        [Entry("truth", TruthTeller(scale=-1.0))], open_dataset("da2k", tmp_path / "da2k"), OWN, QUICK, tmp_path / "b"
    )
    assert flipped["models"]["truth"]["means"] == {"pair_accuracy": 0.0}
    flat = run(
        [Entry("flat", Baseline("constant"))], open_dataset("da2k", tmp_path / "da2k"), OWN, QUICK, tmp_path / "c"
    )
    assert flat["models"]["flat"]["means"] == {"pair_accuracy": 0.0}  # ties are wrong
    layouts.mattes(tmp_path / "mattes")
    summary = run(
        [Entry("truth", TruthTeller())], open_dataset("mattes", tmp_path / "mattes"), OWN, QUICK, tmp_path / "d"
    )
    assert 0 <= summary["models"]["truth"]["means"]["boundary_recall"] < 0.5
    assert summary["assumed_range_m"] == [1.0, 10.0]
    assert write_report(tmp_path / "d", summary).exists()


@pytest.mark.parametrize("case", layouts.LAYOUTS)
def test_every_data_set_runs_end_to_end(case: str, tmp_path: Path) -> None:
    writer, name, frames, _ = layouts.LAYOUTS[case]
    writer(tmp_path / "data")
    data = open_dataset(name, tmp_path / "data")
    summary = run([Entry("row", Baseline("row"))], data, get_protocol("depthfm"), QUICK, tmp_path / "out")
    assert summary["models"]["row"]["scored"] == frames
    assert summary["models"]["row"]["means"]["abs_rel"] < 1.0


@pytest.mark.parametrize("family", ["depthfm", "depthmaster", "fiffdepth"])
def test_real_networks_run_under_their_papers_protocol(family: str, data: Dataset, tmp_path: Path) -> None:
    model = tiny_estimator(family)
    summary = run([Entry(model.name, model)], data, get_protocol(family), Sampling(size=32, ensemble=2), tmp_path)
    about = summary["models"][model.name]
    assert about["scored"] == 4
    assert about["weights"] == model.weights_hash
    assert about["sampling"]["steps"] == (4 if family == "depthfm" else 1)
    assert about["means"]["error_ratio"] > 0


class TestProtocolDefaults:
    def test_paper_size_is_for_full_size_models(self, tmp_path: Path) -> None:
        layouts.diode(tmp_path)
        data, small = open_dataset("diode", tmp_path), TruthTeller()
        big = TruthTeller()
        small.default_size, big.default_size = 256, 768
        depthfm = get_protocol("depthfm")
        assert Sampling().resolve(big, depthfm, data)["size"] == 640
        assert Sampling().resolve(big, OWN, data)["size"] == 768
        assert Sampling().resolve(small, depthfm, data)["size"] == 256
        assert Sampling(size=0).resolve(small, depthfm, data)["size"] == 0
        assert Sampling().resolve(small, depthfm, data)["ensemble"] == 10
        assert Sampling(ensemble=2).resolve(small, depthfm, data)["ensemble"] == 2

    def test_every_protocol_describes_itself(self) -> None:
        for protocol in PROTOCOLS.values():
            assert json.dumps(protocol.describe())
            assert len(protocol.source) > 10
        with pytest.raises(InputError, match="there are: own, robust"):
            get_protocol("nope")


def test_environment_and_protocol_are_in_the_summary(data: Dataset, tmp_path: Path) -> None:
    run([Entry("truth", TruthTeller())], data, OWN, QUICK, tmp_path / "out")
    summary = read_summary(tmp_path / "out")
    assert summary["protocol"]["name"] == "own"
    assert {"leadline", "torch", "numpy", "python", "platform"} <= set(summary["environment"])
    assert summary["models"]["truth"]["weights"] == "1" * 64
    with open(tmp_path / "out/truth/images.csv", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert names == ["a", "b", "c", "d"]
    with pytest.raises(InputError, match=r"summary\.json"):
        read_summary(tmp_path / "nothing")


def test_means_on_metric_ground_truth_stand_beside(data: Dataset, tmp_path: Path) -> None:
    summary = run([Entry("row", Baseline("row"))], data, OWN, QUICK, tmp_path / "out")
    rows = read_rows(tmp_path / "out/row/images.csv")
    metric_only = [rows[name].scores["abs_rel"] for name in "abc"]
    assert summary["models"]["row"]["means_metric_truth"]["abs_rel"] == pytest.approx(np.mean(metric_only))


def test_report_shows_best_and_worst(data: Dataset, tmp_path: Path) -> None:
    entries = [Entry("row", Baseline("row")), Entry("truth <&>", TruthTeller())]
    summary = run(entries, data, OWN, QUICK, tmp_path / "out")
    page = write_report(tmp_path / "out", summary).read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "truth &lt;&amp;&gt;" in page
    assert "<script" not in page
    from PIL import Image

    for name in ("errors.png", "cases-row.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 10
    assert len(list((tmp_path / "out/row/cases").glob("*.npz"))) == 4


def test_extremes_never_overlap() -> None:
    for count in range(12):
        errors = {str(i): float(i) for i in range(count)}
        best, worst = extremes(errors, 4)
        assert len({*best, *worst}) == len(best) + len(worst) == min(count, 8)
        assert all(errors[b] < errors[w] for b in best for w in worst)


def test_rows_of_several_summaries_and_papers_in_one_table(tmp_path: Path) -> None:
    layouts.nyu(tmp_path / "data")
    data = open_dataset("nyu", tmp_path / "data")
    one = run([Entry("row", Baseline("row"))], data, get_protocol("depthfm"), QUICK, tmp_path / "a")
    two = run([Entry("row", Baseline("row"))], data, OWN, QUICK, tmp_path / "b")
    table = summary_table([one, two], papers=True, names=["a", "b"])
    text = table.text()
    assert "Not comparable: different protocols (depthfm, own)" in text
    published = next(line for line in text.splitlines() if line.startswith("DepthFM-ID"))
    assert "0.055" in published
    assert "96.3 %" in published
    assert "[1] DepthFM (Gui et al., arXiv 2403.13788), Table 2" in text
    assert table.markdown().count("\n| ") == len(table.rows) + 1


def slow_down(data: Dataset, indices: list[int]) -> Iterator[Outcome]:
    return evaluate_frames(TruthTeller(), data, indices, OWN, {"ensemble": 1}, 1)


def test_another_engine_gives_the_same_numbers(data: Dataset, tmp_path: Path) -> None:
    plain = run([Entry("truth", TruthTeller())], data, OWN, QUICK, tmp_path / "a")
    other = run([Entry("truth", TruthTeller(), slow_down)], data, OWN, QUICK, tmp_path / "b")
    assert plain["models"]["truth"]["means"] == other["models"]["truth"]["means"]


@pytest.mark.slow
def test_ray_gives_the_same_numbers_and_reports_broken_frames(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray")
    from leadline.evaluation.ray_engine import ray_engine

    data = broken(tmp_path / "data")
    protocol: Protocol = OWN
    options = Sampling().resolve(Baseline("row"), protocol, data)
    engine = ray_engine(lambda: Baseline("row"), protocol, options, batch=1, workers=2)
    try:
        shared = run([Entry("row", Baseline("row"), engine)], data, protocol, QUICK, tmp_path / "ray")
    finally:
        ray.shutdown()
    alone = run([Entry("row", Baseline("row"))], data, protocol, QUICK, tmp_path / "alone")
    for key in ("means", "scored", "failed", "problems", "best", "worst"):
        assert shared["models"]["row"][key] == alone["models"]["row"][key]
