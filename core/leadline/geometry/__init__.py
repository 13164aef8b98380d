"""Depth to geometry: cameras, meshes, silhouettes, sky, adaptive triangles, panoramas.

NumPy and the standard library only: the same files run in the command line and inside Blender.

Axes of every vertex: x right, y up, z towards the viewer; a camera sits at the origin and looks along -z
(the camera axes of Blender and glTF). Lengths are metres. Images are (rows, columns), row 0 at the top; ``uv`` has its
origin at the lower left corner of the photograph.
"""

from leadline.geometry.exif import focal_px_from_photo, orientation_from_photo
from leadline.geometry.lattice import Lattice
from leadline.geometry.layers import Background, background
from leadline.geometry.live import LiveRelief, live_relief
from leadline.geometry.mesh import Mesh, grid_mesh, perspective_mesh, relief_mesh
from leadline.geometry.orientation import as_stored, stored_uv, upright
from leadline.geometry.painted import moved_depth, moved_nearness, read_paint
from leadline.geometry.panorama import measure_panorama, panorama_distance, panorama_mesh
from leadline.geometry.planes import Flat, Straightened, flat_around, straighten
from leadline.geometry.ranges import affine_to_range, assumed_depth, scale_from_length, scale_to_points
from leadline.geometry.shading import ambient_occlusion, normal_map
from leadline.geometry.silhouettes import silhouette_cells
from leadline.geometry.sky import sky_mask
from leadline.geometry.solid import solid
from leadline.geometry.sphere import Tile, cut_out, tiles
from leadline.geometry.vanishing import directions_from_lines
from leadline.sensors.pinhole import Pinhole

__all__ = [
    "Background",
    "Flat",
    "Lattice",
    "LiveRelief",
    "Mesh",
    "Pinhole",
    "Straightened",
    "Tile",
    "affine_to_range",
    "ambient_occlusion",
    "as_stored",
    "assumed_depth",
    "background",
    "cut_out",
    "directions_from_lines",
    "flat_around",
    "focal_px_from_photo",
    "grid_mesh",
    "live_relief",
    "measure_panorama",
    "moved_depth",
    "moved_nearness",
    "normal_map",
    "orientation_from_photo",
    "panorama_distance",
    "panorama_mesh",
    "perspective_mesh",
    "read_paint",
    "relief_mesh",
    "scale_from_length",
    "scale_to_points",
    "silhouette_cells",
    "sky_mask",
    "solid",
    "stored_uv",
    "straighten",
    "tiles",
    "upright",
]
