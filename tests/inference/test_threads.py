"""Threads: the settings, whose are stronger, what limits their number, and that every entry point sets them in time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from leadline import threads
from leadline.serving.server.launch import LocalLauncher

NAMES = (
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "MKL_DISABLE_FAST_MM",
)


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def machine(monkeypatch: pytest.MonkeyPatch, cores: int, load: float) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    monkeypatch.setattr(threads, "_siblings", lambda topology: "")
    monkeypatch.setattr(threads, "_quota", lambda root=Path("/"): None)


@pytest.mark.parametrize(
    ("cores", "load", "free"),
    [
        (8, 0.0, 8),  # nothing beside
        (8, 2.5, 6),
        (8, 20.0, 4),  # everybody gets a share
        (2, 2.0, 2),
        (1, 3.0, 1),
    ],
)
def test_busy_cores_are_left_to_those_who_use_them(
    monkeypatch: pytest.MonkeyPatch, cores: int, load: float, free: int
) -> None:
    machine(monkeypatch, cores, load)
    assert threads.free_cores() == free
    number = threads.settings(environment={}).get("OMP_NUM_THREADS")
    assert number == (str(free) if free < cores else None)


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_a_users_way_of_waiting_wins(name: str) -> None:
    assert not set(threads.settings(environment={name: "active"})) & {"GOMP_SPINCOUNT", "KMP_BLOCKTIME"}


#: What each of eight threads that multiplied matrices keeps, in MB.
_KEPT_BY_THREADS = """
import threading
import leadline.threads
leadline.threads.prepare()
from leadline.inference.allocator import keep_large_blocks
keep_large_blocks(arenas=1)
import torch

def resident_mb():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

torch.set_num_threads(1)
matrix, product, end = torch.rand(1536, 1536), torch.empty(1536, 1536), threading.Event()

def multiply(done):
    torch.set_num_threads(1)
    torch.mm(matrix, matrix, out=product)
    done.set()
    end.wait()

torch.mm(matrix, matrix, out=product)
before = resident_mb()
for _ in range(8):
    done = threading.Event()
    threading.Thread(target=multiply, args=(done,)).start()
    done.wait()
print((resident_mb() - before) / 8)
end.set()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_threads_give_back_what_they_multiplied_in() -> None:
    probe = [sys.executable, "-c", _KEPT_BY_THREADS]
    kept_mb = float(subprocess.run(probe, capture_output=True, text=True, check=True).stdout)
    assert kept_mb < 1.0


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_a_users_number_wins_unless_an_option_says_otherwise(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    machine(monkeypatch, 8, 20.0)
    assert "OMP_NUM_THREADS" not in threads.settings(environment={name: "7"})
    assert threads.settings(3, environment={name: "7"})["OMP_NUM_THREADS"] == "3"


def test_hardware_threads_of_one_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3, 6}, raising=False)
    for one, together in ((0, "0,4"), (1, "1,5"), (2, "2,6"), (3, "3,7"), (6, "2,6")):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{one}/topology"
        folder.mkdir(parents=True)
        (folder / "core_cpus_list").write_text(together + "\n")
    assert threads.allowed_cores(tmp_path) == 4


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        ("0::/box/inner", {"box/inner/cpu.max": "max 100000", "box/cpu.max": "250000 100000"}, 2),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/box", {"box/cpu.max": "max 100000"}, 8),
        ("4:cpu,cpuacct:/box", {"cpu/box/cpu.cfs_quota_us": "300000", "cpu/box/cpu.cfs_period_us": "100000"}, 3),
        ("4:cpu,cpuacct:/box", {"cpu/box/cpu.cfs_quota_us": "-1", "cpu/box/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_a_containers_quota_limits_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(own + "\n")
    for name, text in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    assert threads.allowed_cores(tmp_path) == cores


def test_too_late_once_torch_is_loaded() -> None:
    import torch  # noqa: F401

    assert not threads.prepare()
    assert "GOMP_SPINCOUNT" not in os.environ


#: Runs a program's entry point up to the first thing it does, and says what it has set by then.
_PROBE = """
import json, os, sys
{stop}
try:
    {start}
finally:
    print(json.dumps([os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules]))
"""


@pytest.mark.parametrize(
    "program",
    {
        "command line": (
            "sys.argv = ['leadline', '--version']",
            "from leadline.cli.main import main; main()",
        ),
        "node": (
            "sys.path.insert(0, 'ros2_node')\nimport leadline_ros.main as node\nnode._run = lambda *ignored: (0, True)",
            "node.main([])",
        ),
        "module, for process launchers": (
            "sys.argv = ['leadline', '--version']",
            "import runpy; runpy.run_module('leadline.cli.main', run_name='__main__')",
        ),
    }.items(),
    ids=lambda program: program[0],
)
def test_entry_points_set_it_before_torch_is_loaded(program: tuple[str, tuple[str, str]]) -> None:
    stop, start = program[1]
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE.format(stop=stop, start=start)],
        env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == '["1000", false]', done.stderr


def test_workers_of_the_server_get_it_however_it_was_started() -> None:
    assert LocalLauncher().environment["GOMP_SPINCOUNT"] == "1000"
    assert LocalLauncher(threads=3).environment["OMP_NUM_THREADS"] == "3"


def test_doctor_says_what_holds_and_what_other_programs_must_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    from leadline.cli.doctor import command

    monkeypatch.setenv("GOMP_SPINCOUNT", "77")
    said = CliRunner().invoke(command).output
    assert "GOMP_SPINCOUNT=77" in said
    assert f"cores for this process: {threads.allowed_cores()}" in said
    assert "leadline.threads.prepare()" in said
