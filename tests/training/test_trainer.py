"""The training loop: it learns, resumes bit-exactly, accumulates, and runs in two processes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from leadline.errors import CheckpointError, InputError
from leadline.training.sources import Batch, LatentSource
from leadline.training.trainer import (
    CHECKPOINT_NAME,
    Recipe,
    TrainerConfig,
    parts_of,
    step_generator,
    train,
)


class Line(Recipe):
    """Learns depth = 2 · image, with some noise of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Conv2d(1, 1, 1)

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        noise = 0.01 * torch.randn(batch["image"].shape, generator=generator)
        loss = ((self.net(batch["image"] + noise) - batch["depth"]) ** 2).mean()
        return {"loss": loss}

    def export(self, folder: Path) -> None:
        torch.save(self.net.state_dict(), folder / "net.pt")


def line_source() -> LatentSource:
    image = torch.randn(64, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    return LatentSource([{"image": image, "depth": 2.0 * image}], [1.0])


def settings(**changes: object) -> TrainerConfig:
    base = {"steps": 6, "batch_size": 4, "lr": 0.05, "warmup": 2, "ema": 0.9, "save_every": 3, "log_every": 0}
    return TrainerConfig(**{**base, **changes})  # type: ignore[arg-type]


def checkpoint(folder: Path) -> dict[str, object]:
    state: dict[str, object] = torch.load(folder / CHECKPOINT_NAME, weights_only=True)
    return state


def assert_same(left: object, right: object) -> None:
    assert type(left) is type(right)
    if isinstance(left, Tensor):
        assert torch.equal(left, right)  # bit for bit
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, list):
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        assert left == right


def test_a_recipe_looks_at_a_batch_before_a_new_training_only(tmp_path: Path) -> None:
    class Looking(Line):
        seen: list[Batch]

        def start(self, draw: Callable[[], Batch]) -> None:
            self.seen = [draw()]

    first, again = Looking(), Looking()
    train(first, line_source(), settings(), tmp_path)
    assert len(first.seen[0]["image"]) == settings().batch_size
    train(again, line_source(), settings(steps=8), tmp_path)
    assert not hasattr(again, "seen")


def test_the_loss_falls(tmp_path: Path) -> None:
    lines: list[str] = []
    train(Line(), line_source(), settings(steps=200, log_every=20, save_every=0), tmp_path, lines.append)
    first, last = (float(line.split("loss ")[1].split()[0]) for line in (lines[0], lines[-1]))
    assert last < 0.05 * first
    assert "min left" in lines[0]
    assert (tmp_path / "net.pt").exists()
    assert list((tmp_path / "logs").iterdir())


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_a_resumed_training_is_bit_for_bit_the_uninterrupted_one(optimiser: str, tmp_path: Path) -> None:
    chosen = settings(optimiser=optimiser)
    train(Line(), line_source(), chosen, tmp_path / "whole")

    class Stopped(Exception):
        pass

    class Stopping(Line):
        def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls == 5:  # in step 5, after the checkpoint of step 3
                raise Stopped
            return super().forward(batch, generator)

    with pytest.raises(Stopped):
        train(Stopping(), line_source(), chosen, tmp_path / "parts")
    assert checkpoint(tmp_path / "parts")["step"] == 3
    train(Line(), line_source(), chosen, tmp_path / "parts")
    assert_same(checkpoint(tmp_path / "whole"), checkpoint(tmp_path / "parts"))


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    train(Line(), line_source(), settings(), tmp_path)
    other = Line()
    other.net = nn.Conv2d(1, 2, 1)
    with pytest.raises(CheckpointError, match="another training"):
        train(other, line_source(), settings(), tmp_path)


def test_a_checkpoint_of_another_optimiser_is_refused(tmp_path: Path) -> None:
    train(Line(), line_source(), settings(), tmp_path)
    with pytest.raises(CheckpointError, match="another optimiser"):
        train(Line(), line_source(), settings(optimiser="muon", steps=9), tmp_path)


def test_accumulated_batches_make_one_step(tmp_path: Path) -> None:
    class Counting(Line):
        calls = 0

        def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
            Counting.calls += 1
            return super().forward(batch, generator)

    train(Counting(), line_source(), settings(accumulate=3, steps=2), tmp_path)
    assert Counting.calls == 6
    optimiser = checkpoint(tmp_path)["optimiser"]
    assert isinstance(optimiser, dict)
    assert float(optimiser["state"][0]["step"]) == 2.0


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lower lr"):
        train(Line(), LatentSource([{"image": torch.full((4, 1, 2, 2), torch.inf), "depth": torch.zeros(4, 1, 2, 2)}], [1.0]),
              settings(), tmp_path)  # fmt: skip


def test_step_generators_differ_by_step_process_and_part() -> None:
    draws = {
        int(torch.randint(2**60, (1,), generator=step_generator(0, step, process, part)))
        for step in range(3) for process in range(3) for part in range(3)
    }  # fmt: skip
    assert len(draws) == 27


@pytest.mark.parametrize("wrong", [{"precision": "fp8"}, {"decay": "linear"}, {"steps": 0}])
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        settings(**wrong)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_a_step_s_parts(processes: int) -> None:
    shares = [parts_of(8, process, processes) for process in range(processes)]
    assert sorted(part for share in shares for part in share) == list(range(8))
    with pytest.raises(InputError, match="multiple of 3"):
        parts_of(8, 0, 3)


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    """`accelerate launch` with two CPU processes gives the weights of one, at the same global batch; the first one writes."""
    script = tmp_path / "two.py"
    script.write_text(
        "import sys; sys.path[:0] = [{!r}]\n"
        "from pathlib import Path\n"
        "from test_trainer import Line, line_source, settings\n"
        "from leadline.training.trainer import train\n"
        "recipe = Line()\n"
        "train(recipe, line_source(), settings(steps=4, accumulate=2), Path({!r}))\n"
        "import torch, torch.distributed as dist\n"
        "assert dist.get_world_size() == 2\n"
        "torch.save(recipe.net.weight.detach(), Path({!r}) / f'{{dist.get_rank()}}.pt')\n"
        "dist.destroy_process_group()\n".format(str(Path(__file__).parent), str(tmp_path / "out"), str(tmp_path))
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    # --multi_gpu means "several processes on this machine"; the environment variable makes them CPU processes
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
               "--mixed_precision", "no", "--dynamo_backend", "no", str(script)]  # fmt: skip
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert checkpoint(tmp_path / "out")["step"] == 4
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert torch.equal(first, second), "the processes drifted apart"
    alone = Line()
    train(alone, line_source(), settings(steps=4, accumulate=2), tmp_path / "alone")
    assert torch.allclose(first, alone.net.weight.detach(), atol=1e-5)


def test_numbers_and_pictures_go_through_accelerate_to_the_trackers(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Shown(Line):
        def preview(self, batch: Batch) -> dict[str, Tensor]:
            return {"prediction": torch.zeros(3, 4, 6)}

    chosen = settings(log_every=2, preview_every=3)
    train(Shown(), line_source(), chosen, tmp_path, lambda line: None, evaluate=lambda step: {"error": 1.0 / step})
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [2, 4, 6]
    assert [event.step for event in events.Scalars("evaluation/error")] == [3, 6]
    assert [(image.width, image.height) for image in events.Images("prediction")] == [(6, 4)] * 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trackers": ["paper"]}, "knows no 'paper'; known are tensorboard, wandb"),
        ({"trackers": "wandb"}, "is a list"),
        ({"trackers": ["tensorboard", "aim"]}, "pip install 'aim'; or leave it out of trainer.trackers"),
        ({"optimiser": "adamw8bit"}, "pip install 'bitsandbytes'; or use optimiser 'adamw'"),
    ],
)
def test_a_missing_package_is_one_line_before_the_training(
    changes: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "leadline.extras.find_spec", lambda name: None if name in ("aim", "bitsandbytes") else found(name)
    )
    with pytest.raises(InputError) as told:
        settings(**changes)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_the_8_bit_optimiser_is_bitsandbytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the package: it gets the trained parameters and the rates, and a checkpoint goes on."""
    package = types.ModuleType("bitsandbytes.optim")
    package.AdamW8bit = type("AdamW8bit", (torch.optim.AdamW,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bitsandbytes", types.ModuleType("bitsandbytes"))
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", package)
    monkeypatch.setattr("leadline.extras.find_spec", lambda name: object())
    train(Line(), line_source(), settings(optimiser="adamw8bit"), tmp_path / "eight")
    train(Line(), line_source(), settings(), tmp_path / "whole")
    assert_same(checkpoint(tmp_path / "eight"), checkpoint(tmp_path / "whole"))
