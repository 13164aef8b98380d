from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import zmq
from stand_in import expected
from waiting import until

import leadline
from leadline.depth.prediction import Validity
from leadline.serving.client.client import Busy, CameraInfo, Client, Refused, ServerError, ServerUnreachable, TimedOut
from leadline.serving.protocol import messages, wire
from leadline.serving.protocol.messages import TAG, Limits
from leadline.serving.server.server import Server
from leadline.serving.worker.worker import own_device


def test_hello_says_what_there_is(client: Client) -> None:
    hello = client.hello()
    assert hello.protocol == 1
    assert [model.name for model in hello.models] == ["quick", "slow", "broken"]
    assert hello.default_model == "quick"
    assert hello.limits["megapixels"] == 2.0


def test_the_map_is_the_models(client: Client, image: np.ndarray) -> None:
    result = client.predict(image, steps=3, size=32, seed=7)
    assert isinstance(result, leadline.DepthPrediction)
    np.testing.assert_array_equal(result.values, expected(image, 7, 3, 1, 32))
    assert (result.space, result.metric, result.uncertainty) == (leadline.Space.LOG_DEPTH, False, None)
    assert result.meta["steps"] == 3
    assert client.hello().models[0].space == "log_depth"


@pytest.mark.parametrize("reply", ["float32", "float16", "uint16", "png16"])
def test_uncertainty_and_encodings(client: Client, image: np.ndarray, reply: str) -> None:
    result = client.predict(image, ensemble=2, reply=reply)
    assert result.uncertainty is not None
    np.testing.assert_allclose(result.values, expected(image, ensemble=2), atol=2e-3)
    np.testing.assert_allclose(result.uncertainty, 0.5, atol=2e-3)


@pytest.mark.parametrize("shape", [(48, 64, 4), (48, 64, 1), (48, 64), (1080, 1920, 3)])
def test_arrays_of_other_shapes(client: Client, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    image = image[:, ::2] if shape[1] > 1000 else image  # not contiguous
    result = client.predict(image)
    assert result.shape == image.shape[:2]
    np.testing.assert_array_equal(result.values, expected(image))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_encoded_images(client: Client, image: np.ndarray, suffix: str, tmp_path: Any) -> None:
    smooth = cv2.GaussianBlur(image, (0, 0), 5)
    path = tmp_path / f"photo{suffix}"
    cv2.imwrite(str(path), smooth[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    for form in (path, str(path), path.read_bytes()):
        np.testing.assert_allclose(client.predict(form).values, expected(smooth), atol=0.03)


def test_progress_is_told_in_order(client: Client, image: np.ndarray) -> None:
    heard: list[Any] = []
    client.predict(image, model="slow", steps=5, on_progress=heard.append)
    fractions = [p.fraction for p in heard if p.stage == "solve"]
    assert len(fractions) >= 3
    assert fractions == sorted(fractions)


def test_async_and_callbacks(client: Client, image: np.ndarray) -> None:
    async def several() -> list[Any]:
        return await asyncio.gather(*(client.predict_async(image, seed=seed) for seed in range(6)))

    for seed, result in enumerate(asyncio.run(several())):
        np.testing.assert_array_equal(result.values, expected(image, seed))
    done = threading.Event()
    job = client.submit(image, seed=9)
    job.add_done_callback(lambda _: done.set())
    assert done.wait(60)
    np.testing.assert_array_equal(job.result().values, expected(image, 9))


def test_cancelling_an_awaiting_task_cancels_the_request(server: Server, client: Client, image: np.ndarray) -> None:
    def cancelled() -> float:
        return server.metrics.value("outcomes_total", code="cancelled", model="slow")

    before = cancelled()

    async def give_up() -> None:
        task = asyncio.create_task(client.predict_async(image, model="slow", steps=50))
        await asyncio.sleep(0.4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    assert until(lambda: client.status()["running"] == 0)
    assert cancelled() == before + 1  # it did not run to its end


def test_cancel_takes_effect_between_steps(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start({"slow": {"step_s": 0.5}})
    with Client(server.address, timeout_s=90) as client:
        client.predict(image, steps=1)
        cancel = threading.Event()
        threading.Timer(0.3, cancel.set).start()
        started = time.monotonic()
        with pytest.raises(leadline.Cancelled):
            client.predict(image, steps=60, cancel=cancel)
        client.predict(image, steps=1)  # the worker is free again
        assert time.monotonic() - started < 20.0  # not in the middle of 30 seconds


def test_deadlines_hold_in_the_queue_and_at_work(client: Client, image: np.ndarray) -> None:
    running = client.submit(image, model="slow", steps=20, timeout_s=1.0)
    waiting = client.submit(image, steps=1, timeout_s=0.3)
    for job in (waiting, running):
        with pytest.raises(TimedOut):
            job.result(60.0)
    assert until(lambda: client.status()["running"] == 0)


def test_a_deadline_holds_while_progress_is_told(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start({"slow": {"step_s": 0.5}})
    header = wire.request_header(
        messages.Predict("late", messages.ImageInfo("raw", (48, 64, 3)), model="slow", steps=60, deadline_s=0.7)
    )
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.rcvtimeo = 0, 60000
        dealer.connect(server.address)
        started = time.monotonic()
        dealer.send_multipart(wire.pack(header, [image.tobytes()]))
        replies = [wire.read_reply(dealer.recv_multipart())]
        while isinstance(replies[-1], messages.Progress):
            replies.append(wire.read_reply(dealer.recv_multipart()))
    assert isinstance(replies[-1], messages.Failure)
    assert replies[-1].code == "deadline"
    assert 0.6 < time.monotonic() - started < 20.0  # not the 30 s of its steps


def test_a_client_may_wait_longer_than_the_server_allows(client: Client, image: np.ndarray) -> None:
    np.testing.assert_array_equal(client.predict(image, timeout_s=1e6).values, expected(image))


def test_detail_reaches_the_model(client: Client, image: np.ndarray) -> None:
    assert client.predict(image, detail="edges").meta["detail"] == "edges"
    assert client.predict(image).meta["detail"] == "off"


def test_latest_only(client: Client, image: np.ndarray) -> None:
    blocking = client.submit(image, model="slow", steps=5)
    assert until(lambda: client.status()["running"] == 1)
    frames = [client.submit(image, seed=seed, latest="camera") for seed in range(5)]
    for old in frames[:-1]:
        with pytest.raises(ServerError) as caught:
            old.result(60.0)
        assert caught.value.code == "superseded"
    np.testing.assert_array_equal(frames[-1].result(60.0).values, expected(image, 4))
    blocking.result(60.0)


def test_busy_when_the_share_is_used_up(client: Client, image: np.ndarray) -> None:
    jobs = [client.submit(image, model="slow", steps=2) for _ in range(8)]
    with pytest.raises(Busy):
        client.predict(image)
    for job in jobs:
        job.result(60.0)
    client.predict(image)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"model": "gpt"}, "unknown_model"),
        ({"model": "broken"}, "model_failed"),
        ({"steps": 13}, "bad_option"),
        ({"ensemble": 9}, "bad_request"),
        ({"reply": "pickle"}, "bad_request"),
    ],
)
def test_errors_say_what_is_wrong(client: Client, image: np.ndarray, options: dict[str, Any], code: str) -> None:
    with pytest.raises(ServerError) as caught:
        client.predict(image, **options)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, leadline.InputError) == (code != "model_failed")


def test_bad_images(client: Client) -> None:
    with pytest.raises(leadline.InputError, match="uint8"):
        client.predict(np.zeros((8, 8, 3)))
    with pytest.raises(leadline.InputError, match="neither JPEG nor PNG"):
        client.predict(b"GIF89a")
    with pytest.raises(Refused, match="damaged"):
        client.predict(b"\xff\xd8\xff\xe0rubbish")
    with pytest.raises(Refused, match="megapixels"):
        client.predict(np.zeros((1500, 1500, 3), np.uint8))
    truncated = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()[:60]
    with pytest.raises(Refused):
        client.predict(truncated)


def test_decompression_bombs_are_refused_by_their_header_and_by_what_they_hold(client: Client) -> None:
    bomb = cv2.imencode(".png", np.zeros((3000, 3000, 3), np.uint8))[1].tobytes()
    assert len(bomb) < 200_000
    with pytest.raises(Refused, match="3000×3000"):
        client.predict(bomb)
    liar = bomb[:16] + (64).to_bytes(4, "big") * 2 + bomb[24:]
    with pytest.raises(Refused):
        client.predict(liar)


def test_requests_of_several_clients_share_batches_and_never_cross(server: Server, image: np.ndarray) -> None:
    def one_client(number: int) -> int:
        largest = 0
        with Client(server.address, timeout_s=90) as client:
            for round_ in range(5):
                seed = number * 100 + round_
                result = client.predict(image, seed=seed, ensemble=1 + number % 2)
                np.testing.assert_array_equal(result.values, expected(image, seed, ensemble=1 + number % 2))
                largest = max(largest, result.meta["batch"])
        return largest

    with ThreadPoolExecutor(8) as pool:
        batches = list(pool.map(one_client, range(8)))
    assert max(batches) > 1


def test_sparse_depth_makes_it_metric(client: Client) -> None:
    pytest.importorskip("torch")
    rows = np.linspace(0.1, 0.9, 48)[:, None] * np.ones((1, 64))
    image = np.repeat((255 * rows).astype(np.uint8)[:, :, None], 3, axis=2)
    depth_m = np.exp(1.0 + 2.0 * image[:, :, 0] / 255.0).astype(np.float32)
    sparse = np.zeros_like(depth_m)
    sparse[::4, ::4] = depth_m[::4, ::4]
    result = client.predict(image, sparse=sparse, timeout_s=150)  # the worker imports SciPy for it
    assert result.metric
    assert result.uncertainty is not None
    assert np.median(np.abs(result.depth_m / depth_m - 1)) < 0.05
    assert result.validity is not None
    assert (result.validity.dtype, result.validity.shape) == (np.uint8, (48, 64))
    assert (result.validity[sparse > 0] == Validity.MEASURED).mean() > 0.9
    assert (result.validity[sparse == 0] != Validity.MEASURED).all()
    unasked = client.predict(image, sparse=sparse, validity=False)
    assert unasked.validity is None
    np.testing.assert_array_equal(unasked.values, result.values)

    v, u = np.nonzero(sparse)
    points = np.stack([(u - 31.5) / 50, (v - 23.5) / 50, np.ones(len(u))], 1) * depth_m[v, u, None]
    turned = points[:, [2, 0, 1]] * [1, -1, -1]  # x forward, y left, z up
    camera = CameraInfo(50, 50, 31.5, 23.5, points_to_camera=(0, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0, 0, 0, 0, 1))
    from_points = client.predict(image, sparse=(turned, camera))
    assert from_points.metric
    assert from_points.meta["completion"]["points"] == len(points)
    assert from_points.uncertainty is not None
    assert (from_points.uncertainty > 0).all()
    assert np.median(np.abs(from_points.depth_m / depth_m - 1)) < 0.05

    with pytest.raises(Refused):
        client.predict(image, sparse=sparse[:20])


def test_what_stands_behind_pixels_travels_beside_lent_memory(server: Server) -> None:
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    sparse = np.where(np.random.default_rng(1).random((480, 640)) < 0.02, 3.0, 0.0).astype(np.float32)
    with Client(server.address, timeout_s=150) as lent, Client(server.address, timeout_s=150, share=False) as sent:
        lent.predict(image)
        here, there = lent.predict(image, sparse=sparse), sent.predict(image, sparse=sparse)
    assert here.validity is not None
    np.testing.assert_array_equal(here.validity, there.validity)
    np.testing.assert_array_equal(here.values, there.values)


def test_options_of_loading_reach_the_loader(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start(loader="stand_in:load_with", decoder="small", backend="torch")
    with Client(server.address, timeout_s=60) as client:
        assert client.predict(image).model == "backend=torch, decoder=small"


def test_metrics(client: Client, image: np.ndarray) -> None:
    client.predict(image)
    text = client.status(metrics=True)["metrics"]
    assert "# TYPE leadline_request_seconds histogram" in text
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(samples['leadline_outcomes_total{client="",code="ok",model="quick"}']) >= 1
    assert float(samples['leadline_request_seconds_count{model="quick"}']) >= 1
    assert float(samples['leadline_model_seconds_count{model="quick",replica="0"}']) >= 1


def test_a_client_in_twenty_lines_of_bare_pyzmq(server: Server) -> None:
    """The protocol as docs/protocol.md has it, without this project's client."""
    image = bytes(range(256)) * 3  # 16 × 16 × 3
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.rcvtimeo = 20000
        socket.connect(server.address)
        header = {"op": "predict", "id": "1", "image": {"encoding": "raw", "shape": [16, 16, 3]}, "reply": "float16"}
        socket.send_multipart([b"LEADLINE1", json.dumps(header).encode(), image])
        while True:
            tag, head, *bodies = socket.recv_multipart()
            reply = json.loads(head)
            assert tag == TAG
            assert reply["id"] == "1"
            if reply["op"] == "result":
                break
            assert reply["op"] == "progress"
        assert reply["values"]["shape"] == [16, 16]
        values = np.frombuffer(bodies[0], "<f2").reshape(16, 16)
        np.testing.assert_allclose(values, expected(np.frombuffer(image, np.uint8).reshape(16, 16, 3)), atol=1e-3)
        socket.send_multipart([b"LEADLINE1", b'{"op":"cancel","id":"1"}'])
        assert json.loads(socket.recv_multipart()[1])["code"] == "unknown_job"


def test_a_client_in_c(server: Server, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    libraries = sorted((Path(zmq.__file__).parent.parent / "pyzmq.libs").glob("libzmq*.so*"))
    if compiler is None or not libraries:
        pytest.skip("needs a C compiler and the libzmq of pyzmq's Linux wheel")
    program = tmp_path / "client"
    source = Path(__file__).parent / "client.c"
    beside = f"-Wl,-rpath,{libraries[0].parent}"
    subprocess.run(
        [compiler, "-Wall", "-Werror", str(source), "-o", str(program), str(libraries[0]), beside,
         "-Wl,--allow-shlib-undefined"],
        check=True,
    )  # fmt: skip
    answer = subprocess.run(
        [program, server.address, "64", "48"], capture_output=True, text=True, timeout=30, check=False
    )
    assert answer.returncode == 0, answer.stderr
    image = (np.arange(48 * 64) * 7 % 256).astype(np.uint8).reshape(48, 64)
    assert float(answer.stdout) == pytest.approx(expected(image).mean(), abs=1e-4)


def test_same_ids_of_different_clients_do_not_meet(server: Server, image: np.ndarray) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as one, context.socket(zmq.DEALER) as two:
        for seed, socket in enumerate((one, two)):
            socket.linger, socket.rcvtimeo = 0, 20000
            socket.connect(server.address)
            header = {
                "op": "predict",
                "id": "same",
                "image": {"encoding": "raw", "shape": list(image.shape)},
                "seed": seed,
            }
            socket.send_multipart([TAG, json.dumps(header).encode(), image.tobytes()])
        for seed, socket in enumerate((one, two)):
            replies = []
            while not replies or replies[-1][0]["op"] == "progress":
                _, head, *bodies = socket.recv_multipart()
                replies.append((json.loads(head), bodies))
            np.testing.assert_array_equal(
                np.frombuffer(replies[-1][1][0], "<f4").reshape(48, 64), expected(image, seed)
            )


def test_too_many_messages_are_refused_and_the_rate_recovers(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start(limits=Limits(rate_per_s=20.0, burst=10))
    with Client(server.address, timeout_s=90) as client:
        outcomes = []
        for _ in range(15):
            try:
                client.status()
                outcomes.append("ok")
            except Busy as error:
                outcomes.append(error.code)
        assert outcomes[:10] == ["ok"] * 10
        assert "rate_limited" in outcomes
        time.sleep(0.3)
        client.status()


def test_least_recently_used_models_leave(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start({name: {"megabytes": 40} for name in "abc"}, memory_bytes=100 << 20)
    with Client(server.address, timeout_s=90) as client:
        for model in "abcb":
            client.predict(image, model=model)
        assert until(lambda: client.status()["workers"][0]["models"] == ["b", "c"])
        client.predict(image, model="a")
        assert until(lambda: client.status()["workers"][0]["models"] == ["a", "b"])


def test_replicas_share_the_work(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start({"slow": {"step_s": 0.2}}, replicas=2, max_members=1)
    with Client(server.address, timeout_s=90) as client:
        assert until(lambda: [w["state"] for w in client.status()["workers"]] == ["idle", "idle"])
        jobs = [client.submit(image, steps=8, seed=seed) for seed in range(2)]
        assert until(lambda: [w["state"] for w in client.status()["workers"]] == ["busy", "busy"])
        for seed, job in enumerate(jobs):
            np.testing.assert_array_equal(job.result(60.0).values, expected(image, seed, 8))


def test_replicas_without_a_named_device_take_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def spread(count: int, device: str) -> list[str]:
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=SimpleNamespace(device_count=lambda: count)))
        return [own_device(device, index) for index in range(3)]

    assert spread(2, "auto") == ["cuda:0", "cuda:1", "cuda:0"]
    assert spread(2, "cuda:1") == ["cuda:1"] * 3
    assert spread(1, "auto") == spread(0, "auto") == ["auto"] * 3
    assert spread(4, "cpu") == ["cpu"] * 3


def test_a_graceful_end_finishes_what_is_in_hand(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start({"slow": {"step_s": 0.1}})
    with Client(server.address, timeout_s=90, reconnect_s=1.0) as client:
        job = client.submit(image, steps=8, seed=5)
        assert until(lambda: client.status()["running"] == 1)
        server.stop()
        with pytest.raises(ServerError) as caught:
            client.predict(image)
        assert caught.value.code == "shutting_down"
        np.testing.assert_array_equal(job.result(60.0).values, expected(image, 5, 8))
        with pytest.raises(ServerUnreachable):
            client.hello(timeout_s=60)


def test_without_shared_memory_bytes_travel_in_messages(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start(arena_bytes=0)
    with Client(server.address, timeout_s=90) as client:
        np.testing.assert_array_equal(client.predict(image, seed=3, ensemble=2).values, expected(image, 3, ensemble=2))


def test_workers_that_never_start_are_no_reason_to_wait(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start(loader="no_such_module:load")
    with Client(server.address, timeout_s=90) as client, pytest.raises(ServerError, match="do not start"):
        client.predict(image)


def test_neither_client_nor_front_needs_what_blender_has_not() -> None:
    program = """
import sys
import leadline.serving.client.client, leadline.serving.client.local
assert not {"torch", "diffusers", "cv2", "PIL", "msgpack", "click"} & set(sys.modules), sorted(sys.modules)
import leadline.serving.server.server, leadline.cli.serve
assert not {"torch", "diffusers", "cv2"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_address_in_use_and_no_models_are_refused(server: Server) -> None:
    from leadline.serving.protocol.settings import ServerConfig

    with pytest.raises(leadline.InputError, match="cannot be bound"):
        Server(ServerConfig(server.address, {"a": "{}"}))
    with pytest.raises(leadline.InputError, match="no model"):
        Server(ServerConfig("tcp://127.0.0.1:*", {}))


def test_a_client_needs_nothing_but_numpy_and_pyzmq(server: Server, image: np.ndarray, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), image[:, :, ::-1])
    program = f"""
import sys
class Nothing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "diffusers", "cv2", "PIL", "scipy", "av", "safetensors", "rich", "click", "yaml"):
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Nothing())
import numpy as np
from leadline.serving.client.client import Client
with Client({server.address!r}, timeout_s=60) as client:
    a = client.predict({str(tmp_path / "photo.png")!r}, seed=3)
    b = client.predict(np.zeros((240, 320, 3), np.uint8), sparse=None, ensemble=2)
    print(a.values.sum(), a.space.value, b.uncertainty.shape)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[1:] == ["log_depth", "(240,", "320)"]
    assert float(run.stdout.split()[0]) == pytest.approx(float(expected(image, 3).sum()), rel=1e-5)
