"""What a prediction takes while other programs keep the cores busy: `python benchmarks/busy_neighbours.py`.

By turns, in fresh processes, beside 0 programs that only compute and beside one for every core. `--through` says who predicts:
library: the package with `leadline.threads.prepare()`; pytorch: the same with PyTorch's own settings, which beside busy cores may take
minutes; cli: `leadline predict` of a folder; server: a client of `leadline serve`; node: the ROS 2 node, from image to depth; stream: the
ROS 2 node beside a camera that is faster than it, from one depth map to the next. Pictures of 640×480 at long edge 320.

    python benchmarks/busy_neighbours.py --through stream              # frames a second that the node keeps beside other programs
    python benchmarks/busy_neighbours.py --through stream --points 20000 --hz 10

Ends with 1 if `stream` keeps less than 40 % of the frames a second that it makes with the fewest programs beside.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from leadline.files.output import write_json

#: Run in a process of their own; they print the seconds of every prediction.
LIBRARY = """
import json, sys, time
if sys.argv[1] == "library":
    import leadline.threads
    leadline.threads.prepare()
import leadline, numpy
model = leadline.load(sys.argv[2], speed=sys.argv[3])
image = numpy.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=numpy.uint8)
seconds = []
for _ in range(int(sys.argv[4]) + 2):
    started = time.perf_counter()
    model.predict(image, size=320)
    seconds.append(time.perf_counter() - started)
print(json.dumps(seconds[2:]))
"""
SERVER = """
import json, sys, time, numpy
from leadline.serving.client.local import LocalServer
image = numpy.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=numpy.uint8)
seconds = []
with LocalServer(models=[sys.argv[2]], arguments=["--speed", sys.argv[3]]) as server, server.client() as client:
    for _ in range(int(sys.argv[4]) + 2):
        started = time.perf_counter()
        client.predict(image, size=320)
        seconds.append(time.perf_counter() - started)
print(json.dumps(seconds[2:]))
"""
NODE = """
import json, os, sys
from ros_stream import stream
ages = stream(2.0, int(sys.argv[4]), 0, ["model:=" + sys.argv[2], "speed:=" + sys.argv[3], "size:=320"])
print(json.dumps([age for age in ages if age is not None]))
"""
STREAM = """
import json, sys
from ros_stream import seconds_a_frame
hz, seconds, points = float(sys.argv[5]), float(sys.argv[6]), int(sys.argv[7])
of_node, of_camera = seconds_a_frame(hz, seconds, points, ["model:=" + sys.argv[2], "speed:=" + sys.argv[3], "size:=320"])
print(f"camera {1 / of_camera:.1f} Hz, node {1 / of_node:.1f} Hz", file=sys.stderr)
print(json.dumps([of_node]))
"""
NEIGHBOUR = "while True: pass"
#: Of its quiet frames a second, what `stream` has to keep.
KEEPS = 0.4
UNSET = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def script(code: str) -> Callable[[str, argparse.Namespace], list[float]]:
    """Seconds that ``code`` prints last."""

    def run(through: str, given: argparse.Namespace) -> list[float]:
        words = [sys.executable, "-c", code, through, given.model, given.speed, str(given.repeat)]
        words += [str(given.hz), str(given.seconds), str(given.points)]
        output = _run([*words], cwd=Path(__file__).parent)
        return list(json.loads(output.splitlines()[-1]))

    return run


def command_line(through: str, given: argparse.Namespace) -> list[float]:
    """`leadline predict` of a folder: what each file says about itself, without the first two."""
    import cv2
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        for index in range(given.repeat + 2):
            picture = np.random.default_rng(index).integers(0, 255, (480, 640, 3), dtype=np.uint8)
            cv2.imwrite(f"{folder}/{index:03}.png", picture)
        words = ["-c", "from leadline.cli.main import main; main()", "predict", folder, "-o", f"{folder}/out", "--json"]
        options = ["-m", given.model, "--speed", given.speed, "--size", "320"]
        lines = _run([sys.executable, *words, *options]).splitlines()
        return [json.loads(line)["meta"]["seconds"] for line in lines][2:]


WAYS: dict[str, Callable[[str, argparse.Namespace], list[float]]] = {
    "library": script(LIBRARY),
    "pytorch": script(LIBRARY),
    "cli": command_line,
    "server": script(SERVER),
    "node": script(NODE),
    "stream": script(STREAM),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="fiffdepth-mini")
    parser.add_argument("--speed", default="full", choices=["full", "realtime"])
    parser.add_argument("--through", nargs="+", default=["library", "pytorch"], choices=list(WAYS))
    parser.add_argument("--repeat", type=int, default=10, help="predictions in a process")
    parser.add_argument("--turns", type=int, default=2, help="processes of each kind")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, os.cpu_count() or 1], help="programs beside")
    parser.add_argument("--hz", type=float, default=30.0, help="of the camera of `stream`")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each `stream`")
    parser.add_argument("--points", type=int, default=0, help="in each cloud of `stream`; 0: no LiDAR")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/busy.json"))
    given = parser.parse_args()
    seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(given.turns):
        for busy in given.busy:
            neighbours = [subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) for _ in range(busy)]
            try:
                for through in given.through:
                    seconds[through, busy] += WAYS[through](through, given)
            finally:
                for neighbour in neighbours:
                    neighbour.kill()
                    neighbour.wait()
    rows = [
        {
            "through": through, "speed": given.speed, "busy": busy, "median_ms": 1e3 * statistics.median(of), "best_ms": 1e3 * min(of),
            "times_quiet": statistics.median(of) / statistics.median(seconds[through, given.busy[0]]),
            "a_second": 1 / statistics.median(of), "rate_kept": statistics.median(seconds[through, given.busy[0]]) / statistics.median(of),
        }
        for (through, busy), of in sorted(seconds.items())
    ]  # fmt: skip
    write_json(given.output, {"load_before": os.getloadavg()[0], "cores": os.cpu_count(), "rows": rows})
    print(
        "| through | programs beside | median, ms | best, ms | × its median with the fewest beside | a second | share of that rate |\n"
        "|---|---|---|---|---|---|---|"
    )
    for row in rows:
        print(
            "| {through} | {busy} | {median_ms:.0f} | {best_ms:.0f} | {times_quiet:.2f} | {a_second:.1f} | {rate_kept:.0%} |".format(
                **row
            )
        )
    return int(any(row["through"] == "stream" and row["rate_kept"] < KEEPS for row in rows))


def _run(words: list[str], cwd: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words[-6:])}: {done.stderr[-2000:]}")
    print(*(line for line in done.stderr.splitlines() if line.startswith("camera ")), sep="\n", end="", file=sys.stderr)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
