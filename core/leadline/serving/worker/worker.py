"""The process that owns the models: takes batches from the front, one at a time, and gives back maps.

It is started by the server with its configuration as one line of JSON on standard input, and ends when that input
ends, which the operating system sees to when the server dies. What strangers send has been decoded by then, in a
process of its own (:mod:`leadline.serving.worker.decoder`).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import zmq

from leadline.depth.normals import NormalsPrediction
from leadline.depth.prediction import DepthPrediction
from leadline.errors import Cancelled, InputError, LeadlineError
from leadline.inference.allocator import keep_large_blocks
from leadline.serving.logs import StandardError, configure, log
from leadline.serving.protocol import pixels
from leadline.serving.protocol.arena import Arena
from leadline.serving.protocol.frames import receive_message, send_message
from leadline.serving.worker import messages
from leadline.serving.worker.between_layers import between_layers
from leadline.serving.worker.config import WorkerConfig
from leadline.serving.worker.films import Films, NoFilmsError
from leadline.serving.worker.model_cache import ModelCache, is_out_of_memory
from leadline.serving.worker.pulse import BEAT_S, Heart, connected

#: Progress between two of these (seconds) is not worth a message.
PROGRESS_EVERY_S = 0.02
#: Exit status of a worker whose GPU no longer obeys.
EXIT_BROKEN_DEVICE = 70


class BlockError(LeadlineError):
    """A lent block cannot be opened."""


@dataclass
class _Task:
    """One image of a batch, with the bytes behind its places."""

    index: int
    job: messages.Job
    bodies: list[Any] = field(default_factory=list)
    rgb: Any = None


class Worker:
    """Connects to the front and serves until told to leave."""

    def __init__(self, config: WorkerConfig, heart: Heart) -> None:
        self.config, self._heart = config, heart
        self._arena = Arena(*config.arena) if config.arena is not None else None
        self._blocks: dict[int, Arena] = {}
        self._context = zmq.Context()
        self._socket = connected(self._context, config)
        self._load: Callable[..., Any] = _imported(config.loader)
        self._device = own_device(config.device, config.index) if config.spread else config.device
        budget = default_budget(self._device) if config.memory_bytes is None else config.memory_bytes
        self._models = ModelCache(self._load_model, budget)
        self._batch, self._unanswered = -1, 0
        self._told = self._began = 0.0
        self._films = Films()
        self._sources = config.models
        self._open: set[int] = set()  # batches that are not done
        self._stopped: set[int] = set()
        self._leaving = self._reload = False

    def serve(self) -> None:
        """Run until the front says :class:`~leadline.serving.worker.messages.Exit`."""
        self._send(messages.Ready(os.getpid(), self._sees_blocks()))
        try:
            while not self._leaving:
                self._heart.moves += 1
                self._clear_models()
                self._films.forget()
                if self._socket.poll(int(BEAT_S * 1000)):
                    message, frames = self._receive()
                    if isinstance(message, messages.Run):
                        self._run(message, frames)
                    else:
                        self._obey(message)
        finally:
            self._socket.close(1000)
            self._context.term()

    def _load_model(self, name: str) -> Any:
        self._tell("load", 0.0)
        started = time.monotonic()
        options = {"device": self._device, "precision": self.config.precision}
        defaults = {"compiled": "off", "speed": "full", "backend": "auto", "decoder": "full"}
        for option, default in defaults.items():
            if getattr(self.config, option) != default:
                options[option] = getattr(self.config, option)
        estimator = self._load(self._sources[name], **options)
        spec = getattr(estimator, "spec", None)
        if spec is not None and spec.condition_channels:
            raise InputError(
                "it was trained to take sparse depth as input and sees too little in an image alone; "
                "any other model completes sparse depth here"
            )
        log("model loaded", model=name, megabytes=round(estimator.nbytes / 1e6, 1),
            seconds=round(time.monotonic() - started, 2))  # fmt: skip
        info = {
            "name": name,
            "family": estimator.family,
            "output": _gives(estimator),
            "space": None if _gives(estimator) == "normals" else estimator.space.value,
            "default_steps": estimator.default_steps,
            "default_size": estimator.default_size,
            "stochastic": estimator.stochastic,
        }
        self._send(messages.Loaded(info, time.monotonic() - started))
        return estimator

    # --- one batch

    def _run(self, run: messages.Run, frames: list[Any]) -> None:
        self._batch, self._told = run.batch, 0.0
        self._open.add(run.batch)
        self._unanswered, self._began = len(run.jobs), time.monotonic()
        tasks = []
        for index, job in enumerate(run.jobs):
            task = _Task(index, job)
            try:
                task.bodies = [self._place(place, frames) for place in job.places]
                task.rgb = self._image(task)
                tasks.append(task)
            except BlockError as error:
                self._fail([task], "no_block", f"the worker cannot reach the block ({error})")
            except InputError as error:
                self._fail([task], "bad_image", str(error))
        if tasks:
            with between_layers(self._make_way) if run.makes_way else nullcontext():
                self._compute(run, tasks)
        self._open.discard(run.batch)
        self._stopped &= self._open

    def _compute(self, run: messages.Run, tasks: list[_Task]) -> None:
        name = run.model
        try:
            estimator = self._models.get(name)
        except Exception as error:
            log("model does not load", model=name, exc_info=not isinstance(error, LeadlineError), error=str(error))
            reason = str(error) if isinstance(error, LeadlineError) else "see the server's log"
            self._fail(tasks, "model_failed", f"{name} could not be loaded: {reason}")
            return
        started = time.monotonic()
        try:
            predictions = self._models.with_room(lambda: self._predict(estimator, run, tasks), keep=name)
        except Cancelled:
            self._fail(tasks, "cancelled", "the request was cancelled")
            return
        except InputError as error:
            self._fail(tasks, "bad_option", str(error))
            return
        except Exception as error:
            _leave_a_broken_device(error)
            short_of_memory = is_out_of_memory(error)
            if not short_of_memory or len(tasks) == 1:
                log("prediction failed", model=name, exc_info=True)
                reason = "memory ran out; make size or ensemble smaller" if short_of_memory else "see its log"
                self._fail(tasks, "model_failed", f"{name} failed on the server: {reason}")
                return
        else:
            seconds = time.monotonic() - started
            for task, prediction in zip(tasks, predictions, strict=True):
                self._answer(task, prediction, seconds, len(tasks))
            return
        # Outside the handler: its traceback would keep the failed batch's tensors in memory.
        for half in (tasks[: len(tasks) // 2], tasks[len(tasks) // 2 :]):
            self._compute(run, half)

    def _predict(
        self, estimator: Any, run: messages.Run, tasks: list[_Task]
    ) -> Sequence[DepthPrediction | NormalsPrediction]:
        gives = _gives(estimator)
        if run.output != gives:
            raise InputError(f"{run.model} gives {gives}, not {run.output}; ask for output '{gives}' or another model")
        images = [task.rgb for task in tasks]
        options: dict[str, Any] = {
            "steps": run.steps,
            "ensemble": run.ensemble,
            "size": run.size,
            "seed": [task.job.seed for task in tasks],
            "on_progress": self._on_progress,
        }
        if gives == "normals":
            normals: Sequence[NormalsPrediction] = estimator.normals(images, **options)
            return normals
        if run.detail != "off":
            options["detail"] = run.detail
        maps: Sequence[DepthPrediction] = estimator.predict(images, out=self._places(tasks), **options)
        return maps

    def _places(self, tasks: list[_Task]) -> list[Any] | None:
        """Shared memory for the model to write its maps to, if what it writes is what travels, for the whole batch."""
        places = []
        for task in tasks:
            shape = task.rgb.shape[:2]
            room = self._room(task, 0, shape)
            if room is None or task.job.reply != "float32" or len(task.bodies) > 1 or task.job.film is not None:
                return None
            places.append(np.frombuffer(room, "<f4").reshape(shape))
        return places

    def _room(self, task: _Task, index: int, shape: tuple[int, ...]) -> memoryview | None:
        """Shared memory for map ``index`` of a job's answer, if the front could spare it."""
        room = task.job.rooms[index] if index < len(task.job.rooms) else None
        if room is None or room[-1] != pixels.map_nbytes(task.job.reply, *shape):
            return None
        return self._memory(room)

    def _answer(self, task: _Task, prediction: DepthPrediction | NormalsPrediction, seconds: float, batch: int) -> None:
        job = task.job
        try:
            if job.film is not None and isinstance(prediction, DepthPrediction):
                prediction = self._films.step(job.film[0], job.film[1], prediction, task.rgb)
            if job.sparse is not None and isinstance(prediction, DepthPrediction):
                self._on_progress("complete", 1.0)
                prediction = completed(task.rgb, prediction, job.sparse, task.bodies[1])
        except Cancelled:
            self._fail([task], "cancelled", "the request was cancelled")
            return
        except NoFilmsError as error:
            self._fail([task], "bad_option", str(error))
            return
        except InputError as error:
            self._fail([task], "bad_image", str(error))
            return
        except Exception:
            log("completing or holding still failed", exc_info=True)
            self._fail([task], "model_failed", "what follows the network failed; see the server's log")
            return
        maps = [prediction.values] + ([] if prediction.uncertainty is None else [prediction.uncertainty])
        infos: list[dict[str, Any]] = []
        places: list[messages.Place] = []
        frames: list[Any] = []
        for index, values in enumerate(maps):
            out = self._room(task, index, values.shape)
            info, body = pixels.encode_map(values, job.reply, out)
            infos.append(dict(vars(info)))
            room = job.rooms[index] if index < len(job.rooms) else None
            if out is None or room is None:
                places.append(["frame", len(frames)])
                frames.append(body)
            else:
                places.append(room)
        validity = getattr(prediction, "validity", None) if job.validity else None
        if validity is not None:
            places.append(["frame", len(frames)])
            frames.append(np.ascontiguousarray(validity, np.uint8).data)
        result = {
            "values": infos[0],
            "uncertainty": infos[1] if len(infos) > 1 else None,
            "validity": None if validity is None else {"encoding": "uint8", "shape": validity.shape},
            **_meaning(prediction),
            "model": prediction.model,
            "meta": _plain({**prediction.meta, "model_seconds": round(seconds, 6), "batch": batch}),
        }
        rest = self._rest()
        self._send(messages.Done(self._batch, task.index, result, places, rest), frames)

    def _image(self, task: _Task) -> Any:
        from leadline.files.image import read_image  # noqa: PLC0415  (Pillow: 50 ms that the import of this module saves)

        return read_image(np.frombuffer(task.bodies[0], np.uint8).reshape(task.job.shape), self.config.megapixels)

    def _place(self, place: list[Any], frames: list[Any]) -> Any:
        return frames[place[1]].buffer if place[0] == "frame" else self._memory(place)

    def _memory(self, place: list[Any]) -> memoryview:
        """Part of the arena, or of a block that the front lent to a client."""
        kind, *where = place
        if kind == "arena":
            assert self._arena is not None
            return self._arena.view(*where)
        number, descriptor, size, offset, nbytes = where
        if number not in self._blocks:
            try:
                self._blocks[number] = Arena.of_process(self.config.front or 0, descriptor, size)
            except OSError as error:
                raise BlockError(error.strerror) from error
        return self._blocks[number].view(offset, nbytes)

    def _sees_blocks(self) -> bool:
        """Whether this process may open the front's descriptors; some ways to lock up a server forbid it."""
        if self.config.front is None or self.config.arena is None:
            return False
        try:
            Arena.of_process(self.config.front, *self.config.arena)
        except OSError:
            return False
        return True

    def _make_way(self) -> None:
        """In the middle of a large batch: hear what the front wants, and compute a small one if it sent one."""
        self._heart.moves += 1
        while self._socket.poll(0):
            message, frames = self._receive()
            if isinstance(message, messages.Run):
                self._interrupt(message, frames)
            else:
                self._obey(message)
        if self._batch in self._stopped or self._leaving:
            raise Cancelled("every client of this batch went away")

    def _interrupt(self, run: messages.Run, frames: list[Any]) -> None:
        large = self._batch, self._told, self._unanswered, self._began
        try:
            self._run(run, frames)
        finally:
            self._batch, self._told, self._unanswered, self._began = large

    # --- the line to the front

    def _on_progress(self, stage: str, fraction: float) -> None:
        self._make_way()
        now = time.monotonic()
        if now - self._told > PROGRESS_EVERY_S:
            self._tell(stage, fraction)
            self._told = now

    def _obey(self, message: Any) -> None:
        if isinstance(message, messages.Exit):
            self._leaving = True
        elif isinstance(message, messages.Stop):
            self._stopped |= {message.batch} & self._open
        elif isinstance(message, messages.Forget):
            self._blocks.pop(message.block, None)
        elif isinstance(message, messages.Reload):
            self._sources = message.models
            self._reload = True

    def _clear_models(self) -> None:
        """Between two batches, as the one that runs may need what it has."""
        if self._reload:
            self._reload = False
            self._models.clear()

    def _tell(self, stage: str, fraction: float) -> None:
        self._send(messages.Moved(self._batch, stage, min(1.0, max(0.0, fraction))))

    def _fail(self, tasks: list[_Task], code: str, message: str) -> None:
        for task in tasks:
            self._send(messages.Failed(self._batch, task.index, code, message[:1000], self._rest()))

    def _rest(self) -> messages.Rest | None:
        """Counts an outcome; with the batch's last one, the front also hears that we are free."""
        self._unanswered -= 1
        if self._unanswered:
            return None
        return messages.Rest(self._models.names, time.monotonic() - self._began)

    def _send(self, message: messages.Message, frames: Sequence[Any] = ()) -> None:
        self._heart.moves += 1
        send_message(self._socket, [messages.pack(message), *frames])

    def _receive(self) -> tuple[Any, list[Any]]:
        head, *frames = receive_message(self._socket)
        return messages.unpack(head.bytes), frames


def _gives(estimator: Any) -> str:
    """What an estimator gives, "depth" or "normals"; one that does not say gives depth."""
    return str(getattr(getattr(estimator, "spec", None), "output", "depth"))


def _meaning(prediction: DepthPrediction | NormalsPrediction) -> dict[str, Any]:
    """The fields of a result that say what its numbers are."""
    if isinstance(prediction, NormalsPrediction):
        return {"output": "normals", "space": None, "metric": False}
    return {"output": "depth", "space": prediction.space.value, "metric": prediction.metric}


def completed(rgb: Any, prediction: DepthPrediction, sparse: dict[str, Any], body: Any) -> DepthPrediction:
    """The metric prediction that fits the sparse depth of a request.

    Raises:
        InputError: It does not belong to the image, or the calibration is impossible.
    """
    from leadline.completion.methods import complete  # noqa: PLC0415
    from leadline.sensors.camera import CalibratedCamera  # noqa: PLC0415
    from leadline.sensors.lidar import project_points  # noqa: PLC0415

    numbers = np.frombuffer(body, "<f4").reshape(sparse["shape"])
    if sparse["kind"] == "map":
        return complete(rgb, prediction, numbers)
    height, width = rgb.shape[:2]
    wire = sparse["camera"]
    matrix = np.array([[wire["fx"], 0, wire["cx"]], [0, wire["fy"], wire["cy"]], [0, 0, 1.0]])
    camera = CalibratedCamera(width, height, matrix, wire["model"], np.array(wire["distortion"]))
    return complete(rgb, prediction, project_points(numbers, camera, wire["points_to_camera"]), camera)


def own_device(device: str, index: int) -> str:
    """The device of worker ``index``: of several GPUs its own, unless ``device`` names one."""
    torch = sys.modules.get("torch")
    if torch is None or device not in ("auto", "cuda") or torch.cuda.device_count() < 2:
        return device
    return f"cuda:{index % torch.cuda.device_count()}"


def default_budget(device: str) -> int:
    """Bytes for loaded models when nobody says: 80 % of the GPU's memory, half of the machine's on a CPU."""
    torch = sys.modules.get("torch")
    if torch is not None and device != "cpu" and torch.cuda.is_available():
        return int(0.8 * torch.cuda.mem_get_info(device if ":" in device else None)[1])
    return int(0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) if hasattr(os, "sysconf") else 1 << 62


def _plain(meta: Any) -> Any:
    """Metadata as JSON knows it."""
    if isinstance(meta, dict):
        return {str(key): _plain(value) for key, value in meta.items()}
    if isinstance(meta, list | tuple):
        return [_plain(value) for value in meta]
    if isinstance(meta, np.generic):
        meta = meta.item()
    if isinstance(meta, float) and not np.isfinite(meta):
        return None
    return meta if isinstance(meta, str | int | float | bool | type(None)) else str(meta)


def _imported(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def _leave_a_broken_device(error: Exception) -> None:
    """A CUDA error other than a lack of memory stays for as long as the process does: leave, and be replaced."""
    if is_out_of_memory(error) or not isinstance(error, RuntimeError):
        return
    if type(error).__name__ == "AcceleratorError" or "CUDA error" in str(error):
        log("the GPU failed", 40, exc_info=True)
        time.sleep(0.2)  # for the log
        os._exit(EXIT_BROKEN_DEVICE)


def _leave_with_input() -> None:
    while os.read(0, 1):  # not sys.stdin: its lock would be held when the interpreter ends
        continue
    os._exit(0)


def main() -> None:
    """Entry point of the process."""
    config = WorkerConfig(**json.loads(sys.stdin.readline()))
    heart = Heart(config)
    heart.start()
    configure(config.log_style, config.log_level)
    sys.stderr = StandardError()
    threading.Thread(target=_leave_with_input, daemon=True).start()
    keep_large_blocks()  # a batch's activations, faulted in page by page, cost what batching gains
    Worker(config, heart).serve()
    os._exit(0)  # torch takes its time to leave, and nothing of this process is worth that


if __name__ == "__main__":
    main()
