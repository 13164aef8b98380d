from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from leadline.checkpoints.catalog import CATALOG, MINI_FOLDER
from leadline.cli import serve
from leadline.errors import InputError
from leadline.serving.server.about import known_models

RUN = "from leadline.cli.main import main; main()"


def test_the_packaged_models_are_served_without_asking() -> None:
    packaged = {name for name, entry in CATALOG.items() if entry.packaged and (MINI_FOLDER / entry.packaged).exists()}
    assert packaged - {"depthfm-mini-completion"} <= set(serve._present())
    assert "depthfm-mini-completion" not in serve._present()  # it needs more than an image


def test_what_the_front_imports_has_no_torch() -> None:
    ask = "import sys, leadline.serving.server.server, leadline.cli.serve as s; print(len(s._present()), 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.split() == [str(len(serve._present())), "False"]


def test_what_models_can_do_is_known_before_they_are_loaded() -> None:
    about = known_models({"small": "fiffdepth-mini", "own": "{}"})
    assert about["small"]["max_steps"] == 1
    assert about["small"]["near_is_high"]
    assert "path" not in about["small"]
    assert "own" not in about


def test_models_have_names_that_clients_can_say() -> None:
    assert serve._named(("depthfm", "mine=/data/a b.safetensors")) == {
        "depthfm": "depthfm",
        "mine": "/data/a b.safetensors",
    }
    with pytest.raises(InputError, match="twice"):
        serve._named(("a", "a=b"))
    with pytest.raises(InputError, match="NAME=/data/x"):
        serve._named(("/data/x.safetensors",))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--bind", "tcp://0.0.0.0:*", "-m", "depthfm-mini"], "can be reached by others"),
        (["--bind", "nonsense", "-m", "depthfm-mini", "--insecure"], "is no address"),
        (["-m", "nosuch"], "no model or file 'nosuch'"),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(arguments: list[str], complaint: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", RUN, "serve", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 2
    assert complaint in run.stderr
    assert "Traceback" not in run.stderr


def test_help_is_there() -> None:
    result = CliRunner().invoke(serve.command, ["--help"], catch_exceptions=False)
    assert "--keys" in result.output
    assert "--loader" not in result.output
