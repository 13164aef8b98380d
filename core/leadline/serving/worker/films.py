"""Films whose frames come one by one: each has a stabiliser here, for as long as its frames come."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from leadline.depth.prediction import DepthPrediction
from leadline.errors import LeadlineError
from leadline.types import RgbImage

#: A film that got no frame for so long is forgotten, seconds.
FORGET_S = 120.0
#: Films of all clients; and pixels of their frames, for each of which a stabiliser keeps some 16 bytes.
MOST_FILMS, MOST_PIXELS = 32, 24e6


class NoFilmsError(LeadlineError):
    """This server cannot hold films still."""


@dataclass
class _Film:
    stabiliser: Any
    pixels: int = 0
    seen: float = 0.0


@dataclass
class Films:
    """Stabilisers by client and film. Where there are too many, the client with most in hand loses its oldest.

    Args:
        make: Makes a stabiliser; None: :class:`leadline.video.stabiliser.Stabiliser`.
        clock: Tells the time, seconds.
    """

    make: Callable[[], Any] | None = None
    clock: Callable[[], float] = time.monotonic
    _films: dict[tuple[str, str], _Film] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._films)

    def step(self, client: str, film: str, prediction: DepthPrediction, rgb: RgbImage) -> DepthPrediction:
        """The next frame of a film, steady.

        Raises:
            NoFilmsError: OpenCV, which does it, is not installed.
        """
        known = self._films.pop((client, film), None) or _Film((self.make or _stabiliser)())
        known.pixels, known.seen = rgb.shape[0] * rgb.shape[1], self.clock()
        self._films[client, film] = known  # now the newest
        self._make_room((client, film))
        steady: DepthPrediction = known.stabiliser.step(prediction, rgb)
        return steady

    def forget(self) -> None:
        """Drop films that are over."""
        now = self.clock()
        for key in [key for key, film in self._films.items() if now - film.seen > FORGET_S]:
            del self._films[key]

    def _make_room(self, newest: tuple[str, str]) -> None:
        while len(self._films) > 1 and (
            len(self._films) > MOST_FILMS or sum(film.pixels for film in self._films.values()) > MOST_PIXELS
        ):
            held: Counter[str] = Counter()
            for (client, _), film in self._films.items():
                held[client] += film.pixels + int(MOST_PIXELS / MOST_FILMS)
            for client, _ in held.most_common():
                oldest = next((key for key in self._films if key[0] == client and key != newest), None)
                if oldest is not None:
                    del self._films[oldest]
                    break


def _stabiliser() -> Any:
    try:
        from leadline.video.stabiliser import Stabiliser  # noqa: PLC0415  (OpenCV, which few servers need)
    except ImportError as error:
        raise NoFilmsError(
            "films are held still by OpenCV, which this server has not; install 'leadline[video]'"
        ) from error
    return Stabiliser()
