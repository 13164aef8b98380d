# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel in other languages, by Blender's own mechanism. English is the text in the code."""

from __future__ import annotations

import bpy

from .translated_labels import LABELS
from .translated_tooltips import TOOLTIPS

LANGUAGES = ("de_DE", "ja_JP", "zh_HANS", "fr_FR", "es")
_TEXTS = LABELS | TOOLTIPS


def table() -> dict[str, dict[tuple[str, str], str]]:
    """As Blender wants it: language → (context, English) → translation; buttons have a context of their own."""
    return {
        language: {
            (context, english): texts[index] for english, texts in _TEXTS.items() for context in ("*", "Operator")
        }
        for index, language in enumerate(LANGUAGES)
    }


def register() -> None:
    bpy.app.translations.register(__package__, table())


def unregister() -> None:
    bpy.app.translations.unregister(__package__)
