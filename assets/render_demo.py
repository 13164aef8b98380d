"""Render the demo pictures with Blender's Cycles: everything in them is made here, so they may be shipped.

Usage: python assets/render_demo.py [OUTPUT_FOLDER] (needs the ``bpy`` package; about a minute per picture on 2 cores).
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

import bpy
import mathutils

WIDTH, HEIGHT, SAMPLES = 960, 640, 48


def material(name, colour, roughness=0.6, scale=0.0, second=None, kind="noise", metallic=0.0):
    """A principled material, plain or with two colours mixed by a procedural texture."""
    made = bpy.data.materials.new(name)
    made.use_nodes = True
    nodes, links = made.node_tree.nodes, made.node_tree.links
    shader = nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*colour, 1)
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Metallic"].default_value = metallic
    if second:
        types = {
            "noise": "ShaderNodeTexNoise",
            "wave": "ShaderNodeTexWave",
            "checker": "ShaderNodeTexChecker",
            "brick": "ShaderNodeTexBrick",
        }
        texture = nodes.new(types[kind])
        texture.inputs["Scale"].default_value = scale
        if kind == "wave":
            texture.inputs["Distortion"].default_value = 6.0
            texture.inputs["Detail"].default_value = 4.0
        coordinates = nodes.new("ShaderNodeTexCoord")
        links.new(coordinates.outputs["Object"], texture.inputs["Vector"])
        mix = nodes.new("ShaderNodeMix")
        mix.data_type = "RGBA"
        mix.inputs["A"].default_value = (*colour, 1)
        mix.inputs["B"].default_value = (*second, 1)
        links.new(texture.outputs["Fac"], mix.inputs["Factor"])
        links.new(mix.outputs["Result"], shader.inputs["Base Color"])
    return made


def box(size, at, stuff, bevel=0.01, turn=0.0):
    bpy.ops.mesh.primitive_cube_add(size=1, location=at, rotation=(0, 0, turn))
    thing = bpy.context.object
    thing.scale = size
    bpy.ops.object.transform_apply(location=False, rotation=False, scale=True)
    if bevel:
        modifier = thing.modifiers.new("bevel", "BEVEL")
        modifier.width, modifier.segments = bevel, 4
    thing.data.materials.append(stuff)
    return thing


def cylinder(radius, depth, at, stuff, tip=None):
    if tip is None:
        bpy.ops.mesh.primitive_cylinder_add(radius=radius, depth=depth, location=at, vertices=64)
    else:
        bpy.ops.mesh.primitive_cone_add(radius1=radius, radius2=tip, depth=depth, location=at, vertices=64)
    bpy.ops.object.shade_smooth_by_angle() if hasattr(
        bpy.ops.object, "shade_smooth_by_angle"
    ) else bpy.ops.object.shade_smooth()
    bpy.context.object.data.materials.append(stuff)
    return bpy.context.object


def ball(radius, at, stuff, squash=1.0):
    bpy.ops.mesh.primitive_uv_sphere_add(radius=radius, location=at, segments=48, ring_count=24)
    bpy.context.object.scale.z = squash
    bpy.ops.object.shade_smooth()
    bpy.context.object.data.materials.append(stuff)


def turned(profile, at, stuff):
    """A surface of revolution from (radius, height) points: bottles, vases, cups."""
    steps = 64
    vertices = [
        (r * math.cos(2 * math.pi * k / steps), r * math.sin(2 * math.pi * k / steps), z)
        for r, z in profile
        for k in range(steps)
    ]
    faces = [
        (i * steps + k, i * steps + (k + 1) % steps, (i + 1) * steps + (k + 1) % steps, (i + 1) * steps + k)
        for i in range(len(profile) - 1)
        for k in range(steps)
    ]
    mesh = bpy.data.meshes.new("turned")
    mesh.from_pydata(vertices, [], faces)
    mesh.polygons.foreach_set("use_smooth", [True] * len(mesh.polygons))
    thing = bpy.data.objects.new("turned", mesh)
    thing.location = at
    thing.data.materials.append(stuff)
    bpy.context.collection.objects.link(thing)


def books(x0, x1, y, z, depth, rng, stuffs, tallest=0.3):
    x = x0
    while x < x1 - 0.02:
        width, height = rng.uniform(0.018, 0.05), rng.uniform(0.6, 1.0) * tallest
        box(
            (width, depth * rng.uniform(0.8, 1), height),
            (x + width / 2, y, z + height / 2),
            rng.choice(stuffs),
            bevel=0.002,
        )
        x += width + 0.002


def camera(at, target, lens, focus=None, stops=4.0):
    bpy.ops.object.camera_add(location=at)
    made = bpy.context.object
    direction = [t - a for t, a in zip(target, at, strict=True)]

    made.rotation_euler = mathutils.Vector(direction).to_track_quat("-Z", "Y").to_euler()
    made.data.lens = lens
    if focus:
        made.data.dof.use_dof = True
        made.data.dof.focus_distance = focus
        made.data.dof.aperture_fstop = stops
    bpy.context.scene.camera = made


def daylight(strength=0.35, elevation=32.0, rotation=130.0):
    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    sky = world.node_tree.nodes.new("ShaderNodeTexSky")
    sky.sun_elevation, sky.sun_rotation = math.radians(elevation), math.radians(rotation)
    sky.sun_size = math.radians(2)
    world.node_tree.links.new(sky.outputs["Color"], world.node_tree.nodes["Background"].inputs["Color"])
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = strength
    bpy.context.scene.world = world


def area_light(at, size, power, colour=(1, 1, 1), target=None):
    bpy.ops.object.light_add(type="AREA", location=at)
    light = bpy.context.object
    light.data.size, light.data.energy, light.data.color = size, power, colour
    if target:
        light.rotation_euler = (
            mathutils.Vector([t - a for t, a in zip(target, at, strict=True)]).to_track_quat("-Z", "Y").to_euler()
        )


def covers(rng, count=9):
    return [
        material(f"cover{i}", [rng.uniform(0.03, 0.6) for _ in range(3)], rng.uniform(0.3, 0.8)) for i in range(count)
    ]


def living_room():
    rng = random.Random(4)
    floor = material("floor", (0.36, 0.2, 0.1), 0.35, 3.0, (0.2, 0.1, 0.05), "wave")
    wall = material("wall", (0.75, 0.72, 0.66), 0.9, 40.0, (0.7, 0.67, 0.6))
    box((6, 7, 0.1), (0, 3, -0.05), floor, 0)
    box((6, 7, 0.1), (0, 3, 2.75), wall, 0)
    box((6, 0.1, 2.8), (0, 6.3, 1.35), wall, 0)
    box((0.1, 7, 2.8), (-3, 3, 1.35), wall, 0)
    for size, at in (
        ((0.1, 7, 0.9), (3, 3, 0.4)),
        ((0.1, 7, 0.5), (3, 3, 2.5)),
        ((0.1, 2.6, 1.5), (3, 0.6, 1.5)),
        ((0.1, 1.6, 1.5), (3, 5.6, 1.5)),
    ):
        box(size, at, wall, 0)
    frame = material("frame", (0.8, 0.8, 0.8), 0.4)
    for y in (1.95, 2.9, 3.85, 4.75):
        box((0.08, 0.06, 1.5), (2.98, y, 1.55), frame, 0.004)
    rug = material("rug", (0.45, 0.1, 0.08), 1.0, 6.0, (0.7, 0.55, 0.35), "checker")
    box((2.4, 1.7, 0.02), (0.1, 3.0, 0.01), rug, 0.005)
    cloth = material("cloth", (0.12, 0.2, 0.26), 0.95, 60.0, (0.17, 0.27, 0.34))
    for size, at in (
        ((2.1, 0.85, 0.42), (-0.5, 4.9, 0.25)),
        ((2.1, 0.25, 0.55), (-0.5, 5.25, 0.65)),
        ((0.22, 0.9, 0.62), (-1.6, 4.9, 0.33)),
        ((0.22, 0.9, 0.62), (0.6, 4.9, 0.33)),
    ):
        box(size, at, cloth, 0.07)
    for x, colour in ((-1.1, (0.7, 0.4, 0.1)), (0.15, (0.6, 0.6, 0.55))):
        box((0.45, 0.16, 0.42), (x, 5.0, 0.68), material(f"cushion{x}", colour, 0.95), 0.07, 0.1)
    wood = material("wood", (0.42, 0.25, 0.13), 0.4, 8.0, (0.3, 0.16, 0.08), "wave")
    box((1.1, 0.6, 0.05), (0.1, 3.0, 0.42), wood, 0.01)
    for x in (-0.38, 0.58):
        for y in (2.76, 3.24):
            cylinder(0.03, 0.42, (x, y, 0.21), wood)
    box((0.3, 0.22, 0.035), (-0.1, 3.05, 0.465), material("magazine", (0.1, 0.3, 0.5), 0.4), 0.002, 0.3)
    turned(
        [(0.001, 0), (0.05, 0), (0.075, 0.08), (0.06, 0.17), (0.03, 0.22), (0.045, 0.26)],
        (0.38, 3.05, 0.445),
        material("vase", (0.8, 0.75, 0.6), 0.2),
    )
    for x in (-2.05, -2.95):
        box((0.03, 0.35, 2.1), (x, 5.95, 1.05), wood, 0.003)
    stuffs = covers(rng)
    for level in range(6):
        box((0.93, 0.35, 0.03), (-2.5, 5.95, 0.1 + level * 0.39), wood, 0.003)
        if level < 5:
            books(-2.92, -2.08 - rng.uniform(0, 0.3), 5.93, 0.115 + level * 0.39, 0.22, rng, stuffs)
    box((0.9, 0.04, 0.65), (-0.4, 6.23, 1.75), material("picture frame", (0.05, 0.04, 0.03)), 0.01)
    box((0.8, 0.05, 0.55), (-0.4, 6.22, 1.75), material("picture", (0.1, 0.25, 0.45), 0.7, 2.2, (0.85, 0.55, 0.2)), 0)
    cylinder(0.17, 0.03, (1.55, 5.4, 0.015), wood)
    cylinder(0.015, 1.5, (1.55, 5.4, 0.75), material("steel", (0.5, 0.5, 0.5), 0.3, metallic=1.0))
    shade = material("shade", (0.9, 0.82, 0.65), 0.8)
    shade.node_tree.nodes["Principled BSDF"].inputs["Emission Color"].default_value = (1, 0.75, 0.4, 1)
    shade.node_tree.nodes["Principled BSDF"].inputs["Emission Strength"].default_value = 2.5
    cylinder(0.24, 0.32, (1.55, 5.4, 1.6), shade, 0.15)
    turned([(0.001, 0), (0.16, 0), (0.22, 0.38), (0.2, 0.38)], (2.35, 4.6, 0), material("pot", (0.55, 0.22, 0.12), 0.8))
    leaf = material("leaf", (0.05, 0.2, 0.04), 0.5, 12.0, (0.1, 0.32, 0.06))
    for _ in range(70):
        angle, height = rng.uniform(0, 6.28), rng.uniform(0.45, 1.5)
        reach = rng.uniform(0.05, 0.42) * (1.6 - height)
        bpy.ops.mesh.primitive_ico_sphere_add(
            radius=0.11,
            location=(2.35 + reach * math.cos(angle), 4.6 + reach * math.sin(angle), height),
            rotation=(rng.random(), rng.random(), angle),
            subdivisions=3,
        )
        bpy.context.object.scale = (1, 0.45, 0.12)
        bpy.context.object.data.materials.append(leaf)
    chair = material("chair", (0.65, 0.62, 0.55), 0.9, 50.0, (0.55, 0.52, 0.47))
    box((0.75, 0.75, 0.36), (-1.85, 2.7, 0.25), chair, 0.06, 0.5)
    box((0.75, 0.2, 0.62), (-2.12, 2.5, 0.62), chair, 0.06, 2.07)
    daylight(0.3, 28, 95)
    area_light((2.9, 3.3, 1.6), 1.5, 160, (1, 0.95, 0.88), (0, 3, 1))
    area_light((0, 0.2, 2.5), 2.0, 45, (1, 0.96, 0.9), (0, 4, 0.6))
    camera((0.55, -0.25, 1.45), (-0.15, 4.0, 0.85), 26)


def desk():
    rng = random.Random(11)
    wood = material("desk", (0.5, 0.33, 0.18), 0.35, 10.0, (0.36, 0.21, 0.1), "wave")
    box((2.2, 1.0, 0.05), (0, 0, -0.025), wood, 0.005)
    box((4, 0.05, 3), (0, 0.95, 0.2), material("plaster", (0.55, 0.62, 0.6), 0.9, 9.0, (0.48, 0.56, 0.55)), 0)
    stuffs = covers(rng, 12)
    for i in range(5):
        box(
            (0.24 - 0.012 * i, 0.17 - 0.008 * i, 0.028),
            (-0.36 + rng.uniform(-0.01, 0.01), 0.18, 0.015 + 0.03 * i),
            stuffs[i],
            0.002,
            rng.uniform(-0.2, 0.25),
        )
    ball(0.042, (-0.35, 0.18, 0.192), material("apple", (0.5, 0.03, 0.03), 0.25, 5.0, (0.6, 0.3, 0.05)), 0.92)
    mug = material("mug", (0.08, 0.2, 0.45), 0.2)
    turned(
        [(0.001, 0), (0.038, 0), (0.042, 0.01), (0.042, 0.095), (0.038, 0.095), (0.037, 0.012), (0.001, 0.012)],
        (0.02, -0.1, 0),
        mug,
    )
    bpy.ops.mesh.primitive_torus_add(
        location=(0.062, -0.1, 0.05), rotation=(math.pi / 2, 0, 0), major_radius=0.027, minor_radius=0.006
    )
    bpy.context.object.data.materials.append(mug)
    glass = material("bottle", (0.05, 0.25, 0.1), 0.08)
    turned(
        [(0.001, 0), (0.037, 0), (0.037, 0.17), (0.03, 0.2), (0.013, 0.23), (0.013, 0.29), (0.015, 0.3)],
        (0.33, 0.24, 0),
        glass,
    )
    turned(
        [
            (0.001, 0),
            (0.03, 0),
            (0.09, 0.05),
            (0.1, 0.075),
            (0.096, 0.075),
            (0.085, 0.052),
            (0.03, 0.008),
            (0.001, 0.006),
        ],
        (0.27, -0.02, 0),
        material("bowl", (0.8, 0.78, 0.7), 0.25),
    )
    for k in range(5):
        ball(
            0.034,
            (0.27 + 0.04 * math.cos(1.26 * k), -0.02 + 0.04 * math.sin(1.26 * k), 0.062),
            material(f"orange{k}", (0.75, 0.28 + 0.05 * k, 0.02), 0.45),
            0.95,
        )
    box(
        (0.07, 0.07, 0.07),
        (-0.12, -0.22, 0.036),
        material("cube", (0.7, 0.6, 0.1), 0.5, 40.0, (0.1, 0.1, 0.4), "checker"),
        0.004,
        0.6,
    )
    box((0.22, 0.3, 0.012), (-0.27, -0.18, 0.007), material("notebook", (0.12, 0.12, 0.13), 0.6), 0.002, 0.25)
    cylinder(0.004, 0.16, (-0.2, -0.2, 0.018), material("pencil", (0.8, 0.5, 0.05), 0.5))
    bpy.context.object.rotation_euler = (math.pi / 2, 0, 0.9)
    books(0.5, 0.85, 0.28, 0, 0.2, rng, stuffs, 0.27)
    turned(
        [(0.001, 0), (0.05, 0), (0.06, 0.06), (0.045, 0.13), (0.055, 0.15), (0.05, 0.15)],
        (-0.72, 0.25, 0),
        material("pot", (0.6, 0.3, 0.2), 0.8),
    )
    leaf = material("leaf", (0.06, 0.22, 0.05), 0.5)
    for _ in range(40):
        angle, height = rng.uniform(0, 6.28), rng.uniform(0.17, 0.42)
        reach = rng.uniform(0.01, 0.12)
        bpy.ops.mesh.primitive_ico_sphere_add(
            radius=0.04,
            location=(-0.72 + reach * math.cos(angle), 0.25 + reach * math.sin(angle), height),
            rotation=(rng.random(), rng.random(), angle),
            subdivisions=3,
        )
        bpy.context.object.scale = (1, 0.4, 0.1)
        bpy.context.object.data.materials.append(leaf)
    daylight(0.08, 40, 200)
    area_light((-1.2, -0.9, 1.3), 0.7, 28, (1, 0.93, 0.82), (0, 0, 0))
    area_light((1.5, -0.4, 0.9), 0.5, 8, (0.75, 0.85, 1), (0, 0, 0))
    camera((0.12, -0.95, 0.48), (-0.02, 0.05, 0.08), 42, focus=0.98, stops=5.6)


def render(build, path):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    build()
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = SAMPLES
    scene.cycles.use_denoising = True
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.exposure = -0.5
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.image_settings.file_format = "JPEG"
    scene.render.image_settings.quality = 90
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "demo").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    render(living_room, folder / "living_room.jpg")
    render(desk, folder / "desk.jpg")
