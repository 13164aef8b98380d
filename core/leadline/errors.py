"""Errors written for the person who reads them: one line, what is wrong, what to do."""

from __future__ import annotations


class LeadlineError(Exception):
    """Base of every error a user can cause or cure. Its text is one line and says what to do."""


class InputError(LeadlineError):
    """An image, array, file or option cannot be used as given."""


class CheckpointError(LeadlineError):
    """Weights are missing, damaged, or belong to another model."""


class NotMetricError(LeadlineError):
    """Metres were asked of a prediction that is known only up to scale and shift."""


class Cancelled(LeadlineError):
    """The caller stopped the work."""


def first_line(error: BaseException | str, longest: int = 200) -> str:
    """The first line of another library's error, cut to ``longest`` characters; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:longest]
