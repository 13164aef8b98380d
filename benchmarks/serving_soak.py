"""Long runs of the server: many clients at once, and messages that mean harm.

    python benchmarks/serving_soak.py clients [--clients 16] [--minutes 5] [--model depthfm-mini] [--http 8] [--kill-every 20]
    python benchmarks/serving_soak.py fuzz [--messages 200000]

Both start `leadline serve` by themselves, print what they measured, and end with status 1 if something that must hold
did not. `fuzz` serves a stand-in model, which makes the server, not the network, the thing that is tested.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import numpy as np
import psutil
import zmq
from PIL import Image

from leadline.serving.client.client import Busy, Client, ServerError
from leadline.serving.client.loan import ask
from leadline.serving.protocol import messages, wire
from leadline.serving.protocol.messages import ImageInfo, Predict

SERVE = "from leadline.cli.main import main; main()"
Message = list[bytes]
#: From then on memory has to be flat.
SETTLED_S = 120


@contextmanager
def served(*arguments: str) -> Iterator[tuple[str, int, str]]:
    """`leadline serve` in a process of its own: address, process id, and the address of HTTP if it serves that."""
    command = [sys.executable, "-c", SERVE, "serve", "--announce", "--end-with-stdin", "--log-level=error",
               "--bind=tcp://127.0.0.1:*", *arguments]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        said = json.loads(server.stdout.readline())
        yield said["listening"], server.pid, said["http"] or ""
    finally:
        server.stdin.close()
        server.wait(30)


class Memory(threading.Thread):
    """Watches the private memory of a process and its children, in MB, about once a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self.samples: list[tuple[float, float, float]] = []  # seconds since the start, the process itself, its children

    def run(self) -> None:
        started = time.monotonic()
        while not self._ended.wait(1.0):
            with suppress(psutil.Error):
                children = sum(_private_mb(one) for one in self._process.children(recursive=True))
                self.samples.append((time.monotonic() - started, _private_mb(self._process), children))

    def report(self) -> float:
        """Print the course; how much it has grown since the run has settled, of the front or of all, whichever more.

        Of a quarter of the run it is the 90th percentile: a process that was killed is small until it has warmed up.
        """
        self._ended.set()
        self.join()
        samples = np.array(self.samples)
        settled_s = min(SETTLED_S, samples[-1, 0] / 5)
        later = samples[samples[:, 0] >= settled_s]
        fronts, alls = ([float(np.percentile(part, 90)) for part in np.array_split(values, 4)]
                        for values in (later[:, 1], later[:, 1] + later[:, 2]))  # fmt: skip
        growths = [values[-1] / values[0] - 1 for values in (fronts, alls)]
        course = ["/".join(f"{value:.0f}" for value in values) for values in (fronts, alls)]
        print(
            f"memory by quarters of the run from second {settled_s:.0f}: front {course[0]} MB ({100 * growths[0]:+.1f} %), "
            f"all {course[1]} MB ({100 * growths[1]:+.1f} %)"
        )
        return max(growths)


class Killer(threading.Thread):
    """Kills a process of the server's, other than its front, now and then."""

    def __init__(self, pid: int, every_s: float) -> None:
        super().__init__(daemon=True)
        self._process, self._every_s = psutil.Process(pid), every_s
        self._ended = threading.Event()
        self.killed: Counter[str] = Counter()

    def run(self) -> None:
        rng = random.Random(0)
        while self._every_s > 0 and not self._ended.wait(self._every_s):
            with suppress(psutil.Error, IndexError):
                victim = rng.choice(self._process.children())
                module = next((word for word in victim.cmdline() if word.startswith("leadline.serving.")), "")
                victim.kill()
                self.killed[module.rpartition("serving.")[2]] += 1

    def stop(self) -> None:
        """No more."""
        self._ended.set()
        self.join()


def _private_mb(process: psutil.Process) -> float:
    return float(process.memory_full_info().uss / 1e6)


# --- many clients


def photograph(number: int, height: int, width: int) -> np.ndarray:
    """uint8 (H, W, 3): smooth, and different for each number."""
    rng = np.random.default_rng(number)
    coarse = rng.random((6, 8, 3))
    rows, columns = np.linspace(0, 4.999, height), np.linspace(0, 6.999, width)
    r, c = rows.astype(int)[:, None], columns.astype(int)[None, :]
    fr, fc = (rows % 1)[:, None, None], (columns % 1)[None, :, None]
    top = coarse[r, c] * (1 - fc) + coarse[r, c + 1] * fc
    bottom = coarse[r + 1, c] * (1 - fc) + coarse[r + 1, c + 1] * fc
    return (255 * (top * (1 - fr) + bottom * fr)).astype(np.uint8)


def over_http(address: str, png: bytes, number: int, size: int | None) -> np.ndarray:
    """The map that the HTTP interface gives; Busy if it says so."""
    query = f"format=npy&seed={number}" + ("" if size is None else f"&size={size}")
    request = Request(f"{address}/v1/predict?{query}", png, {"Content-Type": "image/png"})
    try:
        with urlopen(request, timeout=120) as response:
            values: np.ndarray = np.load(io.BytesIO(response.read()))
    except HTTPError as error:
        said = json.loads(error.read())
        raise (Busy if error.code == 429 else ServerError)(said["code"], said["message"]) from error
    return values


def keep_asking(
    address: str, http: str, numbers: list[int], end: float, references: Any, options: Any, results: Any
) -> None:
    """One process of clients, each in a thread, each asking for its own image over and over."""
    counts: Counter[str] = Counter()

    def one(number: int) -> None:
        image = photograph(number, options.height, options.width)
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        with Client(address, timeout_s=120) as client:
            while time.time() < end:
                try:
                    if number < options.http:
                        values = over_http(http, buffer.getvalue(), number, options.size)
                        counts["over http"] += 1
                    else:
                        result = client.predict(image, size=options.size, seed=number)
                        values = result.values
                        counts["batched"] += result.meta["batch"]
                except Busy:
                    counts["busy"] += 1
                    time.sleep(0.05)
                    continue
                except (URLError, ConnectionError, HTTPException):  # the gateway was killed with this request in it
                    counts["broken off"] += 1
                    continue
                except Exception as error:
                    counts[f"failed: {type(error).__name__}: {error}"] += 1
                    continue
                distance = np.abs(references - values).mean((1, 2))
                counts["right" if distance.argmin() == number and distance[number] < 1e-3 else "crossed"] += 1

    threads = [threading.Thread(target=one, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(counts)


def in_process(images: list[np.ndarray], options: Any, seconds: float) -> tuple[np.ndarray, float]:
    """What a single program gets from the model itself: maps, and images per second."""
    import leadline

    estimator = leadline.load(options.model, device=options.device)
    maps = [estimator.predict(image, size=options.size, seed=i).values for i, image in enumerate(images)]
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        estimator.predict(images[done % len(images)], size=options.size, seed=done % len(images))
        done += 1
    return np.stack(maps), done / (time.perf_counter() - started)


def _in_process(images: list[np.ndarray], options: Any, seconds: float, answer: Any) -> None:
    answer.put(in_process(images, options, seconds))


def alone(images: list[np.ndarray], options: Any, seconds: float) -> tuple[np.ndarray, float]:
    """:func:`in_process`, in a process that is gone afterwards."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_in_process, args=(images, options, seconds, answer))
    process.start()
    result: tuple[np.ndarray, float] = answer.get()
    process.join()
    return result


def clients(options: argparse.Namespace) -> int:
    """No reply lost, doubled or crossed; memory flat; throughput at least the in-process loop's."""
    images = [photograph(i, options.height, options.width) for i in range(options.clients)]
    seconds = 60.0 * options.minutes
    references, before = alone(images, options, min(20.0, seconds / 3))
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = [f"--model=soak={options.model}", f"--device={options.device}", f"--max-batch={options.max_batch}"]
    if options.http:
        arguments.append("--http=0")
    with served(*arguments, f"--replicas={options.replicas}") as (address, pid, http):
        with Client(address, timeout_s=300) as client:
            client.predict(images[0], size=options.size)
        killer = Killer(pid, options.kill_every)
        killer.start()
        memory = Memory(pid)
        memory.start()
        groups = [list(range(options.clients))[i :: options.processes] for i in range(options.processes)]
        end = time.time() + seconds
        workers = [
            context.Process(target=keep_asking, args=(address, http, group, end, references, options, results))
            for group in groups
            if group
        ]
        started = time.time()
        for worker in workers:
            worker.start()
        counts: Counter[str] = sum((results.get() for _ in workers), Counter())
        wall = time.time() - started
        for worker in workers:
            worker.join()
        killer.stop()
        growth = memory.report()
        with Client(address, timeout_s=60) as client:
            status = client.status(metrics=True)
    _, after = alone(images[:1], options, min(20.0, seconds / 3))
    ok = sum(int(float(line.split()[-1])) for line in status["metrics"].splitlines()
             if line.startswith("leadline_outcomes_total") and 'code="ok"' in line)  # fmt: skip
    right = counts["right"]
    failed = {name: n for name, n in counts.items() if name.startswith("failed")}
    print(f"{options.clients} clients, {wall:.0f} s: {right} right, {counts['crossed']} crossed, {failed or 'none'} failed, "
          f"{counts['busy']} busy; the server says {ok - 1} answered")  # fmt: skip
    print(f"mean batch {counts['batched'] / max(1, right):.1f}; {right / wall:.2f} replies/s; "
          f"in-process loop {before:.2f} images/s before, {after:.2f} after: {right / wall / ((before + after) / 2):.2f}×")  # fmt: skip
    print(f"status: {status['waiting']} waiting, {status['running']} running")
    print(f"{counts['over http']} over HTTP; killed: {dict(killer.killed) or 'nothing'}; {counts['broken off']} HTTP requests "
          "broken off with their gateway")  # fmt: skip
    # With kills an answer may be computed whose client, or whose way to it, was killed: never fewer than arrived.
    counted = ok - 1 == right if not options.kill_every else ok - 1 >= right
    good = not counts["crossed"] and not failed and counted and growth <= 0.05
    return 0 if good else 1


# --- harm


def valid_message(rng: random.Random) -> Message:
    """Some well-formed request."""
    kind = rng.randrange(5)
    request: messages.Request = Predict(
        f"p{rng.randrange(99)}", ImageInfo("raw", (8, 8, 3)), ensemble=rng.randint(1, 3)
    )
    if kind == 0:
        request = messages.Hello(f"h{rng.randrange(9)}")
    elif kind == 1:
        request = messages.Status(f"s{rng.randrange(9)}", rng.random() < 0.1)
    elif kind == 2:
        request = messages.Cancel(f"p{rng.randrange(99)}")
    elif kind == 3:  # as if it had borrowed memory
        image = ImageInfo("raw", (8, 8, 3), at=64 * rng.randrange(4))
        request = Predict(f"p{rng.randrange(99)}", image, session="s" * 20, block=rng.randint(1, 3), maps_at=(256,))
    bodies = [rng.randbytes(8 * 8 * 3)] if isinstance(request, Predict) and request.block is None else []
    return [bytes(frame) for frame in wire.pack(wire.request_header(request), bodies)]


def mutated(rng: random.Random, message: Message) -> Message:
    """A message with up to three things wrong with it."""
    frames = [bytearray(frame) for frame in message]
    for _ in range(rng.randint(0, 3)):
        kind, at = rng.randrange(6), rng.randrange(len(frames))
        if kind == 0 and frames[at]:
            frames[at][rng.randrange(len(frames[at]))] = rng.randrange(256)
        elif kind == 1:
            frames[at] = frames[at][: rng.randint(0, len(frames[at]))]
        elif kind == 2 and len(frames) > 1:
            del frames[at]
        elif kind == 3:
            frames.insert(at, bytearray(rng.randbytes(rng.randrange(64))))
        elif kind == 4:
            frames[at] = bytearray(rng.randbytes(rng.randrange(200)))
        else:
            frames[at] = frames[at] * 2
    return [bytes(frame) for frame in frames]


def raw_nonsense(rng: random.Random, address: str) -> None:
    """Bytes that are no ZeroMQ, or begin as if they were."""
    where = urlsplit(address)
    greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL" + bytes(48)
    with suppress(OSError), closing(socket.create_connection((where.hostname, where.port), 5)) as raw:
        raw.sendall((greeting if rng.random() < 0.5 else b"") + rng.randbytes(rng.randrange(500)))


def raw_wishes(rng: random.Random, path: str) -> None:
    """Bytes for the socket that lends memory."""
    wish = bytearray(b'{"session": "ssssssssssssssssssss", "nbytes": 65536}')
    for _ in range(rng.randint(0, 2)):
        wish[rng.randrange(len(wish))] = rng.randrange(256)
    with suppress(OSError), closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) as raw:
        raw.connect(path)
        raw.send(bytes(wish) if rng.random() < 0.7 else rng.randbytes(rng.randrange(1, 500)))
        if rng.random() < 0.3:
            raw.send(b"more")


def lending_at(address: str) -> str | None:
    """Where the server lends memory, if it does."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as asking:
        asking.connect(address)
        asking.send_multipart([bytes(frame) for frame in wire.pack({"op": "hello", "id": "1"})])
        path: str | None = json.loads(asking.recv_multipart()[1])["blocks"]
        return path


def fuzz(options: argparse.Namespace) -> int:
    """The server still answers, rightly, and has not grown."""
    rng = random.Random(options.seed)
    image = photograph(0, 192, 256)  # large enough for shared memory
    arguments = ["--model=ready", "--loader=serving:load", "--rate=1000000", "--queue-per-client=64"]
    with served(*arguments) as (address, pid, _), Client(address, timeout_s=30) as honest, zmq.Context() as context:
        truth = honest.predict(image).values
        lending = lending_at(address)
        loan = ask(lending, "s" * 20, 1 << 16, 1 << 20) if lending is not None else None  # open to the end
        memory = Memory(pid)
        memory.start()
        slowest, answered, heard = 0.0, 0, 0
        started = time.monotonic()
        asked = started
        socket_ = context.socket(zmq.DEALER)
        for number in range(options.messages):
            if number % 5000 == 0:
                socket_.close(0)
                socket_ = context.socket(zmq.DEALER)
                socket_.linger, socket_.sndtimeo = 0, 20000
                socket_.connect(address)
            socket_.send_multipart(mutated(rng, valid_message(rng)))
            while socket_.poll(0):
                socket_.recv_multipart()
                heard += 1
            if number % 500 == 0:
                raw_nonsense(rng, address)
                if lending is not None:
                    raw_wishes(rng, lending)
            if time.monotonic() - asked > 0.5:
                asked = time.monotonic()
                assert (honest.predict(image).values == truth).all()
                slowest, answered = max(slowest, time.monotonic() - asked), answered + 1
        socket_.close(0)
        seconds = time.monotonic() - started
        time.sleep(2.0)
        assert (honest.predict(image).values == truth).all()
        status = honest.status(metrics=True)
        growth = memory.report()
        if loan is not None:
            loan.close()
    print(f"{options.messages} mutated messages in {seconds:.0f} s, {heard} replies to them; {answered} honest requests between "
          f"them answered rightly, the slowest in {1e3 * slowest:.0f} ms")  # fmt: skip
    for line in status["metrics"].splitlines():
        if line.startswith(
            (
                "leadline_malformed",
                "leadline_worker_losses",
                "leadline_outcomes",
                "leadline_refused",
                "leadline_shared",
                "leadline_lent",
            )
        ):
            print(f"  {line}")
    print(f"status: {status['waiting']} waiting, {status['running']} running")
    return 0 if growth <= 0.05 and status["workers"][0]["state"] == "idle" else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    many = commands.add_parser("clients", help=clients.__doc__)
    many.add_argument("--clients", type=int, default=16)
    many.add_argument("--processes", type=int, default=4, help="the clients' own")
    many.add_argument("--minutes", type=float, default=5.0)
    many.add_argument("--model", default="depthfm-mini", help="a name or a path")
    many.add_argument("--device", default="auto")
    many.add_argument("--height", type=int, default=192)
    many.add_argument("--width", type=int, default=256)
    many.add_argument("--size", type=int, default=None)
    many.add_argument("--max-batch", type=int, default=8)
    many.add_argument("--replicas", type=int, default=1)
    many.add_argument("--http", type=int, default=0, help="so many of the clients speak HTTP")
    many.add_argument(
        "--kill-every", type=float, default=0.0, help="seconds between kills of workers, decoders, gateway"
    )
    many.set_defaults(run=clients)
    harm = commands.add_parser("fuzz", help=fuzz.__doc__)
    harm.add_argument("--messages", type=int, default=200_000)
    harm.add_argument("--seed", type=int, default=0)
    harm.set_defaults(run=fuzz)
    options = parser.parse_args()
    sys.exit(options.run(options))


if __name__ == "__main__":
    main()
