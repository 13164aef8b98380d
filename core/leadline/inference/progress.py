"""How far a prediction is, for the caller."""

from __future__ import annotations

from collections.abc import Callable

#: Called with a stage ("encode", "solve", "decode") and the fraction done of the whole call; may raise to stop it.
OnProgress = Callable[[str, float], None]


class Progress:
    """Counts members through solve (60 %) and decode (40 %), and tells the caller."""

    def __init__(self, callback: OnProgress | None, members: int) -> None:
        self.callback = callback
        self.members = members
        self.fraction = 0.0

    def report(self, stage: str, advance: float = 0.0) -> None:
        self.fraction = min(1.0, self.fraction + advance / self.members)
        if self.callback is not None:
            self.callback(stage, self.fraction)

    def solving(self, count: int) -> Callable[[int, int], None]:
        return lambda done, total: self.report("solve", 0.6 * count / total)

    def decoded(self, count: int) -> None:
        self.report("decode", 0.4 * count)
