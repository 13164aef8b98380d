"""Training configurations: YAML files, checked, with dotted changes from the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from leadline.errors import InputError

#: The sections that a configuration may have.
SECTIONS = (
    "recipe",
    "name",
    "codec",
    "start_from",
    "through",
    "model",
    "loss",
    "data",
    "trainer",
    "teacher",
    "encoder",
    "licence",
    "validation",
)


def load_config(path: Path, changes: Iterable[str] = ()) -> dict[str, Any]:
    """A configuration file with changes such as ``trainer.steps=200`` applied.

    Raises:
        InputError: The file is missing, is no YAML mapping, or has unknown sections.
    """
    import yaml  # noqa: PLC0415

    try:
        config = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} must be a YAML mapping with sections like recipe, data and trainer")
    for change in changes:
        key, separator, value = change.partition("=")
        if not separator:
            raise InputError(f"'{change}' is no change; write section.key=value")
        set_key(config, key, yaml.safe_load(value))
    unknown = sorted(set(config) - set(SECTIONS))
    if unknown:
        raise InputError(f"unknown section '{unknown[0]}' in {path}; known are {', '.join(SECTIONS)}")
    return config


def set_key(config: dict[str, Any], dotted: str, value: Any) -> None:
    """Set ``a.b.c`` in nested mappings, making those that are missing."""
    *parents, last = dotted.split(".")
    place = config
    for parent in parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise InputError(f"'{dotted}' cannot be set: '{parent}' is not a section")
    place[last] = value


def take(section: Mapping[str, Any], what: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """``section`` over the defaults in ``known``; a key of no meaning is an error."""
    unknown = sorted(set(section) - set(known))
    if unknown:
        raise InputError(f"unknown key '{unknown[0]}' in {what}; known are {', '.join(sorted(known))}")
    return {**known, **section}
