"""Which worker has which film so far."""

from __future__ import annotations

from dataclasses import dataclass, field

#: A film that got no frame for so long is forgotten, seconds; so many films of one client are remembered.
FORGET_S, MOST_OF_A_CLIENT = 120.0, 16


@dataclass
class Homes:
    """The frames of one film go to one worker, which has seen those before. A film whose worker is gone begins anew."""

    _homes: dict[str, dict[str, tuple[str, float]]] = field(default_factory=dict)  # client → film → worker, when

    def of(self, film: tuple[str, str]) -> str | None:
        """The worker of a film."""
        known = self._homes.get(film[0], {}).get(film[1])
        return None if known is None else known[0]

    def settle(self, film: tuple[str, str], worker: str, now: float) -> None:
        """A worker gets a frame."""
        films = self._homes.setdefault(film[0], {})
        films.pop(film[1], None)
        films[film[1]] = worker, now
        if len(films) > MOST_OF_A_CLIENT:
            del films[next(iter(films))]

    def forget(self, now: float) -> None:
        """Drop films that are over."""
        for client, films in list(self._homes.items()):
            kept = {film: home for film, home in films.items() if now - home[1] <= FORGET_S}
            if kept:
                self._homes[client] = kept
            else:
                del self._homes[client]
