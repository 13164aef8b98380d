"""Frames held still in a process of their own, and what Blender's films do with it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType

import cv2
import known_films
import numpy as np
import pytest

from leadline.errors import LeadlineError
from leadline.scenes import FilmFrame, render_film
from leadline.serving.client.steady import SteadyProcess
from leadline.video.stabiliser import Stabiliser

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def shot() -> list[FilmFrame]:
    return list(render_film(21, 6, 96, 128, layout="corridor", path="walk", supersample=1.0))


def png(rgb: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", rgb[..., ::-1])[1])


def test_it_is_the_stabiliser(shot):
    stabiliser = Stabiliser()
    with SteadyProcess(Path(sys.executable)) as helper:
        for frame, raw in zip(shot, known_films.flickering(shot), strict=True):
            here = stabiliser.step(raw, frame.rgb).values
            np.testing.assert_array_equal(helper.step(raw.values, png(frame.rgb)), here)


def test_what_stops_it_is_told(shot):
    values = known_films.flickering(shot[:1])[0].values
    with SteadyProcess(Path(sys.executable)) as helper, pytest.raises(LeadlineError, match="image"):
        helper.step(values, b"no picture")
    with pytest.raises(LeadlineError, match="cannot be run"):
        SteadyProcess(ROOT / "no-such-python")


@pytest.fixture
def film(monkeypatch) -> ModuleType:
    """The add-on's part that measures films; it has no `bpy`."""
    package = ModuleType("leadline_blender")
    package.__path__ = [str(ROOT / "blender_addon" / "leadline_blender")]
    monkeypatch.setitem(sys.modules, "leadline_blender", package)
    yield importlib.import_module("leadline_blender.film")
    for name in [name for name in sys.modules if name.startswith("leadline_blender.")]:
        monkeypatch.delitem(sys.modules, name)


def test_a_film_in_blender_is_steady_and_goes_on_where_it_was(film, shot, tmp_path, monkeypatch):
    task, depth = (importlib.import_module(f"leadline_blender.{name}") for name in ("task", "depth"))
    raw = known_films.flickering(shot)
    pictures = [png(frame.rgb) for frame in shot]
    stored: dict[tuple[str, int], np.ndarray] = {}

    def keep(path: Path, values: np.ndarray) -> None:
        stored[path.parent.name, int(path.stem[-5:])] = values
        path.touch()

    monkeypatch.setattr(film, "write_exr", keep)

    @contextmanager
    def source(first: int) -> Iterator[Callable[[object, int], bytes]]:
        yield lambda report, index: pictures[index]

    def infer(report: object, picture: bytes) -> object:
        one = raw[pictures.index(picture)]
        return depth.Depth(one.values, one.space, False, "made up")

    def measured(name: str, count: int, steady: bool = True) -> list[np.ndarray]:
        job = film.Job("film", "made up", "FAST", 1, 1, 0, 0, steady)
        opened: Callable[[int], AbstractContextManager] = source
        film.measure_film(
            task.Report(), job, count, opened, tmp_path / name, infer, python=lambda: Path(sys.executable)
        )
        return [stored[name, i + 1] for i in range(count)]

    scaled, steady = measured("scaled", 6, steady=False), measured("steady", 6)
    error = [known_films.errors(shot, [-m for m in maps])[0] for maps in (scaled, steady)]
    assert error[1] < 0.65 * error[0]
    measured("stopped", 3)
    off = np.abs(np.stack(measured("stopped", 6)) - np.stack(steady))
    assert off[:3].max() == 0
    assert off[3:].mean() < 0.02  # of the film's range: what was learnt of its noise is not kept
