"""A request on its way, as the caller sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, Generic, TypeAlias, TypeVar

from leadline.depth.normals import NormalsPrediction
from leadline.depth.prediction import DepthPrediction
from leadline.serving.protocol.failures import TimedOut
from leadline.serving.protocol.messages import Progress

OnProgress: TypeAlias = Callable[[Progress], None]


#: What a job ends in.
Answer = TypeVar("Answer", bound="DepthPrediction | NormalsPrediction")


class Job(Generic[Answer]):
    """A request on its way. Made by :meth:`Client.submit` and :meth:`Client.submit_normals`."""

    def __init__(self, id: str, cancel: Callable[[Job[Any]], None], on_progress: OnProgress | None) -> None:  # noqa: A002
        self.id = id
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()  # only cancel() below cancels it, as the server must hear of it
        self.progress: Progress | None = None
        self._cancel = cancel
        self._on_progress = on_progress

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self.future.done()

    def result(self, timeout_s: float | None = None) -> Answer:
        """Wait for the result. Raises what went wrong; :class:`TimedOut` leaves the job running."""
        try:
            prediction: Answer = self.future.result(timeout_s)
        except (TimeoutError, FutureTimeoutError) as error:  # two classes until Python 3.11
            if isinstance(error, TimedOut):
                raise
            raise TimedOut(f"no result within {timeout_s:g} s; the request still runs") from None
        return prediction

    def cancel(self) -> None:
        """Stop it: :meth:`result` raises :class:`leadline.Cancelled` at once, the server stops between steps."""
        self._cancel(self)

    def add_done_callback(self, callback: Callable[[Job[Answer]], None]) -> None:
        """Call ``callback(job)`` in the client's thread (or here, if it is done) when there is an outcome."""
        self.future.add_done_callback(lambda _: callback(self))

    def tell(self, progress: Progress) -> None:
        """For the link: the server is so far with it."""
        self.progress = progress
        if self._on_progress is not None:
            self._on_progress(progress)

    def finish(self, outcome: Any) -> None:
        """For the link: this is the result, or the error; later ones do not count."""
        with contextlib.suppress(InvalidStateError):
            if isinstance(outcome, BaseException):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)
