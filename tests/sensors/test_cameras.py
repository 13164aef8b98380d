import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.completion import CalibratedCamera, extrinsic, read_calibration
from leadline.errors import InputError

K = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])
CAMERAS = {
    "pinhole": CalibratedCamera(640, 480, K),
    "plumb_bob": CalibratedCamera(640, 480, K, "plumb_bob", np.array([-0.3, 0.1, 0.001, -0.002, 0.0])),
    "rational": CalibratedCamera(
        640, 480, K, "rational_polynomial", np.array([0.3, -0.1, 0.001, 0.0, 0.01, 0.5, -0.02, 0.01])
    ),
    "fisheye": CalibratedCamera(640, 480, K, "equidistant", np.array([0.05, -0.01, 0.002, 0.0])),
    "ideal fisheye": CalibratedCamera(640, 480, K, "fisheye"),
}


@pytest.mark.parametrize("name", CAMERAS)
def test_unprojecting_undoes_projecting(name):
    camera = CAMERAS[name]
    rng = np.random.default_rng(0)
    pixels = rng.uniform([20, 20], [620, 460], (500, 2))
    depth = rng.uniform(0.5, 50, 500)
    back, z = camera.project(camera.unproject(pixels, depth))
    assert np.abs(back - pixels).max() < 1e-4
    assert np.allclose(z, depth)


@pytest.mark.parametrize("name", ["plumb_bob", "rational"])
def test_projection_is_opencvs(name):
    points = np.random.default_rng(1).uniform([-1, -1, 4], [1, 1, 9], (200, 3))
    camera = CAMERAS[name]
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), K, camera.distortion)
    assert np.allclose(camera.project(points)[0], expected[:, 0], atol=1e-9)


@pytest.mark.parametrize("name", CAMERAS)
def test_what_is_behind_or_not_finite_is_not_projected(name):
    points = np.array([[0, 0, -1.0], [0, 0, 0], [np.nan, 0, 1], [0, 0, np.inf], [0, 0, 2]])
    pixels, _ = CAMERAS[name].project(points)
    assert np.isnan(pixels[:4]).all()
    assert np.allclose(pixels[4], [320, 240])


def test_distortion_does_not_fold_far_points_into_the_image():
    camera = CalibratedCamera(640, 480, K, "plumb_bob", np.array([-0.3, 0.02, 0, 0, 0]))
    wide = np.array([[3.0, 0, 1.0]])  # far outside of the field of view, where the polynomial turns back
    folded, _ = cv2.projectPoints(wide, np.zeros(3), np.zeros(3), K, camera.distortion)
    assert 0 < folded[0, 0, 0] < 640  # OpenCV alone would put it into the image
    assert np.isnan(camera.project(wide)[0]).all()


@pytest.mark.parametrize("name", ["plumb_bob", "rational", "fisheye"])
def test_rectified_image_shows_points_where_the_pinhole_projects_them(name):
    camera = CAMERAS[name]
    point = np.array([[0.3, -0.2, 2.0]])
    image = np.zeros((480, 640), np.uint8)
    u, v = camera.project(point)[0][0]
    cv2.circle(image, (round(u), round(v)), 4, 255, -1)
    target = camera.rectified()
    rectified = camera.rectify(image)
    found = np.argwhere(rectified > 128).mean(axis=0)[::-1]
    assert np.abs(found - target.project(point)[0][0]).max() < 1.0
    assert not target.is_distorted
    everything = camera.rectified(keep_all=True)
    corners = everything.project(camera.unproject(np.array([[0.0, 0], [639, 479]]), np.ones(2)))[0]
    assert corners.min() > -1
    assert (corners < [640, 480]).all()


def test_resized_camera_sees_the_same_scene():
    camera = CAMERAS["plumb_bob"]
    half = camera.resized(320, 240)
    points = np.array([[0.5, 0.4, 2.0]])
    assert np.allclose(half.project(points)[0], (camera.project(points)[0] + 0.5) / 2 - 0.5)
    with pytest.raises(InputError, match="cropped"):
        camera.resized(320, 320)


@pytest.mark.parametrize(
    ("matrix", "model", "distortion"),
    [
        (np.zeros((3, 3)), "plumb_bob", []),
        (np.diag([500.0, 0, 1]), "plumb_bob", []),
        (np.full((3, 3), np.nan), "plumb_bob", []),
        (np.eye(4), "plumb_bob", []),
        (K, "made_up", []),
        (K, "plumb_bob", [1.0, 2.0]),
        (K, "equidistant", [0.1] * 5),
        (K, "plumb_bob", [np.nan] * 5),
    ],
)
def test_impossible_cameras_are_refused(matrix, model, distortion):
    with pytest.raises(InputError):
        CalibratedCamera(640, 480, matrix, model, np.array(distortion))


#: Attributes of a ROS 2 `sensor_msgs/CameraInfo`.
INFO = SimpleNamespace(
    width=640,
    height=480,
    distortion_model="plumb_bob",
    k=K.ravel().tolist(),
    d=[-0.3, 0.1, 0.001, -0.002, 0.0],
    p=[450.0, 0, 310, 0, 0, 460.0, 235, 0, 0, 0, 1, 0],
)


def test_camera_info_raw_and_rectified():
    raw = CalibratedCamera.from_info(INFO)
    assert raw.model == "plumb_bob"
    assert np.allclose(raw.matrix, K)
    assert raw.distortion.size == 5
    rectified = CalibratedCamera.from_info(INFO, rectified=True)
    assert rectified.matrix[0, 0] == 450
    assert not rectified.is_distorted
    ros1 = {"width": 640, "height": 480, "K": INFO.k, "D": INFO.d, "distortion_model": "plumb_bob"}
    assert np.allclose(CalibratedCamera.from_info(ros1).matrix, K)
    with pytest.raises(InputError, match="singular"):
        CalibratedCamera.from_info({"width": 640, "height": 480, "k": [0.0] * 9, "d": []})


def test_calibration_files(tmp_path):
    ros = tmp_path / "camera.yaml"
    ros.write_text(
        "image_width: 640\nimage_height: 480\ncamera_name: left\ncamera_matrix:\n  rows: 3\n  cols: 3\n"
        f"  data: {K.ravel().tolist()}\ndistortion_model: plumb_bob\ndistortion_coefficients:\n  rows: 1\n  cols: 5\n"
        "  data: [-0.3, 0.1, 0.001, -0.002, 0.0]\n"
        "lidar_to_camera:\n  translation: {x: 0.1, y: 0.2, z: 0.3}\n  rotation: {x: 0, y: 0, z: 0, w: 1}\n"
    )
    read = read_calibration(ros)
    assert np.allclose(read.camera.matrix, K)
    assert read.camera.distortion[0] == -0.3
    assert np.allclose(read.lidar_to_camera[:3, 3], [0.1, 0.2, 0.3])

    kitti = tmp_path / "calib.txt"
    kitti.write_text(
        "P2: 700 0 600 45 0 700 180 -0.3 0 0 1 0.005\nR0_rect: 1 0 0 0 1 0 0 0 1\n"
        "Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 -0.3\n"
    )
    with pytest.raises(InputError, match="width"):
        read_calibration(kitti)
    read = read_calibration(kitti, image_size=(1242, 375))
    point = np.array([12.0, 1.5, -0.7])  # LiDAR frame
    p2 = np.array([[700, 0, 600, 45], [0, 700, 180, -0.3], [0, 0, 1, 0.005]])
    homogeneous = p2 @ [-point[1], -point[2], point[0] - 0.3, 1]
    moved = read.lidar_to_camera @ [*point, 1]
    assert np.allclose(read.camera.project(moved[None, :3])[0][0], homogeneous[:2] / homogeneous[2])

    described = tmp_path / "calib.json"
    described.write_text(json.dumps({"image_size": [640, 480], "K": K.tolist(), "lidar_to_camera": np.eye(4).tolist()}))
    assert np.allclose(read_calibration(described).camera.matrix, K)


@settings(max_examples=60)
@given(text=st.text(max_size=200), suffix=st.sampled_from([".yaml", ".json", ".txt"]))
def test_any_text_is_read_or_refused(tmp_path_factory, text, suffix):
    path = tmp_path_factory.mktemp("calib") / f"c{suffix}"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        read_calibration(path)


def test_extrinsics_in_every_spelling():
    motion = np.eye(4)
    motion[:3, :3] = cv2.Rodrigues(np.array([0.1, -0.2, 0.3]))[0]
    motion[:3, 3] = [1, 2, 3]
    angle = np.linalg.norm([0.1, -0.2, 0.3])
    quaternion = [*(np.array([0.1, -0.2, 0.3]) / angle * np.sin(angle / 2)), np.cos(angle / 2)]
    for spelling in (motion, motion[:3], motion.ravel().tolist(), ([1, 2, 3], quaternion), [1, 2, 3, *quaternion]):
        assert np.allclose(extrinsic(spelling), motion)


@pytest.mark.parametrize(
    "wrong",
    [
        2 * np.eye(4),
        np.diag([1.0, 1, -1, 1]),
        np.full((4, 4), np.nan),
        np.eye(3),
        [],
        "forward",
        {"translation": [0, 0, 0]},
    ],
)
def test_non_rigid_extrinsics_are_refused(wrong):
    with pytest.raises(InputError):
        extrinsic(wrong)
