"""What a prediction takes while other programs keep the cores busy: `python benchmarks/busy_neighbours.py`.

By turns, in fresh processes: with what the command line, the node and the server set (`leadline.threads`), and with
PyTorch's own settings. Beside 0 programs that only compute, and beside one for every core. PyTorch's own settings beside
busy cores may take minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from leadline.files.output import write_json

#: Runs in each process: prints the seconds of every prediction.
MEASURE = """
import json, sys, time
if sys.argv[1] == "leadline":
    import leadline.threads
    leadline.threads.prepare()
import leadline, numpy
model = leadline.load(sys.argv[2], decoder=sys.argv[3])
image = numpy.random.default_rng(0).integers(0, 255, (256, 320, 3), dtype=numpy.uint8)
seconds = []
for _ in range(int(sys.argv[4]) + 1):
    started = time.perf_counter()
    model.predict(image, size=320)
    seconds.append(time.perf_counter() - started)
print(json.dumps(seconds[1:]))
"""
NEIGHBOUR = "while True: pass"
UNSET = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-m", "--model", default="fiffdepth-mini")
    parser.add_argument("--decoder", default="full")
    parser.add_argument("--repeat", type=int, default=5, help="predictions in a process")
    parser.add_argument("--turns", type=int, default=2, help="processes of each kind")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, os.cpu_count() or 1], help="programs beside")
    parser.add_argument("--only", choices=["leadline", "pytorch"], help="without the other")
    parser.add_argument("-o", "--output", type=Path, default=Path("out/busy.json"))
    arguments = parser.parse_args()
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    sides = [arguments.only] if arguments.only else ["leadline", "pytorch"]
    seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(arguments.turns):
        for busy in arguments.busy:
            neighbours = [subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) for _ in range(busy)]
            try:
                for side in sides:
                    words = [side, arguments.model, arguments.decoder, str(arguments.repeat)]
                    command = [sys.executable, "-c", MEASURE, *words]
                    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                    seconds[side, busy] += json.loads(done.stdout.splitlines()[-1])
            finally:
                for neighbour in neighbours:
                    neighbour.kill()
                    neighbour.wait()
    rows = [
        {
            "threads": side, "busy": busy, "median_ms": 1e3 * statistics.median(of), "best_ms": 1e3 * min(of),
            "times_quiet": statistics.median(of) / statistics.median(seconds[side, arguments.busy[0]]),
        }
        for (side, busy), of in sorted(seconds.items())
    ]  # fmt: skip
    write_json(arguments.output, {"load_before": os.getloadavg()[0], "cores": os.cpu_count(), "rows": rows})
    print(
        "| threads as | programs beside | median, ms | best, ms | × its median with the fewest beside |\n|---|---|---|---|---|"
    )
    for row in rows:
        print("| {threads} | {busy} | {median_ms:.0f} | {best_ms:.0f} | {times_quiet:.2f} |".format(**row))


if __name__ == "__main__":
    main()
