"""The numbers of depth that were tuned, by what they belong to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Robust:
    """The robust fit of scale and shift; the first four bound its time."""

    #: Lines through two pixels that are tried.
    pairs: int = 500
    #: Pixels that they are judged on.
    judged: int = 2000
    #: Passes of Tukey's biweight.
    passes: int = 20
    #: Pixels fitted.
    fitted: int = 50_000
    #: Tukey's constant, at which the fit is 95 % as efficient as least squares where errors are normal.
    tukey: float = 4.685


ROBUST = _Robust()
