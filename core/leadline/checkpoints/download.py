"""Fetching official weights: resumable, checked, and only when asked to."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from leadline.checkpoints.cache import cache_folder
from leadline.checkpoints.catalog import CatalogEntry
from leadline.checkpoints.hub import first_snapshot, snapshot
from leadline.errors import CheckpointError

#: Called with (bytes here, bytes in all or None); for folders of a hub with files instead of bytes.
OnBytes = Callable[[int, int | None], None]

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Fetched:
    """Where the parts of a model are: its checkpoint, and folders with what that lacks."""

    checkpoint: Path
    vae: Path | None = None
    base: Path | None = None


def fetch(entry: CatalogEntry, on_bytes: OnBytes | None = None) -> Fetched:
    """Download what ``entry`` needs.

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
        checkpoint = snapshot(entry.hub_repo, network=entry.network, into=folder, on_files=on_bytes)
    vae = first_snapshot(entry.vae_repos, ("vae",), folder / "vae-source") / "vae" if entry.vae_repos else None
    texts = ("text_encoder", "tokenizer")
    base = first_snapshot(entry.base_repos, texts, folder / "base-source") if entry.base_repos else None
    return Fetched(checkpoint, vae, base)


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
