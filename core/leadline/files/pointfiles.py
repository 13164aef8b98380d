"""Point clouds from files: NumPy, KITTI ``.bin``, PCD (ASCII, binary, compressed) and PLY (ASCII, binary)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from leadline.errors import InputError, first_line

Floats = npt.NDArray[np.float32]

#: A file that claims more points than this is refused before memory is taken.
MAX_POINTS = 50_000_000
_MAX_HEADER = 64 << 10

_PCD_TYPES = {
    "F4": "f4",
    "F8": "f8",
    "I1": "i1",
    "I2": "i2",
    "I4": "i4",
    "I8": "i8",
    "U1": "u1",
    "U2": "u2",
    "U4": "u4",
    "U8": "u8",
}
_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip


def read_points(path: str | Path) -> Floats:
    """Points of a file, float32 (N, 3), metres in the file's frame; N may be 0, NaN rows are kept.

    ``.npy``: (N, ≥3), or with fields x, y, z. ``.npz``: an array ``points`` or ``xyz``, or the only array. ``.bin``:
    KITTI's float32 x, y, z, reflectance. ``.pcd`` and ``.ply`` by their headers, other fields ignored.

    Raises:
        InputError: Missing, damaged, or no point cloud.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: a point cloud is one of {', '.join(_READERS)}")
    if not path.is_file():
        raise InputError(f"{path} does not exist; check the path of the points")
    try:
        points = reader(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (ValueError, OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        reason = first_line(error)
        raise InputError(f"{path} is damaged or not a {path.suffix} file: {reason}") from error
    return np.ascontiguousarray(points, dtype=np.float32)


def _columns(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """x, y, z of a structured or plain array."""
    if array.dtype.names is not None:
        missing = [axis for axis in "xyz" if axis not in array.dtype.names]
        if missing:
            raise InputError(f"there is no field {', '.join(missing)} among {', '.join(array.dtype.names)}")
        flat = array.ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            return np.stack([flat[axis].astype(np.float32) for axis in "xyz"], axis=1)
    if array.ndim < 2 or array.shape[-1] < 3 or not (np.issubdtype(array.dtype, np.number)):
        raise InputError(f"points are rows of x, y, z, not an array of shape {array.shape} and type {array.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        return np.real(array.reshape(-1, array.shape[-1])[:, :3]).astype(np.float32)


def _read_npy(path: Path) -> npt.NDArray[Any]:
    array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise InputError("it is an archive; name it .npz")
    return _columns(array)


def _read_npz(path: Path) -> npt.NDArray[Any]:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        raise InputError("it is a single array; name it .npy")
    with loaded as archive:
        names = archive.files
        name = next((wanted for wanted in ("points", "xyz") if wanted in names), names[0] if len(names) == 1 else None)
        if name is None and set("xyz") <= set(names):
            return np.stack([np.ravel(archive[axis]) for axis in "xyz"], axis=1)
        if name is None:
            raise InputError(f"it holds {', '.join(names) or 'nothing'}; name the points 'points'")
        return _columns(archive[name])


def _read_bin(path: Path) -> npt.NDArray[Any]:
    if path.stat().st_size % 16:
        raise InputError(f"{path.stat().st_size} bytes are no multiple of 16 (float32 x, y, z, reflectance)")
    return np.fromfile(path, dtype="<f4").reshape(-1, 4)[:, :3]


def _read_pcd(path: Path) -> npt.NDArray[Any]:
    content = path.read_bytes()
    header: dict[str, list[str]] = {}
    stream = io.BytesIO(content[:_MAX_HEADER])
    while "DATA" not in header:
        line = stream.readline()
        if not line:
            raise InputError("its header has no DATA line")
        words = line.decode("ascii", errors="replace").split("#")[0].split()
        if words:
            header[words[0].upper()] = words[1:]
    for name in ("FIELDS", "SIZE", "TYPE"):
        if name not in header:
            raise InputError(f"its header has no {name} line")
    fields, sizes, types = header["FIELDS"], header["SIZE"], header["TYPE"]
    counts = [int(count) for count in header.get("COUNT", ["1"] * len(fields))]
    if not len(fields) == len(sizes) == len(types) == len(counts) or min(counts, default=0) < 1 or max(counts) > 10_000:
        raise InputError("FIELDS, SIZE, TYPE and COUNT do not match")
    total = int(header["POINTS"][0]) if "POINTS" in header else int(header["WIDTH"][0]) * int(header["HEIGHT"][0])
    if not 0 <= total <= MAX_POINTS:
        raise InputError(f"{total} points are out of range")
    formats = [_PCD_TYPES[kind.upper() + size] for kind, size in zip(types, sizes, strict=True)]
    names = [name if name in "xyz" else f"{name}#{i}" for i, name in enumerate(fields)]
    dtype = np.dtype(
        [(n, "<" + f, (c,)) if c > 1 else (n, "<" + f) for n, f, c in zip(names, formats, counts, strict=True)]
    )
    body = memoryview(content)[stream.tell() :]
    kind = header["DATA"][0].lower() if header["DATA"] else ""
    if kind == "ascii":
        return _text_columns(body, total, _starts(names, counts))
    if kind == "binary":
        return _columns(np.frombuffer(body, dtype=dtype, count=total))
    if kind == "binary_compressed":
        return _columns(_by_fields(body, dtype, total))
    raise InputError(f"DATA {kind} is not known")


def _starts(names: list[str], counts: list[int]) -> list[int]:
    """Columns of x, y and z in rows of text."""
    first = dict(zip(names, np.cumsum([0, *counts[:-1]]).tolist(), strict=True))
    missing = [axis for axis in "xyz" if axis not in first]
    if missing:
        raise InputError(f"there is no field {', '.join(missing)}")
    return [int(first[axis]) for axis in "xyz"]


def _text_columns(body: memoryview, total: int, columns: list[int]) -> npt.NDArray[Any]:
    if total == 0:
        return np.zeros((0, 3), np.float32)
    text = io.StringIO(bytes(body).decode("ascii", errors="replace"))
    rows = np.loadtxt(text, dtype=np.float64, usecols=columns, max_rows=total, ndmin=2)
    if len(rows) != total:
        raise InputError(f"it ends after {len(rows)} of {total} points")
    return rows


def _by_fields(body: memoryview, dtype: np.dtype[Any], total: int) -> npt.NDArray[Any]:
    """PCL's compressed body: two sizes, then LZF of all x, all y, all z ..."""
    if len(body) < 8:
        raise InputError("it ends before its points")
    packed, unpacked = (int(size) for size in np.frombuffer(body[:8], "<u4"))
    if unpacked != total * dtype.itemsize or packed > len(body) - 8:
        raise InputError("the sizes of its compressed points do not match its header")
    data = unpack_lzf(bytes(body[8 : 8 + packed]), unpacked)
    points = np.zeros(total, dtype=dtype)
    offset = 0
    for name in dtype.names or ():
        part = dtype[name]
        points[name] = np.frombuffer(data, part.base, total * int(np.prod(part.shape, dtype=int)), offset).reshape(
            total, *part.shape
        )
        offset += total * part.itemsize
    return points


def unpack_lzf(data: bytes, size: int) -> bytes:
    """Decompress LZF (Lehmann's liblzf format): literal runs and back references.

    Raises:
        InputError: The data is not LZF of ``size`` bytes.
    """
    result = bytearray()
    position = 0
    try:
        while position < len(data):
            control = data[position]
            position += 1
            if control < 32:  # a run of control + 1 literal bytes
                result += data[position : position + control + 1]
                position += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += data[position]
                position += 1
            start = len(result) - ((control & 31) << 8) - data[position] - 1
            position += 1
            length += 2
            if start < 0 or len(result) + length > size:
                raise InputError("its compressed points are damaged")
            while length > 0:  # a reference may overlap what it writes
                piece = result[start : start + length]
                result += piece
                start += len(piece)
                length -= len(piece)
    except IndexError as error:
        raise InputError("its compressed points are damaged") from error
    if len(result) != size:
        raise InputError("its compressed points are damaged")
    return bytes(result)


class _Element(NamedTuple):
    name: str
    rows: int
    properties: list[tuple[str, str]]
    has_list: bool


def _read_ply(path: Path) -> npt.NDArray[Any]:
    content = path.read_bytes()
    elements, order, start = _ply_header(content)
    body = memoryview(content)[start:]
    skip_lines = offset = 0
    for element in elements:
        dtype = np.dtype([(name, order + kind) for name, kind in element.properties])
        if element.name == "vertex":
            if element.has_list:
                raise InputError("its vertices have lists, which no point cloud has")
            if order == "":
                text = memoryview(b"\n".join(bytes(body).split(b"\n")[skip_lines:]))
                return _text_columns(
                    text, element.rows, _starts([n for n, _ in element.properties], [1] * len(element.properties))
                )
            return _columns(np.frombuffer(body, dtype=dtype, count=element.rows, offset=offset))
        if element.has_list and order != "":
            raise InputError(f"{element.name!r} with lists stands before the vertices; save it with vertices first")
        skip_lines += element.rows
        offset += element.rows * dtype.itemsize
    raise InputError("it has no vertices")


def _ply_header(content: bytes) -> tuple[list[_Element], str, int]:
    """(elements, byte order or "" for text, where the body begins)."""
    stream = io.BytesIO(content[:_MAX_HEADER])
    if stream.readline().strip() != b"ply":
        raise InputError("it does not begin with 'ply'")
    orders = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
    order: str | None = None
    elements: list[_Element] = []
    while line := stream.readline():
        words = line.decode("ascii", errors="replace").split()
        if words[:1] == ["end_header"]:
            if order is None:
                raise InputError("its header has no format")
            return elements, order, stream.tell()
        if words[:1] == ["format"] and len(words) > 1:
            order = orders[words[1]]
        elif words[:1] == ["element"] and len(words) == 3:
            count = int(words[2])
            if not 0 <= count <= MAX_POINTS:
                raise InputError(f"{count} of {words[1]} is out of range")
            elements.append(_Element(words[1], count, [], False))
        elif words[:1] == ["property"] and elements and len(words) >= 3:
            if words[1] == "list":
                elements[-1] = elements[-1]._replace(has_list=True)
            else:
                elements[-1].properties.append((words[-1], _PLY_TYPES[words[1]]))
    raise InputError("its header does not end")


def ply(points: npt.NDArray[Any], colours: npt.NDArray[np.uint8]) -> bytes:
    """Points (N, 3) and RGB (N, 3) as a binary PLY file."""
    vertices = np.empty(len(points), dtype=[("xyz", "<f4", 3), ("rgb", "u1", 3)])
    vertices["xyz"], vertices["rgb"] = points, colours
    names = [f"property float {axis}" for axis in "xyz"] + [
        f"property uchar {colour}" for colour in ("red", "green", "blue")
    ]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}", *names, "end_header", ""]
    return "\n".join(header).encode("ascii") + vertices.tobytes()


_READERS: dict[str, Callable[[Path], npt.NDArray[Any]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".bin": _read_bin,
    ".pcd": _read_pcd,
    ".ply": _read_ply,
}
