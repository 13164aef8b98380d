# SPDX-License-Identifier: GPL-3.0-or-later
"""From a depth map to an object in the scene, new or updated in place."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable
from typing import cast

import bpy
import numpy as np

from leadline.depth.spaces import Space
from leadline.errors import InputError
from leadline.geometry import Mesh, Pinhole

from . import live, materials, meshes, photos, sight
from .depth import Depth
from .host import camera_of, mesh_of, present
from .properties import MeshOptions, copy_options, memory_of
from .shaping import Seen, Shape, fills_behind, has_holes, removes_sky
from .task import Report

_MODIFIER = "Leadline Displacement"
#: Upright, facing the front view: camera axes (y up, z to the viewer) to Blender's world (z up).
_UPRIGHT = (math.radians(90), 0.0, 0.0)
_SENSOR_MM = 36.0
#: Width of the pixel filter, pixels: as Blender starts, and one that leaves a photograph's fine detail within 2/255.
_DEFAULT_FILTER_PX, _FILTER_PX = 1.5, 1.0


def look(
    report: Report,
    image: Callable[[], bpy.types.Image],
    options: MeshOptions,
    target: Callable[[], bpy.types.Object | None] = lambda: None,
) -> Seen:
    """What :func:`leadline_blender.shaping.shape` needs of a photograph; for the thread.

    Args:
        image: Gives the photograph, in the main thread.
        target: Gives the object that will be built again, which may be painted on; in the main thread.
    """

    def known() -> tuple[Seen, bool]:
        photo, thing = image(), target()
        orientation = photos.orientation_of(photo)
        size = photos.upright_size(photo, orientation)
        cut_out = has_holes(options) and photos.has_alpha(photo)
        painted = None if thing is None else memory_of(thing).paint
        wanted = cut_out or removes_sky(options) or fills_behind(options)
        paint = None if painted is None else photos.stored(painted, orientation)
        return Seen(size, photos.camera_of(photo, size, options), orientation, None, cut_out, paint), wanted

    seen, wanted = report.on_main(known)
    return dataclasses.replace(seen, photo=photos.read(report, image)) if wanted else seen


def realise(
    context: bpy.types.Context,
    image: bpy.types.Image,
    depth: Depth,
    made: Shape,
    options: MeshOptions,
    target: bpy.types.Object | None,
) -> bpy.types.Object:
    """Bring finished geometry into the scene: a new object, or ``target`` changed in place."""
    orientation = photos.orientation_of(image)
    camera = photos.camera_of(image, photos.upright_size(image, orientation), options)
    units_per_m = 1.0 / present(context.scene).unit_settings.scale_length
    thing = place(context, target, made.mesh, image.name, units_per_m, orientation, made.same)
    memory = memory_of(thing)
    copy_options(options, memory)
    memory.photo, memory.space, memory.metric, memory.model = image, depth.space.value, depth.metric, depth.model
    memory.focal_px, memory.orientation = camera.focal_px, orientation
    memory.depth = photos.write_map(made.metres, f"{image.name} depth", own(thing, "depth"), orientation)
    if depth.uncertainty is not None:
        kept = own(thing, "uncertainty")
        memory.uncertainty = photos.write_map(depth.uncertainty, f"{image.name} uncertainty", kept, orientation)
    else:
        _forget_uncertainty(thing)
    dress(thing, image, options)
    _raise(context, thing, made, options, image.name)
    if options.result == "PERSPECTIVE":
        match_camera(context, thing, camera, made.metres, options)
    elif options.result == "PANORAMA":
        _viewer(context, thing, made.metres)
    _behind(context, thing, made, options)
    if target is None:
        sight.make_room(context, thing)
    return thing


def camera_for(thing: bpy.types.Object, shape: tuple[int, ...]) -> Pinhole:
    """The camera of an object's photograph, for a map (H, W) of it."""
    memory = memory_of(thing)
    photo_width = photos.upright_size(memory.photo, memory.orientation)[1]
    return Pinhole(shape[1], shape[0], memory.focal_px * shape[1] / photo_width)


def find_object(context: bpy.types.Context, image: bpy.types.Image) -> bpy.types.Object | None:
    """The Leadline object of a photograph: the active one if it is of this photograph, else any in the scene."""
    active = present(context.view_layer).objects.active
    for thing in [active, *present(context.scene).objects]:
        if thing is not None and thing.type == "MESH" and memory_of(thing).photo == image:
            return thing
    return None


def own(thing: bpy.types.Object, name: str) -> bpy.types.Image | None:
    """The map ``name`` of an object, if no other object has it, too: a copy of an object must not change the original."""
    image = getattr(memory_of(thing), name)
    shared = any(other != thing and getattr(memory_of(other), name) == image for other in bpy.data.objects)
    return None if shared else image


def _forget_uncertainty(thing: bpy.types.Object) -> None:
    """A depth that came without uncertainty must not be seen beside an older one's."""
    image, memory_of(thing).uncertainty = own(thing, "uncertainty"), None
    if image is not None and image.users == 0:
        bpy.data.images.remove(image)


def stored_depth(thing: bpy.types.Object) -> Depth:
    """The depth that an object was made of, from its images.

    The image holds metres, assumed or measured; in the model's space they are an affine copy of its numbers.
    """
    memory = memory_of(thing)
    if memory.depth is None or memory.photo is None:
        raise InputError(f"{thing.name} has lost its depth image; generate it again")
    space = Space(memory.space)
    metres = photos.read_map(memory.depth, memory.orientation)
    values = metres if memory.metric else space.from_depth(metres)
    uncertainty = photos.read_map(memory.uncertainty, memory.orientation) if memory.uncertainty is not None else None
    return Depth(values, space, memory.metric, memory.model, uncertainty)


def place(
    context: bpy.types.Context,
    target: bpy.types.Object | None,
    shape: Mesh,
    name: str,
    units_per_m: float,
    orientation: int,
    same: np.ndarray | None = None,
) -> bpy.types.Object:
    """Give the mesh to ``target`` or to a new object at the 3D cursor."""
    data = meshes.mesh_data(shape, name, units_per_m, orientation, same)
    if target is not None:
        meshes.exchange_mesh(target, data)
        return target
    thing = bpy.data.objects.new(name, data)
    thing.rotation_euler = _UPRIGHT
    thing.location = present(context.scene).cursor.location
    present(context.collection).objects.link(thing)
    for other in context.selected_objects:
        other.select_set(False)
    thing.select_set(True)
    present(context.view_layer).objects.active = thing
    return thing


def dress(thing: bpy.types.Object, image: bpy.types.Image, options: MeshOptions) -> None:
    """Our material in the first slot; a material that the artist put there is left alone."""
    slots = mesh_of(thing).materials
    current = slots[0] if len(slots) else None
    if current is not None and not materials.is_ours(current):
        return
    if current is not None and current.users > 1:  # a copy of the object has it, too
        current = None
    material = materials.photo_material(image, options.shading, current)
    if len(slots):
        slots[0] = material
    else:
        slots.append(material)


def _raise(context: bpy.types.Context, thing: bpy.types.Object, made: Shape, options: MeshOptions, name: str) -> None:
    """The modifier that gives a displacement, or a live relief, its height; none for the other results."""
    old = _image_of_height(thing)
    if made.rise is None or made.live is not None:
        lower(thing)
    if made.live is None:
        live.detach(thing)
    image = (
        photos.write_map(made.rise, f"{name} nearness", old, memory_of(thing).orientation)
        if made.rise is not None
        else None
    )
    strength = options.height_m / present(context.scene).unit_settings.scale_length
    if made.live is not None:
        data = mesh_of(thing)
        meshes.add_attribute(data, live.NEARNESS, made.live.nearness)
        meshes.add_attribute(data, live.JUMP, made.live.jump, "FACE")
        live.attach(thing, strength, options.cut if options.cut_relief else 1.0, image)
    elif image is not None:
        set_displacement(thing, image, strength)


def lower(thing: bpy.types.Object) -> None:
    """Take the modifier of a displacement away."""
    modifier = _modifier(thing)
    if modifier is not None:
        thing.modifiers.remove(modifier)


def _image_of_height(thing: bpy.types.Object) -> bpy.types.Image | None:
    """The image of nearness that an object displaces by, if no copy of the object has it, too."""
    modifier = _modifier(thing)
    if modifier is not None and modifier.texture is not None:
        if modifier.texture.users > 1:
            modifier.texture = None
            return None
        return cast(bpy.types.ImageTexture, modifier.texture).image
    image = live.image_of(thing)
    copies = [other for other in bpy.data.objects if other != thing and live.image_of(other) == image]
    return None if copies else image


def _modifier(thing: bpy.types.Object) -> bpy.types.DisplaceModifier | None:
    return cast("bpy.types.DisplaceModifier | None", thing.modifiers.get(_MODIFIER))


def set_displacement(thing: bpy.types.Object, image: bpy.types.Image, strength: float) -> bpy.types.ImageTexture:
    """Raise a grid by an image of nearness (1 is nearest) through a Displace modifier. Returns its texture."""
    modifier = _modifier(thing)
    if modifier is None:
        modifier = cast(bpy.types.DisplaceModifier, thing.modifiers.new(_MODIFIER, "DISPLACE"))
        modifier.mid_level = 0.0
        modifier.texture_coords = "UV"
        modifier.uv_layer = meshes.UV_NAME
        modifier.direction = "Z"
    if modifier.texture is None:
        modifier.texture = bpy.data.textures.new(image.name, "IMAGE")
    texture = cast(bpy.types.ImageTexture, modifier.texture)
    texture.image = image
    texture.extension = "EXTEND"
    texture.use_clamp = False
    modifier.strength = strength
    return texture


def _behind(context: bpy.types.Context, thing: bpy.types.Object, made: Shape, options: MeshOptions) -> None:
    """The surface behind the silhouettes, as a child of its own; none if it is not wanted, or nothing is covered."""
    holder = memory_of(thing).behind
    if holder is not None and holder.parent != thing:  # a copy's original has it
        holder = None
    if made.behind is None or made.behind_png is None:
        memory_of(thing).behind = None
        if holder is not None:
            bpy.data.objects.remove(holder)
        return
    name = f"{thing.name} behind"
    units = 1.0 / present(context.scene).unit_settings.scale_length
    data = meshes.mesh_data(made.behind, name, units, 1)
    if holder is None:
        holder = bpy.data.objects.new(name, data)
        for collection in thing.users_collection:
            collection.objects.link(holder)
        holder.parent = thing
        memory_of(thing).behind = holder
    else:
        meshes.exchange_mesh(holder, data)
    slots = mesh_of(holder).materials
    current = slots[0] if len(slots) else None
    painted = photos.image_from_png(made.behind_png, name, materials.picture_of(current))
    material = materials.photo_material(painted, options.shading, current if materials.is_ours(current) else None)
    if len(slots):
        slots[0] = material
    else:
        slots.append(material)


def _holder(context: bpy.types.Context, thing: bpy.types.Object) -> bpy.types.Object:
    """The camera of an object, tied to it so that the two stay together; made if there is none."""
    memory = memory_of(thing)
    holder = memory.camera
    if holder is None or holder.parent != thing or holder.name not in present(context.scene).objects:
        holder = bpy.data.objects.new(f"{thing.name} camera", bpy.data.cameras.new(f"{thing.name} camera"))
        for collection in thing.users_collection:
            collection.objects.link(holder)
        holder.parent = thing
        memory.camera = holder
    if present(context.scene).camera is None:
        present(context.scene).camera = holder
    return holder


def _viewer(context: bpy.types.Context, thing: bpy.types.Object, metres: np.ndarray) -> None:
    """A wide camera where a panorama was taken, to look round with."""
    units = 1.0 / present(context.scene).unit_settings.scale_length
    lens = camera_of(_holder(context, thing))
    lens.sensor_fit, lens.sensor_width, lens.lens = "HORIZONTAL", _SENSOR_MM, 0.5 * _SENSOR_MM
    lens.display_size = 0.1 * float(metres.min()) * units
    lens.clip_start = min(lens.clip_start, 0.5 * float(metres.min()) * units)
    lens.clip_end = max(lens.clip_end, 2.0 * float(metres.max()) * units)


def match_camera(
    context: bpy.types.Context, thing: bpy.types.Object, camera: Pinhole, metres: np.ndarray, options: MeshOptions
) -> None:
    """A camera with the photograph's view."""
    holder = _holder(context, thing)
    units = 1.0 / present(context.scene).unit_settings.scale_length
    lens = camera_of(holder)
    lens.type, lens.sensor_fit, lens.sensor_width = "PERSP", "HORIZONTAL", _SENSOR_MM
    lens.lens = camera.lens_mm(_SENSOR_MM)
    lens.shift_x = lens.shift_y = 0.0
    lens.display_size = 0.25 * float(metres.min()) * units
    lens.clip_start = min(lens.clip_start, 0.5 * float(metres.min()) * units)
    lens.clip_end = max(lens.clip_end, 2.0 * float(metres.max()) * units)
    if options.match_render:
        render = present(context.scene).render
        render.resolution_x, render.resolution_y = camera.width, camera.height
        render.pixel_aspect_x = render.pixel_aspect_y = 1.0
        present(context.scene).camera = holder
        if options.shading == "EMISSION":
            _show_colours_as_they_are(present(context.scene))
            _show_pixels_as_they_are(present(context.scene))


def _show_pixels_as_they_are(scene: bpy.types.Scene) -> None:
    """A pixel filter narrower than Blender's default, which softens the photograph; one of the scene's own stays."""
    for holder, name in ((scene.render, "filter_size"), (getattr(scene, "cycles", None), "filter_width")):
        if getattr(holder, name, None) == _DEFAULT_FILTER_PX:
            setattr(holder, name, _FILTER_PX)


def _show_colours_as_they_are(scene: bpy.types.Scene) -> None:
    """A view transform that changes no colour of the photograph: Blender's default, AgX, would."""
    view = present(scene.view_settings)
    with contextlib.suppress(TypeError):  # a colour management configuration of the studio's own has other names
        view.view_transform = "Standard"  # type: ignore[assignment]
        view.look = "None"  # type: ignore[assignment]
    view.exposure, view.gamma, view.use_curve_mapping = 0.0, 1.0, False
