"""Tests of recorded streams; those of bags need rosbags."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("rosbags") else ["test_bag.py"]
