"""`leadline predict` as a program: start-up, the network's share of a folder's time, and the answer of a finished folder.

    python benchmarks/predict.py [--photos 200] [--finished 1000] [-m depthfm-mini]

Start-up is the whole program for one small photograph, in processor seconds (user and system). The network's share is of
the seconds between the first photograph's network and the end, in which reading and writing happen beside it. A finished
folder is asked again.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

PROGRAM = [sys.executable, "-m", "leadline", "predict", "--quiet"]
#: Runs the program with DepthEstimator.predict timed, and says seconds in it and seconds since it was first called.
TIMED = """
import sys, time
from leadline.cli.main import main
from leadline.inference.estimator import DepthEstimator
plain, calls, began = DepthEstimator.predict, [], []
def predict(*arguments, **options):
    started = time.perf_counter()
    began.append(started)
    result = plain(*arguments, **options)
    calls.append(time.perf_counter() - started)
    return result
DepthEstimator.predict = predict
try:
    main()
finally:
    print(len(calls), sum(calls), time.perf_counter() - began[0])
"""


def photographs(folder: Path, count: int, height: int = 240, width: int = 320) -> None:
    """Smooth random pictures, as JPEG."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(count):
        small = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{index:04d}.jpg"), large)


def start_up(folder: Path, out: Path, model: str, repeat: int = 3) -> float:
    """The least processor seconds of several runs on one photograph."""
    seconds = []
    for _ in range(repeat):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*PROGRAM, folder / "0000.jpg", "-o", out, "-m", model, "--overwrite"], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def network_share(folder: Path, out: Path, *options: str) -> tuple[int, float, float]:
    """Photographs, seconds in the network, seconds from its first call to the program's end."""
    command = [sys.executable, "-c", TIMED, "predict", "--quiet", folder, "-o", out, *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    count, inside, whole = done.stdout.split()[-3:]
    return int(count), float(inside), float(whole)


def finished(folder: Path, out: Path, *options: str) -> float:
    """Seconds of the program on a folder whose results are all there."""
    started = time.perf_counter()
    subprocess.run([*PROGRAM, folder, "-o", out, *options], check=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument(
        "--finished", type=int, default=0, help="As many more, of 16×16 pixels, run at --size 64; 0: leave that out."
    )
    parser.add_argument("-m", "--model", default="depthfm-mini")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "photos"
        photographs(folder, options.photos)
        print(
            f"start-up to the first map: {start_up(folder, Path(place) / 'one', options.model):.2f} CPU s", flush=True
        )
        count, inside, whole = network_share(folder, Path(place) / "out", "-m", options.model)
        print(f"{count} photographs of 320×240 in {whole:.1f} s, {inside / whole:.1%} of it in the network", flush=True)
        print(f"the same folder again: {finished(folder, Path(place) / 'out', '-m', options.model):.2f} s", flush=True)
        if options.finished:
            small = ("-m", options.model, "--size", "64")
            many, out = Path(place) / "many", Path(place) / "manyout"
            photographs(many, options.finished, 16, 16)
            network_share(many, out, *small)
            print(f"a finished folder of {options.finished}: {finished(many, out, *small):.2f} s", flush=True)


if __name__ == "__main__":
    main()
