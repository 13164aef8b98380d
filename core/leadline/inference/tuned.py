"""The numbers of inference that were tuned or measured, by what they belong to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Ensembles:
    """Aligning the maps of an ensemble. What the reference fixes stands in :mod:`leadline.inference.ensembles`."""

    #: Passes of reweighting; the cost changes by less than a thousandth after half of them.
    passes: int = 12
    #: The ends are looked for among so many highest and lowest pixels of every member,
    extremes: int = 32
    #: and so many others.
    spread: int = 2000


@dataclass(frozen=True)
class _Views:
    """Looking at a picture several times, each time cut differently."""

    #: Shifts in pixels (down, right), smaller than a latent cell and coprime with it.
    shifts: tuple[tuple[int, int], ...] = ((0, 0), (3, 5), (-5, 3), (5, -3), (-3, -5), (1, -7), (-7, 1), (7, 3))
    #: Pixels at the edge of a network's map that nothing is continued from.
    rim: int = 2


@dataclass(frozen=True)
class _Memory:
    """What a prediction needs beside weights and activations."""

    #: Python, PyTorch and OpenCV loaded, Winograd's tiles, and what the allocator keeps: resident bytes, measured on Linux and
    #: rounded up.
    libraries_bytes: int = 600_000_000
    #: The same on a GPU: the driver's context and the workspace of its convolutions. Estimated, not measured.
    gpu_libraries_bytes: int = 600_000_000
    #: Activations that were counted, times this: layouts that kernels convert into and out of.
    margin: float = 1.25
    #: On a GPU copies of them live on in the allocator. Counted from the operations, not measured.
    gpu_margin: float = 1.4


@dataclass(frozen=True)
class _Compiling:
    """Graphs of torch.compile."""

    #: Graphs kept for one stage; beyond that PyTorch runs it uncompiled, and says so.
    graphs: int = 64
    #: Batches up to this have a graph each; larger ones are multiples of it.
    exact: int = 8


@dataclass(frozen=True)
class _OpenVino:
    """Stages that OpenVINO runs."""

    #: Shapes of which one stage keeps a compiled graph, each with its own copy of the stage's weights.
    shapes_kept: int = 4
    #: Largest difference to PyTorch that is accepted in float32, as a share of the result's range;
    worst_fp32: float = 1e-3
    #: and the largest mean difference in bf16, whose eight bits alone are 0.05 %.
    mean_bf16: float = 1e-2
    #: and in 8-bit integers, where a sum that is rounded otherwise is a step further for all that follows: 0.3 % for the mini
    #: models, 1.3 % for random networks.
    mean_int8: float = 3e-2


@dataclass(frozen=True)
class _EightBits:
    """Convolutions in 8-bit integers."""

    #: Steps of a filter on either side of zero. Half of what 8 bits hold: before AVX-VNNI two products are added up in 16 bits.
    filter_steps: int = 63
    #: Of each of the pictures that inputs are measured on, pixels.
    picture_width: int = 320


@dataclass(frozen=True)
class _Speed:
    """Which way is the fastest here."""

    #: Predictions before the clock runs: the first ones choose kernels and fill caches.
    warm_ups: int = 2
    #: Predictions of which the quickest counts, by turns.
    runs: int = 5


@dataclass(frozen=True)
class _Edges:
    """``detail="edges"``: ramps that should be steps."""

    #: Standard deviation of a ramp, pixels, at the size at which ramps are found,
    working_sigma: float = 1.5
    #: and half the window that sees all of it.
    reach: int = 4
    #: Largest long edge at which ramps are looked for.
    largest_work: int = 960
    #: Standard deviation, pixels, of the blur that is added to measure the one that is there.
    measuring_blur_px: float = 1.5
    #: So close to the picture's border the networks err by a lip of three of these pixels: a ramp along it stays as it is
    border: int = 5
    #: if the colours of its two sides are no farther apart than this, grey levels.
    border_colours: float = 40.0
    #: A map whose steps are sharper than this (standard deviation, pixels) needs nothing.
    sharp_sigma: float = 1.0
    #: A map blurred by more than this share of its short side has no edges to speak of.
    hopeless_share: float = 1 / 22
    #: A step is a ramp if its steepest slope is so many times the mean slope around it (1 on a plane, up to 2 at a fold)
    ramp_steepness: float = 2.1
    #: somewhere along it this often,
    surely_a_step: float = 2.7
    #: and if it is at least this share of the map's range high.
    least_step: float = 0.04
    #: The ramp reaches to where its slope has fallen to this share of the steepest.
    ramp_end: float = 0.2
    #: Noise of a colour within one surface, grey levels.
    colour_noise: float = 14.0
    #: What the place within the ramp weighs against colour.
    place_weight: float = 12.0
    #: Pixels decided at once: bounds memory whatever the size of the photograph.
    at_once: int = 2_000_000


@dataclass(frozen=True)
class _Tiles:
    """``detail="tiles"``: parts of the picture predicted by themselves."""

    #: Tiles look at the picture at so many times the network's size;
    closer: float = 2.0
    #: below this there is nothing to gain.
    least_closer: float = 1.25
    #: Weight of "no detail" (a tile's middle has 1): detail fades towards tiles that were left out and the picture's border.
    fade: float = 0.05
    #: Tiles predicted at once.
    at_once: int = 4
    #: Structure coarser than this share of a tile (standard deviation) comes from the whole picture.
    structure_share: float = 1 / 24
    #: A tile whose fit leaves this share of the whole map's spread unexplained shows something else; it is left out.
    worst_fit: float = 0.18


ENSEMBLES, VIEWS, MEMORY, COMPILING = _Ensembles(), _Views(), _Memory(), _Compiling()
OPENVINO, EIGHT_BITS, SPEED = _OpenVino(), _EightBits(), _Speed()
EDGES, TILES = _Edges(), _Tiles()
