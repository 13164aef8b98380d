"""The catalog: every model known by name, with where it comes from and under which licence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from leadline.errors import CheckpointError

MINI_FOLDER = Path(__file__).parent / "mini"

#: Folders in the hub's layout holding Stable Diffusion 1.5's VAE, in the order they are tried. The repository that
#: the official DepthFM code names was deleted by its owner in 2024.
SD15_VAE_MIRRORS = (
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "benjamin-paine/stable-diffusion-v1-5",
    "botp/stable-diffusion-v1-5",
)


@dataclass(frozen=True)
class CatalogEntry:
    """A model by name.

    Attributes:
        name: What the user says.
        family: "depthfm", "depthmaster" or "fiffdepth".
        summary: One line for `leadline models`.
        licence: Of the weights.
        packaged: File in the package, for the mini models.
        url: A file to download.
        hub_repo: A repository to download in the hub's layout.
        vae_repos: Hub repositories with the VAE (folder ``vae``), tried in order.
        sha256: Of the downloaded file, where its authors published one or we verified it.
        size_mb: About, for the progress bar and the disk check.
        how_to_get: What to tell people when there is nothing to download.
        takes_sparse_depth: Whether it needs measured depth beside the image, so that the image alone gives nothing useful.
    """

    name: str
    family: str
    summary: str
    licence: str
    packaged: str | None = None
    url: str | None = None
    hub_repo: str | None = None
    vae_repos: tuple[str, ...] = ()
    sha256: str | None = None
    size_mb: int | None = None
    how_to_get: str | None = None
    takes_sparse_depth: bool = False

    @property
    def downloadable(self) -> bool:
        """Whether `leadline pull` can fetch it."""
        return self.url is not None or self.hub_repo is not None


_MINI_LICENCE = "Apache-2.0 (trained by us on procedural scenes only)"

CATALOG: dict[str, CatalogEntry] = {
    entry.name: entry
    for entry in (
        CatalogEntry(
            "depthfm-mini", "depthfm", "small flow-matching model, ships with the package", _MINI_LICENCE,
            packaged="depthfm-mini.safetensors",
        ),
        CatalogEntry(
            "depthmaster-mini", "depthmaster", "small one-step model, ships with the package", _MINI_LICENCE,
            packaged="depthmaster-mini.safetensors",
        ),
        CatalogEntry(
            "fiffdepth-mini", "fiffdepth", "small feed-forward model, ships with the package", _MINI_LICENCE,
            packaged="fiffdepth-mini.safetensors",
        ),
        CatalogEntry(
            "depthfm-mini-completion", "depthfm", "small model that takes sparse depth, ships with the package",
            _MINI_LICENCE, packaged="depthfm-mini-completion.safetensors", takes_sparse_depth=True,
        ),
        CatalogEntry(
            "depthfm", "depthfm", "official DepthFM v1 (Gui et al., AAAI 2025)",
            "code MIT; weights: none stated, derived from Stable Diffusion 2.1 (OpenRAIL++-M)",
            url="https://ommer-lab.com/files/depthfm/depthfm-v1.ckpt", vae_repos=SD15_VAE_MIRRORS, size_mb=3600,
        ),
        CatalogEntry(
            "depthmaster", "depthmaster", "official DepthMaster (Song et al., 2025)", "Apache-2.0",
            hub_repo="zysong212/DepthMaster", size_mb=5600,
        ),
        CatalogEntry(
            "fiffdepth", "fiffdepth", "official FiffDepth (Bai et al., 2024)", "not stated",
            how_to_get="its authors have published no download; with the folder on disk: leadline import FOLDER --as fiffdepth",
        ),
    )
}  # fmt: skip


def entry(name: str) -> CatalogEntry:
    """The catalog entry of ``name``.

    Raises:
        CheckpointError: There is none.
    """
    if name not in CATALOG:
        raise CheckpointError(f"there is no model or file '{name}'; known models are {', '.join(CATALOG)}")
    return CATALOG[name]
