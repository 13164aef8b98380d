"""What an honest client of the server notices of one attacker: its slowest answers, quiet and under each attack.

    python benchmarks/serving_attacks.py [--seconds 15] [--model ready] [--replicas 2] [--only scans pictures ...]

Starts `leadline serve` on 127.0.0.1 for each attack, ends by itself, and exits with status 1 if the 99th percentile under
an attack is above 2 s or above five times the quiet one, if any answer took longer than 15 s, or is missing. The default
model is a stand-in, which makes the server, not the network, the thing that is measured. Attackers run at the lowest
priority, as on a machine of their own they would not take processor time from the server; floods are 20 000 messages a
second. Two workers, because a computation is not interrupted for a smaller one: with one, whoever comes second waits for it.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import zmq
from PIL import Image
from serving_soak import SERVE, photograph

from leadline.serving.client.client import Client
from leadline.serving.protocol.messages import TAG

Attack = Callable[[str, Any], None]

FLOOD_PER_S = 20_000


@contextmanager
def served(model: str, replicas: int, stderr: Any) -> Iterator[tuple[str, Any]]:
    """`leadline serve`, in a process of its own."""
    models = ["--model=ready", "--loader=serving:load"] if model == "ready" else [f"--model={model}"]
    command = [sys.executable, "-c", SERVE, "serve", "--announce", "--end-with-stdin", "--log-level=warning",
               "--bind=tcp://127.0.0.1:*", f"--replicas={replicas}", *models]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=environment)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        yield json.loads(server.stdout.readline())["listening"], server
    finally:
        server.stdin.close()
        server.wait(30)


# --- attacks: each runs until the event is set


def scans(address: str, ended: Any) -> None:
    """A progressive JPEG of 33 megapixels, one of whose scans comes again and again."""
    buffer = io.BytesIO()
    Image.new("L", (6000, 5500)).save(buffer, "JPEG", progressive=True, quality=30)
    data = buffer.getvalue()
    starts = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    lengths = [(end - begin, begin, end) for begin, end in zip(starts[1:], [*starts[2:], len(data) - 2], strict=False)]
    _, begin, end = min(lengths)
    bombs = [data[:-2] + data[begin:end] * times + b"\xff\xd9" for times in (8000, 50)]  # the second passes the count
    _keep_sending(address, bombs, ended)


def pictures(address: str, ended: Any) -> None:
    """PNGs of 33 megapixels in 32 KB."""
    buffer = io.BytesIO()
    Image.new("L", (6000, 5500)).save(buffer, "PNG", compress_level=9)
    _keep_sending(address, [buffer.getvalue()], ended)


def _keep_sending(address: str, images: list[bytes], ended: Any) -> None:
    with Client(address, timeout_s=60) as client:
        jobs: list[Any] = []
        number = 0
        while not ended.is_set():
            jobs = [job for job in jobs if not job.done()]
            while len(jobs) < 16:
                jobs.append(client.submit(images[number % len(images)], seed=number))
                number += 1
            time.sleep(0.02)


def work(address: str, ended: Any) -> None:
    """Requests of 4 KB that ask for an ensemble of 64 at 2048 pixels."""
    small = np.zeros((32, 43, 3), np.uint8)
    with Client(address, timeout_s=60) as client:
        while not ended.is_set():
            with suppress(Exception):
                client.predict(small, ensemble=64, size=2048)
            time.sleep(0.01)


def heavy(address: str, ended: Any) -> None:
    """Requests of 4 KB that ask for nearly all the work that one may ask for, as many members and as large layers."""
    small = np.zeros((36, 64, 3), np.uint8)
    with Client(address, timeout_s=600) as client:
        number = 0
        while not ended.is_set():
            job = client.submit(small, **({"ensemble": 64, "size": 1280}, {"size": 4096})[number % 2])
            while not (job.done() or ended.is_set()):
                time.sleep(0.01)
            number += 1


def nested(address: str, ended: Any) -> None:
    """Headers that are hard to parse."""
    header = b'{"op":"predict","id":"1","image":' + b"[" * 7900 + b"]" * 7900 + b"}"
    _flood(address, [TAG, header], ended)


def small(address: str, ended: Any) -> None:
    """Small messages."""
    _flood(address, [TAG, b'{"op":"status","id":"1"}'], ended)


def _flood(address: str, message: list[bytes], ended: Any) -> None:
    sent, started = 0, time.monotonic()
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.sndtimeo = 0, 100
        dealer.connect(address)
        while not ended.is_set():
            with suppress(zmq.Again):
                dealer.send_multipart(message)
                sent += 1
            ahead_s = sent / FLOOD_PER_S - (time.monotonic() - started)
            if ahead_s > 0:
                time.sleep(ahead_s)
    print(f"  {sent / (time.monotonic() - started):.0f} messages a second", flush=True)


def bodies(address: str, ended: Any) -> None:
    """Images of 33 megapixels as they are, 100 MB each, one after the other."""
    head = b'{"op":"predict","id":"%d","image":{"encoding":"raw","shape":[5500,6000,3]},"size":64}'
    image = np.zeros((5500, 6000, 3), np.uint8)
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.sndhwm, dealer.sndtimeo = 0, 4, 100
        dealer.connect(address)
        number = 0
        while not ended.is_set():
            with suppress(zmq.Again):
                dealer.send_multipart([TAG, head % number, image], copy=False)
                number += 1
            while dealer.poll(0):
                dealer.recv_multipart(copy=False)


def deaf(address: str, ended: Any) -> None:
    """Pictures of 33 megapixels, by one who never listens to the answers."""
    buffer = io.BytesIO()
    Image.new("L", (6000, 5500)).save(buffer, "PNG", compress_level=9)
    head = b'{"op":"predict","id":"%d","image":{"encoding":"png"}}'
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.rcvhwm, dealer.sndtimeo = 0, 1, 100
        dealer.connect(address)
        number = 0
        while not ended.is_set():
            with suppress(zmq.Again):
                dealer.send_multipart([TAG, head % number, buffer.getvalue()])
                number += 1
            time.sleep(0.05)


def reports(address: str, ended: Any) -> None:
    """Questions for the metrics, as many as one may ask."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger, dealer.sndtimeo = 0, 100
        dealer.connect(address)
        while not ended.is_set():
            with suppress(zmq.Again):
                dealer.send_multipart([TAG, b'{"op":"status","id":"1","metrics":true}'])
            while dealer.poll(5):
                dealer.recv_multipart()


def connects(address: str, ended: Any) -> None:
    """2 000 connections that say nothing."""
    where = urlsplit(address)
    bare = []
    while len(bare) < 2000 and not ended.is_set():
        with suppress(OSError):
            bare.append(socket.create_connection((where.hostname, where.port), 5))
    ended.wait()
    for one in bare:
        one.close()


def unread(address: str, ended: Any) -> None:
    """Images that are none, while nobody reads the server's standard error."""
    with Client(address, timeout_s=60) as client:
        while not ended.is_set():
            with suppress(Exception):
                client.predict(b"\xff\xd8\xff\xe0rubbish")
            time.sleep(0.006)


def stop(address: str, ended: Any) -> None:
    """SIGSTOP to the worker, once."""
    with Client(address) as client:
        pid = next(worker["pid"] for worker in client.status()["workers"] if worker["pid"])
    os.kill(pid, signal.SIGSTOP)
    ended.wait()


ATTACKS: dict[str, Attack] = {
    one.__name__: one
    for one in (scans, pictures, work, heavy, nested, small, bodies, deaf, reports, connects, unread, stop)
}


def attack(name: str, address: str, ended: Any) -> None:
    """One attacker, in a process of its own."""
    if hasattr(
        os, "sched_setscheduler"
    ):  # where this runs at real-time priority, its children do, too, and nice means nothing
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(19)
    ATTACKS[name](address, ended)


def asking(address: str, image: np.ndarray, truth: np.ndarray, seconds: float) -> list[float]:
    """Times of an honest client's requests, one after the other; each answer is compared."""
    times = []
    with Client(address, timeout_s=60) as client:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            started = time.monotonic()
            values = client.predict(image).values
            times.append(time.monotonic() - started)
            if not np.allclose(values, truth, atol=1e-4):
                raise SystemExit("an answer belongs to another picture")
            time.sleep(0.02)
    return times


def percentile(times: list[float], share: float) -> float:
    return float(np.percentile(times, share, method="higher"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--model", default="ready", help="ready: a stand-in; or a model's name or path")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=list(ATTACKS), default=list(ATTACKS))
    options = parser.parse_args()
    image = photograph(1, 240, 320)
    failed = False
    print(f"{'attack':10} {'answers':>8} {'p50':>7} {'p99':>7} {'slowest':>8} {'quiet p99':>10}  (s)")
    for name in options.only:
        with served(options.model, options.replicas, subprocess.PIPE if name == "unread" else subprocess.DEVNULL) as (
            address,
            server,
        ):
            with Client(address, timeout_s=300) as client:
                truth = client.predict(image).values
                while any(worker["state"] == "starting" for worker in client.status()["workers"]):
                    time.sleep(0.1)
            quiet = asking(address, image, truth, options.seconds)
            context = multiprocessing.get_context("spawn")
            ended = context.Event()
            attacker = context.Process(target=attack, args=(name, address, ended), daemon=True)
            attacker.start()
            time.sleep(2.0)
            try:
                busy = asking(address, image, truth, options.seconds)
            finally:
                ended.set()
                attacker.join(5)
                attacker.kill()
            most = min(2.0, 5.0 * percentile(quiet, 99))
            bad = percentile(busy, 99) > most or max(busy) > 15.0 or server.poll() is not None
            failed |= bad
            print(f"{name:10} {len(busy):8} {percentile(busy, 50):7.3f} {percentile(busy, 99):7.3f} {max(busy):8.3f} "
                  f"{percentile(quiet, 99):10.3f}{'  missed' if bad else ''}", flush=True)  # fmt: skip
    sys.exit(failed)


if __name__ == "__main__":
    main()
