"""The client: depth from a server, without torch. Needs pyzmq, NumPy and the standard library.

One :class:`Client` serves three habits, all from the same background thread that owns the socket:

>>> with Client("tcp://127.0.0.1:5570") as client:                       # doctest: +SKIP
...     depth = client.predict("photo.jpg", ensemble=4)                  # wait for it
...     depth = await client.predict_async(rgb, timeout_s=10)            # asyncio
...     job = client.submit(rgb, on_progress=print)                      # a Job: callbacks, cancel(), result()
...     job.add_done_callback(lambda job: print(job.result().shape))

Results are :class:`leadline.DepthPrediction` (``values``, ``space``, ``uncertainty``, ``metric``, ``model``, ``meta``), those of
``normals`` and ``submit_normals`` a :class:`leadline.depth.normals.NormalsPrediction`.
The client reconnects and asks again by itself; asking twice is safe, as a request always gives the same result.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from leadline.depth.normals import NormalsPrediction
from leadline.depth.prediction import DepthPrediction
from leadline.errors import Cancelled, InputError
from leadline.serving.client.job import Answer, Job, OnProgress
from leadline.serving.client.keys import ClientKeys, load_client_keys
from leadline.serving.client.link import Link
from leadline.serving.client.pending import Lent, Pending
from leadline.serving.protocol import messages, wire
from leadline.serving.protocol.failures import (
    AccessDenied,
    Busy,
    Refused,
    ServerError,
    ServerUnreachable,
    ServingError,
    TimedOut,
)
from leadline.serving.protocol.messages import CameraInfo, Progress

__all__ = [
    "AccessDenied",
    "Busy",
    "CameraInfo",
    "Client",
    "Job",
    "ModelInfo",
    "Progress",
    "Refused",
    "ServerError",
    "ServerInfo",
    "ServerUnreachable",
    "ServingError",
    "TimedOut",
]

#: uint8 (H, W, 3), (H, W, 4: alpha is dropped), (H, W, 1) or (H, W); JPEG or PNG bytes; the path of such a file.
Image: TypeAlias = Any
#: A map of metres (H, W) with 0 for "not measured"; or points (N, 3) in metres and the camera that sees them.
Sparse: TypeAlias = "npt.NDArray[Any] | tuple[npt.NDArray[Any], CameraInfo]"

DEFAULT_ADDRESS = "tcp://127.0.0.1:5570"
CANCEL_POLL_S = 0.03


@dataclass(frozen=True)
class ModelInfo:
    """A model of the server, as :class:`leadline.checkpoints.capabilities.Capabilities` has it; None: not known.

    A server with a loader of its own knows most of it only once the model was used.
    """

    name: str
    family: str | None = None
    title: str | None = None
    output: str | None = None
    space: str | None = None
    near_is_high: bool | None = None
    min_steps: int | None = None
    max_steps: int | None = None
    default_steps: int | None = None
    default_size: int | None = None
    stochastic: bool | None = None
    ensemble: str | None = None
    needs_sparse_depth: bool | None = None
    licence: str | None = None
    non_commercial: bool | None = None
    loaded: bool = False


@dataclass(frozen=True)
class ServerInfo:
    """The answer to ``hello``."""

    server: str
    protocol: int
    models: tuple[ModelInfo, ...]
    default_model: str
    limits: Mapping[str, float]


class Client:
    """A connection to a Leadline server. Threads may share it.

    Args:
        address: ``tcp://host:port`` or ``ipc://path``.
        timeout_s: Time allowed for a result when a call does not say.
        server_key: The server's public key (40 characters), for servers that use keys.
        client_keys: This client's key file as made by ``leadline keys add``, or (public, secret). A key file knows
            the server's key as well.
        reconnect_s: How long a server may be away, at the beginning or between, before requests fail.
        retries: How often a request is sent again because the connection broke or the server fell silent.
        share: Pass pixels through shared memory if the server runs on this machine and offers it. Results then are
            views of it; while many of them are kept, further ones travel in messages.

    Raises:
        InputError: The address or a key is malformed.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = 120.0,
        server_key: str | None = None,
        client_keys: ClientKeys | tuple[str, str] | str | Path | None = None,
        reconnect_s: float = 5.0,
        retries: int = 3,
        share: bool = True,
    ) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._session = uuid.uuid4().hex
        keys = load_client_keys(server_key, client_keys)
        self._link = Link(address, keys, reconnect_s, retries, self._session if share else None)
        self._link.start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; requests on their way raise :class:`leadline.Cancelled`."""
        self._link.stop()

    def hello(self, timeout_s: float | None = None) -> ServerInfo:
        """What the server is, which models it has and what its limits are."""
        header = self._ask(messages.Hello(_new_id()), timeout_s)
        known = ModelInfo.__dataclass_fields__
        try:
            return ServerInfo(
                server=str(header["server"]),
                protocol=int(header["protocol"]),
                models=tuple(ModelInfo(**{k: v for k, v in m.items() if k in known}) for m in header["models"]),
                default_model=str(header["default_model"]),
                limits=dict(header["limits"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ServingError("the server's hello is malformed; is it a Leadline server of this version?") from error

    def status(self, metrics: bool = False, timeout_s: float | None = None) -> Mapping[str, Any]:
        """Queue and workers; with ``metrics`` also ``["metrics"]``, a text in Prometheus' format."""
        return self._ask(messages.Status(_new_id(), metrics), timeout_s)

    def predict(
        self, image: Image, *, cancel: threading.Event | None = None, timeout_s: float | None = None, **options: Any
    ) -> DepthPrediction:
        """Depth of an image; waits for it.

        Args:
            image: uint8 RGB array (H, W, 3), (H, W, 4) or (H, W); JPEG or PNG bytes; the path of such a file.
            cancel: Set this event, from any thread, to stop.
            timeout_s: Time allowed. None: the client's.
            **options: See :meth:`submit`.

        Raises:
            Refused: The image, model or an option is not acceptable (also an ``InputError``).
            Busy: The queue is full.
            TimedOut: No result in time.
            ServerUnreachable, AccessDenied, ServerError: See there.
            leadline.Cancelled: ``cancel`` was set.
        """
        return _waited(self.submit(image, timeout_s=timeout_s, **options), cancel)

    async def predict_async(self, image: Image, **options: Any) -> DepthPrediction:
        """Depth of an image, awaited; cancelling the task cancels the request. Arguments as for :meth:`submit`."""
        job = self.submit(image, **options)
        try:
            prediction: DepthPrediction = await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            job.cancel()
            raise
        return prediction

    def submit(
        self,
        image: Image,
        *,
        model: str | None = None,
        steps: int | None = None,
        ensemble: int = 1,
        size: int | None = None,
        seed: int = 0,
        detail: Literal["off", "edges", "tiles"] = "off",
        reply: str = "float32",
        sparse: Sparse | None = None,
        latest: str | None = None,
        steady: str | None = None,
        validity: bool = True,
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Job[DepthPrediction]:
        """Send a request and return at once.

        Args:
            image: See :meth:`predict`. An array must not change until the job is done.
            model: A name from ``hello().models``; None for the server's default.
            steps: Network evaluations; None for the model's default.
            ensemble: Members; more than 1 gives an uncertainty.
            size: Processing long edge, pixels; 0 the image's own; None the model's default.
            seed: Start noise.
            detail: "edges" puts the steps in depth where the image has its edges; "tiles" also lets the model look
                closer, for about ten times the work.
            reply: How the map travels: "float32"; "float16" (half the bytes, 3 digits); "uint16" (linear, 16 bits);
                "png16" (the same, compressed, for slow networks).
            sparse: Metres: a map (H, W) of the image's size, 0 where nothing was measured; or (points (N, 3), CameraInfo).
                Makes the result metric.
            latest: A name for a stream of frames, of which only the newest waiting one matters: it takes the place
                of older ones, whose jobs end with the code ``superseded``.
            steady: A name for a film whose frames are sent in order, one request each; the server holds them still by
                :class:`leadline.video.stabiliser.Stabiliser`. A new film has a new name. ``meta["video"]`` says what was done.
            validity: With ``sparse``, ask for ``validity``, too. False for servers of version 0.1, which know no such field.
            timeout_s: Time allowed, after which the server stops, too. None: the client's.
            on_progress: Called in the client's thread with a :class:`Progress`; must return quickly.

        Raises:
            InputError: The image is of no kind that can be sent.
        """
        return self._submit(
            image, timeout_s, on_progress, sparse, model=model, steps=steps, ensemble=ensemble, size=size, seed=seed,
            detail=detail, reply=reply, latest=latest, steady=steady, validity=validity and sparse is not None,
        )  # fmt: skip

    def normals(
        self, image: Image, *, cancel: threading.Event | None = None, timeout_s: float | None = None, **options: Any
    ) -> NormalsPrediction:
        """Surface normals of an image, by a model whose ``output`` is "normals"; waits for them.

        Args:
            image, cancel, timeout_s: See :meth:`predict`, which also says what is raised.
            **options: See :meth:`submit_normals`.
        """
        return _waited(self.submit_normals(image, timeout_s=timeout_s, **options), cancel)

    def submit_normals(
        self,
        image: Image,
        *,
        model: str | None = None,
        steps: int | None = None,
        ensemble: int = 1,
        size: int | None = None,
        seed: int = 0,
        reply: Literal["float32", "float16"] = "float32",
        latest: str | None = None,
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Job[NormalsPrediction]:
        """Ask for surface normals and return at once; arguments as for :meth:`submit`.

        A model that gives depth refuses, and so does a model of normals that is asked for depth.
        """
        return self._submit(
            image, timeout_s, on_progress, None, model=model, steps=steps, ensemble=ensemble, size=size, seed=seed,
            reply=reply, latest=latest, output="normals",
        )  # fmt: skip

    def _submit(
        self,
        image: Image,
        timeout_s: float | None,
        on_progress: OnProgress | None,
        sparse: Sparse | None,
        **options: Any,
    ) -> Job[Any]:
        """Send a request; ``options`` as :class:`~leadline.serving.protocol.messages.Predict` has them."""
        image_info, pixels_or_file = _image(image)
        sparse_info, sparse_body = _sparse(sparse) if sparse is not None else (None, None)
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        request = messages.Predict(
            id=_new_id(),
            image=image_info,
            session=self._session,
            sparse=sparse_info,
            deadline_s=timeout_s if timeout_s <= messages.Limits.deadline_s else None,
            progress=on_progress is not None,
            **options,
        )
        job: Job[Any] = Job(request.id, self._cancel, on_progress)
        bodies = [pixels_or_file] if sparse is None else [pixels_or_file, sparse_body]
        lent = Lent.of(self._link.loan, request, pixels_or_file)
        self._link.send(Pending(job, request, timeout_s, bodies, lent))
        return job

    def _cancel(self, job: Job[Any]) -> None:
        if not job.done():
            job.finish(Cancelled("the request was cancelled"))
            self._link.forget(job.id, wire.pack(wire.request_header(messages.Cancel(job.id, self._session))))

    def _ask(self, request: messages.Hello | messages.Status, timeout_s: float | None) -> Mapping[str, Any]:
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        job: Job[Any] = Job(request.id, self._cancel, None)
        self._link.send(Pending(job, request, timeout_s))
        header: Mapping[str, Any] = job.future.result()
        return header


def _waited(job: Job[Answer], cancel: threading.Event | None) -> Answer:
    """The outcome of a job, which ``cancel`` stops."""
    if cancel is None:
        return job.result()
    while not wait([job.future], CANCEL_POLL_S).done:
        if cancel.is_set():
            job.cancel()
    return job.result()


def _new_id() -> str:
    return uuid.uuid4().hex


def _image(image: Image) -> tuple[messages.ImageInfo, Any]:
    if isinstance(image, str | Path):
        try:
            image = Path(image).read_bytes()
        except OSError as error:
            raise InputError(f"{image} cannot be read ({error.strerror}); check the path") from error
    if isinstance(image, bytes | bytearray | memoryview):
        encoding = "png" if bytes(image[:4]) == b"\x89PNG" else "jpeg"
        if encoding == "jpeg" and bytes(image[:2]) != b"\xff\xd8":
            raise InputError("these bytes are neither JPEG nor PNG; send the pixels as an array")
        return messages.ImageInfo(encoding), image
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"an image is a uint8 array, JPEG or PNG bytes, or a path, not {kind}; convert it")
    rgb = image[:, :, None] if image.ndim == 2 else image
    if rgb.ndim != 3 or rgb.shape[2] not in (1, 3, 4):
        raise InputError(f"an image array is (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not {image.shape}")
    rgb = rgb[:, :, :3]
    height, width, channels = rgb.shape
    return messages.ImageInfo("raw", (height, width, channels)), rgb


def _sparse(sparse: Sparse) -> tuple[messages.SparseInfo, Any]:
    numbers, camera = sparse if isinstance(sparse, tuple) else (sparse, None)
    numbers = np.ascontiguousarray(numbers, "<f4")
    if numbers.ndim != 2 or (camera is not None and numbers.shape[1] != 3):
        raise InputError(f"sparse depth is a map (H, W), or points (N, 3) with a CameraInfo; not {numbers.shape}")
    rows, columns = numbers.shape
    return messages.SparseInfo("map" if camera is None else "points", (rows, columns), camera), numbers.data
