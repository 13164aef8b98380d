"""The models that `leadline eval` scores, and the bar that shows how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leadline.errors import InputError

if TYPE_CHECKING:
    from leadline.evaluation.runner import Predictor

BASELINES = ("constant", "row")


def model_names(models: tuple[str, ...], baselines: bool) -> list[str]:
    """The models that were asked for, or every mini model; the baselines first."""
    names = list(models) or mini_models()
    if not names:
        raise InputError("no mini weights are installed; name a model with --model")
    return [*(BASELINES if baselines else ()), *names]


def mini_models() -> list[str]:
    """Names of the weights that ship inside the package."""
    from leadline import checkpoints

    folder = Path(checkpoints.__file__).parent / "mini"
    return sorted(p.stem for p in folder.glob("*-mini.safetensors"))


def load_model(
    name: str, device: str, precision: str, vae: str | None, decoder: str = "full", speed: Any = "full"
) -> Predictor:
    """A model, or a baseline by its name."""
    from leadline.evaluation.baselines import Baseline

    if name in BASELINES:
        return Baseline(name)
    from leadline.inference.estimator import load

    return load(name, device, precision, vae, decoder=decoder, speed=speed)


def label_for(name: str, model: Predictor, taken: list[str]) -> str:
    """What a model is called in the table and on disk: its name, or its file's when two have one name."""
    label = model.name if model.name not in taken else Path(name).stem
    while label in taken:
        label += "'"
    return label.replace("/", "-")


@contextmanager
def evaluation_bar(total: int, quiet: bool) -> Iterator[Callable[[str, int, int, Any], None]]:
    """A bar on standard error, with the image at work and what went wrong with others."""
    from leadline.bar import progress_bar

    with progress_bar(quiet=quiet) as bar:
        task = bar.add_task("reading", total=total)
        finished: dict[str, int] = {}

        def advance(label: str, done: int, images: int, row: Any) -> None:
            finished[label] = done
            bar.update(task, completed=sum(finished.values()), description=label)
            if row.message and not quiet:
                click.echo(f"{label}: {row.name}: {row.status}: {row.message}", err=True)

        yield advance
