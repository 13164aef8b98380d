"""`leadline eval papers`: what the data at hand allow is run and stands beside the paper's rows; the rest says what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
from click.testing import CliRunner

from leadline.cli.main import cli
from leadline.completion import complete
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.evaluation.datasets import READERS
from leadline.evaluation.paper_tables import PLACES, TABLES, find, not_run, page, run_papers
from leadline.evaluation.papers import PUBLISHED
from leadline.evaluation.protocols import PROTOCOLS
from leadline.evaluation.runner import Sampling


class Slope:
    """Farther upwards; its steps can be chosen."""

    name, family, space, weights_hash = "slope", "depthfm", Space.LOG_DEPTH, "none"
    default_size, default_steps, stochastic = 512, 1, True

    def predict(self, image: Any, ensemble: int = 1, **options: Any) -> Any:
        if not isinstance(image, list):
            return self.predict([image], ensemble)[0]
        sizes = [one.shape[:2] for one in image]
        maps = [np.repeat(np.linspace(1, 0, h, dtype=np.float32)[:, None], w, 1) for h, w in sizes]
        return [DepthPrediction(m, self.space, np.full_like(m, 0.1) if ensemble > 1 else None) for m in maps]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """NYU as Marigold packs it with its list, KITTI and AM-2k in folders of their names, NYU for completion."""
    layouts.nyu(tmp_path / "nyu_files")
    (tmp_path / "root/nyuv2").mkdir(parents=True)
    layouts.pack(tmp_path / "nyu_files", tmp_path / "root/nyuv2/nyu_labeled_extracted.tar")
    frame = "test/kitchen_0004/{}_0002.png"
    listing = " ".join(frame.format(kind) for kind in ("rgb", "depth", "filled"))
    layouts.write(tmp_path / "root/data_split/nyu/labeled/filename_list_test.txt", listing + "\n")
    layouts.kitti(tmp_path / "root/kitti")
    layouts.am2k(tmp_path / "root/am2k")
    layouts.nyu_completion(tmp_path / "root/nyudepthv2")
    return tmp_path / "root"


def test_every_table_that_the_data_allow(root: Path, tmp_path: Path) -> None:
    asked: list[tuple[str, int | None]] = []

    def make(name: str, noise: int | None) -> Any:
        asked.append((name, noise))
        return Slope()

    sampling = Sampling(ensemble=2)
    sections = list(
        run_papers(root, lambda family: [f"{family}-x"], make, complete, sampling, tmp_path / "out", limit=1)
    )
    done = {
        section.title.split(" (")[0] + section.title.split(")")[1]: section for section in sections if section.tables
    }
    assert set(done) == {
        "DepthFM, Table 2: NYUv2", "DepthFM, Table 2: KITTI (Eigen", "DepthFM, Table 3: NYUv2", "DepthFM, Table 9: NYUv2",
        "DepthFM, Table 5: NYU depth completion", "DepthMaster, Table I: NYUv2", "DepthMaster, Table I: KITTI (Eigen",
        "FiffDepth, Table 1: NYUv2", "FiffDepth, Table 1: KITTI (Eigen", "FiffDepth, Table 2: AM-2k",
    }  # fmt: skip
    text = done["DepthFM, Table 2: NYUv2"].tables[0][1].text()
    assert "depthfm-x" in text
    assert "DepthFM-ID [1] ≠" in text
    assert "ours is over 1 images, the paper's over 654" in text  # the list has one of the two frames
    assert "ensemble 2 instead of 10" in text
    assert "FiffDepth" not in text
    sweep = done["DepthFM, Table 3: NYUv2"].tables[0][1]
    assert [row[1:3] for row in sweep.rows] == [[str(steps), "10"] for steps in (1, 2, 4, 10)]
    assert any("Marigold" in note and "≠ ours is by protocol depthfm" in note for note in sweep.notes)
    assert not any("Table 9" in note for note in sweep.notes)
    assert ("depthfm-x", 400) in asked
    completion = dict(done["DepthFM, Table 5: NYU depth completion"].tables)
    assert [title.split(": ")[1] for title in completion] == ["2%", "500 points"]
    missing = {section.title: section.missing for section in sections if section.missing}
    eth3d = next(words for title, words in missing.items() if title.startswith("DepthFM") and title.endswith("ETH3D"))
    assert "no eth3d/eth3d.tar or eth3d/ below" in eth3d
    assert "github.com/prs-eth/Marigold" in eth3d
    assert any("leadline train" in words for words in missing.values())
    lines = not_run(sections)
    assert len(lines) == len(set(missing.values())) < len(missing)
    assert any(
        line.startswith("DepthFM, Table 2; DepthMaster, Table I; FiffDepth, Table 1: no eth3d/") for line in lines
    )
    written = page(sections)
    assert written.count("## ") == sum(len(section.tables) for section in sections) + 1
    assert all(words in written for words in missing.values())


def test_a_table_knows_where_its_rows_and_its_data_are() -> None:
    sources = {row.source for row in PUBLISHED}
    for table in TABLES:
        assert set(table.datasets) <= set(PLACES) <= set(READERS)
        assert table.protocol in PROTOCOLS or not table.protocol
        assert bool(table.datasets) != bool(table.lacking)
        assert table.source in sources or table.grid is not None or table.lacking
    assert sources <= {table.source for table in TABLES}


def test_a_folder_of_the_sets_own_name_will_do(tmp_path: Path) -> None:
    layouts.ibims(tmp_path)
    layouts.write(tmp_path / "ibims1_core_raw/imagelist.txt", "corridor_01\n")
    assert find(tmp_path, "ibims") == (tmp_path / "ibims1_core_raw", tmp_path / "ibims1_core_raw/imagelist.txt")
    assert find(tmp_path, "nyu") is None
    with pytest.raises(InputError, match="is not a folder"):
        list(run_papers(tmp_path / "gone", lambda _: [], lambda *_: Slope(), complete, Sampling(), tmp_path))


def test_the_command_writes_a_page(root: Path, tmp_path: Path) -> None:
    arguments = [
        "eval",
        "papers",
        "--root",
        root,
        "-m",
        "row",
        "--paper",
        "fiffdepth",
        "-o",
        tmp_path / "out",
        "--quiet",
    ]
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    assert "FiffDepth [1] ≠" in done.output
    assert "not run:" in done.output
    assert "| row |" in (tmp_path / "out/papers.md").read_text(encoding="utf-8")
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(cli, ["eval", "papers", "--root", str(tmp_path / "empty"), "-o", str(tmp_path / "none")])
    assert done.exit_code != 0
