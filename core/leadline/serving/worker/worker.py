"""The process that owns the models: takes batches from the front, one at a time, and gives back maps.

It is started by the server with its configuration as one line of JSON on standard input, and ends when that input
ends, which the operating system sees to when the server dies. Image decoding happens here, not in the front: if a
hostile file brings a decoder down, it is this process that goes, and the server starts another.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import zmq

from leadline.depth.prediction import DepthPrediction
from leadline.errors import Cancelled, InputError, LeadlineError
from leadline.inference.allocator import keep_large_blocks
from leadline.serving.logs import configure, log
from leadline.serving.protocol import pixels
from leadline.serving.protocol.arena import Arena
from leadline.serving.protocol.frames import receive_message, send_message
from leadline.serving.worker.model_cache import ModelCache, is_out_of_memory

#: Progress between two of these (seconds) is not worth a message.
PROGRESS_EVERY_S = 0.02


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker needs to know.

    Attributes:
        name: Its routing id at the front.
        endpoint: Of the front.
        models: Name → what the loader takes.
        loader: ``module:function``; called as ``function(source, device=, precision=)``, returns an estimator.
        index: Which of the workers it is, from 0.
        spread: There are several workers: take the GPU of this index if the device names none.
        megapixels: Largest image, decoded.
        memory_bytes: Budget for the weights of loaded models; 0: most of the GPU's memory, or half of the machine's.
        arena: Descriptor and size of the shared memory; None without.
        front: Process whose descriptors of lent blocks are opened here.
        keys: Server's public, own public, own secret, for fronts on other machines; None without.
    """

    name: str
    endpoint: str
    models: dict[str, str]
    loader: str
    device: str
    precision: str
    megapixels: float
    index: int = 0
    spread: bool = False
    memory_bytes: int = 0
    arena: tuple[int, int] | None = None
    front: int | None = None
    keys: tuple[str, str, str] | None = None
    log_style: str = "json"
    log_level: str = "info"


class BlockError(LeadlineError):
    """A lent block cannot be opened."""


@dataclass
class _Job:
    """One image of a batch."""

    index: int
    header: dict[str, Any]
    bodies: list[Any]
    rgb: Any = None
    seed: int = field(init=False)

    def __post_init__(self) -> None:
        self.seed = int(self.header["seed"])


class Worker:
    """Connects to the front and serves until told to leave."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self._arena = Arena(*config.arena) if config.arena is not None else None
        self._blocks: dict[int, Arena] = {}
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.routing_id = config.name.encode()
        if config.keys is not None:
            server, public, secret = (key.encode() for key in config.keys)
            self._socket.curve_serverkey, self._socket.curve_publickey = server, public
            self._socket.curve_secretkey = secret
        self._socket.connect(config.endpoint)
        self._load: Callable[..., Any] = _imported(config.loader)
        self._device = own_device(config.device, config.index) if config.spread else config.device
        budget = config.memory_bytes or default_budget(self._device)
        self._models = ModelCache(self._load_model, budget)
        self._batch, self._unanswered = -1, 0
        self._stop_asked = False

    def serve(self) -> None:
        """Run until the front says ``exit``."""
        self._send({"op": "ready", "pid": os.getpid(), "shares": self._sees_blocks()})
        try:
            while True:
                header, bodies = self._receive()
                if header["op"] == "exit":
                    return
                if header["op"] == "run":
                    self._run(header, bodies)
                elif header["op"] == "forget":
                    self._blocks.pop(header["block"], None)
        finally:
            self._socket.close(1000)
            self._context.term()

    def _load_model(self, name: str) -> Any:
        self._tell("load", 0.0)
        started = time.monotonic()
        estimator = self._load(self.config.models[name], device=self._device, precision=self.config.precision)
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
            "space": estimator.space.value,
            "default_steps": estimator.default_steps,
            "default_size": estimator.default_size,
            "stochastic": estimator.stochastic,
        }
        self._send({"op": "loaded", "info": info})
        return estimator

    # --- one batch

    def _run(self, header: dict[str, Any], frames: list[Any]) -> None:
        self._batch, self._stop_asked, self._told = header["batch"], False, 0.0
        self._unanswered, self._began = len(header["jobs"]), time.monotonic()
        jobs = []
        for index, job_header in enumerate(header["jobs"]):
            job = _Job(index, job_header, [])
            try:
                job.bodies = [self._place(place, frames) for place in job_header["bodies"]]
                job.rgb = self._image(job)
                jobs.append(job)
            except BlockError as error:
                self._fail([job], "no_block", f"the worker cannot reach the block ({error})")
            except InputError as error:
                self._fail([job], "bad_image", str(error))
            except Exception as error:
                log("image failed", exc_info=True)
                self._fail([job], "bad_image", f"the image cannot be decoded ({type(error).__name__})")
        if jobs:
            self._compute(header, jobs)
        if self._unanswered:
            self._send({"op": "idle", "batch": self._batch, "idle": self._report()})

    def _compute(self, header: dict[str, Any], jobs: list[_Job]) -> None:
        name = header["model"]
        try:
            estimator = self._models.get(name)
        except Exception as error:
            log("model does not load", model=name, exc_info=not isinstance(error, LeadlineError), error=str(error))
            reason = str(error) if isinstance(error, LeadlineError) else "see the server's log"
            self._fail(jobs, "model_failed", f"{name} could not be loaded: {reason}")
            return
        try:
            started = time.monotonic()
            predictions = self._models.with_room(lambda: self._predict(estimator, header, jobs), keep=name)
            seconds = time.monotonic() - started
        except Cancelled:
            self._fail(jobs, "cancelled", "the request was cancelled")
        except InputError as error:
            self._fail(jobs, "bad_option", str(error))
        except Exception as error:
            if is_out_of_memory(error) and len(jobs) > 1:
                del error
                for half in (jobs[: len(jobs) // 2], jobs[len(jobs) // 2 :]):
                    self._compute(header, half)
                return
            log("prediction failed", model=name, exc_info=True)
            reason = "memory ran out; make size or ensemble smaller" if is_out_of_memory(error) else "see its log"
            self._fail(jobs, "model_failed", f"{name} failed on the server: {reason}")
        else:
            for job, prediction in zip(jobs, predictions, strict=True):
                self._answer(job, prediction, seconds, len(jobs))

    def _predict(self, estimator: Any, header: dict[str, Any], jobs: list[_Job]) -> Sequence[DepthPrediction]:
        predictions: Sequence[DepthPrediction] = estimator.predict(
            [job.rgb for job in jobs],
            steps=header["steps"],
            ensemble=header["ensemble"],
            size=header["size"],
            seed=[job.seed for job in jobs],
            out=self._places(jobs),
            on_progress=self._on_progress,
        )
        return predictions

    def _places(self, jobs: list[_Job]) -> list[Any] | None:
        """Shared memory for the model to write its maps to, if what it writes is what travels, for the whole batch."""
        places = []
        for job in jobs:
            shape = job.rgb.shape[:2]
            room = self._room(job, 0, shape)
            if room is None or job.header["reply"] != "float32" or len(job.bodies) > 1:
                return None
            places.append(np.frombuffer(room, "<f4").reshape(shape))
        return places

    def _room(self, job: _Job, index: int, shape: tuple[int, ...]) -> memoryview | None:
        """Shared memory for map ``index`` of a job's answer, if the front could spare it."""
        rooms = job.header["rooms"]
        nbytes = pixels.map_nbytes(job.header["reply"], *shape)
        if index >= len(rooms) or rooms[index] is None or rooms[index][-1] != nbytes:
            return None
        return self._memory(rooms[index])

    def _answer(self, job: _Job, prediction: DepthPrediction, seconds: float, batch: int) -> None:
        try:
            if len(job.bodies) > 1:
                self._on_progress("complete", 1.0)
                prediction = completed(job.rgb, prediction, job.header["sparse"], job.bodies[1])
        except Cancelled:
            self._fail([job], "cancelled", "the request was cancelled")
            return
        except InputError as error:
            self._fail([job], "bad_image", str(error))
            return
        except Exception:
            log("completion failed", exc_info=True)
            self._fail([job], "model_failed", "completion with the sparse depth failed; see the server's log")
            return
        maps = [prediction.values] + ([] if prediction.uncertainty is None else [prediction.uncertainty])
        infos: list[dict[str, Any]] = []
        places: list[list[Any]] = []
        frames: list[Any] = []
        for index, values in enumerate(maps):
            out = self._room(job, index, values.shape)
            info, body = pixels.encode_map(values, job.header["reply"], out)
            infos.append(asdict(info))
            if out is None:
                places.append(["frame", len(frames)])
                frames.append(body)
            else:
                places.append(job.header["rooms"][index])
        result = {
            "values": infos[0],
            "uncertainty": infos[1] if len(infos) > 1 else None,
            "space": prediction.space.value,
            "metric": prediction.metric,
            "model": prediction.model,
            "meta": _plain({**prediction.meta, "model_seconds": round(seconds, 6), "batch": batch}),
        }
        header = {"op": "result", "batch": self._batch, "index": job.index, "result": result, "bodies": places}
        self._outcome(header, frames)

    def _image(self, job: _Job) -> Any:
        from leadline.files.image import read_image  # noqa: PLC0415  (Pillow: 50 ms that the import of this module saves)

        info, body = job.header["image"], job.bodies[0]
        if info["encoding"] == "raw":
            return read_image(np.frombuffer(body, np.uint8).reshape(info["shape"]), self.config.megapixels)
        return read_image(bytes(body), self.config.megapixels)

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

    # --- the line to the front

    def _on_progress(self, stage: str, fraction: float) -> None:
        while self._socket.poll(0):
            header, _ = self._receive()
            if header["op"] == "exit" or (header["op"] == "stop" and header["batch"] == self._batch):
                self._stop_asked = True
            elif header["op"] == "forget":
                self._blocks.pop(header["block"], None)
        if self._stop_asked:
            raise Cancelled("every client of this batch went away")
        now = time.monotonic()
        if now - self._told > PROGRESS_EVERY_S:
            self._tell(stage, fraction)
            self._told = now

    def _tell(self, stage: str, fraction: float) -> None:
        self._send({"op": "progress", "batch": self._batch, "stage": stage, "fraction": min(1.0, max(0.0, fraction))})

    def _fail(self, jobs: list[_Job], code: str, message: str) -> None:
        for job in jobs:
            self._outcome(
                {"op": "failed", "batch": self._batch, "index": job.index, "code": code, "message": message[:1000]}
            )

    def _outcome(self, header: dict[str, Any], frames: Sequence[Any] = ()) -> None:
        """What became of one job; with the batch's last one, the front also hears that we are free."""
        self._unanswered -= 1
        if self._unanswered == 0:
            header["idle"] = self._report()
        self._send(header, frames)

    def _report(self) -> dict[str, Any]:
        return {"models": self._models.names, "seconds": time.monotonic() - self._began}

    def _send(self, header: dict[str, Any], frames: Sequence[Any] = ()) -> None:
        send_message(self._socket, [json.dumps(header).encode(), *frames])

    def _receive(self) -> tuple[dict[str, Any], list[Any]]:
        head, *frames = receive_message(self._socket)
        return json.loads(head.bytes), frames


def completed(rgb: Any, prediction: DepthPrediction, sparse: dict[str, Any], body: Any) -> DepthPrediction:
    """The metric prediction that fits the sparse depth of a request.

    Raises:
        InputError: It does not belong to the image, or the calibration is impossible.
    """
    from leadline.completion.methods import complete  # noqa: PLC0415
    from leadline.sensors.camera import Camera  # noqa: PLC0415
    from leadline.sensors.lidar import project_points  # noqa: PLC0415

    numbers = np.frombuffer(body, "<f4").reshape(sparse["shape"])
    if sparse["kind"] == "map":
        return complete(rgb, prediction, numbers)
    height, width = rgb.shape[:2]
    wire = sparse["camera"]
    matrix = np.array([[wire["fx"], 0, wire["cx"]], [0, wire["fy"], wire["cy"]], [0, 0, 1.0]])
    camera = Camera(width, height, matrix, wire["model"], np.array(wire["distortion"]))
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


def _leave_with_input() -> None:
    while os.read(0, 1):  # not sys.stdin: its lock would be held when the interpreter ends
        continue
    os._exit(0)


def main() -> None:
    """Entry point of the process."""
    config = WorkerConfig(**json.loads(sys.stdin.readline()))
    configure(config.log_style, config.log_level)
    threading.Thread(target=_leave_with_input, daemon=True).start()
    keep_large_blocks()  # a batch's activations, faulted in page by page, cost what batching gains
    Worker(config).serve()
    os._exit(0)  # torch takes its time to leave, and nothing of this process is worth that


if __name__ == "__main__":
    main()
