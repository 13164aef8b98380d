"""Geometry: exact projection, closed adaptive meshes, silhouettes that leave floors alone, EXIF that cannot crash."""

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surface_measures import covered, steep_share

from leadline.depth.nearness import nearness
from leadline.geometry import (
    Lattice,
    Pinhole,
    affine_to_range,
    as_stored,
    background,
    directions_from_lines,
    focal_px_from_photo,
    grid_mesh,
    orientation_from_photo,
    perspective_mesh,
    relief_mesh,
    scale_from_length,
    silhouette_cells,
    sky_mask,
    solid,
    stored_uv,
    upright,
)
from leadline.geometry.exif import focal_px_from_bytes, orientation_from_bytes
from leadline.video.aligner import TemporalAligner


def hills(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return (4 + np.sin(x / 9) + 0.7 * np.cos(y / 7)).astype(np.float32)


def floor_depth(camera: Pinhole, eye_height_m: float = 1.6) -> np.ndarray:
    """A floor seen by a level camera, from just under the horizon; above it a wall at its far end."""
    y = np.arange(camera.height) + 0.5
    down = np.maximum(y - 0.5 * camera.height, 4.0) / camera.focal_px
    return np.broadcast_to((eye_height_m / down)[:, None], (camera.height, camera.width)).astype(np.float32)


def edges_of(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return np.unique(np.sort(pairs, axis=1), axis=0, return_counts=True)


def uv_areas(mesh) -> np.ndarray:
    a, b, c = (mesh.uv[mesh.triangles()[:, i]].astype(np.float64) for i in range(3))
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


@settings(max_examples=25)
@given(
    width=st.integers(3, 90),
    height=st.integers(3, 90),
    focal=st.floats(0.3, 4),
    long_edge=st.sampled_from([None, 2, 17, 64, 131]),
    target=st.sampled_from([None, 50, 1000]),
)
def test_every_vertex_projects_onto_its_own_point_of_the_photograph(width, height, focal, long_edge, target):
    camera = Pinhole(width, height, focal * width)
    mesh = perspective_mesh(hills(height, width), camera, cut=1.0, long_edge=long_edge, target_faces=target)
    x_px, y_px, depth = camera.project(mesh.vertices.astype(np.float64))
    np.testing.assert_allclose(x_px, mesh.uv[:, 0] * width, atol=1e-3)
    np.testing.assert_allclose(y_px, (1 - mesh.uv[:, 1]) * height, atol=1e-3)
    np.testing.assert_allclose(depth, mesh.depth, rtol=1e-5)
    areas = uv_areas(mesh)
    assert areas.min() > 0, "a face is turned over"
    assert areas.sum() == pytest.approx(1.0, abs=1e-4), "the mesh does not cover the photograph exactly once"


def test_adaptive_mesh_is_closed_spends_its_budget_and_keeps_the_shape():
    depth = hills(240, 320)
    depth[60:120, 80:200] = 1.5
    camera = Pinhole.default(320, 240)
    mesh = perspective_mesh(depth, camera, steepest=90, target_faces=20_000)
    assert 15_000 < len(mesh.faces) <= 20_000
    _, uses = edges_of(mesh.triangles())
    assert uses.max() == 2, "an edge with more than two faces"
    covered = np.zeros((240, 320), bool)  # the only holes are along the outline of the box
    centre = mesh.uv[mesh.faces].mean(axis=1) * [320, 240]
    big = uv_areas(mesh) > 1.01 / (2 * 320 * 240)
    assert big.any(), "nothing was merged"
    covered[(240 - centre[:, 1]).astype(int), centre[:, 0].astype(int)] = True
    assert not covered[58:61, 100:180].all()
    # Where the surface is flat (the box), triangles are large; on the hills small.
    inside = (abs(centre[:, 0] - 140) < 50) & (abs(240 - centre[:, 1] - 90) < 20)
    assert uv_areas(mesh)[inside].mean() > 4 * uv_areas(mesh)[~inside].mean()


def test_adaptive_beats_a_coarse_grid_of_as_many_faces():
    depth = np.full((256, 256), 5.0, np.float32)
    y, x = np.mgrid[0:256, 0:256]
    depth -= 2.0 * np.exp(-((x - 70) ** 2 + (y - 90) ** 2) / 300)
    camera = Pinhole.default(256, 256)

    def error(mesh) -> float:
        a, b, c = (mesh.vertices[mesh.triangles()[:, i]].astype(np.float64) for i in range(3))
        x_px, y_px, z = camera.project((a + b + c) / 3)
        true = 5.0 - 2.0 * np.exp(-((x_px - 70.5) ** 2 + (y_px - 90.5) ** 2) / 300)
        return float(np.abs(z - true).max())

    adaptive = perspective_mesh(depth, camera, cut=1.0, target_faces=2000)
    coarse = perspective_mesh(depth, camera, cut=1.0, long_edge=33)
    assert len(adaptive.triangles()) <= len(coarse.triangles()) < 2100
    assert error(adaptive) < 0.5 * error(coarse)


@pytest.mark.parametrize("ramp_px", [1, 3, 5])
def test_silhouettes_are_cut_sharp_or_blurred_and_nothing_else_is(ramp_px):
    depth = np.full((300, 400), 4.0, np.float32)
    depth[80:200, 100:250] = 2.0
    kernel = np.ones(ramp_px) / ramp_px
    for axis in (0, 1):
        padded = np.pad(1 / depth, [(9, 9)] * 2, mode="edge")
        blurred = np.apply_along_axis(np.convolve, axis, padded, kernel, "same")[9:-9, 9:-9]
        depth = (1 / blurred).astype(np.float32)
    cut = silhouette_cells(depth, 0.1)
    assert cut[140, 95:106].any()
    assert cut[140, 245:256].any()
    assert cut[75:86, 150].any()
    assert not cut[100:180, 115:235].any(), "the inside of the box was cut"
    assert not cut[:70].any()
    assert cut.mean() < 0.04
    assert not silhouette_cells(depth, 1.0).any()


def test_what_lies_beside_a_step_is_not_cut():
    """Neither at the picture's border, where a slope has one neighbour only, nor between two steps."""
    wall = np.full((60, 400), 4.0)
    wall[:, 5:200] = 2.0
    wall[:, 209:] = 3.0
    cut = silhouette_cells(wall, 0.1)
    assert set(np.flatnonzero(cut.any(axis=0))) == {4, 199, 208}
    assert cut[:, [4, 199, 208]].all()


@pytest.mark.parametrize("height", [0.11, 0.15])
@pytest.mark.parametrize("sigma_px", [8.0, 16.0])
def test_a_blurred_step_counts_with_its_whole_height(sigma_px, height):
    """Sigma as for a photograph of 1200 pixels; the lens is wide, so that the slope is gentle."""
    from scipy import ndimage

    sharp = np.full((60, 400), 4.0)
    sharp[:, 150:250] *= 1 - height
    cut = silhouette_cells(ndimage.gaussian_filter(sharp, sigma_px / 3), 0.1, focal=220.0)
    for edge in (149, 249):
        assert cut[:, edge - 2 : edge + 3].any(axis=1).all()
    assert not cut[:, :130].any()
    assert not cut[:, 170:230].any()
    assert not cut[:, 270:].any()
    low = np.where(sharp < 4, 3.88, 4.0)  # no silhouette
    assert not silhouette_cells(ndimage.gaussian_filter(low, sigma_px / 3), 0.1, focal=220.0).any()


@pytest.mark.parametrize(("wide_px", "is_pole"), [(6, True), (4, False)])
def test_a_pole_or_a_gap_narrower_than_the_blur_is_cut_on_both_sides(wide_px, is_pole):
    """Half as wide as the blur, or less: a third of its 15 % is left, and no step has a level end."""
    from scipy import ndimage

    narrow = np.zeros((60, 400), np.bool_)
    narrow[:, 200 - wide_px // 2 : 200 + wide_px // 2] = True
    sigma = 16 / 3
    blurred = ndimage.gaussian_filter(np.where(narrow == is_pole, 3.4, 4.0), sigma)
    assert blurred.max() / blurred.min() < 1.08
    columns = np.flatnonzero(silhouette_cells(blurred, 0.1, focal=350.0).all(axis=0))
    for side in (columns[columns < 200], columns[columns > 200]):
        assert np.abs(np.abs(side - 199.5) - sigma).min() < 2
    assert np.abs(columns - 199.5).max() < 3 * sigma
    low = ndimage.gaussian_filter(np.where(narrow == is_pole, 3.88, 4.0), sigma)
    assert not silhouette_cells(low, 0.1, focal=350.0).any()


@pytest.mark.parametrize("across_px", [2, 4, 8])
def test_a_wall_with_ripples_is_not_cut(across_px):
    from scipy import ndimage

    ripples = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(300, 400)), across_px)
    depth = 4 * np.exp(0.005 * ripples / ripples.std())
    assert silhouette_cells(depth, 0.1, focal=350.0).mean() < 0.005


def test_a_floor_towards_the_horizon_is_not_a_silhouette():
    camera = Pinhole.default(400, 300)
    depth = floor_depth(camera)
    ratio = depth[155] / depth[156]
    assert ratio.max() > 1.1, "the test is too easy: neighbouring rows hardly differ"
    assert not silhouette_cells(depth, 0.1).any()


def test_no_vertex_hangs_between_object_and_background():
    depth = np.full((50, 60), 6.0, np.float32)
    depth[20:40, 20:40] = 2.0
    on_lattice = Lattice.over(50, 60, 173).depth(depth)
    assert set(np.unique(on_lattice.round(4))) == {2.0, 6.0}


def test_interpolated_depth_of_a_plane_is_exact():
    y, x = np.mgrid[0:60, 0:80] + 0.5
    depth = (1 / (0.5 + 0.001 * x - 0.002 * y)).astype(np.float32)
    lattice = Lattice.over(60, 80, 200)
    inner = np.s_[2:-2, 2:-2]
    expected = 1 / (0.5 + 0.001 * lattice.x_px - 0.002 * lattice.y_px[:, None])
    np.testing.assert_allclose(lattice.depth(depth)[inner], expected[inner], rtol=1e-5)


def test_relief_stands_on_its_plane_with_the_picture_s_proportions():
    rise = nearness(hills(90, 120), False, 0.5, 99.5)
    mesh = relief_mesh(rise, 2.0, 0.3, uncertainty=rise * 2)
    assert mesh.vertices.shape == (90 * 120, 3)
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    np.testing.assert_allclose(high - low, [2.0, 1.5, 0.3], atol=1e-5)
    np.testing.assert_allclose(mesh.vertices[:, :2], (mesh.uv - 0.5) * [2.0, 1.5], atol=1e-6)
    np.testing.assert_allclose(mesh.uncertainty, mesh.depth / 0.3 * 2, atol=1e-4)
    assert (mesh.normals()[:, 2] > 0).all()


def test_flat_grid():
    mesh = grid_mesh(100, 200, 4.0, 41)
    assert mesh.vertices.shape == (41 * 21, 3)
    assert mesh.faces.shape == (40 * 20, 4)
    np.testing.assert_allclose(mesh.normals(), np.tile([0, 0, 1], (41 * 21, 1)), atol=1e-6)


def test_normals_of_a_ball_point_outwards():
    camera = Pinhole(200, 200, 400.0)
    rays = camera.rays(np.arange(200) + 0.5, (np.arange(200) + 0.5)[:, None])
    centre = np.array([0, 0, -4.0])
    a, b, c = (rays**2).sum(-1), (rays * centre).sum(-1), (centre**2).sum() - 0.9**2
    hit = b**2 > a * c
    depth = np.where(hit, (b - np.sqrt(np.maximum(b**2 - a * c, 0))) / a, 9.0).astype(np.float32)
    for target in (None, 20_000):
        mesh = perspective_mesh(depth, camera, cut=0.05, target_faces=target)
        close = np.linalg.norm(mesh.vertices[:, :2], axis=1) < 0.5
        close &= mesh.depth < 4
        outwards = mesh.vertices[close] - centre
        outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
        assert close.sum() > 100
        assert (outwards * mesh.normals()[close]).sum(1).min() > 0.99


def test_sky_is_removed_and_trees_stay():
    photo = np.full((120, 160, 3), 60, np.uint8)
    farness = np.linspace(1, 0, 120, dtype=np.float32)[:, None].repeat(160, 1)
    photo[:50], farness[:50] = (150, 190, 240), 1.0
    photo[20:50, 70:80], farness[20:50, 70:80] = (40, 60, 30), 0.5  # a tree in front of the sky
    photo[60:70, 20:40] = (150, 190, 240)  # a puddle: looks like sky, is not connected to it
    mask = sky_mask(farness, photo)
    assert mask[:48, :68].mean() > 0.99
    assert mask[25:48, 84:].mean() > 0.99
    assert not mask[22:49, 71:79].any()
    assert not mask[55:].any()
    mesh = perspective_mesh(10 - 8 * (1 - farness), Pinhole.default(160, 120), cut=1.0, removed=mask)
    assert mesh.uv[:, 1].max() < 1 - 18 / 120
    assert len(np.unique(mesh.faces)) == len(mesh.vertices)


def test_the_range_of_a_relative_map_is_what_was_asked_for():
    rng = np.random.default_rng(0)
    values = rng.uniform(-3, 5, (50, 60))
    scale, shift = affine_to_range(values, np.log(2.0), np.log(9.0), near_is_high=False)
    ends = np.percentile(np.exp(scale * values + shift), [1, 99])
    np.testing.assert_allclose(ends, [2, 9], rtol=1e-6)
    scale, shift = affine_to_range(values, 1 / 2.0, 1 / 9.0, near_is_high=True)
    assert scale > 0
    np.testing.assert_allclose(np.percentile(scale * values + shift, [1, 99]), [1 / 9, 1 / 2], rtol=1e-6)
    assert affine_to_range(np.ones((4, 4)), 0.5, 2.0, near_is_high=False) == (1.0, -0.5)
    with pytest.raises(ValueError, match="larger than the near"):
        affine_to_range(values, 3.0, 2.0, near_is_high=False)


def test_scale_from_a_known_length():
    assert scale_from_length(np.array([0, 0, -2.0]), np.array([0, 3.0, -2.0]), 1.5) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="two different points"):
        scale_from_length(np.zeros(3), np.zeros(3), 1.0)


def test_film_frames_come_onto_one_scale_and_a_cut_does_not_break_it():
    rng = np.random.default_rng(1)
    scene = hills(60, 80)
    aligner = TemporalAligner()
    first = aligner.align(scene)
    worst = 0.0
    for _ in range(12):
        frame = (scene * rng.uniform(0.5, 2) + rng.uniform(-1, 1)).astype(np.float32)
        frame[10:30, 10:40] += 2.0  # someone walks through
        aligned = aligner.align(frame)
        worst = max(worst, float(np.abs(aligned - first)[35:].max()))
    assert worst < 0.05 * np.ptp(scene)
    other = rng.normal(size=(60, 80)).astype(np.float32) * 40
    np.testing.assert_array_equal(aligner.align(other), other)


def jpeg_with_exif(order: str, entries: list[tuple[int, int, bytes]]) -> bytes:
    """A JPEG head whose Exif directory holds (tag, type, value bytes of at most 8)."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(order + "H", len(entries))
    extra_at, extra = 26 + 2 + 12 * len(entries) + 4, b""
    for tag, kind, value in entries:
        directory += struct.pack(order + "HHI", tag, kind, 1)
        if len(value) <= 4:
            directory += value.ljust(4, b"\0")
        else:
            directory += struct.pack(order + "I", extra_at + len(extra))
            extra += value
    root = mark + struct.pack(order + "IHHHII", 8, 1, 0x8769, 4, 1, 26) + struct.pack(order + "I", 0)
    tiff = root + directory + struct.pack(order + "I", 0) + extra
    block = b"Exif\0\0" + tiff
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(block) + 2) + block + b"\xff\xda"


@pytest.mark.parametrize("order", ["<", ">"])
def test_focal_length_from_exif(order, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg_with_exif(order, [(0xA405, 3, struct.pack(order + "H", 28))]))
    assert focal_px_from_photo(path, 4000, 3000) == pytest.approx(28 / 43.2666 * 5000, rel=1e-4)
    sensor = [
        (0x920A, 5, struct.pack(order + "II", 50, 1)),
        (0xA002, 4, struct.pack(order + "I", 6000)),
        (0xA20E, 5, struct.pack(order + "II", 6000 * 10, 225)),  # 6000 pixels on 22.5 mm, per centimetre
        (0xA210, 3, struct.pack(order + "H", 3)),
    ]
    path.write_bytes(jpeg_with_exif(order, sensor))
    assert focal_px_from_photo(path, 3000, 2000) == pytest.approx(50 / 225 * 3000, rel=1e-4)
    path.write_bytes(b"\xff\xd8\xff\xda")
    assert focal_px_from_photo(path, 10, 10) is None
    assert focal_px_from_photo(tmp_path / "absent.jpg", 10, 10) is None


@settings(max_examples=300)
@given(st.data())
def test_damaged_exif_never_raises(data):
    good = bytearray(jpeg_with_exif("<", [(0xA405, 3, struct.pack("<H", 28)), (0x920A, 5, struct.pack("<II", 50, 1))]))
    for _ in range(data.draw(st.integers(0, 6))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    prefix = data.draw(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"II*\0"]))
    focal = focal_px_from_bytes(prefix + cut, 640, 480)
    assert focal is None or focal > 0


def test_camera_conversions_and_limits():
    assert Pinhole.from_lens(3000, 2000, 50).lens_mm() == pytest.approx(50)
    assert Pinhole.from_fov(100, 50, 90).focal_px == pytest.approx(50)
    for bad in [(0, 5, 1.0), (5, 5, 0.0), (5, 5, float("nan"))]:
        with pytest.raises(ValueError, match="no camera"):
            Pinhole(*bad)
    with pytest.raises(ValueError, match="does not belong"):
        perspective_mesh(np.ones((5, 6), np.float32), Pinhole.default(5, 6))


def test_geometry_imports_nothing_but_numpy():
    code = (
        "import sys, leadline.geometry; print(*sorted(m for m in sys.modules if m in "
        "{'torch','cv2','PIL','scipy','diffusers','zmq','msgpack'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_edges_belong_to_their_faces_also_around_holes():
    depth = hills(60, 80)
    depth[20:40, 20:50] = 1.0
    mesh = perspective_mesh(depth, Pinhole.default(80, 60), edges=True)
    assert len(mesh.faces) < 59 * 79
    ends = mesh.edges[mesh.face_edges]
    corners = np.stack([mesh.faces, np.roll(mesh.faces, -1, axis=1)], axis=-1)
    np.testing.assert_array_equal(np.sort(ends, axis=-1), np.sort(corners, axis=-1))
    unique, uses = np.unique(mesh.face_edges, return_counts=True)
    assert len(unique) == len(mesh.edges) == len(np.unique(np.sort(mesh.edges, axis=1), axis=0))
    assert uses.max() == 2


@pytest.mark.parametrize("target", [10_000, 20_000, 50_000])
def test_the_adaptive_target_is_met_although_outlines_are_kept(target):
    """Many small things before a wall: their outlines alone cost more triangles than the smaller targets."""
    rng = np.random.default_rng(0)
    depth = hills(480, 640)
    for row, column in rng.integers(0, [460, 620], (150, 2)):
        depth[row : row + 16, column : column + 16] = 1.5
    mesh = perspective_mesh(depth, Pinhole.default(640, 480), steepest=90, target_faces=target)
    assert len(mesh.faces) == pytest.approx(target, rel=0.05)


def test_a_depth_map_smaller_than_the_photograph_keeps_the_camera_exact():
    camera = Pinhole.default(600, 401)
    mesh = perspective_mesh(hills(134, 200), camera, cut=1.0, long_edge=77)
    x_px, y_px, _ = camera.project(mesh.vertices.astype(np.float64))
    np.testing.assert_allclose(x_px, mesh.uv[:, 0] * 600, atol=1e-2)
    np.testing.assert_allclose(y_px, (1 - mesh.uv[:, 1]) * 401, atol=1e-2)
    with pytest.raises(ValueError, match="does not belong"):
        perspective_mesh(hills(134, 150), camera)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_maps_and_texture_coordinates(orientation):
    from PIL import Image, ImageOps

    rng = np.random.default_rng(orientation)
    stored = rng.integers(0, 255, (5, 7, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(stored)
    picture.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(picture))
    turned = upright(stored, orientation)
    np.testing.assert_array_equal(turned, expected)
    np.testing.assert_array_equal(as_stored(turned, orientation), stored)
    height, width = turned.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width]
    uv = np.stack([(columns + 0.5) / width, 1 - (rows + 0.5) / height], axis=-1).astype(np.float32)
    there = stored_uv(uv, orientation)
    looked_up = stored[((1 - there[..., 1]) * 5).astype(int), (there[..., 0] * 7).astype(int)]
    np.testing.assert_array_equal(looked_up, turned)
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", exif=exif)
    assert orientation_from_bytes(encoded.getvalue()) == orientation


def test_orientation_of_files_without_one(tmp_path):
    assert orientation_from_photo(tmp_path / "absent.jpg") == 1
    assert orientation_from_bytes(jpeg_with_exif("<", [(0x0112, 3, struct.pack("<H", 9))])) == 1


def room_depth(camera: Pinhole) -> np.ndarray:
    """Floor, ceiling, walls, a box on the floor, a board and a pole before the back wall."""
    y, x = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    rays = camera.rays(x, y)
    with np.errstate(divide="ignore"):
        planes = [
            np.full(x.shape, 5.0),
            -1.4 / rays[..., 1],
            1.5 / rays[..., 1],
            -2.2 / rays[..., 0],
            2.5 / rays[..., 0],
        ]
    depth = np.min([np.where(plane > 0, plane, np.inf) for plane in planes], axis=0)
    for left, right, top, bottom, distance in (
        (-0.9, -0.1, 0.2, -1.4, 2.2),
        (0.4, 1.3, 1.0, -0.4, 3.0),
        (0.0, 0.15, 1.4, -1.4, 1.7),
    ):
        hit_x, hit_y = rays[..., 0] * distance, rays[..., 1] * distance
        inside = (hit_x > left) & (hit_x < right) & (hit_y < top) & (hit_y > bottom) & (distance < depth)
        depth[inside] = distance
    return depth


@pytest.mark.parametrize("sigma_px", [0.0, 4.0, 8.0, 16.0])
def test_blurred_silhouettes_are_cut_at_any_width(sigma_px):
    """Sigma as for a photograph of 1200 pixels; the lattice here has a third of them."""
    from scipy import ndimage

    camera, sigma = Pinhole.default(400, 300), sigma_px / 3
    sharp = room_depth(camera)
    true = silhouette_cells(sharp, 0.1)
    assert true.sum() > 1000
    blurred = ndimage.gaussian_filter(sharp, sigma, mode="nearest").astype(np.float32) if sigma else sharp
    cut = silhouette_cells(blurred, 0.1, camera.focal_px)
    distance = ndimage.distance_transform_edt(~cut)
    assert (distance[true] <= 1.5 * sigma + 1.5).all()
    uncut = steep_share(perspective_mesh(blurred, camera, cut=1.0))
    left = steep_share(perspective_mesh(blurred, camera))
    print(f"sigma {sigma_px:g}: {uncut:.3f} of the surface is steeper than 80 degrees, {left:.4f} once cut")
    assert uncut > 0.1
    assert left <= 0.03
    assert cut.mean() < 0.3


def test_planes_are_kept_however_steep_unless_asked():
    camera = Pinhole.default(400, 300)
    depth = floor_depth(camera)
    assert not silhouette_cells(depth, 0.1, camera.focal_px)[170:].any()
    assert silhouette_cells(depth, 0.1, camera.focal_px, keep_planes=False)[155:165].all()
    assert steep_share(perspective_mesh(depth, camera, keep_planes=False)) < 0.001


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_with_a_background_a_moved_camera_sees_no_holes(sigma):
    from scipy import ndimage

    camera = Pinhole.default(200, 150)
    depth = ndimage.gaussian_filter(room_depth(camera), sigma).astype(np.float32) if sigma else room_depth(camera)
    front = perspective_mesh(depth, camera)
    behind = background(depth, camera)
    assert behind is not None
    moved = np.array([0.4, 0.0, 0.0])
    # Without the strip that the photograph does not show: what is nearest moves farthest.
    inner = np.s_[10:-10, 60:-60]
    alone = 1 - covered([front], camera, moved)[inner].mean()
    both = 1 - covered([front, behind.mesh(camera)], camera, moved)[inner].mean()
    print(f"uncovered: {alone:.3f} without, {both:.4f} with a background")
    assert alone > 0.05
    assert both <= 0.02
    # It never comes before what the photograph shows.
    assert (behind.depth[behind.hidden] >= depth[behind.hidden] * 0.999).all()
    assert background(np.full((50, 60), 3.0), Pinhole.default(60, 50)) is None


def test_the_background_continues_the_far_side_and_paints_over_the_near_one():
    camera = Pinhole.default(200, 150)
    depth = np.full((150, 200), 5.0)
    depth[50:110, 70:120] = 2.0
    photo = np.full((150, 200, 3), (40, 80, 160), np.uint8)
    photo[50:110, 70:120] = (200, 30, 30)
    behind = background(depth, camera)
    assert behind.hidden[52:108, 72:118].mean() > 0.9
    assert not behind.hidden[:45].any()
    np.testing.assert_allclose(behind.depth[60:100, 72:100], 5.0, rtol=0.01)
    painted = behind.colours(photo)
    np.testing.assert_allclose(painted[60:100, 75:115], np.broadcast_to((40, 80, 160), (40, 40, 3)), atol=6)
    np.testing.assert_array_equal(painted[:45], photo[:45])
    # Where the scene was cut its own camera sees the photograph.
    assert behind.gaps.any()
    np.testing.assert_array_equal(painted[behind.gaps], photo[behind.gaps])


def test_holes_are_filled_smoothly_and_known_pixels_stay():
    from leadline.geometry.fill import fill_holes

    y, x = np.mgrid[0:61, 0:83]
    plane = (2 + 0.01 * x + 0.02 * y).astype(np.float32)
    known = np.ones(plane.shape, bool)
    known[20:40, 30:55] = False
    filled = fill_holes(np.where(known, plane, 99), known)
    np.testing.assert_array_equal(filled[known], plane[known])
    assert np.abs(filled - plane).max() < 0.25
    assert fill_holes(plane, x == 0)[30, 80] == pytest.approx(plane[30, 0], abs=0.5)
    with pytest.raises(ValueError, match="nothing"):
        fill_holes(plane, np.zeros(plane.shape, bool))


@pytest.mark.parametrize("target", [None, 3000])
def test_a_solid_relief_is_watertight(target):
    trimesh = pytest.importorskip("trimesh")
    rise = nearness(hills(60, 80), near_is_high=False)
    body = solid(relief_mesh(rise, 0.08, 0.006, target_faces=target), 0.002)
    printed = trimesh.Trimesh(body.vertices, body.triangles(), process=False)
    assert printed.is_watertight
    assert printed.is_winding_consistent
    np.testing.assert_allclose(printed.extents, [0.08, 0.06, 0.008], atol=1e-4)
    assert printed.volume == pytest.approx(0.08 * 0.06 * (0.002 + 0.006 * rise.mean()), rel=0.03)
    with pytest.raises(ValueError, match="thicker"):
        solid(body, 0.0)


def chequered_room(focal_per_width: float, yaw: float, pitch: float, roll: float = 0.02) -> np.ndarray:
    """uint8 (360, 480, 3): inside a box with chequered walls, turned by so many radians, with some noise."""
    height, width = 360, 480
    y, x = np.mgrid[0:height, 0:width] + 0.5
    focal = focal_per_width * width
    rays = np.stack([(x - width / 2) / focal, (height / 2 - y) / focal, -np.ones_like(x)], axis=-1)
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(angle), np.sin(angle)) for angle in (yaw, pitch, roll))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    rays = rays @ (turn @ np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])).T
    distance = np.where(rays > 0, [2.5, 1.4, 2.0] / rays, [-2.2, -1.4, -5.0] / rays)
    wall, points = distance.argmin(axis=-1), rays * distance.min(axis=-1)[..., None]
    rng, picture = np.random.default_rng(1), np.zeros((height, width))
    for axis in range(3):
        u, v = (points[..., other] for other in range(3) if other != axis)
        size = rng.uniform(0.5, 1.1, 2)
        for side in (False, True):
            there = (wall == axis) & ((rays[..., axis] > 0) == side)
            shade = rng.uniform(60, 200) + 30 * ((np.floor(u / size[0]) + np.floor(v / size[1])) % 2)
            picture[there] = shade[there]
    picture += rng.normal(0, 3, picture.shape)
    return np.repeat(picture[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("focal_per_width", "yaw", "pitch"),
    [(0.8, 0.5, -0.1), (1.2, 0.6, -0.15), (1.6, -0.7, 0.1), (1.0, 0.35, -0.2), (0.7, 0.9, 0.05)],
)
def test_focal_length_from_the_lines_of_a_room(focal_per_width, yaw, pitch):
    found = directions_from_lines(chequered_room(focal_per_width, yaw, pitch))
    assert found is not None
    print(f"focal length {found.focal_px / 480 / focal_per_width - 1:+.1%}")
    assert found.focal_px == pytest.approx(480 * focal_per_width, rel=0.1)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(3), atol=1e-6)
    upright = np.abs(found.axes[:, 1]).max()
    assert upright == pytest.approx(np.cos(pitch) * np.cos(0.02), abs=0.02)


def test_lines_that_say_nothing_about_the_focal_length():
    assert directions_from_lines(chequered_room(1.2, 0.0, 0.0, 0.0)) is None, "a wall seen straight on"
    assert directions_from_lines(np.random.default_rng(0).integers(0, 255, (360, 480, 3), np.uint8)) is None
    assert directions_from_lines(np.full((64, 64, 3), 90, np.uint8)) is None


def test_blurred_silhouettes_of_furnished_rooms():
    """At sigma 16 of 1200 pixels not every silhouette is left to find: poles and leaves have all but vanished."""
    from scipy import ndimage

    from leadline.scenes import render_scenes

    rooms, wrong = render_scenes(3, 2, 300, 400, "room"), []
    found, left = ({4: [], 8: [], 16: []} for _ in range(2))
    for depth_m, valid, intrinsics in zip(rooms.depth_m, rooms.valid, rooms.intrinsics, strict=True):
        depth, focal = depth_m.numpy().astype(float), float(intrinsics[0, 0])
        depth[~valid.numpy()] = depth.max()
        true = silhouette_cells(depth, 0.1)
        wrong.append((silhouette_cells(depth, 0.1, focal) & ~ndimage.binary_dilation(true, iterations=3)).mean())
        for sigma_px in found:
            sigma = sigma_px / 3
            blurred = ndimage.gaussian_filter(depth, sigma, mode="nearest")
            near = ndimage.distance_transform_edt(~silhouette_cells(blurred, 0.1, focal)) <= 1.5 * sigma + 1.5
            window = 2 * round(2 * sigma) + 1
            low, high = (end(blurred, window)[:-1, :-1] for end in (ndimage.minimum_filter, ndimage.maximum_filter))
            found[sigma_px].append(near[true].mean())
            left[sigma_px].append(near[true & (low < 0.9 * high)].mean())
    for sigma_px in found:
        print(f"sigma {sigma_px}: found {np.round(found[sigma_px], 3)}, of what is left {np.round(left[sigma_px], 3)}")
    print(f"cut besides {np.round(wrong, 4)}")
    for sigma_px, least in {4: 0.99, 8: 0.99, 16: 0.97}.items():
        assert np.mean(found[sigma_px]) > least
        assert np.mean(left[sigma_px]) > 0.99
    assert np.mean(wrong) < 0.03
