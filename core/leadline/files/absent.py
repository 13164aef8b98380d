"""What to say of an input that is not there."""

from __future__ import annotations

import re
from pathlib import Path

from leadline.errors import InputError

#: A path keeps one slash of the two.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)")


def is_address(given: str | Path) -> bool:
    """Whether it is written as a web address.

    >>> is_address("https://example.com/a.jpg"), is_address(Path("s3://bucket/a.jpg")), is_address("C:/a.jpg")
    (True, True, False)
    """
    return _ADDRESS.fullmatch(str(given)) is not None


def absent(given: str | Path) -> InputError:
    """The error that says what to do instead."""
    address = _ADDRESS.fullmatch(str(given))
    if address is None:
        return InputError(f"{given} does not exist; check the path")
    return InputError(f"{'://'.join(address.groups())} is a web address; download the file and name it here")
