"""The five rendered films of `leadline eval video`: how much steadier, no less right, no later."""

from __future__ import annotations

import numpy as np
import pytest

import leadline
from leadline.evaluation.films import FILMS, WAYS, FilmScore, score_films


@pytest.mark.slow
def test_films_are_steadier_no_less_right_and_not_late() -> None:
    model = leadline.load("depthmaster-mini", device="cpu")
    found: dict[str, dict[str, FilmScore]] = {}
    for one in score_films(model.predict, 9001, 8, 120, 160):
        found.setdefault(one.film, {})[one.way] = one
    assert len(found) == len(FILMS)
    assert all(set(ways) == set(WAYS) for ways in found.values())
    for film, ways in found.items():
        raw, scaled, steady, ahead = (ways[way] for way in WAYS)
        assert steady.temporal < 0.65 * scaled.temporal, film
        assert steady.temporal < 0.52 * raw.temporal, film  # the worst is 0.51
        assert ahead.temporal < min(0.5 * raw.temporal, steady.temporal), film
        assert steady.lag in {None, 0}
        assert ahead.lag in {None, 0}
    for way in ("steady", "look ahead"):
        assert np.mean([ways[way].absrel / ways["frame by frame"].absrel for ways in found.values()]) < 1.0
    assert np.mean([ways["steady"].temporal / ways["frame by frame"].temporal for ways in found.values()]) < 0.5
