"""The version, equal to that in `pyproject.toml` and `package.xml`."""

from __future__ import annotations

__version__ = "0.1.0"
