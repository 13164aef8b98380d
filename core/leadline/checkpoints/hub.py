"""Published folders on a hub: which of their files are needed, and fetching just those.

Goes through huggingface_hub: its cache, its token (``HF_TOKEN``), its address (``HF_ENDPOINT``) and its offline switch (``HF_HUB_OFFLINE``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from leadline.checkpoints.layout import DIFFUSERS_STEM, TRANSFORMERS_STEMS, weight_names
from leadline.errors import CheckpointError, first_line

#: Called with (files here, files in all).
OnFiles = Callable[[int, int | None], None]

#: Parts of a published folder.
EVERYTHING = ("network", "vae", "scheduler", "text_encoder", "tokenizer")


def needed_files(listing: Iterable[str], network: str | None = None, parts: Sequence[str] = EVERYTHING) -> list[str]:
    """Of all files of a repository the ones that loading reads: of every part the configuration and one form of its weights.

    Raises:
        CheckpointError: The repository has no network, or several.
    """
    names = set(listing)
    folders = {str(PurePosixPath(name).parent) for name in names}
    chosen = {"model_index.json"} & names
    if "network" in parts:
        chosen |= _part_files(names, _network(folders, network), (DIFFUSERS_STEM,))
    if "vae" in parts:
        chosen |= _part_files(names, "vae", (DIFFUSERS_STEM,))
    if "text_encoder" in parts:
        chosen |= _part_files(names, "text_encoder", TRANSFORMERS_STEMS)
    for part in {"scheduler", "tokenizer"} & set(parts):
        chosen |= {
            name for name in names if str(PurePosixPath(name).parent) == part and name.endswith((".json", ".txt"))
        }
    return sorted(chosen)


def _network(folders: set[str], network: str | None) -> str:
    several = sorted(folder for folder in folders if folder.startswith("unet_"))
    if network is not None and network in folders:
        return network
    if network is None and "unet" in folders:
        return "unet"
    if network is None and len(several) == 1:
        return several[0]
    if several:
        raise CheckpointError(f"the repository holds several networks; say which with network=: {', '.join(several)}")
    raise CheckpointError("the repository holds no unet folder; it is no model of this family")


def _part_files(names: set[str], folder: str, stems: tuple[str, ...]) -> set[str]:
    inside = {PurePosixPath(name).name for name in names if str(PurePosixPath(name).parent) == folder}
    chosen = {"config.json", "unet_config.json"} & inside
    for name in weight_names(stems):
        if name not in inside:
            continue
        chosen.add(name)
        if name.endswith(".json"):  # an index: its shards are named after it
            suffix = ".safetensors" if ".safetensors" in name else ".bin"
            variant = ".fp16" if ".fp16" in name else ""
            stem = name.partition(".")[0]
            shard = re.compile(re.escape(f"{stem}{variant}-") + r"\d+-of-\d+" + re.escape(suffix))
            chosen |= {one for one in inside if shard.fullmatch(one)}
        break
    return {f"{folder}/{name}" for name in chosen}


def snapshot(
    repo: str,
    revision: str | None = None,
    network: str | None = None,
    parts: Sequence[str] = EVERYTHING,
    into: Path | None = None,
    on_files: OnFiles | None = None,
) -> Path:
    """The needed files of a repository; returns the folder that they lie in.

    Args:
        repo: "owner/name".
        revision: Branch, tag or commit.
        network: Folder of the network, where there are several.
        parts: What to fetch.
        into: Folder to put them in, instead of the hub's cache.
        on_files: Progress.

    Raises:
        CheckpointError: There is no such repository, no connection, or (offline) no copy here.
    """
    from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download  # noqa: PLC0415 (slow to import)
    from huggingface_hub.errors import (  # noqa: PLC0415
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"{repo} at revision {revision}" if revision else repo
    try:
        if constants.HF_HUB_OFFLINE:
            return Path(snapshot_download(repo, revision=revision, local_files_only=True))
        info: Any = HfApi(endpoint=constants.ENDPOINT).model_info(repo, revision=revision)
        names = needed_files([file.rfilename for file in info.siblings or []], network, parts)
        folder = into
        for done, name in enumerate(names):
            file = Path(hf_hub_download(repo, name, revision=revision, local_dir=into))
            folder = folder or file.parents[len(PurePosixPath(name).parts) - 1]
            if on_files is not None:
                on_files(done + 1, len(names))
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from error
    except GatedRepoError as error:
        raise CheckpointError(f"{where} wants its terms accepted; do so on the hub, then set HF_TOKEN") from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"{where} does not exist; check the revision") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"there is no {where} here, and none on the hub (or not without a token); check the path or name, or set HF_TOKEN"
        ) from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"{where} is not in the hub's cache and cannot be fetched (offline, or no connection): {first_line(error)}"
        ) from error
    except Exception as error:  # the hub's client lets HTTP libraries' errors of many kinds through
        raise CheckpointError(
            f"{where} cannot be fetched ({first_line(error)}); check the connection and run the same command to go on"
        ) from error
    if folder is None:
        raise CheckpointError(f"{where} has none of the files that a model needs")
    return folder


def first_snapshot(repos: Sequence[str], parts: Sequence[str], into: Path | None = None) -> Path:
    """:func:`snapshot` of the first of ``repos`` that has the parts.

    Raises:
        CheckpointError: None has.
    """
    reasons = []
    for repo in repos:
        try:
            folder = snapshot(repo, parts=parts, into=into)
            if all((folder / part).is_dir() for part in parts):
                return folder
            reasons.append(f"{repo}: not all of {', '.join(parts)}")
        except CheckpointError as error:
            reasons.append(str(error))
    raise CheckpointError(f"no source has the files ({'; '.join(reasons)})")
