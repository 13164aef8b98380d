"""The HTTP interface: ``POST /v1/predict``, the models, health, and one page for people."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from fastapi.security.utils import get_authorization_scheme_param
from starlette.middleware.trustedhost import TrustedHostMiddleware

from leadline.depth.normals import NormalsPrediction
from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.serving.client.keys import KeyRing, digest
from leadline.serving.http import body, events, outputs
from leadline.serving.http.body import HttpError
from leadline.serving.http.config import GatewayConfig
from leadline.serving.http.front import FrontLine
from leadline.serving.http.uploads import Uploads
from leadline.serving.protocol import messages, pixels, wire
from leadline.serving.protocol.addresses import client_by_address
from leadline.version import __version__

#: Bytes of requests' bodies at once, at least one of the largest; encodings of answers at once.
UPLOAD_BYTES, ENCODERS = 1 << 30, 2
#: How long what was read of the key ring holds.
KEYS_S = 1.0
_TRACE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

STATUS = {
    "bad_request": 400,
    "bad_image": 422,
    "bad_option": 422,
    "unknown_model": 404,
    "busy": 429,
    "rate_limited": 429,
    "deadline": 504,
    "cancelled": 403,  # only by the operator: the client's key was removed
    "worker_lost": 503,
    "shutting_down": 503,
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": text}
    for status, text in {
        400: "An option is out of range, or the image is too large",
        401: "No valid token",
        404: "No such model",
        413: "The image has too many bytes",
        415: "The body is neither an image nor JSON",
        422: "The image cannot be read, or the model does not take an option",
        429: "The queue, or this client's share of it, is full; try again later",
        503: "The server is stopping or has no worker",
        504: "The deadline passed",
    }.items()
}


def make_app(config: GatewayConfig) -> FastAPI:
    """The application."""
    front = FrontLine(config.endpoint)
    guests = _Guests(KeyRing(config.keys)) if config.keys is not None else None
    uploads = Uploads(max(UPLOAD_BYTES, config.limits.image_bytes))
    encoders = ThreadPoolExecutor(ENCODERS, "leadline-encoder")

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        front.start()
        yield
        await front.close()
        encoders.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="Leadline",
        version=__version__,
        description="Depth from a photograph. With keys, send `Authorization: Bearer TOKEN`; the token is in the key file.",
        lifespan=life,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
    )
    if config.hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(config.hosts))

    def client_of(request: Request) -> str:
        if guests is not None:
            scheme, token = get_authorization_scheme_param(request.headers.get("authorization"))
            name = guests.name(token) if scheme.lower() == "bearer" else None
            if name is None:
                raise HttpError(401, "unauthorized", "send Authorization: Bearer and the token of your key file")
            return f"key:{name}"
        host, port = request.client or ("unknown", 0)
        return client_by_address(host, f"http:{host}:{port}")

    @app.exception_handler(HttpError)
    async def refuse(_: Request, error: HttpError) -> JSONResponse:
        headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}}.get(error.status, {})
        return JSONResponse({"code": error.code, "message": str(error)}, error.status, headers)

    _add_page(app)
    _add_health(app, front)

    @app.get("/v1/models", responses={401: _ERRORS[401]})
    async def models(request: Request) -> dict[str, Any]:
        """The models, the default one, and the limits."""
        client_of(request)
        hello = await _answered(front.inform(messages.Hello("")))
        keys = ("server", "models", "default_model", "limits")
        return {**{key: hello[key] for key in keys if key in hello}, "formats": [*outputs.MEDIA_TYPES, "events"]}

    @app.post(
        "/v1/predict",
        response_class=Response,
        responses={
            200: {"content": {kind: {} for kind in (*outputs.MEDIA_TYPES.values(), events.MEDIA_TYPE)}},
            **_ERRORS,
        },
        openapi_extra={"requestBody": body.DESCRIPTION},
    )
    async def predict(
        request: Request,
        model: Annotated[str | None, Query(max_length=100, description="See /v1/models.")] = None,
        steps: Annotated[int | None, Query(ge=1, description="Network evaluations; default: the model's.")] = None,
        ensemble: Annotated[int, Query(ge=1, description="Maps averaged; above 1 gives an uncertainty.")] = 1,
        size: Annotated[int | None, Query(ge=0, description="Processing long edge in pixels; 0: the image's.")] = None,
        seed: Annotated[int, Query(ge=0, description="Start noise.")] = 0,
        detail: Annotated[
            Literal["off", "edges", "tiles"],
            Query(description="Edges where the picture has them; tiles: a closer look."),
        ] = "off",
        output: Annotated[
            Literal["depth", "normals"], Query(description="normals: of a model that gives surface normals.")
        ] = "depth",
        format: Annotated[  # noqa: A002
            Literal["png", "npy", "json", "zip", "events"],
            Query(description="Of the answer; zip holds all files; events tell of progress before the JSON."),
        ] = "png",
        timeout_s: Annotated[float | None, Query(gt=0, description="After this time the server stops.")] = None,
    ) -> Response:
        """Depth, or surface normals, of a JPEG or PNG: the request's body, alone or in JSON with sparse depth."""
        client, trace = client_of(request), _trace(request.headers.get("traceparent"))
        with uploads.body() as coming:
            upload = await body.read(request, config.limits.image_bytes, uploads, coming)
        header = wire.request_header(messages.Predict(
            "0", messages.ImageInfo(upload.encoding), model=model, steps=steps, ensemble=ensemble, size=size, seed=seed,
            detail=detail, output=output, deadline_s=timeout_s, trace=trace, validity=upload.sparse is not None,
        ))  # fmt: skip
        if upload.sparse is not None:
            header["sparse"] = upload.sparse
        asked = _checked(header, upload, config.limits)

        async def answer(kind: str, tell: Callable[[messages.Progress], None] | None = None) -> tuple[bytes, Any]:
            result, bodies = await _answered(front.predict(client, asked, upload.bodies, tell))
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(encoders, _encoded, result, bodies, upload.image, kind)

        async def answer_and_tell(tell: Callable[[messages.Progress], None]) -> bytes:
            return (await answer(outputs.JSON, tell))[0]

        if format == "events":
            return StreamingResponse(
                events.stream(answer_and_tell),
                headers={"traceparent": trace, "Cache-Control": "no-store"},
                media_type=events.MEDIA_TYPE,
            )
        content, headers = await _until_gone(request, answer(format))
        return Response(content, headers={**headers, "traceparent": trace}, media_type=outputs.MEDIA_TYPES[format])

    return app


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        text = files("leadline.serving.http").joinpath("page/index.html").read_text(encoding="utf-8")
        return HTMLResponse(text, headers={"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"})

    @app.get("/page.js", include_in_schema=False)
    async def script() -> Response:
        text = files("leadline.serving.http").joinpath("page/page.js").read_text(encoding="utf-8")
        return Response(text, media_type="text/javascript")


def _add_health(app: FastAPI, front: FrontLine) -> None:
    @app.get("/health/live")
    async def live() -> dict[str, bool]:
        """Whether this process answers."""
        return {"live": True}

    @app.get("/health/ready", responses={503: {"description": "No worker is up"}})
    async def ready() -> JSONResponse:
        """Whether a prediction would be computed now."""
        try:
            status = await asyncio.wait_for(front.inform(messages.Status("")), 2.0)
        except (asyncio.TimeoutError, messages.WireError):
            return JSONResponse({"ready": False}, 503)
        up = sum(worker["state"] in ("idle", "busy") for worker in status.get("workers", []))
        well = up > 0 and not status.get("stopping")
        return JSONResponse({"ready": well, "workers": up}, 200 if well else 503)


_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:; connect-src 'self' blob:; "
    "frame-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _Guests:
    """Names of clients by their tokens, read again when a second has passed."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring
        self._names: dict[str, str] = {}
        self._read = -KEYS_S

    def name(self, token: str) -> str | None:
        now = asyncio.get_running_loop().time()
        if now - self._read >= KEYS_S:
            self._names = {guest.token_sha256: guest.name for guest in self._ring.guests() if guest.token_sha256}
            self._read = now
        return self._names.get(digest(token)) if token else None


def _trace(given: str | None) -> str:
    """The caller's trace with a step of ours, or a new one (W3C Trace Context)."""
    step = secrets.token_hex(8)
    if given and _TRACE.fullmatch(given):
        version, trace, _, flags = given.split("-")
        return f"{version}-{trace}-{step}-{flags}"
    return f"00-{secrets.token_hex(16)}-{step}-01"


def _checked(header: dict[str, Any], upload: body.Upload, limits: messages.Limits) -> messages.Predict:
    """The front checks it again; this is for a quick and exact answer."""
    try:
        asked = wire.read_request([messages.TAG, *wire.pack(header)[1:], *upload.bodies], limits)
    except messages.WireError as error:
        raise HttpError(STATUS.get(error.code, 500), error.code, str(error)) from error
    except ValueError as error:  # a number that JSON cannot have
        raise HttpError(400, "bad_request", "sparse holds a number that is not finite") from error
    assert isinstance(asked, messages.Predict)
    return asked


async def _answered(asking: Any) -> Any:
    try:
        return await asking
    except messages.WireError as error:
        raise HttpError(STATUS.get(error.code, 500), error.code, str(error)) from error


async def _until_gone(request: Request, asking: Any) -> Any:
    """The answer, unless the client goes away before; then the request is cancelled."""
    task = asyncio.ensure_future(asking)
    try:
        while not task.done():
            await asyncio.wait([task], timeout=0.5)
            if not task.done() and await request.is_disconnected():
                raise HttpError(499, "cancelled", "the client went away")
        return task.result()
    finally:
        task.cancel()


def _encoded(result: messages.Result, bodies: list[Any], image: bytes, kind: str) -> tuple[bytes, dict[str, str]]:
    maps = [pixels.decode_map(result.values, bodies[0])]
    if result.uncertainty is not None:
        maps.append(pixels.decode_map(result.uncertainty, bodies[1]))
    uncertainty = maps[1] if len(maps) > 1 else None
    validity = None if result.validity is None else pixels.decode_validity(result.validity, bodies[-1])
    if result.space is None:
        return outputs.encode_normals(NormalsPrediction(maps[0], uncertainty, result.model, result.meta), kind)
    prediction = DepthPrediction(
        maps[0],
        Space(result.space),
        uncertainty,
        metric=result.metric,
        model=result.model,
        meta=result.meta,
        validity=validity,
    )
    return outputs.encode(prediction, image, kind)
