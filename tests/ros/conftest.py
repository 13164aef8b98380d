"""Fixtures of the ROS tests; tests of the node need rclpy, those of bags need rosbags."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ros_bench import Bench, NodeProcess

collect_ignore_glob = [] if find_spec("rclpy") else ["test_node_*.py"]


@pytest.fixture(scope="session")
def _bench() -> Iterator[Bench]:
    from ros_bench import Bench

    bench = Bench()
    yield bench
    bench.close()


@pytest.fixture
def bench(_bench: Bench) -> Iterator[Bench]:
    yield _bench
    _bench.clear()


@pytest.fixture(scope="session")
def shared_node(
    models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, _bench: Bench
) -> Iterator[NodeProcess]:
    """One node for all tests that leave it as they found it: starting one costs seconds."""
    from ros_bench import NodeProcess

    log = tmp_path_factory.mktemp("log") / "node.log"
    node = NodeProcess(log, model=models["depthfm"], device="cpu", precision="fp32", diagnostics_period_s=0.2)
    _bench.wait_for_state("/depth_node", "active")
    yield node
    assert node.stop() == 0, node.log
    assert "Traceback" not in node.log, node.log
