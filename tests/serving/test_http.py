"""The HTTP interface as its clients see it: curl, other programs, a browser."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import socket
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import cv2
import numpy as np
import pytest
from PIL import Image
from stand_in import expected
from waiting import until

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from leadline.cli.main import COMMANDS
from leadline.errors import InputError
from leadline.serving.client.client import Client
from leadline.serving.client.keys import KeyRing
from leadline.serving.protocol.messages import Quota
from leadline.serving.protocol.settings import ServerConfig
from leadline.serving.server.server import Server


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return buffer.getvalue()


def ask(server: Server, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes, Any]:
    headers = {"Content-Type": "image/png", **{key.replace("_", "-"): value for key, value in headers.items()}}
    request = Request(f"{server.http_address}{path}", body, headers)
    try:
        with urlopen(request, timeout=30) as response:
            return response.status, response.read(), response.headers
    except HTTPError as error:
        return error.code, error.read(), error.headers


def test_normals_come_back_as_every_format(http: Server, image: np.ndarray) -> None:
    body, path = encoded(image), "/v1/predict?model=faces&output=normals&ensemble=2&format="
    truth = np.broadcast_to(np.float32([0.6, 0.0, 0.8]), image.shape)
    status, answer, headers = ask(http, f"{path}npy", body)
    assert (status, headers["Leadline-Output"]) == (200, "normals")
    assert headers["Leadline-Axes"] == "x right, y up, z towards the viewer"
    np.testing.assert_array_equal(np.load(io.BytesIO(answer)), truth)
    said = json.loads(ask(http, f"{path}json", body)[1])
    assert (said["output"], said["width"], said["height"]) == ("normals", 64, 48)
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(said["values"]), "<f4").reshape(truth.shape), truth)
    numbers = cv2.imdecode(np.frombuffer(ask(http, f"{path}png", body)[1], np.uint8), cv2.IMREAD_UNCHANGED)[:, :, ::-1]
    assert numbers.dtype == np.uint16
    np.testing.assert_allclose(numbers * (2 / 65535) - 1, truth, atol=2e-5)
    with zipfile.ZipFile(io.BytesIO(ask(http, f"{path}zip", body)[1])) as archive:
        assert set(archive.namelist()) == {"normals.npy", "normals.png", "about.json", "uncertainty.npy"}
    for wrong in ("model=faces", "model=quick&output=normals"):
        status, answer, _ = ask(http, f"/v1/predict?{wrong}", body)
        assert (status, json.loads(answer)["code"]) == (422, "bad_option")


def test_a_photograph_comes_back_as_every_format(http: Server, image: np.ndarray) -> None:
    body, truth = encoded(image), expected(image, 7, 3)
    status, answer, headers = ask(http, "/v1/predict?seed=7&steps=3&format=npy", body)
    assert status == 200
    np.testing.assert_array_equal(np.load(io.BytesIO(answer)), truth)
    assert headers["Leadline-Space"] == "log_depth"
    assert headers["Leadline-Metric"] == "false"

    status, answer, headers = ask(http, "/v1/predict?seed=7&steps=3", body)  # PNG
    numbers = np.asarray(Image.open(io.BytesIO(answer))).astype(float)
    low, high = float(headers["Leadline-Low"]), float(headers["Leadline-High"])
    np.testing.assert_allclose(low + (high - low) * numbers / 65535, truth, atol=1e-4)

    status, answer, _ = ask(http, "/v1/predict?seed=7&steps=3&ensemble=2&format=json", body)
    said = json.loads(answer)
    assert (said["width"], said["height"], said["space"]) == (64, 48, "log_depth")
    for name, values in (("values", expected(image, 7, 3, 2)), ("uncertainty", np.full((48, 64), 0.5))):
        numbers = np.frombuffer(base64.b64decode(said[name]), said["dtype"]).reshape(48, 64)
        np.testing.assert_array_equal(numbers, values.astype(np.float32))

    status, answer, _ = ask(http, "/v1/predict?ensemble=2&format=zip", body)
    with zipfile.ZipFile(io.BytesIO(answer)) as archive:
        assert {"depth.npy", "depth16.png", "depth-colours.png", "uncertainty.npy", "scene.html", "about.json"} <= set(
            archive.namelist()
        )
        np.testing.assert_array_equal(np.load(io.BytesIO(archive.read("depth.npy"))), expected(image, ensemble=2))


def as_json(image: np.ndarray, **more: Any) -> bytes:
    return json.dumps({"image": base64.b64encode(encoded(image)).decode(), **more}).encode()


def numbers(values: np.ndarray) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def test_sparse_depth_makes_it_metric_over_http(http: Server) -> None:
    rows, columns = np.mgrid[0:96, 0:128]
    image = np.repeat((60 + rows + columns // 4).astype(np.uint8)[:, :, None], 3, 2)
    with Client(http.address, timeout_s=60) as client:
        relative = client.predict(image).values
        depth = np.exp(0.8 * relative + 1.0)
        measured = np.where((rows % 6 == 0) & (columns % 6 == 0), depth, 0.0).astype(np.float32)
        truth = client.predict(image, sparse=measured).values
    given = {"kind": "map", "shape": [96, 128], "data": numbers(measured)}
    status, answer, headers = ask(
        http, "/v1/predict?format=npy", as_json(image, sparse=given), Content_Type="application/json"
    )
    assert status == 200, answer
    assert headers["Leadline-Metric"] == "true"
    np.testing.assert_allclose(np.load(io.BytesIO(answer))[0], truth, rtol=1e-5)
    _, answer, _ = ask(http, "/v1/predict?format=json", as_json(image, sparse=given), Content_Type="application/json")
    validity = np.frombuffer(base64.b64decode(json.loads(answer)["validity"]), np.uint8).reshape(96, 128)
    assert (validity[measured > 0] == 0).mean() > 0.9
    assert (validity[measured == 0] > 0).all()
    _, answer, _ = ask(http, "/v1/predict?format=zip", as_json(image, sparse=given), Content_Type="application/json")
    files = zipfile.ZipFile(io.BytesIO(answer))
    np.testing.assert_array_equal(np.load(files.open("validity.npy")), validity)

    at = np.argwhere(measured > 0)
    z = measured[measured > 0]
    points = np.stack([(at[:, 1] + 0.0 - 64) / 100 * z, (at[:, 0] - 48) / 100 * z, z], 1)
    given = {"kind": "points", "shape": list(points.shape), "data": numbers(points),
             "camera": {"fx": 100, "fy": 100, "cx": 64, "cy": 48}}  # fmt: skip
    status, answer, headers = ask(
        http, "/v1/predict?format=npy", as_json(image, sparse=given), Content_Type="application/json"
    )
    assert status == 200, answer
    assert headers["Leadline-Metric"] == "true"
    assert np.median(np.abs(np.load(io.BytesIO(answer))[0] / depth - 1)) < 0.05


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"[1, 2", 400, "no JSON object"),
        (b"[" * 100_000, 400, "no JSON object"),
        (b'{"image": "?"}', 400, "base64"),
        (b'{"picture": ""}', 400, "image and"),
        ({"sparse": {"kind": "points", "shape": [1, 3], "data": numbers(np.ones((1, 3)))}}, 400, "camera is missing"),
        ({"sparse": {"kind": "map", "shape": [48, 64], "data": ""}}, 400, "bytes"),
        ({"sparse": {"kind": "map", "shape": [48, 64], "data": "", "scale": 2}}, 400, "scale"),
        ({"sparse": {"kind": "points", "shape": [1, 3], "data": numbers(np.ones((1, 3))),
                     "camera": {"fx": float("inf"), "fy": 1, "cx": 1, "cy": 1}}}, 400, "finite"),
    ],
)  # fmt: skip
def test_json_that_is_wrong_is_refused_in_words(
    http: Server, image: np.ndarray, body: Any, status: int, word: str
) -> None:
    sent = body if isinstance(body, bytes) else as_json(image, **body)
    got, answer, _ = ask(http, "/v1/predict", sent, Content_Type="application/json")
    assert (got, word in json.loads(answer)["message"]) == (status, True), answer


def events(text: bytes) -> list[tuple[str, Any]]:
    parts = [part.split(b"\n") for part in text.strip().split(b"\n\n")]
    return [(name.removeprefix(b"event: ").decode(), json.loads(data.removeprefix(b"data: "))) for name, data in parts]


def test_progress_comes_as_events_before_the_answer(http: Server, image: np.ndarray) -> None:
    status, text, headers = ask(http, "/v1/predict?model=slow&steps=4&seed=5&format=events", encoded(image))
    assert status == 200
    assert headers["Content-Type"].startswith("text/event-stream")
    assert headers["traceparent"]
    heard = events(text)
    assert [name for name, _ in heard[:-1]] == ["progress"] * (len(heard) - 1)
    fractions = [data["fraction"] for _, data in heard[:-1] if data["stage"] == "solve"]
    assert len(fractions) >= 2
    assert fractions == sorted(fractions)
    name, said = heard[-1]
    assert name == "result"
    values = np.frombuffer(base64.b64decode(said["values"]), "<f4").reshape(48, 64)
    np.testing.assert_array_equal(values, expected(image, 5, 4))

    heard = events(ask(http, "/v1/predict?steps=13&format=events", encoded(image))[1])
    assert heard[-1][0] == "error"
    assert heard[-1][1]["code"] == "bad_option"


def test_a_reader_of_events_that_goes_away_frees_the_worker(http: Server, image: np.ndarray) -> None:
    where, body = urlsplit(http.http_address or ""), encoded(image)
    with Client(http.address, timeout_s=30) as client:
        with closing(socket.create_connection((where.hostname, where.port), 5)) as raw:
            raw.sendall(
                b"POST /v1/predict?model=slow&steps=60&format=events HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            assert until(lambda: client.status()["running"] == 1, 10)
            assert raw.recv(15) == b"HTTP/1.1 200 OK"
        assert until(lambda: client.status()["running"] == 0, 8)


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "word"),
    [
        ("/v1/predict?model=gpt", "image", {}, 404, "there is no model"),
        ("/v1/predict?ensemble=999", "image", {}, 400, "ensemble"),
        ("/v1/predict?steps=13", "image", {}, 422, "superstitious"),
        ("/v1/predict", b"GIF89a", {}, 422, "neither JPEG nor PNG"),
        ("/v1/predict", "large", {}, 422, "megapixels"),
        ("/v1/predict", bytes(5 << 20), {}, 413, "bytes"),
        ("/v1/predict", "image", {"Content_Type": "text/plain"}, 415, "Content-Type"),
        ("/v1/predict?timeout_s=0.3&model=slow&steps=20", "image", {}, 504, "no result within"),
    ],
)
def test_errors_have_a_status_a_code_and_a_sentence(
    http: Server, image: np.ndarray, path: str, body: Any, headers: dict[str, str], status: int, word: str
) -> None:
    body = {"image": encoded(image), "large": encoded(np.zeros((1500, 1500, 3), np.uint8))}.get(body, body) \
        if isinstance(body, str) else body  # fmt: skip
    got, answer, _ = ask(http, path, body, **headers)
    said = json.loads(answer)
    assert got == status, said
    assert word in said["message"]
    assert said["code"]


def test_traces_are_continued_and_models_and_the_interface_described(http: Server, image: np.ndarray) -> None:
    trace = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    _, _, headers = ask(http, "/v1/predict", encoded(image), traceparent=trace)
    assert headers["traceparent"].startswith("00-" + "ab" * 16)
    assert headers["traceparent"] != trace
    _, _, headers = ask(http, "/v1/predict", encoded(image), traceparent="nonsense")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", headers["traceparent"])
    models = json.loads(ask(http, "/v1/models")[1])
    assert [one["name"] for one in models["models"]] == ["quick", "slow", "faces"]
    described = json.loads(ask(http, "/openapi.json")[1])
    operation = described["paths"]["/v1/predict"]["post"]
    assert {one["name"] for one in operation["parameters"]} >= {"model", "steps", "ensemble", "size", "seed", "format"}
    assert "image/jpeg" in operation["requestBody"]["content"]


def test_a_client_that_goes_away_frees_the_worker(http: Server, image: np.ndarray) -> None:
    def cancelled() -> float:
        return http.metrics.value("outcomes_total", code="cancelled", model="slow")

    where, body, before = urlsplit(http.http_address or ""), encoded(image), cancelled()
    with Client(http.address, timeout_s=90) as client:
        with closing(socket.create_connection((where.hostname, where.port), 5)) as raw:
            raw.sendall(
                b"POST /v1/predict?model=slow&steps=60 HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            assert until(lambda: client.status()["running"] == 1)
        assert until(lambda: client.status()["running"] == 0)
        assert cancelled() == before + 1  # it did not run to its end


def test_other_sites_reach_nothing(http: Server, image: np.ndarray) -> None:
    assert ask(http, "/v1/models", Host="evil.example.org")[0] == 400
    assert "frame-ancestors 'none'" in ask(http, "/")[2]["Content-Security-Policy"]


def test_a_killed_gateway_comes_back_and_zeromq_does_not_notice(http: Server, image: np.ndarray) -> None:
    assert http._gateway is not None
    pid = http._gateway.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with Client(http.address, timeout_s=90) as client:
        np.testing.assert_array_equal(client.predict(image, seed=3).values, expected(image, 3))
    started = time.monotonic()
    assert ask(http, "/v1/predict?format=npy", encoded(image))[0] == 200  # the socket is kept: it only waits
    assert time.monotonic() - started < 60.0


def test_tokens_let_in_whom_keys_let_in(start: Callable[..., Server], image: np.ndarray, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "ring")
    token = ring.add("ana", tmp_path / "ana.json", Quota(work=2.0)).token
    server = start(keys=ring.folder, http_port=0)
    assert until(lambda: ask(server, "/health/ready")[0] == 200)
    body = encoded(image)
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Basic {token}"}):
        status, _, answered = ask(server, "/v1/predict", body, **headers)
        assert status == 401
        assert answered["WWW-Authenticate"] == "Bearer"
    assert ask(server, "/v1/models")[0] == 401
    assert ask(server, "/v1/predict", body, Authorization=f"Bearer {token}")[0] == 200
    assert server.metrics.value("outcomes_total", client="ana", code="ok") == 1
    status, answer, _ = ask(server, "/v1/predict?size=1500", body, Authorization=f"Bearer {token}")
    assert status == 400
    assert "megapixels of work" in json.loads(answer)["message"]
    assert token not in "".join(path.read_text() for path in (ring.folder / "clients").iterdir())
    ring.remove("ana")
    assert until(lambda: ask(server, "/v1/predict", body, Authorization=f"Bearer {token}")[0] == 401)


def test_what_others_can_reach_needs_keys() -> None:
    with pytest.raises(InputError, match="can be reached by others"):
        Server(ServerConfig("tcp://127.0.0.1:*", {"a": "{}"}, http_port=0, http_host="0.0.0.0"))
    assert "ui" in COMMANDS


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_the_page_in_a_real_browser(http: Server, tmp_path: Path) -> None:
    webdriver = pytest.importorskip("selenium.webdriver")
    driver_path = shutil.which("chromedriver")
    if CHROMIUM is None or driver_path is None:
        pytest.skip("no Chromium and chromedriver here")
    rows = np.linspace(0, 255, 240)[:, None, None] * np.ones((1, 320, 3))
    photograph = tmp_path / "photo.jpg"
    Image.fromarray(rows.astype(np.uint8)).save(photograph, quality=95)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader",
                     "--window-size=1200,1600", f"--user-data-dir={tmp_path / 'profile'}"):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver_path)
    with webdriver.Chrome(options=options, service=service) as browser:
        browser.get(http.http_address or "")
        assert until(lambda: len(browser.find_elements("css selector", "#model option")) >= 2)
        browser.find_element("id", "file").send_keys(str(photograph))
        assert until(lambda: "Shape only" in browser.find_element("id", "said").text)
        sizes = "return ['photo', 'depth', 'uncertainty'].map(id => document.getElementById(id).naturalWidth)"
        assert until(lambda: browser.execute_script(sizes) == [320, 320, 320])
        links = browser.find_elements("css selector", "#files a")
        assert {link.text for link in links} >= {"depth.npy", "depth16.png", "scene.html", "uncertainty.npy"}
        fetched = browser.execute_async_script(
            "const done = arguments[0]; const a = [...document.querySelectorAll('#files a')].find(a => a.download === 'depth.npy');"
            "fetch(a.href).then(r => r.arrayBuffer()).then(b => done(b.byteLength)).catch(e => done(String(e)))"
        )
        assert fetched == 128 + 4 * 320 * 240
        browser.switch_to.frame("scene")
        before = _drawn(browser)
        assert before > 1000  # pixels of the scene
        canvas = browser.find_element("tag name", "canvas")
        webdriver.ActionChains(browser).drag_and_drop_by_offset(canvas, 120, 40).perform()
        browser.find_element("id", "points").click()
        assert _drawn(browser) > 1000
        browser.switch_to.default_content()
        complaints = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert not [entry for entry in complaints if "favicon" not in entry["message"]], complaints


def _drawn(browser: Any) -> int:
    """Pixels of the page's picture that are not its background."""
    time.sleep(0.5)
    shot = np.asarray(
        Image.open(io.BytesIO(browser.find_element("tag name", "canvas").screenshot_as_png)).convert("RGB")
    )
    background = shot[0, 0].astype(int)
    return int((np.abs(shot.astype(int) - background).sum(2) > 24).sum())
