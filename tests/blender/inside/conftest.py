# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside Blender's Python: installs the extension from its .zip, and takes it out again at the end."""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path
from types import ModuleType

import bpy
import pytest

OUTCOME = pytest.StashKey[int]()
MODULE = "bl_ext.user_default.leadline_blender"


@pytest.fixture(scope="session", autouse=True)
def extension():
    """Installed, enabled; disabled at the end, or Blender 4.5 hangs when it exits."""
    done = bpy.ops.extensions.package_install_files(
        filepath=os.environ["LEADLINE_TEST_ZIP"], repo="user_default", enable_on_install=True
    )
    assert done == {"FINISHED"}
    yield
    if MODULE in bpy.context.preferences.addons:
        bpy.ops.preferences.addon_disable(module=MODULE)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Leave without Blender's own clean-up, which crashes now and then when Blender 4.2 is a Python module.

    The checks' outcome is what counts here; that disabling leaves no class behind is a check of its own.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(config.stash.get(OUTCOME, 3)))


def pytest_sessionfinish(session, exitstatus):
    session.config.stash[OUTCOME] = int(exitstatus)


def part(name: str) -> ModuleType:
    """A module of the installed extension."""
    return importlib.import_module(f"{MODULE}.{name}")


@pytest.fixture
def preferences():
    return bpy.context.preferences.addons[MODULE].preferences


@pytest.fixture(autouse=True)
def fresh_scene(extension, preferences):
    """An empty file, the panel's defaults, the test server."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    preferences.place, preferences.address = "REMOTE", os.environ["LEADLINE_TEST_ADDRESS"]
    preferences.key_file = preferences.server_key = preferences.python = ""
    yield
    if MODULE in bpy.context.preferences.addons:
        part("runtime").stop_job()


@pytest.fixture
def photo() -> str:
    return os.environ["LEADLINE_TEST_PHOTO"]


@pytest.fixture
def settings(fresh_scene, photo):
    """The panel, with the photograph chosen and the quickest quality."""
    panel = bpy.context.scene.leadline
    panel.source, panel.filepath = "FILE", photo
    panel.quality = "FAST"
    panel.long_edge = 91
    return panel


@pytest.fixture
def outside_folder(tmp_path) -> Path:
    return tmp_path


def local_servers(monkeypatch: pytest.MonkeyPatch) -> list:
    """Local servers get the test's weights; the list takes each one that is made."""
    local, started = part("link").LocalServer, []

    class WithModel(local):
        def __init__(self, **options):
            super().__init__(models=[f"fiffdepth-mini={os.environ['LEADLINE_TEST_MODEL']}"], device="cpu", **options)
            started.append(self)

    monkeypatch.setattr(part("link"), "LocalServer", WithModel)
    return started


def wait_until(true, timeout_s: float = 90.0) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)
