# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder of photographs, one after the other: an object or a set of maps for each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import bpy

from leadline.errors import InputError
from leadline.geometry import Pinhole

from . import photos, results, runtime, sight
from .depth import Depth, check
from .drop import SUFFIXES
from .generate import ask_for_depth
from .host import item
from .maps_ops import write_maps
from .panorama import depth_all_round
from .properties import Snapshot, settings_of
from .running import TaskOperator
from .shaping import Seen, Shape, metres_of, shape
from .task import Part, Report, Task

MAPS_FOLDER = "Leadline maps"
#: A photograph that has this file has them all.
LAST_OF_A_SET = "occlusion.png"
#: Reasons that the panel tells in full; the others are counted.
_TOLD = 3


@dataclass
class _Tally:
    """How far a folder is. Filled by the thread, read by the main thread when the thread has ended or was stopped."""

    count: int
    done: int = 0
    skipped: int = 0
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{self.done} of {self.count} photographs"]
        if self.skipped:
            parts.append(f"{self.skipped} had their maps already")
        parts += [f"not {reason}" for reason in self.failed[:_TOLD]]
        if len(self.failed) > _TOLD:
            parts.append(f"and {len(self.failed) - _TOLD} more failed")
        return "; ".join(parts)


class LEADLINE_OT_batch(TaskOperator, bpy.types.Operator):
    """Turn every photograph of a folder into an object or a set of maps, with the settings of the panel. Stopping keeps what is done"""

    bl_idname = "leadline.batch"
    bl_label = "Generate Folder"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not runtime.busy() and context.mode == "OBJECT"

    def begin(self, context: bpy.types.Context) -> Task:
        settings = settings_of(context)
        if not settings.batch_folder:
            raise InputError("choose a folder of photographs in the Leadline panel first")
        folder = Path(bpy.path.abspath(settings.batch_folder))
        files = photographs(folder)
        self._tally = tally = _Tally(len(files))
        self._options, self._update, self._last = Snapshot(settings), settings.update_existing, ""
        self._maps = Path(bpy.path.abspath(settings.maps_folder)) if settings.maps_folder else folder / MAPS_FOLDER
        self._as_maps = settings.batch_result == "MAPS"
        all_round = self._options.result == "PANORAMA" and not self._as_maps
        ask = ask_for_depth(context, None, plain=all_round)
        each = self._maps_of if self._as_maps else self._object_of
        self._radius_m = settings.occlusion_m

        def work(report: Report) -> None:
            for index, file in enumerate(files):
                report.check()
                part = Part(report, index, len(files))
                part.progress(file.name, 0.0)
                try:
                    each(part, file, ask)
                except InputError as error:
                    tally.failed.append(f"{file.name}: {error}")

        return Task(work, folder.name)

    def finish(self, context: bpy.types.Context, task: Task) -> str:
        if self._tally.failed and not (self._tally.done or self._tally.skipped):
            raise InputError(str(self._tally))
        last = item(bpy.data.objects, self._last)
        if last is not None:
            sight.show(context, last)
        return str(self._tally)

    def kept(self) -> str:
        return str(self._tally) if self._tally.done else ""

    def _object_of(self, report: Report, file: Path, ask: Callable[..., Depth]) -> None:
        photo, depth, seen = self._depth_of(report, file, ask)
        made = shape(depth, seen, self._options)
        # In the main thread, and at once: what is there stays there, whatever happens to the next.
        report.on_main(lambda: self._place(photo, depth, made))

    def _maps_of(self, report: Report, file: Path, ask: Callable[..., Depth]) -> None:
        if (self._maps / f"{file.stem} {LAST_OF_A_SET}").exists():
            self._tally.skipped += 1
            return
        _, depth, seen = self._depth_of(report, file, ask)
        check(depth, seen.size)
        metres = metres_of(depth, self._options)
        height, width = metres.shape
        camera = Pinhole(width, height, seen.camera.focal_px * width / seen.camera.width)
        try:
            write_maps(report, self._maps, file.stem, metres, camera, self._radius_m)
        except OSError as error:
            raise InputError(f"its maps cannot be written: {error}") from error
        self._tally.done += 1

    def _depth_of(self, report: Report, file: Path, ask: Callable[..., Depth]) -> tuple[photos.Photo, Depth, Seen]:
        before = report.on_main(lambda: len(bpy.data.images))
        photo = report.on_main(lambda: photos.photo_from_file(str(file)))
        try:
            if self._options.result == "PANORAMA" and not self._as_maps:
                depth = depth_all_round(report, photo.data_block, self._options, ask)
            else:
                depth = ask(report, photo.content(report))
        except InputError:
            report.on_main(lambda: self._tidy(photo, before))
            raise
        return photo, depth, self._look(report, photo, before)

    def _look(self, report: Report, photo: photos.Photo, before: int) -> Seen:
        def target() -> bpy.types.Object | None:
            return results.find_object(bpy.context, photo.data_block()) if self._update else None

        seen = results.look(report, photo.data_block, self._options, target)
        report.on_main(lambda: self._tidy(photo, before))
        return seen

    def _tidy(self, photo: photos.Photo, before: int) -> None:
        """Maps leave nothing in the file."""
        if self._as_maps and len(bpy.data.images) > before:
            bpy.data.images.remove(photo.data_block())

    def _place(self, photo: photos.Photo, depth: Depth, made: Shape) -> None:
        context, image = bpy.context, photo.data_block()
        target = results.find_object(context, image) if self._update else None
        self._last = results.realise(context, image, depth, made, self._options, target).name
        self._tally.done += 1


def photographs(folder: Path) -> list[Path]:
    """The images in a folder, in the order in which people count them.

    Raises:
        InputError: There are none.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    found = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not found:
        raise InputError(f"there are no photographs in {folder}")
    return sorted(found, key=lambda path: [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", path.name.lower())])


CLASSES = (LEADLINE_OT_batch,)
