"""The numbers of streams that were tuned, by what they belong to. What a user may set is in :mod:`leadline.streaming.settings`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class _Motion:
    """Tracking features through the images."""

    #: Images are tracked at this width at most, pixels.
    width: int = 480
    #: Images kept, and for how many seconds: as long as a late sweep may still refer to them.
    kept: int = 12
    kept_s: float = 1.0
    #: Features are taken from each cell of a (columns, rows) grid, at most so many, so that they do not crowd on one wall.
    grid: tuple[int, int] = (12, 8)
    per_cell: int = 4
    #: Fewer features than this do not fix a pose.
    fewest: int = 12
    #: Window of Lucas–Kanade, pixels.
    window: tuple[int, int] = (21, 21)
    #: A track must lead back to where it came from within this many pixels.
    there_and_back_px: float = 1.0
    #: RANSAC: pixels (of the tracking image) within which a track agrees with a pose.
    agrees_px: float = 2.0
    #: Share of the tracks that must agree.
    share: float = 0.5


@dataclass(frozen=True)
class _Tracks:
    """Triangulating features over odometry. Pixels are those of the tracking image."""

    #: Features followed at most.
    most: int = 450
    #: New features keep this distance from others, so that they do not share a patch.
    spacing_px: int = 8
    #: They are taken from each cell of a (columns, rows) grid in turn,
    grid: tuple[int, int] = (16, 12)
    #: so many of each at most,
    per_cell: int = 4
    #: in one of so many views,
    refill_every: int = 3
    #: if the smaller eigenvalue of the gradients around them is above this.
    faintest: float = 2e-5
    #: A view is added when the camera has moved by this share of the features' median distance.
    step_share: float = 0.004
    #: And at least by this many metres, so that the odometry's noise is not taken for parallax.
    step_m: float = 0.01
    #: A feature's place needs so many views.
    fewest_views: int = 3
    #: Views kept; the older ones are thinned out.
    views: int = 24
    #: Standard deviation of a tracked place, pixels,
    sigma_px: float = 0.35
    #: and what is added to its square in a direction where gradients are faint, over their mean square.
    faint: float = 4e-4
    #: Gradients are looked at in a patch of this size.
    patch_px: int = 7
    #: Steps of Gauss-Newton.
    newton_steps: int = 5
    #: Added to the diagonal of their equations, so that what nothing tells has a solution, too.
    damping: float = 1e-4
    #: Views that the place is not ahead of, by this share of its depth, do not count.
    ahead: float = 0.02
    #: Distances beyond so many standard deviations count less than by their square.
    huber: float = 1.5
    #: Standard deviation that the poses' errors bring, as a share of depth.
    pose_sigma: float = 0.02
    #: The views of a feature share the errors of its patch: more of them than this say nothing new.
    independent_rays: float = 3.0
    #: Images in which features were found that are kept: a feature is held against its own, so that it does not drift.
    references: int = 12
    #: How far that may move it.
    drift_px: float = 2.0
    #: A feature must lie within so many standard deviations of where its place is seen now,
    agrees_sigma: float = 2.5
    #: and on average within so many of where it was seen before.
    most_error: float = 1.2
    #: What lies behind the camera by more than so many standard deviations does not stand still.
    behind_sigma: float = 2.0
    #: Images in a row in which a feature may be wrong before it is given up.
    patience: int = 5
    #: Odometry that jumps by more than this between two images was corrected: what was gathered is void.
    jump_m: float = 2.0
    jump_deg: float = 45.0


@dataclass(frozen=True)
class _ByMotion:
    """Points from features that were triangulated over odometry."""

    #: A map jumps where it departs within so many pixels
    edge_px: int = 4
    #: from a plane by this share of its range.
    edge_share: float = 0.04
    #: Features known to this share of their depth count whole,
    well_known: float = 0.15
    #: those known worse by the square of it, down to this one.
    sure: float = 0.3
    #: If fewer than this count, the scale is not trusted.
    fewest: int = 12
    #: Features known worse than this tell nothing that the map does not.
    tells: float = 0.5
    #: Standard deviation of the map's log depth, once it has its scale.
    map_sigma: float = 0.4
    #: Log depths tried: so many standard deviations to both sides, and how many.
    reach: float = 5.0
    grid: int = 51
    #: Degrees of freedom of Student's t.
    freedom: float = 4.0
    #: Points whose log depth is known worse than this are left out.
    most_sigma: float = 0.3


@dataclass(frozen=True)
class _Evidence:
    """What makes a map metric, and how sure that is."""

    #: Points so near in time to the image need no motion undone, seconds.
    at_once_s: float = 0.005
    #: Fewer than this are trusted, with a word and a larger sigma.
    few_tracked: int = 25
    #: How much larger it is then, as a share of depth.
    few_sigma: float = 0.25
    #: And where there are enough: patches that slip together, and odometry's own error, the points do not tell.
    tracked_sigma: float = 0.03
    #: Growth of sigma with the time between points and image, as a share of depth per second: what moves by itself and what
    #: came into view since is not undone by anybody's motion. The robot's own was undone by TF,
    growth_tf: float = 0.05
    #: by TF that was extrapolated (on top),
    growth_extrapolated: float = 0.2
    #: by what the images show,
    growth_seen: float = 0.1
    #: or by nobody.
    growth_nobody: float = 1.0


@dataclass(frozen=True)
class _Watch:
    """Watching a LiDAR's extrinsics."""

    #: Seconds between sweeps that are looked at.
    every_s: float = 0.4
    #: And only if the picture has changed by so many grey levels on average: a robot at rest sees the same errors again.
    change: float = 0.7
    #: Size of the picture in which that is looked at, (width, height).
    thumbnail: tuple[int, int] = (32, 24)
    #: Sweeps remembered: older ones may be from before a knock.
    remembered: int = 24
    #: Sweeps needed for a word.
    fewest: int = 20
    #: Depth jumps needed in each on average.
    jumps: int = 40
    #: Images are looked at in this width at most, pixels.
    width: int = 800
    #: A warning is worth that much of a turn
    turn_rad: float = np.deg2rad(0.3)
    #: or a shift,
    shift_m: float = 0.02
    #: if it brings this share more of the jumps onto edges,
    gain: float = 0.04
    #: and at least this share of it shows in each third of the memory alone.
    of_it: float = 0.5
    #: What turns or moves along the optical axis shows little, and needs more: of a roll,
    roll_rad: float = np.deg2rad(0.8)
    #: of a move forward,
    forward_m: float = 0.08
    #: and of the gain.
    gain_along: float = 0.15
    #: Another component that explains it nearly as well (by this share of the gain) is named, too.
    nearly: float = 0.75


@dataclass(frozen=True)
class _Around:
    """Messages beside the images: TF, gravity, the ground."""

    #: TF is carried on at constant velocity for so many seconds where it is late, and that is said.
    extrapolate_s: float = 0.25
    #: Extrapolation up to this is the jitter of stamps.
    jitter_s: float = 0.005
    #: A topic that has been silent for so long is not waited for.
    silent_s: float = 1.0
    #: One standard deviation of the direction of "down" in degrees, of a robot that leans on its suspension,
    tf_tilt_deg: float = 1.0
    #: and of an accelerometer at rest.
    imu_tilt_deg: float = 0.7
    #: One standard deviation of the camera's height as a share of it, from TF,
    tf_height_sigma: float = 0.03
    #: and entered by a person.
    entered_height_sigma: float = 0.05
    #: Cameras lower than this over the ground frame are not above it.
    lowest_m: float = 0.03
    #: Acceleration is averaged over so many seconds,
    gravity_s: float = 1.0
    #: and is gravity if its length is this near to gravity's, as a share.
    shaken: float = 0.05


@dataclass(frozen=True)
class _Waiting:
    """Images that wait for what belongs to them."""

    #: By the computer's clock no image waits longer than this, though that of a simulation may stand still.
    longest_s: float = 5.0
    #: While images wait, their clock is looked at so often.
    look_again_s: float = 0.01


@dataclass(frozen=True)
class _Loss:
    """Messages that did not arrive, from the rhythm of those that did."""

    #: The periods tried are quantiles of the intervals divided by whole numbers up to this.
    divisors: int = 10
    #: By chance, intervals miss whole multiples of a period by this share of it (root mean square of a uniform error).
    chance: float = 0.289
    #: How far below it counts as a fit: many intervals tell jitter from chance, few do not.
    least_fit: float = 0.13
    most_fit: float = 0.23


@dataclass(frozen=True)
class _Worker:
    """The thread that runs the model."""

    #: After this many failures in a row the model is loaded again;
    failures_before_reload: int = 3
    #: the pause before it doubles each time, up to this.
    longest_pause_s: float = 30.0
    #: Share of the time that the model may be busy for frames to be taken one by one.
    keeps_up: float = 0.95
    #: Least share of the newest frame in the mean of what frames take: one slow frame is no slow model.
    newest_share: float = 0.05


@dataclass(frozen=True)
class _Publish:
    """Maps on their way out."""

    #: So many rows of depth and sigma stay in a core's cache between the steps: 1.2 instead of 2.0 ms for 1280×720; 16 and 96 take 1.4 and 1.3.
    band_rows: int = 32


MOTION, TRACKS, BY_MOTION, EVIDENCE = _Motion(), _Tracks(), _ByMotion(), _Evidence()
WATCH, AROUND = _Watch(), _Around()
WAITING, LOSS, WORKER, PUBLISH = _Waiting(), _Loss(), _Worker(), _Publish()
