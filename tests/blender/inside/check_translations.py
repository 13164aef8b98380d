# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that the add-on says in a panel or a tooltip has its translation, and nothing else has one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import bpy
from conftest import MODULE, part

#: Texts that are given to a label or a button as they stand.
LITERAL = re.compile(r'text="([A-Z][^"]*)"')
#: Blender has these itself.
KNOWN = {"Name"}


def sources() -> list[Path]:
    return [p for p in Path(part("translations").__file__).parent.glob("*.py") if not p.stem.startswith("translat")]


def shown() -> Iterator[tuple[str, str]]:
    """Each text with where it comes from: labels and tooltips of classes, of their properties and of these properties' choices."""
    for path in sources():
        for text in LITERAL.findall(path.read_text()):
            yield text, path.name
        if "CLASSES = " not in path.read_text():
            continue
        for cls in import_module(f"{MODULE}.{path.stem}").CLASSES:
            label = getattr(cls, "bl_label", "")
            if label:
                yield label, cls.__name__
            if issubclass(cls, bpy.types.Operator):
                yield cls.bl_rna.description, cls.__name__
            for name in {key for base in cls.__mro__ for key in getattr(base, "__annotations__", {})}:
                rna = cls.bl_rna.properties.get(name)
                if rna is None:
                    continue
                if rna.name != name and not rna.name.startswith("Leadline"):
                    yield rna.name, f"{cls.__name__}.{name}"
                if rna.description:
                    yield rna.description, f"{cls.__name__}.{name}"
                for item in getattr(rna, "enum_items", ()):
                    yield item.name, f"{cls.__name__}.{name}"
                    yield item.description, f"{cls.__name__}.{name}"


def test_every_text_is_translated():
    texts = dict(shown())
    assert len(texts) > 200
    for language, table in part("translations").table().items():
        missing = {
            text: where for text, where in texts.items() if text and text not in KNOWN and ("*", text) not in table
        }
        assert not missing, (language, missing)


def test_every_translated_text_is_in_the_code():
    """A label that was renamed would silently stay English."""
    code = "".join(path.read_text() for path in sources()).replace('"\n        "', "")
    for language, texts in part("translations").table().items():
        assert language in bpy.app.translations.locales or not bpy.app.translations.locales
        for (_, english), other in texts.items():
            assert f'"{english}"' in code or f'"""{english}"""' in code, english
            assert other
