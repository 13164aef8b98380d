"""The empty prompt's embedding, computed once from a folder's text encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from leadline.checkpoints.files import weight_file
from leadline.checkpoints.layout import TRANSFORMERS_STEMS
from leadline.errors import CheckpointError, first_line

#: Older files carry this, a list of numbers from 0 on.
_POSITIONS = "embeddings.position_ids"


def empty_prompt(folder: Path) -> Tensor:
    """The text encoder's output (1, T, D) for the empty prompt without padding: 2 tokens, begin and end.

    Computed once, at import; nothing needs the text encoder afterwards.

    Raises:
        CheckpointError: Text encoder or tokenizer are missing or damaged.
    """
    if not (folder / "text_encoder").is_dir() or not (folder / "tokenizer").is_dir():
        raise CheckpointError(
            f"{folder} has no text_encoder or tokenizer folder; both are needed once, at import: give a folder of Stable "
            "Diffusion 2.1 that has them with base= (--base)"
        )
    try:
        from transformers import CLIPTextModel, CLIPTokenizer  # noqa: PLC0415 (needed only at import of a checkpoint)
        from transformers.utils import logging  # noqa: PLC0415
    except ImportError as error:
        raise CheckpointError(
            "importing this checkpoint needs transformers; run: pip install 'leadline[import]'"
        ) from error
    weights = weight_file(folder / "text_encoder", TRANSFORMERS_STEMS)
    if weights is None:
        raise CheckpointError(f"{folder / 'text_encoder'} has no weights in it; fetch it again")
    barred = logging.is_progress_bar_enabled()
    verbosity = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what does not fit is told in one line below
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        loaded: Any = CLIPTextModel.from_pretrained(
            folder / "text_encoder",
            weights_only=True,
            variant="fp16" if ".fp16" in weights.name else None,
            use_safetensors=".safetensors" in weights.name,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # transformers lets many kinds through
        raise CheckpointError(
            f"the text encoder in {folder} cannot be read ({first_line(error)}); fetch it again"
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        if barred:
            logging.enable_progress_bar()
    encoder, report = loaded
    if report["missing_keys"] or report.get("mismatched_keys"):
        raise CheckpointError(
            f"the text encoder in {folder} lacks {len(report['missing_keys'])} tensors; fetch it again"
        )
    unknown = [name for name in report["unexpected_keys"] if not name.endswith(_POSITIONS)]
    if unknown:
        raise CheckpointError(
            f"the text encoder in {folder} has {len(unknown)} tensors that none of its kind has (for example "
            f"{min(unknown)}); is it another model's?"
        )
    ids = tokenizer(
        "", padding="do_not_pad", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        embedding: Tensor = encoder.eval()(ids.input_ids)[0]
    return embedding.float().clone()
