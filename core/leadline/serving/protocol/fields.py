"""A header's fields, taken out one by one, each with its type and range."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from leadline.serving.protocol.messages import WireError


class Fields:
    """Takes fields out of a header one by one, each with its type and range; what is left over is an error."""

    def __init__(self, header: Mapping[str, Any], path: str = "", id: str | None = None) -> None:  # noqa: A002
        self.left = dict(header)
        self.path = path
        self.id = id

    def error(self, message: str) -> WireError:
        return WireError(message, id=self.id)

    def finish(self) -> None:
        self.left.pop("op", None)
        if self.left:
            raise self.error(f"unknown field '{self.path}{str(next(iter(self.left)))[:40]}'")

    def record(self, key: str) -> Fields:
        value = self.left.pop(key, None)
        if not isinstance(value, dict):
            raise self.error(f"{self.path}{key} is missing or not an object")
        return Fields(value, f"{self.path}{key}.", self.id)

    def text(self, key: str, pattern: re.Pattern[str]) -> str:
        value = self.left.pop(key, None)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.error(f"{self.path}{key} is missing or not of the form {pattern.pattern}")
        return value

    def optional_text(self, key: str, pattern: re.Pattern[str]) -> str | None:
        return None if self._absent(key) else self.text(key, pattern)

    def sentence(self, key: str) -> str:
        value = self.left.pop(key, None)
        if not isinstance(value, str) or len(value) > 2000:
            raise self.error(f"{self.path}{key} is missing or not a short text")
        return value

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        value = self.left.pop(key, default)
        if not isinstance(value, str) or value not in choices:
            raise self.error(f"{self.path}{key} is one of {', '.join(choices)}")
        return value

    def boolean(self, key: str, default: bool) -> bool:
        value = self.left.pop(key, default)
        if not isinstance(value, bool):
            raise self.error(f"{self.path}{key} is true or false")
        return value

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.left.pop(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.error(f"{self.path}{key} is a whole number from {low} to {high}")
        return value

    def optional_integer(self, key: str, low: int, high: int) -> int | None:
        return None if self._absent(key) else self.integer(key, low, high)

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        value = self.left.pop(key, default)
        if not _is_number(value) or not low <= value <= high:
            raise self.error(f"{self.path}{key} is a number from {low:g} to {high:g}")
        return float(value)

    def optional_number(self, key: str, low: float, high: float) -> float | None:
        return None if self._absent(key) else self.number(key, low, high)

    def numbers(self, key: str, lengths: Sequence[int], default: tuple[float, ...]) -> tuple[float, ...]:
        value = self.left.pop(key, default)
        if not isinstance(value, list | tuple) or len(value) not in lengths:
            raise self.error(f"{self.path}{key} is a list of numbers")
        if not all(_is_number(one) and abs(one) <= 1e9 for one in value):
            raise self.error(f"{self.path}{key} is a list of numbers up to 1e9")
        return tuple(float(one) for one in value)

    def integers(self, key: str, most: int, high: int) -> list[int]:
        value = self.left.pop(key, None)
        value = [] if value is None else value
        if not isinstance(value, list | tuple) or len(value) > most:
            raise self.error(f"{self.path}{key} is a list of up to {most} whole numbers")
        for one in value:
            if not isinstance(one, int) or isinstance(one, bool) or not 0 <= one <= high:
                raise self.error(f"{self.path}{key} holds whole numbers from 0 to {high}")
        return list(value)

    def shape(self, key: str, length: int, largest: int) -> tuple[int, ...]:
        value = self.left.pop(key, None)
        if not isinstance(value, list | tuple) or len(value) != length:
            raise self.error(f"{self.path}{key} is a list of {length} whole numbers")
        for one in value:
            if not isinstance(one, int) or isinstance(one, bool) or not 1 <= one <= largest:
                raise self.error(f"{self.path}{key} holds whole numbers from 1 to {largest}")
        return tuple(value)

    def _absent(self, key: str) -> bool:
        if self.left.get(key) is None:
            self.left.pop(key, None)
            return True
        return False


def _is_number(value: Any) -> bool:
    # A comparison, not float(): an integer of 400 digits must not overflow here.
    return isinstance(value, int | float) and not isinstance(value, bool) and -1e300 < value < 1e300
