"""What the server costs: its round trip minus the model's time, against a bare ROUTER/DEALER echo of the same bytes.

    python benchmarks/serving.py [--rounds 60] [--transport tcp] [--height 1080 --width 1920] [--messages]
    python benchmarks/serving.py --against CHECKOUT [--turns 5]

The second compares with another version of Leadline, by turns: how many echoes each costs depends on the machine, which of
them costs more hardly.

Both run in one process each besides this one, and rounds alternate between them, so that other load on the machine
falls on both. The model is a stand-in that returns a ready map: what is measured is everything else. The client is as
users have it: where it can, it passes pixels through memory that the server lends; ``--messages`` forbids it that.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from leadline.depth.prediction import DepthPrediction
from leadline.depth.spaces import Space
from leadline.serving.client.client import Client


class ReadyMap:
    """An estimator that does nothing but write its map."""

    name, family, space = "ready", "depthfm", Space.LOG_DEPTH
    default_steps, default_size, stochastic, nbytes = 1, 64, True, 0

    def __init__(self) -> None:
        self._maps: dict[tuple[int, int], Any] = {}

    def predict(self, image: list[Any], out: list[Any] | None = None, **_: Any) -> list[DepthPrediction]:
        maps = [self._map(one.shape[:2]) for one in image]
        if out is not None:  # as the real one does: the map is written once, to where it is wanted
            for place, values in zip(out, maps, strict=True):
                np.copyto(place, values)
            maps = out
        return [DepthPrediction(values, self.space, model=self.name) for values in maps]

    def _map(self, shape: tuple[int, int]) -> Any:
        if shape not in self._maps:
            self._maps[shape] = np.random.default_rng(0).random(shape, np.float32)
        return self._maps[shape]


def load(source: str, device: str, precision: str) -> ReadyMap:
    """Loader for `leadline serve`."""
    return ReadyMap()


def echo(address: str, reply_bytes: int, bound: Any) -> None:
    """A ROUTER that takes a message and returns ``reply_bytes``, without copying either."""
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.bind(address)
        bound.put(socket.last_endpoint.decode())
        reply = bytearray(os.urandom(reply_bytes))
        while True:
            route, head, *_ = socket.recv_multipart(copy=False)
            socket.send_multipart([route, head, reply], copy=False)


def compare(other: Path, turns: int, arguments: list[str]) -> bool:
    """Print what both versions cost, run by run; whether this one costs no more, but for a tenth, by which runs differ."""
    versions: dict[str, dict[str, str]] = {"this one": {}, str(other): {"PYTHONPATH": str(other.resolve() / "core")}}
    ratios: dict[str, list[float]] = {name: [] for name in versions}
    for _ in range(turns):
        for name, environment in versions.items():
            command = [sys.executable, __file__, *arguments]
            ran = subprocess.run(
                command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
            )
            found = re.search(r"overhead / echo: ([\d.]+)", ran.stdout)
            if found is None:
                sys.exit(f"{name} failed: {ran.stderr.strip()[-1000:]}")
            ratios[name].append(float(found[1]))
    for name, found_ratios in ratios.items():
        each = " ".join(f"{ratio:.2f}" for ratio in found_ratios)
        print(f"{name}: {each}, median {statistics.median(found_ratios):.2f} echoes")
    ours, theirs = (statistics.median(found_ratios) for found_ratios in ratios.values())
    return ours <= 1.1 * theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--transport", choices=["tcp", "ipc"], default="tcp")
    parser.add_argument("--height", type=int, default=1080)
    parser.add_argument("--width", type=int, default=1920)
    parser.add_argument("--messages", action="store_true", help="pixels in messages even though memory could be shared")
    parser.add_argument("--most", type=float, default=1.5, help="end with status 1 if it costs more echoes than this")
    parser.add_argument("--reply", choices=["float32", "float16"], default="float32")
    parser.add_argument("--against", type=Path, help="a checkout of another version, measured by turns with this one")
    parser.add_argument("--turns", type=int, default=5, help="with --against: runs of each version")
    options = parser.parse_args()
    if options.against is not None:
        chosen = [f"--{name}={getattr(options, name)}" for name in ("rounds", "transport", "height", "width", "reply")]
        sys.exit(not compare(options.against, options.turns, chosen + ["--messages"] * options.messages))
    sys.exit(alone(options) > options.most)


def alone(options: argparse.Namespace) -> float:
    """Print what this version costs; in echoes."""
    image = np.random.default_rng(0).integers(0, 256, (options.height, options.width, 3), np.uint8)
    reply_bytes = options.height * options.width * (4 if options.reply == "float32" else 2)

    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory() as folder:
        where = {name: "tcp://127.0.0.1:*" if options.transport == "tcp" else f"ipc://{folder}/{name}" for name in ("echo", "serve")}  # fmt: skip
        bound: Any = multiprocessing.Queue()
        echoing = multiprocessing.Process(target=echo, args=(where["echo"], reply_bytes, bound), daemon=True)
        echoing.start()
        server = subprocess.Popen(
            [sys.executable, "-c", "from leadline.cli.main import main; main()", "serve", "--announce", "--end-with-stdin",
             "--model=ready", "--loader=serving:load", f"--bind={where['serve']}", "--log-level=warning"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )  # fmt: skip
        assert server.stdin is not None
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())["listening"]
        context = zmq.Context()
        bare = context.socket(zmq.DEALER)
        bare.linger = 0
        bare.connect(bound.get(timeout=20))
        with Client(address, timeout_s=60, share=not options.messages) as client:
            served_s, model_s, bare_s = [], [], []
            for _ in range(5):
                client.predict(image, reply=options.reply)
            for _ in range(options.rounds):
                start = time.perf_counter()
                prediction = client.predict(image, reply=options.reply)
                served_s.append(time.perf_counter() - start)
                model_s.append(prediction.meta["model_seconds"])
                start = time.perf_counter()
                bare.send_multipart([b"head", image.data], copy=False)
                bare.recv_multipart(copy=False)
                bare_s.append(time.perf_counter() - start)
                del prediction
        bare.close()
        context.term()
        server.stdin.close()
        server.wait(20)
        echoing.terminate()
    overhead = [s - m for s, m in zip(served_s, model_s, strict=True)]
    rows = [("bare echo", bare_s), ("served, minus model", overhead), ("model (stand-in)", model_s)]
    for name, seconds in rows:
        ms = sorted(1e3 * s for s in seconds)
        print(
            f"{name:22} median {statistics.median(ms):7.2f} ms   p10 {ms[len(ms) // 10]:7.2f}   p90 {ms[len(ms) * 9 // 10]:7.2f}"
        )
    ratio = statistics.median(overhead) / statistics.median(bare_s)
    print(f"overhead / echo: {ratio:.2f} (medians), {min(overhead) / min(bare_s):.2f} (best of each)")
    return ratio


if __name__ == "__main__":
    main()
