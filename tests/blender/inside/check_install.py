# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's installation from a folder of wheels, in the full extension, without the internet.

LEADLINE_TEST_WHEELS is that folder: PyTorch and all that Leadline needs, for this Python.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import bpy
import pytest
from check_running import failure
from conftest import MODULE, part, wait_until

pytestmark = pytest.mark.skipif("LEADLINE_TEST_WHEELS" not in os.environ, reason="LEADLINE_TEST_WHEELS is not set")


@pytest.fixture
def alone(preferences, monkeypatch, tmp_path):
    """Somebody who has Blender and the extension, in a folder with hostile modules; no Leadline anywhere."""
    preferences.place, preferences.wheels = "LOCAL", os.environ.get("LEADLINE_TEST_WHEELS", "")
    monkeypatch.delenv("LEADLINE_PYTHON", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "leadline").mkdir()
    for module in ("click.py", "pip.py", "torch.py", "leadline/__init__.py"):
        (tmp_path / module).write_text(f"open({str(tmp_path / 'was_run')!r}, 'w'); raise SystemExit")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    part("runtime").link.stop_and_wait()
    assert not (tmp_path / "was_run").exists()


def test_before_it_is_installed_the_button_is_offered(settings, alone):
    assert part("install_ops").needs_server(bpy.context)
    assert "Install Server" in failure(bpy.ops.leadline.generate)
    assert part("runtime").message.fix == "leadline.install_server"


def test_offline_without_wheels_is_explained(settings, preferences, alone):
    preferences.wheels = ""
    assert "Allow Online Access" in failure(bpy.ops.leadline.install_server)
    preferences.wheels = str(alone)
    assert "no wheels" in failure(bpy.ops.leadline.install_server)


def test_too_little_disk_space_is_said_before(settings, alone, monkeypatch):
    monkeypatch.setitem(part("install").DISK_BYTES, "CPU", 1e18)
    assert "disk space" in failure(bpy.ops.leadline.install_server)


def test_cancelled_half_way_nothing_is_left_but_the_log(settings, preferences, alone):
    install, place = part("install"), part("chosen").installation()
    wheel = install.bundled_wheel(Path(part("install").__file__).parent)
    plan = install.Plan("CPU", str(wheel), Path(preferences.wheels))
    task = part("runtime").begin(part("task").Task(lambda report: place.install(report, plan), "Install"))
    wait_until(lambda: task.tick() and task.stage.startswith(("processing", "installing")), 200)
    children = children_of(os.getpid())
    assert children
    task.cancel()
    assert task.join(60)
    wait_until(lambda: not any(alive(child) for child in children))
    assert [path.name for path in place.folder.iterdir()] == ["install.log"]
    assert not place.complete


def test_installed_used_broken_repaired_removed(settings, preferences, alone):
    place = part("chosen").installation()
    started = time.monotonic()
    assert bpy.ops.leadline.install_server() == {"FINISHED"}
    print(f"installed in {time.monotonic() - started:.0f} s: {part('runtime').message.text}")
    assert place.complete
    assert bpy.ops.leadline.generate() == {"FINISHED"}
    assert len(bpy.context.active_object.data.vertices) > 1000
    assert part("chosen").server_settings(bpy.context).python == str(place.python)
    part("runtime").link.stop_and_wait()
    place.python.unlink()
    assert not place.complete
    assert bpy.ops.leadline.install_server() == {"FINISHED"}
    assert place.complete
    assert bpy.ops.leadline.test_connection() == {"FINISHED"}
    assert bpy.ops.leadline.remove_server() == {"FINISHED"}
    assert not place.folder.exists()
    assert not list(Path(bpy.utils.extension_path_user(MODULE)).rglob("*"))
    assert not bpy.ops.leadline.remove_server.poll()


def children_of(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(status.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
