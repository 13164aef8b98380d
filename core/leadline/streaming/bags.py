"""Depth for a recorded ROS 2 bag, with the `rosbags` library and without ROS.

The images of a bag go through the same pipeline as live ones. Results are kept in a journal beside the output, so that
a broken run continues; when all are there, the output is written: every message of the input byte by byte, and the
new ones between them.
"""

from __future__ import annotations

import heapq
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from leadline.errors import InputError, first_line
from leadline.files.output import millimetres
from leadline.files.pictures import colourise
from leadline.streaming.frames import StreamResult
from leadline.streaming.journal import Entry, Journal
from leadline.streaming.pipeline import DepthPipeline
from leadline.streaming.problems import kind_of
from leadline.streaming.ros.messages import rgb_of
from leadline.streaming.settings import StreamSettings
from leadline.streaming.surroundings import Surroundings

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Reader

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
INFO, CLOUD, TRANSFORMS = "sensor_msgs/msg/CameraInfo", "sensor_msgs/msg/PointCloud2", "tf2_msgs/msg/TFMessage"

#: New topics under the prefix, with their types. The order numbers them in the journal.
NEW_TOPICS = {
    "depth": ("", IMAGE),
    "uncertainty": ("/uncertainty", IMAGE),
    "camera_info": ("/camera_info", INFO),
    "relative": ("/relative", IMAGE),
    "preview": ("/preview", IMAGE),
}


@dataclass(frozen=True)
class BagJob:
    """What to read and what to add.

    Attributes:
        source: A `.mcap` or `.db3` file, or a bag's folder.
        image: Topic of `Image` or `CompressedImage`.
        camera_info: Topic; None: the sibling of the image topic, if it is there.
        points, sparse_depth: Topics; None for none.
        prefix: Of the new topics: depth itself is published on it.
        outputs: Names from :data:`NEW_TOPICS`.
        depth_encoding: "32FC1" or "16UC1".
    """

    source: Path
    image: str
    camera_info: str | None
    points: str | None
    sparse_depth: str | None
    prefix: str
    outputs: tuple[str, ...]
    depth_encoding: str


@dataclass
class BagReport:
    """What a run did."""

    images: int = 0
    metric: int = 0
    relative: int = 0
    failed: int = 0
    resumed: int = 0
    problems: dict[str, int] = field(default_factory=dict)


def default_prefix(image_topic: str) -> str:
    """`/camera/image_raw` → `/camera/depth`."""
    return image_topic.rstrip("/").rpartition("/")[0] + "/depth"


def open_bag(source: Path) -> Reader:
    """An opened reader.

    Raises:
        InputError: Missing, not a ROS 2 bag, damaged, or rosbags is not installed.
    """
    try:
        from rosbags.rosbag2 import Reader, ReaderError  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise InputError("reading bags needs the rosbags library: pip install 'leadline[bag]'") from error
    if not source.exists():
        raise InputError(f"{source} does not exist; check the path")
    try:
        reader = Reader(source)
        reader.open()
    except (ReaderError, OSError, ValueError, KeyError, AssertionError) as error:
        raise InputError(f"{source} is not a readable ROS 2 bag ({first_line(error)})") from error
    return reader


def is_bag(path: Path) -> bool:
    """Whether a path looks like a ROS 2 bag: its file, or its folder."""
    return path.suffix in (".mcap", ".db3") or (path / "metadata.yaml").is_file()


def read_pictures(source: Path, image: str | None = None, every: int = 1) -> Iterator[npt.NDArray[np.uint8]]:
    """Images of a bag, RGB uint8 (H, W, 3), in the order in which they were recorded.

    Args:
        source: A `.mcap` or `.db3` file, or a bag's folder.
        image: Topic of `Image` or `CompressedImage`; None: the only one.
        every: 1 gives all, 2 the first, the third ...

    Raises:
        InputError: There is no such topic, or none was named and there are several; the bag is damaged.
    """
    with closing(open_bag(source)) as reader:
        topics = sorted(c.topic for c in reader.connections if c.msgtype in (IMAGE, COMPRESSED))
        if image not in topics and (image is not None or len(topics) != 1):
            what = (
                f"no images on {image}"
                if image is not None
                else "more than one topic of images"
                if topics
                else "no images"
            )
            raise InputError(f"{source} has {what}; its topics of images are: {', '.join(topics) or 'none'}")
        wanted = [c for c in reader.connections if c.topic == (image or topics[0])]
        store = _typestore()
        for number, (connection, _, raw) in enumerate(reader.messages(connections=wanted)):
            if number % every == 0:
                try:
                    yield rgb_of(store.deserialize_cdr(raw, connection.msgtype))
                except InputError:
                    continue  # a picture that cannot be read


def count_pictures(source: Path, image: str | None = None) -> int:
    """How many images of the topic a bag has; of all topics where none is named."""
    with closing(open_bag(source)) as reader:
        kinds = (IMAGE, COMPRESSED)
        return sum(c.msgcount for c in reader.connections if c.msgtype in kinds and image in (None, c.topic))


def run(
    job: BagJob,
    output: Path,
    settings: StreamSettings,
    load: Callable[[StreamSettings], DepthPipeline],
    on_progress: Callable[[int, int], None],
) -> BagReport:
    """Add depth to a bag.

    Args:
        job: What to read and add.
        output: `.mcap` or `.db3` for one file, else a bag's folder. Written whole or not at all.
        settings: Of model and stream.
        load: Gives the pipeline; called only if there is something left to do.
        on_progress: Called with (images done, images in all).

    Raises:
        InputError: Topics are missing or of another type, the output exists, or the bag is damaged.
    """
    if output.exists():
        raise InputError(f"{output} exists already; remove it or choose another name")
    reader = open_bag(job.source)
    try:
        topics = {connection.topic: connection for connection in reader.connections}
        _check_topics(job, topics)
        stat = job.source.stat()
        identity = {
            "job": {**asdict(job), "source": str(job.source.resolve())},
            "settings": asdict(settings),
            "source": [stat.st_size, stat.st_mtime_ns],
        }
        journal_path = output.with_name(output.name + ".journal")
        output.parent.mkdir(parents=True, exist_ok=True)
        with Journal(journal_path, identity) as journal:
            total = sum(c.msgcount for c in reader.connections if c.topic == job.image)
            report = _Pass(reader, job, settings, load, journal, lambda done: on_progress(done, total)).run()
            _write(reader, job, journal, output)
        journal_path.unlink()
        return report
    finally:
        reader.close()


def _check_topics(job: BagJob, topics: dict[str, Connection]) -> None:
    wanted = {
        job.image: (IMAGE, COMPRESSED),
        job.points: (CLOUD,),
        job.sparse_depth: (IMAGE,),
        job.camera_info: (INFO,),
    }
    for topic, kinds in wanted.items():
        if topic is None:
            continue
        if topic not in topics:
            usable = sorted(t for t, c in topics.items() if c.msgtype in kinds) or ["none"]
            raise InputError(f"the bag has no topic {topic}; of that kind it has: {', '.join(usable)}")
        if topics[topic].msgtype not in kinds:
            raise InputError(f"{topic} is a {topics[topic].msgtype}, not a {' or '.join(kinds)}")
    for name in job.outputs:
        if job.prefix + NEW_TOPICS[name][0] in topics:
            raise InputError(f"the bag has a topic {job.prefix + NEW_TOPICS[name][0]} already; use another --prefix")


def _typestore() -> Any:
    from rosbags.typesys import Stores, get_typestore  # noqa: PLC0415

    # The messages read and written here are the same from Humble on.
    return get_typestore(Stores.ROS2_JAZZY)


class _Pass:
    """One reading of the bag that fills the journal: a step for each image, empty where the image cannot be used."""

    def __init__(
        self,
        reader: Reader,
        job: BagJob,
        settings: StreamSettings,
        load: Callable[[StreamSettings], DepthPipeline],
        journal: Journal,
        on_progress: Callable[[int], None],
    ) -> None:
        self._reader = reader
        self._job = job
        self._settings = settings
        self._load = load
        self._journal = journal
        self._on_progress = on_progress
        self._store = _typestore()
        self._pipeline: DepthPipeline | None = None
        self._info_topic = job.camera_info or job.image.rpartition("/")[0] + "/camera_info"
        self._surroundings = Surroundings(self._note)
        self.report = BagReport(resumed=journal.steps)

    def run(self) -> BagReport:
        job = self._job
        topics = {job.image, self._info_topic, job.points, job.sparse_depth, "/tf", "/tf_static"}
        connections = [c for c in self._reader.connections if c.topic in topics]
        self._read_what_never_changes([c for c in connections if c.topic in ("/tf_static", self._info_topic)])
        # An image waits until what was recorded within the tolerance after it has been read, too.
        waiting: deque[tuple[int, Any]] = deque()
        # In a recording, waiting costs nothing: for points as long as they could be used, for TF as long as live.
        patience_s = max(
            self._settings.max_wait_s, self._settings.sync_tolerance_s if job.points or job.sparse_depth else 0.0
        )
        patience_ns = int(patience_s * 1e9)
        for connection, stamp_ns, raw in self._reader.messages(connections=connections):
            while waiting and stamp_ns > waiting[0][0] + patience_ns:
                self._finish(*waiting.popleft())
            message = self._read(connection, raw)
            if connection.topic == job.image:
                waiting.append((stamp_ns, message))
            elif message is not None:
                self._collect(connection.topic, message)
        while waiting:
            self._finish(*waiting.popleft())
        return self.report

    def _note(self, source: str, error: Exception) -> None:
        kind = f"{source}: {first_line(error)}"
        self.report.problems[kind] = self.report.problems.get(kind, 0) + 1

    def _read(self, connection: Connection, raw: bytes) -> Any:
        """The message, or None if its bytes are damaged."""
        try:
            return self._store.deserialize_cdr(raw, connection.msgtype)
        except Exception as error:  # rosbags raises whatever the bytes lead to
            self._note(connection.topic, InputError(f"a message cannot be read ({first_line(error)})"))
            return None

    def _read_what_never_changes(self, connections: list[Connection]) -> None:
        """Static transforms and the first calibration, wherever in the bag they are."""
        for connection, _, raw in self._reader.messages(connections=connections) if connections else ():
            if connection.topic == "/tf_static":
                self._collect("/tf_static", self._read(connection, raw))
            elif self._surroundings.info is None:
                self._surroundings.info = self._read(connection, raw)

    def _collect(self, topic: str, message: Any) -> None:
        if message is None:
            return
        if topic == self._info_topic:
            self._surroundings.info = message
        elif topic == self._job.points:
            self._surroundings.add_points(message)
        elif topic == self._job.sparse_depth:
            self._surroundings.add_sparse(message)
        elif topic.startswith("/tf"):
            self._surroundings.add_transforms(message, is_static=topic == "/tf_static")

    def _finish(self, stamp_ns: int, message: Any) -> None:
        """Depth of one image into the journal, unless an earlier run did it."""
        self.report.images += 1
        if self.report.images > self.report.resumed:
            self._journal.commit(self._depth(stamp_ns, message))
        self._on_progress(self.report.images)

    def _depth(self, stamp_ns: int, message: Any) -> list[Entry]:
        if self._pipeline is None:
            self._pipeline = self._load(self._settings)
        if message is None:
            self.report.failed += 1
            return []
        try:
            rgb = rgb_of(message)
            info = self._surroundings.info_for(rgb)
            frame = self._surroundings.frame(message.header, rgb, info, self._settings)
            result = self._pipeline.process(frame, self._settings)
        except InputError as error:
            self._note("image", error)
            self.report.failed += 1
            return []
        self.report.metric += result.depth_m is not None
        self.report.relative += result.depth_m is None
        if result.reason:
            self._note("not metric", InputError(result.reason))
        for warning in result.warnings:
            self._note("warning", InputError(kind_of(warning)))
        return _entries(self._job, self._store, stamp_ns, message.header, info, result)


def _entries(job: BagJob, store: Any, stamp_ns: int, header: Any, info: Any, result: StreamResult) -> list[Entry]:
    """The new messages of one image, serialised."""
    found: dict[str, Any] = {}
    if result.depth_m is not None:
        found["depth"] = _depth_image(store, header, result.depth_m, job.depth_encoding)
        if result.uncertainty_m is not None:
            found["uncertainty"] = _depth_image(store, header, result.uncertainty_m, job.depth_encoding)
        if info is not None:
            found["camera_info"] = _with_header(info, header)
    if "relative" in job.outputs or "preview" in job.outputs:
        relative = 1.0 - result.raw.nearness()
        found["relative"] = _image(store, header, "32FC1", relative)
        found["preview"] = _image(store, header, "rgb8", colourise(1.0 - relative))
    return [
        Entry(stamp_ns, number, bytes(store.serialize_cdr(found[name], kind)))
        for number, (name, (_, kind)) in enumerate(NEW_TOPICS.items())
        if name in found and name in job.outputs
    ]


def _depth_image(store: Any, header: Any, metres: Any, encoding: str) -> Any:
    return _image(store, header, encoding, metres if encoding == "32FC1" else millimetres(metres))


def _image(store: Any, header: Any, encoding: str, pixels: Any) -> Any:
    pixels = np.ascontiguousarray(pixels)
    return store.types[IMAGE](
        header=header,
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels.strides[0],
        data=pixels.reshape(-1).view(np.uint8),
    )


def _with_header(info: Any, header: Any) -> Any:
    fields = {name: getattr(info, name) for name in info.__dataclass_fields__ if not name.startswith("__")}
    return type(info)(**{**fields, "header": header})


def _write(reader: Reader, job: BagJob, journal: Journal, output: Path) -> None:
    """The input's messages as they are, and the journal's between them."""
    from rosbags.rosbag2 import StoragePlugin, Writer  # noqa: PLC0415

    store = _typestore()
    plugin = StoragePlugin.SQLITE3 if output.suffix == ".db3" else StoragePlugin.MCAP
    folder = output.with_name(output.name + ".part")
    shutil.rmtree(folder, ignore_errors=True)
    with Writer(folder, version=9, storage_plugin=plugin) as writer:
        copies = {c.id: _copy_connection(writer, c, store) for c in reader.connections}
        additions = [
            writer.add_connection(job.prefix + suffix, kind, typestore=store) if name in job.outputs else None
            for name, (suffix, kind) in NEW_TOPICS.items()
        ]
        originals = ((stamp_ns, copies[c.id], raw) for c, stamp_ns, raw in reader.messages())
        # Images are answered in the order in which they were recorded, so both streams are sorted by time.
        added = ((entry.stamp_ns, additions[entry.topic], entry.payload) for entry in journal.entries())
        for stamp_ns, connection, raw in _merged(originals, added):
            writer.write(connection, stamp_ns, raw)
    if output.suffix in (".mcap", ".db3"):
        (inner,) = (file for file in folder.iterdir() if file.suffix == output.suffix)
        inner.replace(output)
        shutil.rmtree(folder)
    else:
        folder.replace(output)


def _merged(originals: Iterator[Any], added: Iterator[Any]) -> Iterator[tuple[int, Any, bytes]]:
    return heapq.merge(originals, added, key=lambda message: message[0])


def _copy_connection(writer: Any, connection: Connection, store: Any) -> Any:
    """The same topic, type definition, hash and QoS in the new bag."""
    extension: Any = connection.ext
    definition, digest = connection.msgdef.data, connection.digest
    known = connection.msgtype in store.types
    if not (definition and digest) and not known:
        raise InputError(
            f"the bag says nothing about the type {connection.msgtype} of {connection.topic}; "
            "convert it to MCAP with `ros2 bag convert` first"
        )
    return writer.add_connection(
        connection.topic,
        connection.msgtype,
        typestore=store if known else None,
        msgdef=definition or None,
        rihs01=digest or None,
        serialization_format=extension.serialization_format,
        offered_qos_profiles=extension.offered_qos_profiles,
    )
