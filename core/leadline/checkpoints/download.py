"""Fetching official weights: resumable, checked, and only when asked to."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from leadline.checkpoints.cache import cache_folder
from leadline.checkpoints.catalog import CatalogEntry
from leadline.errors import CheckpointError, first_line

#: Called with (bytes here, bytes in all or None).
OnBytes = Callable[[int, int | None], None]

_CHUNK = 1 << 20

#: What a diffusers folder for depth needs: each group is satisfied by its first file that exists.
_FOLDER_FILES: tuple[tuple[str, ...], ...] = (
    ("model_index.json",),
    ("unet/config.json",),
    ("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin"),
    ("vae/config.json",),
    ("vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.bin"),
    ("text_encoder/config.json",),
    ("text_encoder/model.safetensors", "text_encoder/pytorch_model.bin"),
    ("tokenizer/tokenizer_config.json",),
    ("tokenizer/special_tokens_map.json",),
    ("tokenizer/vocab.json",),
    ("tokenizer/merges.txt",),
)
_VAE_FILES = tuple(group for group in _FOLDER_FILES if group[0].startswith("vae/"))


def fetch(entry: CatalogEntry, on_bytes: OnBytes | None = None) -> tuple[Path, Path | None]:
    """Download what ``entry`` needs; returns (checkpoint, VAE folder or None).

    Raises:
        CheckpointError: Nothing to download, no connection, offline by the user's wish, too little disk, wrong hash.
    """
    if not entry.downloadable:
        raise CheckpointError(f"{entry.name} cannot be downloaded: {entry.how_to_get or 'it ships with the package'}")
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
        raise CheckpointError(
            f"HF_HUB_OFFLINE is set, so {entry.name} is not downloaded; unset it, or import a copy from disk"
        )
    folder = cache_folder() / "downloads" / entry.name
    _check_disk(folder, entry)
    if entry.url is not None:
        checkpoint = fetch_file(entry.url, folder / Path(entry.url).name, entry.sha256, on_bytes)
    else:
        assert entry.hub_repo is not None
        checkpoint = fetch_folder((entry.hub_repo,), _FOLDER_FILES, folder, on_bytes)
    vae = (
        fetch_folder(entry.vae_repos, _VAE_FILES, folder / "vae-source", on_bytes) / "vae" if entry.vae_repos else None
    )
    return checkpoint, vae


def fetch_file(url: str, target: Path, sha256: str | None = None, on_bytes: OnBytes | None = None) -> Path:
    """One file over HTTP; an interrupted download goes on where it stopped.

    Raises:
        CheckpointError: No connection, the server refuses, or the hash is wrong (the file is then removed).
    """
    if target.exists():
        _check_hash(target, sha256)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".part")
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            resumed = reply.status == 206
            length = reply.headers.get("Content-Length")
            have = have if resumed else 0
            total = have + int(length) if length else None
            with open(partial, "ab" if resumed else "wb") as file:
                while chunk := reply.read(_CHUNK):
                    file.write(chunk)
                    have += len(chunk)
                    if on_bytes is not None:
                        on_bytes(have, total)
            if total is not None and have < total:
                raise CheckpointError(
                    f"the connection to {url} broke after {have} of {total} bytes; run the same command to go on"
                )
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: nothing left to send, the partial file is whole
            raise CheckpointError(
                f"{url} answers {error.code} {error.reason}; see `leadline models` for other sources"
            ) from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise CheckpointError(
            f"{url} cannot be reached ({error}); check the connection and run the same command to go on"
        ) from error
    except OSError as error:
        raise CheckpointError(
            f"{target} cannot be written ({error.strerror}); free some space or set LEADLINE_HOME"
        ) from error
    _check_hash(partial, sha256)
    os.replace(partial, target)
    return target


def fetch_folder(
    repos: Sequence[str], groups: Sequence[tuple[str, ...]], target: Path, on_bytes: OnBytes | None = None
) -> Path:
    """Files of a hub repository into ``target``, from the first of ``repos`` that has them all.

    Raises:
        CheckpointError: None has them.
    """
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 (slow to import)
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError  # noqa: PLC0415

    reasons = []
    for repo in repos:
        try:
            for done, group in enumerate(groups):
                for name in group:
                    try:
                        hf_hub_download(repo, name, local_dir=target)
                        break
                    except EntryNotFoundError:
                        if name == group[-1] and not name.endswith(("special_tokens_map.json", "model_index.json")):
                            raise
                if on_bytes is not None:
                    on_bytes(done + 1, len(groups))
            return target
        except (RepositoryNotFoundError, EntryNotFoundError) as error:
            reasons.append(f"{repo}: {type(error).__name__}")
        except (HfHubHTTPError, OSError, ValueError) as error:
            reasons.append(f"{repo}: {first_line(error, 120)}")
    raise CheckpointError(
        f"no source has the files ({'; '.join(reasons)}); check the connection and run the same command to go on"
    )


def discard(entry: CatalogEntry) -> None:
    """Remove the downloaded originals of ``entry`` once they are imported."""
    shutil.rmtree(cache_folder() / "downloads" / entry.name, ignore_errors=True)


def _check_hash(path: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        path.unlink()
        raise CheckpointError(
            f"{path.name} is not what its hash says and was removed; run the same command to fetch it again"
        )


def _check_disk(folder: Path, entry: CatalogEntry) -> None:
    if entry.size_mb is None:
        return
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free_mb = shutil.disk_usage(existing).free >> 20
    if free_mb < 2 * entry.size_mb:  # the original and our copy, for a moment
        raise CheckpointError(
            f"{entry.name} needs {2 * entry.size_mb / 1000:.0f} GB at {existing}, {free_mb / 1000:.0f} are free; set LEADLINE_HOME to another disk"
        )
