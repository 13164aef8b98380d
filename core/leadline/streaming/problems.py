"""Names for kinds of problems, so that each kind is logged once."""

from __future__ import annotations

import re

_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|\d+(\.\d+)?")
_LONGEST_KIND = 80


def kind_of(error: Exception | str) -> str:
    """A problem's text without what varies from one occurrence to the next.

    >>> kind_of(ValueError("image data has 12 bytes, 4000 were announced"))
    'image data has # bytes, # were announced'
    """
    text = str(error).strip() or type(error).__name__
    return _VARYING.sub("#", text.splitlines()[0])[:_LONGEST_KIND]
