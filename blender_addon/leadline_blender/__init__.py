# SPDX-License-Identifier: GPL-3.0-or-later
"""Leadline for Blender: a photograph becomes relief, displacement or a scene with its camera."""

from . import registration


def register() -> None:
    registration.register()


def unregister() -> None:
    registration.unregister()
