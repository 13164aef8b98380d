# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that can be set, with its tooltip, unit, range and default."""

from __future__ import annotations

from typing import cast

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from .effort import Effort
from .host import present

#: The most accurate of the models that come with Leadline.
DEFAULT_MODEL = "fiffdepth-mini"


class MeshOptions:
    """What decides the geometry. Shared by the scene's settings, by every Leadline object and by the redo panel."""

    result: EnumProperty(  # type: ignore[valid-type]
        name="Result",
        description="What the photograph becomes",
        items=[
            (
                "DISPLACEMENT",
                "Displacement",
                "A flat grid that a Displace modifier raises by the depth image; adjustable at any time",
            ),
            ("RELIEF", "Relief", "A plane with true vertices that rises towards the viewer, like a carving"),
            (
                "PERSPECTIVE",
                "Scene",
                "The surfaces where the camera saw them, with a camera that matches the photograph",
            ),
            (
                "PANORAMA",
                "Panorama",
                "The closed surface all round the viewer, from a 360° panorama: twice as wide as high",
            ),
        ],
        default="PERSPECTIVE",
    )
    long_edge: IntProperty(  # type: ignore[valid-type]
        name="Vertices",
        description="Vertices along the photograph's long edge. 0: one for each pixel",
        default=512,
        min=0,
        soft_max=2048,
        max=8192,
    )
    use_adaptive: BoolProperty(  # type: ignore[valid-type]
        name="Adaptive",
        description="Large triangles where the surface is flat, small ones where it bends. Not for displacement",
        default=False,
    )
    target_faces: IntProperty(  # type: ignore[valid-type]
        name="Triangles",
        description="About how many triangles to spend. Outlines of what is cut are always kept in full",
        default=50_000,
        min=100,
        soft_max=1_000_000,
        max=20_000_000,
    )
    use_cut: BoolProperty(  # type: ignore[valid-type]
        name="Cut Silhouettes",
        description="Leave a gap between an object and what is behind it, rather than stretching the surface across",
        default=True,
    )
    cut: FloatProperty(  # type: ignore[valid-type]
        name="From Jump Of",
        description="How much nearer the one side has to be than the other for a cut",
        default=0.1,
        min=0.005,
        max=0.95,
        subtype="FACTOR",
    )
    steepest: FloatProperty(  # type: ignore[valid-type]
        name="Steepest",
        description="Surfaces that turn farther from the camera than this are cut, too: the soft ramps that models draw between an object "
        "and what is behind it",
        default=1.361357,
        min=0.785398,
        max=1.570796,
        subtype="ANGLE",
    )
    keep_planes: BoolProperty(  # type: ignore[valid-type]
        name="Keep Floors",
        description="Do not cut floors, walls and roads, however flat the angle under which they are seen. Off: no surface is steeper than "
        "the limit",
        default=False,
    )
    cut_relief: BoolProperty(  # type: ignore[valid-type]
        name="Cut Silhouettes", description="Open the relief where one thing covers another, too", default=False
    )
    fill_behind: BoolProperty(  # type: ignore[valid-type]
        name="Fill Behind",
        description="Continue what is behind an object under it, with colours painted smoothly, so that a camera may move without seeing holes",
        default=True,
    )
    use_live: BoolProperty(  # type: ignore[valid-type]
        name="Live",
        description="Keep strength, range and cut as inputs of a Geometry Nodes modifier: they act at once, also animated, until Bake makes "
        "a mesh of it",
        default=False,
    )
    use_base: BoolProperty(  # type: ignore[valid-type]
        name="Solid",
        description="Give the relief a flat back and walls: a closed body for 3D printing and milling",
        default=False,
    )
    base_m: FloatProperty(  # type: ignore[valid-type]
        name="Base",
        description="Thickness behind the lowest point",
        default=0.05,
        min=1e-4,
        soft_max=1.0,
        unit="LENGTH",
    )
    remove_sky: BoolProperty(  # type: ignore[valid-type]
        name="Remove Sky", description="Leave out what is far, smooth and reaches the upper border", default=False
    )
    sky_from: FloatProperty(  # type: ignore[valid-type]
        name="Farther Than",
        description="How far, between the nearest (0) and the farthest point (1), the sky begins. Lower removes more",
        default=0.85,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    paint_share: FloatProperty(  # type: ignore[valid-type]
        name="Paint Moves By",
        description="How far white and black paint move the surface, as a share of the way from the nearest to the farthest",
        default=0.25,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    width_m: FloatProperty(  # type: ignore[valid-type]
        name="Width", description="Width of the relief", default=2.0, min=1e-3, soft_max=100.0, unit="LENGTH"
    )
    height_m: FloatProperty(  # type: ignore[valid-type]
        name="Strength",
        description="How far the nearest point rises above the farthest",
        default=0.4,
        min=0.0,
        soft_max=10.0,
        unit="LENGTH",
    )
    near_m: FloatProperty(  # type: ignore[valid-type]
        name="Nearest",
        description="How far from the camera the nearest things are. The models see proportions, not metres, so this is yours to say; "
        "a measured scale (Reference Points) overrules it",
        default=1.5,
        min=1e-3,
        soft_max=100.0,
        unit="LENGTH",
    )
    far_m: FloatProperty(  # type: ignore[valid-type]
        name="Farthest",
        description="How far from the camera the farthest things are",
        default=6.0,
        min=2e-3,
        soft_max=1000.0,
        unit="LENGTH",
    )
    focal_from: EnumProperty(  # type: ignore[valid-type]
        name="Lens",
        description="Where the focal length comes from",
        items=[
            ("AUTO", "From Photograph", "What the camera wrote into the file; 43 mm (35 mm film) if it wrote nothing"),
            ("LENS", "Focal Length", "In millimetres, for 36 mm along the long edge (full frame)"),
            ("FOV", "Field of View", "The angle from the left to the right edge"),
        ],
        default="AUTO",
    )
    lens_mm: FloatProperty(  # type: ignore[valid-type]
        name="Focal Length", description="Full-frame equivalent", default=50.0, min=1.0, soft_max=400.0, unit="CAMERA"
    )
    fov: FloatProperty(  # type: ignore[valid-type]
        name="Field of View", description="Horizontal", default=0.872665, min=0.02, max=3.0, subtype="ANGLE"
    )
    match_render: BoolProperty(  # type: ignore[valid-type]
        name="Match Render Settings",
        description="Make the matched camera the scene's camera, give the render the photograph's size and, for the Photograph material, "
        "set the view transform to Standard, so that F12 gives the photograph back",
        default=True,
    )
    shading: EnumProperty(  # type: ignore[valid-type]
        name="Material",
        description="How the photograph lies on the surface",
        items=[
            ("EMISSION", "Photograph", "Shows the photograph as it is, whatever the light"),
            (
                "PRINCIPLED",
                "Lit Surface",
                "A Principled BSDF coloured by the photograph, which takes the scene's light",
            ),
        ],
        default="EMISSION",
    )


OPTION_NAMES = tuple(MeshOptions.__annotations__)


class Snapshot(MeshOptions):
    """The mesh options at one moment, whatever happens to the scene meanwhile; a thread may read it."""

    def __init__(self, options: MeshOptions) -> None:
        for name in OPTION_NAMES:
            setattr(self, name, getattr(options, name))


class LeadlineSettings(MeshOptions, bpy.types.PropertyGroup):
    """The settings of the panel, one set for each scene."""

    source: EnumProperty(  # type: ignore[valid-type]
        name="Photograph",
        description="Where the photograph comes from",
        items=[
            ("FILE", "File", "An image file on disk", "FILE_FOLDER", 0),
            ("IMAGE", "Image", "An image that is already in Blender", "IMAGE_DATA", 1),
            ("RENDER", "Render", "The last render of this scene", "RENDER_RESULT", 2),
            ("BACKGROUND", "Background", "The background image of the active camera", "CAMERA_DATA", 3),
        ],
        default="FILE",
    )
    filepath: StringProperty(name="File", description="The photograph", subtype="FILE_PATH")  # type: ignore[valid-type]
    image: PointerProperty(name="Image", description="The photograph", type=bpy.types.Image)  # type: ignore[valid-type]
    model: StringProperty(  # type: ignore[valid-type]
        name="Model", description="Who looks at the photograph; empty: the server's own choice", default=DEFAULT_MODEL
    )
    normals_model: StringProperty(  # type: ignore[valid-type]
        name="Normals Model", description="Who sees surface normals; empty: the first such model that the server has"
    )
    own_depth: PointerProperty(  # type: ignore[valid-type]
        name="Depth Image", description="A depth map of your own for this photograph", type=bpy.types.Image
    )
    quality: EnumProperty(  # type: ignore[valid-type]
        name="Quality",
        description="How much time to spend",
        items=[
            ("FAST", "Fast", "The fewest steps that the model takes"),
            ("BALANCED", "Balanced", "As the model was made to be used"),
            (
                "FINE",
                "Fine",
                "Four looks averaged, and more steps with models that take them; shows how sure the model is",
            ),
            ("CUSTOM", "Custom", "Your own numbers"),
        ],
        default="BALANCED",
    )
    detail: EnumProperty(  # type: ignore[valid-type]
        name="Edges",
        description="How depth steps where one thing covers another. Not for panoramas and films",
        items=[
            ("OFF", "Soft", "As the model draws them: ramps some pixels wide"),
            ("EDGES", "Sharp", "Each step where the photograph has its edge"),
            (
                "TILES",
                "Sharp and Detailed",
                "The model also looks at parts of the photograph from nearer; takes many times as long",
            ),
        ],
        default="EDGES",
    )
    steps: IntProperty(  # type: ignore[valid-type]
        name="Steps", description="Network evaluations for each look. 0: the model's default", default=0, min=0, max=64
    )
    ensemble: IntProperty(  # type: ignore[valid-type]
        name="Looks", description="Predictions averaged; 2 or more tell how sure the model is", default=4, min=1, max=64
    )
    size: IntProperty(  # type: ignore[valid-type]
        name="Size",
        description="Long edge in pixels that the model sees. 0: the model's default",
        default=0,
        min=0,
        max=4096,
    )
    seed: IntProperty(  # type: ignore[valid-type]
        name="Seed", description="Start of the random numbers; the same seed gives the same depth", default=0, min=0
    )
    update_existing: BoolProperty(  # type: ignore[valid-type]
        name="Update Existing",
        description="Change the object that this photograph already has in the scene. Off: add another one",
        default=True,
    )
    reference_m: FloatProperty(  # type: ignore[valid-type]
        name="Distance",
        description="Measured distance from the camera to the new reference point",
        default=2.0,
        min=1e-3,
        unit="LENGTH",
    )
    length_m: FloatProperty(  # type: ignore[valid-type]
        name="Length",
        description="Of something in the scene, as the tape measures it",
        default=1.0,
        min=1e-3,
        unit="LENGTH",
    )
    maps_folder: StringProperty(  # type: ignore[valid-type]
        name="Maps Folder", description="Where the maps go. Empty: beside the photograph", subtype="DIR_PATH"
    )
    occlusion_m: FloatProperty(  # type: ignore[valid-type]
        name="Occlusion Reach",
        description="How far away something may be to keep light from a surface",
        default=0.3,
        min=1e-3,
        unit="LENGTH",
    )
    batch_folder: StringProperty(  # type: ignore[valid-type]
        name="Folder", description="A folder of photographs", subtype="DIR_PATH"
    )
    batch_result: EnumProperty(  # type: ignore[valid-type]
        name="For Each",
        description="What each photograph becomes",
        items=[
            ("OBJECTS", "Object", "An object in this scene, as the Generate button makes it"),
            (
                "MAPS",
                "Maps",
                "Files of depth, normals and occlusion, as Export Maps writes them; nothing is put into the scene",
            ),
        ],
    )
    sequence_path: StringProperty(  # type: ignore[valid-type]
        name="Film", description="A movie file, or the first image of a numbered sequence", subtype="FILE_PATH"
    )
    sequence_folder: StringProperty(  # type: ignore[valid-type]
        name="Depth Folder", description="Where the depth images go. Empty: beside the film", subtype="DIR_PATH"
    )
    sequence_result: EnumProperty(  # type: ignore[valid-type]
        name="Film Becomes",
        description="What a film becomes",
        items=[
            ("DISPLACEMENT", "Displacement", "A grid that is raised by each frame's depth"),
            (
                "PERSPECTIVE",
                "Scene",
                "For each frame the surfaces where the camera saw them, through one camera that stands still",
            ),
        ],
    )
    sequence_frames: IntProperty(name="Frames", description="How many frames at most. 0: all", default=0, min=0)  # type: ignore[valid-type]

    def custom_effort(self) -> Effort:
        """The artist's own numbers; 0 in the panel stands for the model's default."""
        return Effort(self.steps or None, self.ensemble, self.size or None)


class LeadlineObject(MeshOptions, bpy.types.PropertyGroup):
    """What a Leadline object remembers, so that it can be built again without asking the model."""

    photo: PointerProperty(type=bpy.types.Image)  # type: ignore[valid-type]
    depth: PointerProperty(type=bpy.types.Image)  # type: ignore[valid-type]
    uncertainty: PointerProperty(type=bpy.types.Image)  # type: ignore[valid-type]
    paint: PointerProperty(type=bpy.types.Image)  # type: ignore[valid-type]
    camera: PointerProperty(type=bpy.types.Object)  # type: ignore[valid-type]
    space: StringProperty()  # type: ignore[valid-type]
    metric: BoolProperty()  # type: ignore[valid-type]
    model: StringProperty()  # type: ignore[valid-type]
    focal_px: FloatProperty()  # type: ignore[valid-type]
    orientation: IntProperty(default=1)  # type: ignore[valid-type]
    behind: PointerProperty(type=bpy.types.Object)  # type: ignore[valid-type]
    reference_m: FloatProperty(  # type: ignore[valid-type]
        name="Distance",
        description="Measured distance from the camera to this point; 0 if this is no reference point",
        min=0.0,
        unit="LENGTH",
    )
    length_to: PointerProperty(  # type: ignore[valid-type]
        name="Length To", description="The other end of a known length", type=bpy.types.Object
    )
    surface: StringProperty()  # type: ignore[valid-type]
    length_m: FloatProperty(name="Length", description="Measured length between the two points", min=0.0, unit="LENGTH")  # type: ignore[valid-type]


def settings_of(context: bpy.types.Context) -> LeadlineSettings:
    """The panel's settings of the scene."""
    return cast(LeadlineSettings, present(context.scene).leadline)  # type: ignore[attr-defined]  # put there by `attach`


def memory_of(thing: bpy.types.Object) -> LeadlineObject:
    """What an object remembers; empty for one that Leadline did not make."""
    return cast(LeadlineObject, thing.leadline)  # type: ignore[attr-defined]  # put there by `attach`


def copy_options(source: MeshOptions, target: MeshOptions) -> None:
    for name in OPTION_NAMES:
        setattr(target, name, getattr(source, name))


CLASSES = (LeadlineSettings, LeadlineObject)


def attach() -> None:
    bpy.types.Scene.leadline = PointerProperty(type=LeadlineSettings)  # type: ignore[attr-defined,func-returns-value]
    bpy.types.Object.leadline = PointerProperty(type=LeadlineObject)  # type: ignore[attr-defined,func-returns-value]


def detach() -> None:
    del bpy.types.Object.leadline  # type: ignore[attr-defined]
    del bpy.types.Scene.leadline  # type: ignore[attr-defined]
