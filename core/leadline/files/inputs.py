"""From what people name (files, folders, patterns) to input files, each with a place for its results."""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from leadline.errors import InputError
from leadline.files.absent import absent, is_address
from leadline.files.image import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})
_READABLE = IMAGE_SUFFIXES | VIDEO_SUFFIXES


@dataclass(frozen=True)
class Job:
    """One input file and the path, without suffix, that its outputs share."""

    source: Path
    stem: Path

    @property
    def is_video(self) -> bool:
        """By its name."""
        return self.source.suffix.lower() in VIDEO_SUFFIXES


@dataclass(frozen=True)
class Plan:
    """What to do, and what was named but is none of it."""

    jobs: Sequence[Job]
    skipped: Sequence[Path] = field(default_factory=tuple)


def plan(inputs: Sequence[str], output: Path) -> Plan:
    """Every file that ``inputs`` mean, each once, with a stem in ``output`` that no other has.

    A file in a named folder keeps its path below that folder. Where two stems would be equal, the files keep their paths
    below their common folder; if only their suffixes differ, they keep these. So the stem of a file does not depend on
    the order of the inputs. Files in ``output`` itself are results, not inputs, when their folder is named.

    Raises:
        InputError: Something named is not there, is no file, or is a URL; a folder or pattern gives nothing.
    """
    found: dict[Path, Path] = {}  # real path → path as found
    relative: dict[Path, PurePath] = {}
    skipped: list[Path] = []

    def take(file: Path, below: PurePath) -> None:
        real = Path(os.path.realpath(file))
        if real not in found:
            found[real], relative[real] = file, below

    for given in inputs:
        path = Path(given)
        if is_address(given) and not exists(path):
            raise absent(given)
        if not exists(path) and not glob.has_magic(given):
            take(path, PurePath(path.name))  # reading it says what is wrong; the others are done
        elif not exists(path):
            matches = [Path(match) for match in sorted(glob.glob(given, recursive=True)) if Path(match).is_file()]
            matches = [match for match in matches if match.suffix.lower() in _READABLE]
            if not matches:
                raise InputError(f"nothing matches {given}; check the pattern")
            for match in matches:
                take(match, PurePath(match.name))
        elif path.is_dir():
            inside = list(_inside(path, output))
            if not inside:
                raise InputError(f"{path} has no images or videos in it; name another folder")
            for file in inside:
                take(file, file.relative_to(path))
        elif (
            len(inputs) > 1 and path.is_file() and path.suffix.lower() not in _READABLE
        ):  # a shell's * takes everything
            skipped.append(path)
        else:
            take(path, PurePath(path.name))
    stems = _stems(relative)
    return Plan([Job(found[real], output / stems[real]) for real in found], skipped)


def exists(path: Path) -> bool:
    """Like ``Path.exists``; a path that the file system cannot have, or a loop of links, does not exist."""
    try:
        return path.exists()
    except (OSError, ValueError, RuntimeError):
        return False


def _inside(folder: Path, output: Path) -> Iterable[Path]:
    """Readable files below ``folder``, sorted, without hidden ones and without those in ``output``."""
    results = Path(os.path.realpath(output))
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and Path(os.path.realpath(Path(here) / name)) != results
        )
        for name in sorted(names):
            file = Path(here) / name
            if not name.startswith(".") and file.suffix.lower() in _READABLE and file.is_file():
                yield file


def _stems(relative: dict[Path, PurePath]) -> dict[Path, PurePath]:
    """A path without suffix for each file; no two are equal, whatever the case of their letters."""
    stems = {real: below.with_suffix("") for real, below in relative.items()}
    for _ in range(2):  # the paths of one group may meet those of another
        for group in _equal(stems):
            folders = {real.parent for real in group}
            if len(folders) > 1:
                common = Path(os.path.commonpath([str(folder) for folder in folders]))
                for real in group:
                    stems[real] = real.relative_to(common).with_suffix("")
    for group in _equal(stems):
        for real in group:  # photo.jpg and photo.png
            stems[real] = stems[real].with_name(real.name)
    for group in _equal(stems):
        names = ", ".join(map(str, sorted(group)))
        raise InputError(f"the results of {names} would have one name; name these files in separate runs")
    return stems


def _equal(stems: dict[Path, PurePath]) -> list[list[Path]]:
    groups: dict[str, list[Path]] = defaultdict(list)
    for real, stem in stems.items():
        groups[str(stem).casefold()].append(real)
    return [group for group in groups.values() if len(group) > 1]
