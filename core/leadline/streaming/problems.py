"""Names for kinds of problems, so that each kind is logged once."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d+(\.\d+)?")
_NAME = re.compile(r"'[^']*'|\"[^\"]*\"")
_LONGEST_NAME = 32
_LONGEST_KIND = 120


def kind_of(error: Exception | str) -> str:
    """A problem's text without the numbers in it. Short names in quotes (of frames, of encodings) belong to the kind.

    >>> kind_of(ValueError("image data has 12 bytes, 4000 were announced"))
    'image data has # bytes, # were announced'
    >>> kind_of("no transform from 'lidar_2' after 3 s")
    "no transform from 'lidar_2' after # s"
    """
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    kind, end = "", 0
    for name in _NAME.finditer(text):
        kind += _NUMBER.sub("#", text[end : name.start()])
        kind += name[0] if len(name[0]) <= _LONGEST_NAME else "#"
        end = name.end()
    return (kind + _NUMBER.sub("#", text[end:]))[:_LONGEST_KIND]
