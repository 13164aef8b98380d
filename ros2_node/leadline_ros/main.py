"""`ros2 run leadline depth_node`: the process around the node. Ends with 0 on Ctrl+C at any moment."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

_SPIN_S = 0.1


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the node until it is asked to end, and end the process: with 0, or 1 if it could not start."""
    stop = threading.Event()
    stop_on_signals(stop)  # before anything slow is imported

    from leadline import threads  # noqa: PLC0415
    from leadline.inference.allocator import keep_large_blocks  # noqa: PLC0415
    from leadline_ros.share import use_large_image_profile  # noqa: PLC0415

    threads.prepare()
    # Few heaps, as the frames of several cameras are worked on side by side; one for each core, as with one its threads wait
    # for each other: the search for neighbours then takes twice the time.
    keep_large_blocks(arenas=threads.allowed_cores())
    use_large_image_profile()
    end_now(_run(stop, None if arguments is None else list(arguments)))


def end_now(code: int) -> NoReturn:
    """End the process once everything of ours is closed.

    What the interpreter would still tear down (torch, by now) takes seconds on a busy machine, longer than `ros2 launch` waits;
    and a model inside a call that cannot be interrupted would crash it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def stop_on_signals(stop: threading.Event) -> None:
    """Set ``stop`` on Ctrl+C and SIGTERM, instead of rclpy's handlers: those let KeyboardInterrupt rise anywhere."""

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)


def _run(stop: threading.Event, arguments: list[str] | None) -> int:
    """The exit code."""
    import rclpy  # noqa: PLC0415
    from rclpy.exceptions import ParameterException  # noqa: PLC0415
    from rclpy.executors import SingleThreadedExecutor  # noqa: PLC0415
    from rclpy.signals import SignalHandlerOptions  # noqa: PLC0415

    from leadline.errors import LeadlineError  # noqa: PLC0415
    from leadline_ros.node import DepthNode, RCLError  # noqa: PLC0415

    try:
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        node = DepthNode(stop)
    except (LeadlineError, ParameterException, RCLError, RuntimeError) as error:  # rclpy's are several kinds
        print(f"depth_node: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        node.autostart()
        while rclpy.ok() and not stop.is_set() and node.state_label != "finalized":
            try:
                executor.spin_once(timeout_sec=_SPIN_S)
            except RCLError as error:  # a broken request of somebody else must not end the node
                node.get_logger().error(f"rclpy: {error}")
    finally:
        node.close()
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    main()
