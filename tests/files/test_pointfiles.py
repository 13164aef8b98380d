import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.completion import read_points
from leadline.errors import InputError
from leadline.files.pointfiles import ply, unpack_lzf

CLOUD = np.random.default_rng(0).uniform(-20, 20, (50, 4)).astype("<f4")


def pcd_header(kind, points=50, extra="intensity"):
    return (
        f"# .PCD v0.7\nVERSION 0.7\nFIELDS x y z {extra}\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH {points}\n"
        f"HEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA {kind}\n"
    ).encode()


def literal_lzf(data):
    """LZF with literal runs only."""
    return b"".join(bytes([len(data[i : i + 32]) - 1]) + data[i : i + 32] for i in range(0, len(data), 32))


def written(path, suffix):
    file = path / f"cloud{suffix.split('-')[0]}"
    text = "\n".join(" ".join(repr(float(value)) for value in row) for row in CLOUD).encode() + b"\n"
    if suffix == ".npy":
        np.save(file, CLOUD)
    elif suffix == ".npy-fields":
        fields = np.zeros(50, [("intensity", "f4"), ("z", "f8"), ("x", "f4"), ("y", "f4")])
        for i, name in enumerate(["x", "y", "z", "intensity"]):
            fields[name] = CLOUD[:, i]
        np.save(file, fields)
    elif suffix == ".npz":
        np.savez(file, points=CLOUD, other=np.zeros(3))
    elif suffix == ".bin":
        CLOUD.tofile(file)
    elif suffix == ".pcd-ascii":
        file.write_bytes(pcd_header("ascii") + text)
    elif suffix == ".pcd-binary":
        file.write_bytes(pcd_header("binary") + CLOUD.tobytes())
    elif suffix == ".pcd-compressed":
        columns = np.ascontiguousarray(CLOUD.T).tobytes()
        packed = literal_lzf(columns)
        file.write_bytes(pcd_header("binary_compressed") + struct.pack("<II", len(packed), len(columns)) + packed)
    elif suffix == ".ply-ascii":
        names = "".join(f"property float {name}\n" for name in ("x", "y", "z", "i"))
        file.write_bytes(f"ply\nformat ascii 1.0\nelement vertex 50\n{names}end_header\n".encode() + text)
    elif suffix == ".ply-big":
        names = "".join(f"property float {name}\n" for name in ("x", "y", "z", "i"))
        header = f"ply\nformat binary_big_endian 1.0\ncomment made for a test\nelement vertex 50\n{names}"
        header += "element face 0\nproperty list uchar int vertex_indices\nend_header\n"
        file.write_bytes(header.encode() + CLOUD.astype(">f4").tobytes())
    return file


ALL = [".npy", ".npy-fields", ".npz", ".bin", ".pcd-ascii", ".pcd-binary", ".pcd-compressed", ".ply-ascii", ".ply-big"]


@pytest.mark.parametrize("suffix", ALL)
def test_every_format_gives_the_same_points(tmp_path, suffix):
    points = read_points(written(tmp_path, suffix))
    assert points.dtype == np.float32
    assert np.array_equal(points, CLOUD[:, :3])


@pytest.mark.parametrize("suffix", ALL)
def test_a_cut_off_file_is_refused(tmp_path, suffix):
    file = written(tmp_path, suffix)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2 + 5])
    with pytest.raises(InputError, match=r"cloud"):
        read_points(file)


@settings(max_examples=100)
@given(content=st.binary(max_size=300), head=st.sampled_from([b"", b"ply\n", pcd_header("binary"), b"\x93NUMPY", b"PK\x03\x04"]),
       suffix=st.sampled_from([".npy", ".npz", ".pcd", ".ply"]))  # fmt: skip
def test_any_bytes_are_refused_in_words(tmp_path_factory, content, head, suffix):
    file = tmp_path_factory.mktemp("points") / f"x{suffix}"
    file.write_bytes(head + content)
    with pytest.raises(InputError):
        read_points(file)


def test_back_references_of_lzf():
    assert unpack_lzf(bytes([2]) + b"abc" + bytes([(4 - 2) << 5, 2]), 7) == b"abcabca"
    long = bytes([0]) + b"z" + bytes([7 << 5, 91, 0])  # a run that overlaps itself
    assert unpack_lzf(long, 101) == b"z" * 101
    with pytest.raises(InputError):
        unpack_lzf(bytes([1 << 5, 9]), 3)


def test_a_written_cloud_reads_back(tmp_path):
    (tmp_path / "out.ply").write_bytes(ply(CLOUD[:, :3], np.zeros((50, 3), np.uint8)))
    assert np.array_equal(read_points(tmp_path / "out.ply"), CLOUD[:, :3])


def test_a_pickle_is_not_opened(tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError):
        read_points(tmp_path / "evil.npy")
