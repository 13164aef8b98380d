"""Workers that stop or hang, launches that fail, pictures that are built to take long, and logs that nobody reads."""

from __future__ import annotations

import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from PIL import Image
from stand_in import expected
from waiting import until

from leadline.errors import InputError
from leadline.serving.client.client import Client, Refused, ServerError
from leadline.serving.protocol import messages, wire
from leadline.serving.server.launch import LocalLauncher
from leadline.serving.server.server import Server
from leadline.serving.server.vitals import Vitals
from leadline.serving.worker.decoder import decode, scans


def idle(client: Client) -> bool:
    return bool(client.status()["workers"][0]["state"] == "idle")


def test_a_stopped_worker_is_replaced_and_the_request_answered(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start()
    with Client(server.address, timeout_s=150) as client:
        assert until(lambda: idle(client))
        pid = client.status()["workers"][0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        heard: list[messages.Progress] = []
        started = time.monotonic()
        result = client.predict(image, seed=4, on_progress=heard.append)
        assert time.monotonic() - started < 60.0
        np.testing.assert_array_equal(result.values, expected(image, 4))
        assert "silent" in {progress.stage for progress in heard}
        assert not Path(f"/proc/{pid}").exists() or client.status()["workers"][0]["pid"] != pid


def test_a_worker_that_hangs_in_a_step_is_replaced_and_the_request_fails(
    start: Callable[..., Server], image: np.ndarray
) -> None:
    server = start({"stuck": {"step_s": 600.0}}, silence_s=5.0)
    with Client(server.address, timeout_s=90) as client, pytest.raises(ServerError, match="died 2 times") as caught:
        client.predict(image)
    assert caught.value.code == "worker_lost"


def test_a_worker_that_stops_while_it_starts_is_replaced(start: Callable[..., Server], image: np.ndarray) -> None:
    class FirstStops(LocalLauncher):
        launched = 0

        def launch(self, config: Any) -> Any:
            running = super().launch(config)
            if self.launched == 0:
                os.kill(running._process.pid, signal.SIGSTOP)  # type: ignore[attr-defined]
            self.launched += 1
            return running

    launcher = FirstStops()
    server = start(silence_s=5.0, parts={"launcher": launcher})
    with Client(server.address, timeout_s=90) as client:
        np.testing.assert_array_equal(client.predict(image, seed=2).values, expected(image, 2))
    assert launcher.launched == 2


def test_a_launch_that_fails_is_a_state_that_passes(start: Callable[..., Server], image: np.ndarray) -> None:
    class Failing(LocalLauncher):
        left = 3

        def launch(self, config: Any) -> Any:
            self.left -= 1
            if self.left >= 0:
                raise OSError(24, "Too many open files")
            return super().launch(config)

    server = start(parts={"launcher": Failing()})
    with Client(server.address, timeout_s=90) as client:
        assert until(lambda: "Too many open files" in client.status()["workers"][0]["reason"])
        assert until(lambda: idle(client))
        np.testing.assert_array_equal(client.predict(image, seed=2).values, expected(image, 2))


def test_a_launcher_that_never_returns_does_not_make_the_front_deaf(start: Callable[..., Server]) -> None:
    class Stuck(LocalLauncher):
        def launch(self, config: Any) -> Any:
            time.sleep(30.0)
            raise OSError("too late")

    server = start(start_s=1.0, parts={"launcher": Stuck()})
    with Client(server.address, timeout_s=90) as client:
        for _ in range(20):
            started = time.monotonic()
            client.status()
            assert time.monotonic() - started < 10.0  # not the 30 s of the launcher
            time.sleep(0.1)
        assert until(lambda: "not ready within 1 s" in client.status()["workers"][0]["reason"])


def test_what_counts_as_a_sign_of_life() -> None:
    vitals = Vitals(silence_s=6.0, heard=0.0)
    assert vitals.complaint(5.9, 60.0) is None
    assert "fell silent" in str(vitals.complaint(6.1, 60.0))
    for now in range(1, 30):  # a long step: the loop stands still, the process computes
        vitals.beat(now, moves=7, effort_s=0.8 * now)
    assert vitals.complaint(30.0, 60.0) is None
    assert "longer than 20 s" in str(vitals.complaint(30.0, 20.0))
    for now in range(30, 40):  # a dead lock: it still speaks, but does nothing
        vitals.beat(now, moves=7, effort_s=24.0)
    assert "hangs" in str(vitals.complaint(39.0, 60.0))
    vitals.beat(40.0, moves=8, effort_s=24.0)
    assert vitals.complaint(40.1, 60.0) is None
    for now in range(41, 60):  # no word, because a library holds the interpreter; the system says that it computes
        vitals.look(now, 24.0 + 0.9 * (now - 40))
    assert vitals.complaint(59.0, 60.0) is None
    vitals.pardon(30.0)  # the front itself did not get to run
    assert vitals.complaint(89.0, 60.0) is None
    assert vitals.complaint(97.0, 60.0) is not None


def scan_bomb(width: int = 6000, height: int = 5500, scans: int = 8000) -> bytes:
    """A small progressive JPEG of many pixels, one of whose scans comes again and again."""
    small = io.BytesIO()
    Image.new("L", (width, height)).save(small, "JPEG", progressive=True, quality=30)
    data = small.getvalue()
    starts = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    shortest = min(zip(starts[1:], [*starts[2:], len(data) - 2], strict=False), key=lambda part: part[1] - part[0])
    scan = data[shortest[0] : shortest[1]]
    return data[:-2] + scan * scans + b"\xff\xd9"


def test_a_jpeg_with_thousands_of_scans_is_refused_before_it_is_decoded() -> None:
    bomb = scan_bomb(600, 500, scans=200)
    assert scans(bomb) > 200
    with pytest.raises(InputError, match="more than 64 scans"):
        decode(bomb, 33.0)
    photograph = io.BytesIO()
    Image.new("RGB", (600, 500)).save(photograph, "JPEG", progressive=True)
    assert 5 < scans(photograph.getvalue()) < 20
    assert decode(photograph.getvalue(), 33.0).shape == (500, 600, 3)


def test_a_picture_that_takes_too_long_costs_its_sender_and_nobody_else(
    start: Callable[..., Server], image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leadline.serving.server import decoders

    limits = replace(decoders.DECODERS, time_s=0.05, time_per_megapixel_s=0.0)
    monkeypatch.setattr(decoders, "DECODERS", limits)
    server = start()
    slow = scan_bomb(6000, 5500, scans=50)  # just under what is refused at once
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "PNG")
    with Client(server.address, timeout_s=60) as attacker, Client(server.address, timeout_s=90) as honest:
        honest.predict(image)
        pid = honest.status()["workers"][0]["pid"]
        bad = [attacker.submit(slow) for _ in range(3)]
        started = time.monotonic()
        np.testing.assert_array_equal(honest.predict(encoded.getvalue(), seed=1).values, expected(image, 1))
        np.testing.assert_array_equal(honest.predict(image, seed=2).values, expected(image, 2))
        assert time.monotonic() - started < 30.0
        with pytest.raises(Refused, match="takes longer than"):
            bad[0].result(60)
        assert honest.status()["workers"][0]["pid"] == pid
        for job in bad:
            job.cancel()


def test_a_picture_that_lies_about_its_size_or_kills_its_decoder_leaves_the_next_one_alone(
    start: Callable[..., Server], image: np.ndarray
) -> None:
    server = start()
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, "PNG")
    png = encoded.getvalue()
    liar = png[:16] + struct.pack(">II", 4000, 4000) + png[24:]
    with Client(server.address, timeout_s=90) as client:
        for bad in (liar, png[:-30], b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x40\x00\x40" + bytes(400)):
            with pytest.raises(Refused):
                client.predict(bad)
        for process in _decoders(os.getpid()):
            os.kill(process, signal.SIGKILL)
        np.testing.assert_array_equal(client.predict(png, seed=4).values, expected(image, 4))


def _decoders(parent: int) -> list[int]:
    import psutil

    return [p.pid for p in psutil.Process(parent).children() if "leadline.serving.worker.decoder" in p.cmdline()]


def test_standard_error_that_nobody_reads_stops_nobody(image: np.ndarray) -> None:
    command = [sys.executable, "-c", "from leadline.cli.main import main; main()", "serve", "--announce",
               "--end-with-stdin", "--loader=stand_in:load", "--model=plain={}", "--log-level=debug",
               "--bind=tcp://127.0.0.1:*"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = json.loads(process.stdout.readline())["listening"]
            with Client(address, timeout_s=90) as client, zmq.Context() as context:
                with context.socket(zmq.DEALER) as dealer:
                    dealer.linger = 0
                    dealer.connect(address)
                    for batch in range(8):
                        for number in range(350):
                            dealer.send_multipart([b"LEADLINE1", b'{"op": "nonsense", "id": "%d"}' % number])
                        time.sleep(0.3)
                        client.status()
                        assert batch >= 0
                for seed in range(5):
                    np.testing.assert_array_equal(client.predict(image, seed=seed).values, expected(image, seed))
        finally:
            process.stdin.close()
            process.kill()


def test_two_requests_under_one_id_are_an_error(start: Callable[..., Server]) -> None:
    server = start({"slow": {"step_s": 0.2}})
    info = messages.ImageInfo("raw", (8, 8, 3))
    first = wire.pack(wire.request_header(messages.Predict("same", info, steps=3)), [bytes(192)])
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.rcvtimeo = 0, 20000
        dealer.connect(server.address)
        dealer.send_multipart(first)
        dealer.send_multipart(first)
        outcomes = []
        while len(outcomes) < 2:
            reply = wire.read_reply(dealer.recv_multipart())
            if not isinstance(reply, messages.Progress):
                outcomes.append(reply)
    assert isinstance(outcomes[0], messages.Failure)
    assert "another request with this id" in outcomes[0].message
    assert isinstance(outcomes[1], messages.Result)


def test_work_is_limited_whatever_it_is_made_of(start: Callable[..., Server], image: np.ndarray) -> None:
    server = start(limits=messages.Limits(work=10.0))
    with Client(server.address, timeout_s=90) as client:
        with pytest.raises(Refused, match="megapixels of work"):
            client.predict(image, ensemble=64, size=2048)
        client.predict(image, ensemble=2, size=512)


def test_a_decoder_that_is_killed_at_work_does_not_cost_its_picture(
    start: Callable[..., Server], image: np.ndarray
) -> None:
    server = start(decoders=1)
    large = io.BytesIO()
    Image.new("L", (5500, 5500), 51).save(large, "PNG", compress_level=1)
    with Client(server.address, timeout_s=90) as client:
        encoded = io.BytesIO()
        Image.fromarray(image).save(encoded, "PNG")
        client.predict(encoded.getvalue())  # a decoder is up
        at_work = _decoders(os.getpid())
        for process in at_work:
            os.kill(process, signal.SIGSTOP)  # so that none has finished before it is killed
        job = client.submit(large.getvalue(), steps=1)
        assert until(lambda: bool(server._decoders.busy))
        for process in at_work:
            os.kill(process, signal.SIGKILL)
        np.testing.assert_allclose(job.result(60).values, 51 / 255 + 0.25 + 0.125, atol=1e-6)
        assert server._decoders.restarts >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="states of threads are Linux's")
def test_who_waits_for_a_processor_is_told_from_who_does_not() -> None:
    from leadline.serving.processes import wants_to_run

    programs = {"while True: pass": True, "import time; time.sleep(600)": False}
    for program, wants in programs.items():
        with subprocess.Popen([sys.executable, "-c", program]) as process:
            try:
                assert until(lambda wants=wants, pid=process.pid: wants_to_run(pid) == wants)
                os.kill(process.pid, signal.SIGSTOP)
                assert until(lambda pid=process.pid: not wants_to_run(pid))
            finally:
                process.kill()
