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
