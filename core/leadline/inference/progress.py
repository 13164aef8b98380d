"""How far a prediction is, for the caller."""

from __future__ import annotations

from collections.abc import Callable

#: Called with a stage ("encode", "solve", "decode") and the fraction done of the whole call; may raise to stop it.
OnProgress = Callable[[str, float], None]


class Progress:
    """Counts members through solve (60 %) and decode (40 %), and tells the caller.

    Args:
        callback: The caller's; None: nobody is told.
        members: How many there are.
        wait: Called before the caller is told: returns when the work that was handed to the device is done. A GPU queues work and says
            nothing, so that progress would run ahead of it and cancelling would come too late.
    """

    def __init__(self, callback: OnProgress | None, members: int, wait: Callable[[], None] = lambda: None) -> None:
        self.callback = callback
        self.wait = wait
        self.members = members
        self.fraction = 0.0

    def report(self, stage: str, advance: float = 0.0) -> None:
        self.fraction = min(1.0, self.fraction + advance / self.members)
        if self.callback is not None:
            self.wait()
            self.callback(stage, self.fraction)

    def solving(self, count: int) -> Callable[[int, int], None]:
        return lambda done, total: self.report("solve", 0.6 * count / total)

    def decoded(self, count: int) -> None:
        self.report("decode", 0.4 * count)
