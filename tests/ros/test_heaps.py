"""The memory of the node's process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, re, sys, threading
from leadline import threads
threads.allowed_cores = lambda: 2
from leadline_ros import main
main.use_large_image_profile = lambda: None

def work(given):
    both = threading.Barrier(3)
    def allocate():
        both.wait()
        kept = [bytearray(100_000) for _ in range(200)]
        both.wait()
        both.wait()
    for _ in range(2):
        threading.Thread(target=allocate, daemon=True).start()
    both.wait(); both.wait()
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    file = libc.fopen(sys.argv[1].encode(), b"w")
    libc.malloc_info(0, ctypes.c_void_p(file)); libc.fclose(ctypes.c_void_p(file))
    return 0

main._run = lambda stop, given: work(given)
main.main([])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's settings")
def test_threads_of_two_cores_have_two_heaps(tmp_path) -> None:
    """With one they wait for each other at every allocation."""
    found = tmp_path / "heaps.xml"
    subprocess.run([sys.executable, "-c", PROGRAM, str(found)], check=True)
    assert found.read_text().count("<heap ") == 2
