# SPDX-License-Identifier: GPL-3.0-or-later
"""The depth server's installation: a virtual environment in the extension's own folder. No `bpy` here.

Everything lies in one folder: the environment, pip's temporary files, the log. Removing the folder removes it all.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leadline.errors import InputError, LeadlineError
from leadline.serving.client.local import PYTHON_VARIABLE, has_leadline

from .task import Report

OLDEST_PYTHON = (3, 10)
#: PyTorch's own index for each kind of computer; None: the plain package index, where macOS and Windows find CPU builds.
TORCH_INDEX = {
    "CPU": None if sys.platform in ("darwin", "win32") else "https://download.pytorch.org/whl/cpu",
    "CUDA": "https://download.pytorch.org/whl/cu128",
}
#: Space on disk that an installation takes, and what it needs besides while it is made.
DISK_BYTES = {"CPU": 1.6e9, "CUDA": 6.5e9}
SPARE_BYTES = {"CPU": 0.6e9, "CUDA": 4.0e9}
_ASK_PYTHON = "import sys, venv, ensurepip; print(sys.version_info[0], sys.version_info[1], sys.maxsize > 2**32)"
_PROBE_TIMEOUT_S = 30.0
_LOOK_EVERY_S = 1.0
_INTERESTING = re.compile(r"(Collecting|Downloading|Installing collected packages|Processing) ?:? ?([^\s,(]+)")


@dataclass(frozen=True)
class Plan:
    """What to install.

    Attributes:
        torch: "CPU" or "CUDA".
        leadline: The bundled wheel, or a requirement for the package index.
        wheels: Folder of wheels to install from without the internet; None to use the package index.
        python: The interpreter that the artist chose; None to look for one.
    """

    torch: str
    leadline: str
    wheels: Path | None = None
    python: Path | None = None


class Installation:
    """The server's virtual environment, there or not.

    Args:
        folder: Where it is or will be; nothing else may be in there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "install.log"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.folder / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def complete(self) -> bool:
        """Whether an installation went through to its end and its interpreter is still there."""
        return self._note.is_file() and self.python.exists()

    @property
    def started(self) -> bool:
        """Whether there is anything to remove."""
        return self.folder.exists()

    def free_bytes(self) -> int:
        """Space left where it would go."""
        place = self.folder
        while not place.exists():
            place = place.parent
        return shutil.disk_usage(place).free

    def install(self, report: Report, plan: Plan) -> str:
        """Make it, from nothing: what an earlier attempt left is removed first. Returns a line for people.

        Raises:
            LeadlineError: One sentence about what is in the way; nothing but the log is left.
            Cancelled: It was stopped; nothing is left.
        """
        needed = DISK_BYTES[plan.torch] + SPARE_BYTES[plan.torch]
        if self.free_bytes() < needed:
            raise InputError(
                f"the server needs {needed / 1e9:.1f} GB of disk space, {self.free_bytes() / 1e9:.1f} GB are free"
            )
        if plan.wheels is not None and not any(plan.wheels.glob("*.whl")):
            raise InputError(f"there are no wheels (.whl) in {plan.wheels}; choose another folder, or none")
        self.remove()
        try:
            report.progress("looking for a Python", 0.0)
            python = find_python(plan.python)
            (self.folder / "tmp").mkdir(parents=True)
            report.progress("making an environment", 0.01)
            self._run(report, [str(python), "-E", "-m", "venv", str(self.folder / "env")], plan)
            for requirement, index in self._requirements(plan):
                self._pip(report, [requirement], index, plan)
            report.progress("trying it", 0.98)
            if not has_leadline(self.python, isolated=True):
                raise LeadlineError(f"the server was installed but does not start; see {self.log}")
            shutil.rmtree(self.folder / "tmp", ignore_errors=True)
            self._note.write_text(json.dumps({"torch": plan.torch, "leadline": Path(plan.leadline).name}))
        except BaseException:
            self._remove_all_but_log()
            raise
        return f"The depth server is installed ({self._size() / 1e9:.1f} GB)"

    def remove(self) -> None:
        """Remove everything.

        Raises:
            LeadlineError: Something is in use.
        """
        if not self.folder.exists():
            return
        self._note.unlink(missing_ok=True)  # first: half an environment must not look like a whole one
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.exists():
            raise LeadlineError(f"{self.folder} could not be removed; close what uses it, and try again")

    @property
    def _note(self) -> Path:
        return self.folder / "installed.json"

    def _requirements(self, plan: Plan) -> list[tuple[str, str | None]]:
        # PyTorch first, from its own index, so that the wanted kind is there when Leadline asks for any.
        return [("torch", TORCH_INDEX[plan.torch]), (f"{plan.leadline}[serve]", None)]

    def _pip(self, report: Report, what: Sequence[str], index: str | None, plan: Plan) -> None:
        command = [str(self.python), "-I", "-m", "pip", "install", "--no-cache-dir", "--progress-bar=off", "--no-input"]
        command += ["--disable-pip-version-check", "--no-warn-script-location"]
        if plan.wheels is not None:
            command += ["--no-index", f"--find-links={plan.wheels}"]
        elif index is not None:
            command += [f"--index-url={index}"]
        self._run(report, [*command, *what], plan)

    def _run(self, report: Report, command: list[str], plan: Plan) -> None:
        """Run a command into the log; progress is what has come to the disk."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        temporary = str(self.folder / "tmp")
        environment |= {"TMPDIR": temporary, "TEMP": temporary, "TMP": temporary}
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            cwd=self.folder,
            env=environment,
            start_new_session=os.name != "nt",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ) as process:
            lines: list[str] = []
            reader = threading.Thread(target=self._read, args=(process, lines), daemon=True)
            reader.start()
            try:
                self._watch(report, process, lines, DISK_BYTES[plan.torch])
            finally:
                if process.poll() is None:
                    _end(process)
            reader.join(5.0)
        if process.returncode:
            raise LeadlineError(
                f"the server could not be installed: {_reason(lines)}; the whole story is in {self.log}"
            )

    def _watch(self, report: Report, process: subprocess.Popen[str], lines: list[str], expected_bytes: float) -> None:
        looked, stage, fraction = 0.0, "", 0.0
        while process.poll() is None:
            report.check()
            if lines and (found := _INTERESTING.search(lines[-1])):
                stage = f"{found[1].lower()} {Path(found[2]).name}"
            if time.monotonic() - looked > _LOOK_EVERY_S:
                looked, fraction = time.monotonic(), min(self._size() / expected_bytes, 0.97)
            report.progress(stage or "preparing", fraction)
            time.sleep(0.1)

    def _read(self, process: subprocess.Popen[str], lines: list[str]) -> None:
        assert process.stdout is not None
        with self.log.open("a", encoding="utf-8") as log:
            for line in process.stdout:
                lines.append(line.rstrip())
                log.write(line)
                log.flush()

    def _size(self) -> int:
        total = 0
        for folder, _, names in os.walk(self.folder):
            for name in names:
                try:
                    total += os.lstat(os.path.join(folder, name)).st_size
                except OSError:  # gone meanwhile
                    continue
        return total

    def _remove_all_but_log(self) -> None:
        self._note.unlink(missing_ok=True)
        for name in ("env", "tmp"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def find_python(chosen: Path | None) -> Path:
    """A Python that can make the environment: the chosen one, Blender's own, or one on the PATH.

    Raises:
        LeadlineError: There is none.
    """
    on_path = [Path(found) for name in ("python3", "python", "py") if (found := shutil.which(name))]
    for candidate in [chosen] if chosen is not None else [Path(sys.executable), *on_path]:
        if candidate.is_file() and _usable(candidate):
            return candidate
    wanted = ".".join(map(str, OLDEST_PYTHON))
    if chosen is not None:
        raise LeadlineError(f"{chosen} cannot make environments; choose a Python {wanted} or newer, or none")
    raise LeadlineError(
        f"neither Blender nor the PATH has a Python {wanted} or newer that can make environments; "
        "install one from python.org, or choose one in the add-on's preferences"
    )


def bundled_wheel(extension: Path) -> Path | None:
    """The Leadline wheel inside the "full" extension; None in the small one."""
    return next(iter(sorted((extension / "server").glob("leadline-*.whl"))), None)


def chosen_by_environment() -> bool:
    """Whether LEADLINE_PYTHON names an interpreter, so that nothing needs to be installed."""
    return bool(os.environ.get(PYTHON_VARIABLE))


def _usable(python: Path) -> bool:
    try:
        asked = subprocess.run(
            [str(python), "-E", "-c", _ASK_PYTHON],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
            cwd=python.parent,
        )  # fmt: skip
        major, minor, is_64_bit = asked.stdout.split()
    except (OSError, ValueError, subprocess.SubprocessError):
        return False
    return (int(major), int(minor)) >= OLDEST_PYTHON and is_64_bit == "True"


def _end(process: subprocess.Popen[str]) -> None:
    """End a process with everything it started."""
    if os.name == "nt":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False)
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _reason(lines: Sequence[str]) -> str:
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    return (errors or [line for line in lines if line] or ["it said nothing"])[-1][:300]
