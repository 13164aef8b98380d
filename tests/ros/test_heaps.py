"""Memory and threads of the node's process."""

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


@pytest.mark.parametrize("own", [None, "3"])
def test_small_products_start_no_threads_unless_the_user_says_so(
    monkeypatch: pytest.MonkeyPatch, own: str | None
) -> None:
    """NumPy's library reads it when it is loaded."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if own is not None:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", own)
    program = (
        "import os, sys; from leadline_ros import main; "
        "main._run = lambda *_: print(os.environ['OPENBLAS_NUM_THREADS'], 'numpy' in sys.modules) or 0; main.main([])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.split() == [own or "1", "False"]
