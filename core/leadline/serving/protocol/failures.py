"""What can go wrong between client and server, and the server's own errors as exceptions."""

from __future__ import annotations

from leadline.errors import Cancelled, InputError, LeadlineError
from leadline.serving.protocol import messages


class ServingError(LeadlineError):
    """Base of what goes wrong between client and server."""


class ServerUnreachable(ServingError):
    """Nobody answers at the address, or the server went away and did not come back."""


class AccessDenied(ServingError):
    """The server wants keys, or does not know these."""


class TimedOut(ServingError, TimeoutError):
    """The result did not come within the time given."""


class ServerError(ServingError):
    """The server answered with an error.

    Attributes:
        code: One of :data:`leadline.serving.protocol.messages.ERROR_CODES`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Busy(ServerError):
    """The server's queue or this client's share of it is full; try again later."""


class Refused(ServerError, InputError):
    """The image, model or option is not acceptable; asking again will not help."""


def as_exception(failure: messages.Failure) -> LeadlineError:
    """The server's answer as what the caller gets."""
    if failure.code == "cancelled":
        return Cancelled(failure.message)
    if failure.code == "deadline":
        return TimedOut(failure.message)
    kinds = {"busy": Busy, "rate_limited": Busy}
    for code in ("bad_request", "bad_image", "bad_option", "unknown_model"):
        kinds[code] = Refused  # type: ignore[assignment]
    return kinds.get(failure.code, ServerError)(failure.code, failure.message)
