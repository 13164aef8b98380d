"""Pictures without depth: folders, tar shards, films, bags."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leadline.errors import InputError
from leadline.files.film import FilmWriter
from leadline.training.pictures import Recording, open_pictures


def grey(level: int) -> np.ndarray:
    return np.full((32, 48, 3), level, dtype=np.uint8)


def png(level: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey(level)).save(file, "PNG")
    return file.getvalue()


def test_images_and_tar_shards_of_a_folder_are_one_sequence(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(10))
    with tarfile.open(tmp_path / "shard-0000.tar", "w") as shard:
        for name, content in (("000.png", png(20)), ("000.json", b"{}"), ("001.png", png(30))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    pictures = open_pictures(tmp_path)
    assert [int(pictures[i][0, 0, 0]) for i in range(len(pictures))] == [10, 20, 30]
    only = open_pictures(tmp_path / "shard-0000.tar")
    assert len(only) == 2
    (tmp_path / "bad.tar").write_bytes(b"no tar file")
    with pytest.raises(InputError, match="tar file"):
        open_pictures(tmp_path)


def test_a_film_gives_frames_evenly_over_its_length(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with FilmWriter(path, 48, 32) as film:
        for number in range(10):
            film.write(grey(20 * number), number / 10)
    assert len(open_pictures(path)) == 10
    few = Recording(path, most=4)
    levels = [int(few[i].mean()) for i in range(len(few))]
    assert len(levels) == 4
    np.testing.assert_allclose(levels, [0, 60, 120, 180], atol=6)


def test_a_bag_gives_the_images_of_a_topic(tmp_path: Path) -> None:
    rosbag2 = pytest.importorskip("rosbags.rosbag2")
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    message = store.types["sensor_msgs/msg/Image"]
    header, time = store.types["std_msgs/msg/Header"], store.types["builtin_interfaces/msg/Time"]
    with rosbag2.Writer(tmp_path / "bag", version=9) as writer:
        topics = {
            name: writer.add_connection(name, message.__msgtype__, typestore=store) for name in ("/left", "/right")
        }
        for number in range(3):
            for name, level in (("/left", 10), ("/right", 100)):
                data = grey(level + number).reshape(-1)
                one = message(header(time(number, 0), "camera"), 32, 48, "rgb8", 0, 144, data)
                writer.write(topics[name], number * 10**9, store.serialize_cdr(one, message.__msgtype__))
    left = open_pictures(tmp_path / "bag", "/left")
    assert [int(left[i][0, 0, 0]) for i in range(len(left))] == [10, 11, 12]
    with pytest.raises(InputError, match="more than one topic"):
        open_pictures(tmp_path / "bag")
    with pytest.raises(InputError, match="/left, /right"):
        open_pictures(tmp_path / "bag", "/front")
