"""What a model can do, for everybody who shows or checks it: command line, server, ROS, Blender. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from leadline.checkpoints.catalog import CATALOG, CatalogEntry, entry
from leadline.checkpoints.header import read_spec
from leadline.checkpoints.present import available
from leadline.depth.spaces import Space
from leadline.errors import CheckpointError
from leadline.models.families import Sampler, family_named
from leadline.models.samplers import Schedule
from leadline.models.spec import ModelSpec


@dataclass(frozen=True)
class Capabilities:
    """What one model gives and takes. ``dataclasses.asdict`` makes it JSON: text, numbers, booleans, lists and null only.

    Attributes:
        name: What to load it by.
        family: A name in :data:`leadline.models.families.FAMILIES`.
        title: One line for people.
        output: "depth" (``predict`` gives a depth map) or "normals" (``normals`` gives surface normals).
        space: What a depth map is affine in ("depth", "disparity", "sqrt_disparity", "log_depth"); null for normals.
        near_is_high: Whether larger values are nearer; null for normals.
        min_steps, max_steps, default_steps: Network evaluations it takes; ``max_steps`` null: any number. Where both are 1,
            there is nothing to choose.
        ensemble: Where members of an ensemble differ: "noise" (start noise) or "views" (flips and small shifts of the image).
        ensemble_aligned: Whether members are aligned (scale and shift) before they become one map.
        stochastic: Whether the result depends on the seed.
        default_size: Long edge in pixels at which it works best.
        framings: Ways to resize it takes; the first is the default.
        needs_sparse_depth: Whether it needs measured depth beside the image, so that the image alone gives nothing.
        licence: Of the weights.
        non_commercial: Whether the licence forbids commercial use.
        present: Whether its weights are on this computer.
        path: Where; null if they are not.
        packaged: Whether it ships with Leadline.
        downloadable: Whether `leadline pull NAME` can fetch it.
        download_mb: About how much that is; null if unknown or nothing.
        source: Where it comes from: a repository, an address, "the package", or advice how to get it.
    """

    name: str
    family: str
    title: str
    output: str
    space: str | None
    near_is_high: bool | None
    min_steps: int
    max_steps: int | None
    default_steps: int
    ensemble: str
    ensemble_aligned: bool
    stochastic: bool
    default_size: int
    framings: tuple[str, ...]
    needs_sparse_depth: bool
    licence: str
    non_commercial: bool
    present: bool
    path: str | None
    packaged: bool
    downloadable: bool
    download_mb: int | None
    source: str


def capabilities(name_or_path: str | Path) -> Capabilities:
    """Of a model by name or by a catalogued hub id, present or not, or of a Leadline file.

    Raises:
        CheckpointError: There is no such model, or its file cannot be read.
    """
    path = Path(name_or_path)
    if path.is_file():
        spec = read_spec(path)
        if spec is None:
            raise CheckpointError(f"{path} is not a Leadline model; import it with `leadline import`")
        return of_spec(spec, spec.name or path.stem, path)
    name = str(name_or_path)
    here = available()
    if name in here:
        spec = read_spec(here[name])
        if spec is None:
            raise CheckpointError(f"{here[name]} is not a Leadline model; pull or import it again")
        return of_spec(spec, name, here[name])
    published = next((known for known in CATALOG.values() if known.hub_repo == name), None)
    return _of_entry(published or entry(name))


def all_capabilities() -> Mapping[str, Capabilities]:
    """Of every model in the catalog and of every import, by name; a file that cannot be read is left out."""
    found = {}
    for name in [*CATALOG, *(name for name in available() if name not in CATALOG)]:
        try:
            found[name] = capabilities(name)
        except CheckpointError:
            continue
    return found


def of_spec(spec: ModelSpec, name: str, path: Path | None = None) -> Capabilities:
    """Of a model whose description is known."""
    known = CATALOG.get(name)
    family = family_named(spec.family)
    most = Schedule.of(spec.schedule).max_steps if family.sampler is Sampler.DIFFUSION else family.max_steps
    return _capabilities(
        known, name, spec.family, spec.output, spec.space, spec.default_steps, most, spec.default_size,
        spec.takes_sparse_depth, spec.licence or (known.licence if known else ""), path, spec.source,
    )  # fmt: skip


def _of_entry(known: CatalogEntry) -> Capabilities:
    family = family_named(known.family)
    space = None if known.output == "normals" else known.space or family.space or Space.DEPTH
    steps = known.default_steps or family.default_steps
    return _capabilities(
        known, known.name, known.family, known.output, space, steps, known.max_steps or family.max_steps,
        known.default_size or family.default_size, known.takes_sparse_depth, known.licence, None, "",
    )  # fmt: skip


def _capabilities(
    known: CatalogEntry | None, name: str, family_name: str, output: str, space: Space | None, steps: int,
    most: int | None, size: int, sparse: bool, licence: str, path: Path | None, source: str,
) -> Capabilities:  # fmt: skip
    family = family_named(family_name)
    return Capabilities(
        name=name,
        family=family_name,
        title=known.summary if known else f"{family.title}, imported",
        output=output,
        space=None if space is None else space.value,
        near_is_high=None if space is None else space.near_is_high,
        min_steps=1,
        max_steps=most,
        default_steps=steps,
        ensemble=family.ensemble_from,
        ensemble_aligned=family.aligned and output == "depth",
        stochastic=family.stochastic or family.samples_encoding,
        default_size=size,
        framings=family.framings,
        needs_sparse_depth=sparse,
        licence=licence,
        non_commercial=known.non_commercial if known else _forbids_commerce(licence),
        present=path is not None,
        path=None if path is None else str(path),
        packaged=known is not None and known.packaged is not None,
        downloadable=known is not None and known.downloadable,
        download_mb=known.size_mb if known else None,
        source=known.comes_from if known else source,
    )


def _forbids_commerce(licence: str) -> bool:
    """By the words of a licence; a student's is its teacher's."""
    words = licence.lower()
    return "non-commercial" in words or "noncommercial" in words or "-nc" in words
