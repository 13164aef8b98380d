"""A checkpoint of the published size, from its file to its first map: processor seconds and memory.

    python benchmarks/loading.py [--size 256] [--precision bf16] [--folder SOMEWHERE]

A model of Marigold's architecture with random weights is written to a float32 file (3.8 GB, deleted at the end), and read by a program of
its own. Anonymous memory is what the file's mapped pages are not: its peak must stay below 1.2 times the weights and 0.7 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from leadline import threads
from leadline.benchmarking.against_diffusers import full_size_marigold
from leadline.checkpoints.native import save_model

#: Loads a model and makes a map, and tells seconds and the highest anonymous memory that a look every 10 ms saw.
PROGRAM = """
import json, sys, threading, time
peak = 0
def watch():
    global peak
    while True:
        status = open("/proc/self/status").read()
        peak = max(peak, 1024 * int(status.split("RssAnon:")[1].split()[0]))
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
told = {}
def note(name):
    told[name] = [time.process_time(), peak]
import numpy as np
import leadline
note("import leadline")
model = leadline.load(sys.argv[1], device="cpu", precision=sys.argv[3])
note("ready")
model.predict(np.zeros((int(sys.argv[2]),) * 2 + (3,), np.uint8), steps=1, ensemble=1, size=0)
note("first map")
whole = open("/proc/self/status").read().split("VmHWM:")[1].split()[0]  # rusage counts what the parent had, too
print(json.dumps([told, 1024 * int(whole)]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256, help="side of the square picture")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--folder", type=Path, help="where the file goes meanwhile")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "marigold.safetensors"
        save_model(full_size_marigold(), path, torch.float32)
        weights = path.stat().st_size
        command = [sys.executable, "-c", PROGRAM, str(path), str(options.size), options.precision]
        environment = {**os.environ, **threads.settings()}  # as the command line and the servers have it
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        told, resident = json.loads(done.stdout)
    allowed = 1.2 * weights + 0.7e9
    print(
        f"weights {weights / 1e9:.2f} GB; anonymous memory allowed {allowed / 1e9:.2f} GB; whole peak {resident / 1e9:.2f} GB"
    )
    print("| until | processor s | peak anonymous memory |\n|---|---|---|")
    for name, (seconds, peak) in told.items():
        print(f"| {name} | {seconds:.1f} | {peak / 1e9:.2f} GB |")


if __name__ == "__main__":
    main()
