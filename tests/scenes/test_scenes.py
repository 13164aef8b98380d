"""The scene generator against numbers worked out by hand, and its promises: same seed same pictures, resumable shards."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.errors import InputError
from leadline.scenes import LAYOUTS, render_scenes
from leadline.scenes.camera import Viewpoint
from leadline.scenes.cast import Solids
from leadline.scenes.materials import Material, Pattern, albedo
from leadline.scenes.photo import photograph
from leadline.scenes.render import Hits, cast_picture
from leadline.scenes.scene import Look, Scene
from leadline.scenes.shards import Job, read_shard, render_shards, write_shard
from leadline.scenes.world import Kind, turn

GREY = Material((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
RIGHT_ANGLE = math.pi / 2  # field of view for which the focal length is half the long edge


def _scene(**camera: float) -> Scene:
    scene = Scene(camera=Viewpoint((0.0, 0.0, 0.0), fov=RIGHT_ANGLE, **camera))
    scene.materials.add(GREY)
    return scene


def _cast(scene: Scene, height: int = 65, width: int = 65) -> Hits:
    return cast_picture(scene, Solids.of(scene.world.freeze(), torch.device("cpu")), height, width)


def test_ball_ahead_has_its_front_at_distance_minus_radius():
    scene = _scene()
    scene.world.ball((0, 5, 0), 1.0, 0)
    hits = _cast(scene)
    assert hits.depth[32, 32] == pytest.approx(4.0, abs=1e-5)
    assert hits.owner[32, 32] == 0
    # f = 32.5 px; the silhouette is at tan(asin(1/5)) = 0.2041 → 6.63 px from the middle
    assert torch.isfinite(hits.depth[32, 32 + 6])
    assert torch.isinf(hits.depth[32, 32 + 7])


def test_box_face_has_one_z_depth_and_ends_where_it_should():
    scene = _scene()
    scene.world.box((0, 3, 0), (2.0, 2.0, 1.0), 0)  # front face at y = 2, half width 1, half height 0.5
    hits = _cast(scene)
    seen = torch.isfinite(hits.depth)
    assert torch.allclose(hits.depth[seen], torch.tensor(2.0), atol=1e-5)
    # half width 1 at z = 2 is 16.25 px, half height 0.5 is 8.125 px: 33 columns, 17 rows
    assert seen.any(0).sum() == 33
    assert seen.any(1).sum() == 17


def test_floor_depth_follows_from_the_eye_height():
    scene = _scene()
    scene.world.card((0, 0, -1.5), (1000, 1000), 0)
    hits = _cast(scene)
    # row r looks down by (r − 32)/32.5, so it meets the floor at z = 1.5·32.5/(r − 32)
    for row in (40, 48, 64):
        assert hits.depth[row, 5] == pytest.approx(1.5 * 32.5 / (row - 32), rel=1e-4)
    assert torch.isinf(hits.depth[:32]).all()


def test_tube_standing_upright_and_its_lid():
    scene = _scene()
    scene.world.tube((0, 4, -1), (0, 4, 1), 0.5, 0)
    assert _cast(scene).depth[32, 32] == pytest.approx(3.5, abs=1e-5)
    above = Scene(camera=Viewpoint((0.0, 4.0, 5.0), pitch=-math.pi / 2, fov=RIGHT_ANGLE))
    above.materials.add(GREY)
    above.world.tube((0, 4, -1), (0, 4, 1), 0.5, 0)
    assert _cast(above).depth[32, 32] == pytest.approx(4.0, abs=1e-4)
    cup = Scene(camera=Viewpoint((0.0, 4.0, 5.0), pitch=-math.pi / 2, fov=RIGHT_ANGLE))
    cup.materials.add(GREY)
    cup.world.tube((0, 4, -1), (0, 4, 1), 0.5, 0, open_top=True)
    assert _cast(cup).depth[32, 32] == pytest.approx(6.0, abs=1e-4)  # its bottom


def test_cone_is_narrower_at_its_tip():
    scene = _scene()
    scene.world.tube((0, 4, -1), (0, 4, 1), 0.8, 0, 0.0)
    seen = torch.isfinite(_cast(scene).depth).sum(1)
    rows = seen[seen > 0]
    assert rows[0] < rows[len(rows) // 2] < rows[-2]


def test_bowl_shows_its_inside():
    scene = Scene(camera=Viewpoint((0.0, 0.0, 3.0), pitch=-math.pi / 2, fov=RIGHT_ANGLE))
    scene.materials.add(GREY)
    scene.world.ball((0, 0, 0), 1.0, 0, cut=0.0)
    assert _cast(scene).depth[32, 32] == pytest.approx(4.0, abs=1e-5)


def test_a_card_with_an_arch_is_open_in_the_middle_and_closed_at_the_corners():
    scene = _scene()
    scene.world.standing_card((0, 2, 0), (3.0, 3.0), 0, mask=3)
    depth = _cast(scene).depth
    assert torch.isinf(depth[32, 32])
    assert depth[12, 12] == pytest.approx(2.0, abs=1e-5)


def test_the_nearer_of_two_wins_and_a_yawed_camera_sees_what_lies_left():
    scene = _scene(yaw=math.pi / 2)
    scene.world.ball((-6, 0, 0), 1.0, 0)
    scene.world.box((-3, 0, 0), (0.5, 0.5, 0.5), 0)
    hits = _cast(scene)
    assert hits.depth[32, 32] == pytest.approx(2.75, abs=1e-5)
    assert hits.owner[32, 32] == 1


@settings(max_examples=15)
@given(
    st.floats(-0.6, 0.6),
    st.floats(-0.5, 0.3),
    st.floats(-0.3, 0.3),
    st.floats(0.5, 1.5),
    st.floats(0.3, 2.5),
    st.floats(-0.05, 0.05),
)
def test_unprojected_floor_lies_on_the_floor(
    yaw: float, pitch: float, roll: float, fov: float, eye: float, shift: float
):
    scene = Scene(camera=Viewpoint((0.4, -0.2, eye), yaw, pitch, roll, fov, (shift, -shift)))
    scene.materials.add(GREY)
    scene.world.card((0, 0, 0), (400, 400), 0)
    hits = _cast(scene, 48, 80)
    seen = hits.depth < 100
    rows, columns = torch.nonzero(seen, as_tuple=True)
    k = torch.from_numpy(scene.camera.intrinsics(48, 80)).float()
    assert torch.allclose(k, hits.intrinsics, atol=1e-4)
    z = hits.depth[seen]
    local = torch.stack([(columns - k[0, 2]) / k[0, 0] * z, (rows - k[1, 2]) / k[1, 1] * z, z])
    world = torch.from_numpy(scene.camera.pose()).float() @ local + torch.tensor([[0.4], [-0.2], [eye]])
    assert (world[2].abs() / z < 1e-4).all()


@settings(max_examples=25)
@given(st.sampled_from(list(Kind)), st.integers(0, 10_000))
def test_tiling_and_culling_change_nothing(kind: Kind, seed: int):
    """A primitive alone in a small picture gives what a ray-by-ray look at its own equations gives."""
    rng = np.random.default_rng(seed)
    scene = _scene()
    aux = {Kind.BALL: (2.0, 0.0), Kind.LEAVES: (0.6, 3.0), Kind.TUBE: (float(rng.uniform(-0.9, 0.9)), 0.0)}.get(
        kind, (0.0, 1.0)
    )
    centre = (float(rng.normal(0, 1)), float(rng.uniform(-1, 6)), float(rng.normal(0, 1)))
    scene.world.add(kind, centre, rng.uniform(0.1, 1.5, 3), 0, turn(*rng.uniform(0, 6, 3)), aux)
    solids = Solids.of(scene.world.freeze(), torch.device("cpu"))
    culled = cast_picture(scene, solids, 40, 56)
    signs = [[(i >> axis & 1) * 2 - 1 for axis in range(3)] for i in range(8)]
    solids.corners = 1e3 * torch.tensor(signs, dtype=torch.float32)[None]  # a cube round everything culls nothing
    everything = cast_picture(scene, solids, 40, 56)
    assert torch.equal(culled.owner, everything.owner)
    assert torch.equal(culled.depth, everything.depth)


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_every_layout_gives_a_usable_picture(layout: str):
    batch = render_scenes(5, 1, 48, 64, layout)
    assert batch.layout == [layout]
    assert batch.rgb.shape == (1, 48, 64, 3)
    assert batch.rgb.dtype == torch.uint8
    assert batch.depth_m.dtype == torch.float32
    assert batch.valid.dtype == torch.bool
    assert batch.intrinsics.shape == (1, 3, 3)
    depth = batch.depth_m[batch.valid]
    assert len(depth) > 0.2 * 48 * 64
    assert float(depth.min()) > 0.05
    assert float(depth.max()) <= 400
    assert (batch.depth_m[~batch.valid] == 0).all()
    assert float(batch.rgb.float().std()) > 4  # something is to be seen


def test_pictures_depend_on_seed_and_index_only():
    both = render_scenes(11, 2, 40, 56)
    again = render_scenes(11, 1, 40, 56, first=1)
    assert torch.equal(both.rgb[1], again.rgb[0])
    assert torch.equal(both.depth_m[1], again.depth_m[0])
    other = render_scenes(12, 1, 40, 56)
    assert not torch.equal(both.rgb[0], other.rgb[0])


def test_intrinsics_belong_to_the_depth():
    """Neighbouring points of a real scene, unprojected, lie a pixel's width apart in x: z / f metres times the depth."""
    batch = render_scenes(3, 1, 48, 64, "table_above")
    k = batch.intrinsics[0]
    assert k[0, 0] == k[1, 1] > 0
    assert k[0, 1] == k[1, 0] == 0
    assert float(k[0, 2]) == pytest.approx(31.5, abs=8)
    assert float(k[1, 2]) == pytest.approx(23.5, abs=6)


def test_unknown_layouts_and_sizes_are_refused():
    with pytest.raises(InputError, match="no scene layout 'moon'"):
        render_scenes(0, 1, 48, 64, "moon")
    with pytest.raises(InputError, match="16×16"):
        render_scenes(0, 1, 8, 64)


@pytest.mark.parametrize("pattern", list(Pattern))
def test_patterns_stay_reflectances(pattern: Pattern):
    scene = Scene()
    scene.materials.add(
        Material((0.7, 0.2, 0.1), (0.1, 0.3, 0.6), (0.9, 0.9, 0.8), pattern, scale=0.1, salt=7, extra=0.4, dirt=0.3)
    )
    rows = scene.materials.table(torch.device("cpu")).expand(400, -1)
    u, v = torch.linspace(-2, 2, 400), torch.linspace(3, -1, 400)
    colour = albedo(u, v, rows, torch.full((400,), 0.003))
    assert colour.shape == (3, 400)
    assert float(colour.min()) > 0
    assert float(colour.max()) < 1


def test_a_brick_wall_has_bricks_of_the_given_size():
    scene = Scene()
    scene.materials.add(
        Material((0.6, 0.2, 0.1), (0.6, 0.2, 0.1), (0.9, 0.9, 0.9), Pattern.BRICK, scale=0.25, dirt=0.0)
    )
    count = 1000
    rows = scene.materials.table(torch.device("cpu")).expand(count, -1)
    u = torch.linspace(0, 2.5, count)
    colour = albedo(u, torch.full((count,), 0.045), rows, torch.full((count,), 0.001))
    mortar = (colour[2] > 0.5).int()
    assert int((mortar[1:] > mortar[:-1]).sum()) in (9, 10, 11)  # one joint every 0.25 m over 2.5 m


def test_lens_blur_spares_the_plane_in_focus():
    radiance = (torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) > 0.5).float() * 0.4 + 0.02
    depth = torch.full((64, 64), 2.0)
    depth[:, 32:] = 50.0
    image = photograph(radiance, depth, Look(aperture=0.05, focus=2.0), 60.0, np.random.default_rng(4)).astype(float)
    sharp = np.abs(np.diff(image[:, 4:24], axis=1)).mean()
    soft = np.abs(np.diff(image[:, 44:60], axis=1)).mean()
    assert sharp > 2 * soft


def test_shards_survive_interruption_and_are_not_rendered_twice(tmp_path: Path):
    job = Job(count=3, height=32, width=48, seed=2, out=tmp_path, shard=1, layout="closeup")
    progress = render_shards(job)
    assert next(progress) == 0
    assert next(progress) == 1
    progress.close()  # interrupted after the first shard
    first = job.path(0, 1)
    stamp = first.stat().st_mtime_ns
    assert list(render_shards(job)) == [1, 2, 3]
    assert first.stat().st_mtime_ns == stamp
    assert not list(tmp_path.glob(".*"))
    whole = render_scenes(2, 3, 32, 48, "closeup")
    third = read_shard(job.path(2, 1))
    assert torch.equal(third.rgb[0], whole.rgb[2])
    assert torch.equal(third.depth_m[0], whole.depth_m[2])
    assert torch.equal(third.valid[0], whole.valid[2])
    assert third.layout == ["closeup"]


def test_a_shard_that_fails_to_be_written_leaves_nothing(tmp_path: Path):
    batch = render_scenes(1, 1, 32, 32, "closeup")
    batch.rgb = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        write_shard(batch, tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


def test_the_command_renders_and_resumes(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "leadline.scenes",
        "--count",
        "2",
        "--height",
        "32",
        "--width",
        "32",
        "--seed",
        "1",
        "--layout",
        "shelf_bin",
        "--shard",
        "1",
        "--out",
        str(tmp_path / "out"),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert len(names) == 2
    before = [(tmp_path / "out" / n).stat().st_mtime_ns for n in names]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    assert [(tmp_path / "out" / n).stat().st_mtime_ns for n in names] == before
    wrong = subprocess.run(
        [*command[:-2], "--layout", "moon"], check=False, capture_output=True, text=True, timeout=600
    )
    assert wrong.returncode == 2
