"""What every model says of itself, present or not."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict

import pytest
from tiny import tiny_bundle

from leadline import CheckpointError
from leadline.checkpoints.cache import model_path
from leadline.checkpoints.capabilities import all_capabilities, capabilities
from leadline.checkpoints.catalog import CATALOG
from leadline.checkpoints.native import save_model
from leadline.checkpoints.quality import sampling


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LEADLINE_HOME", str(tmp_path))


def test_every_catalogued_model_answers_in_json():
    models = all_capabilities()
    assert set(models) == set(CATALOG)
    for name, model in models.items():
        words = json.loads(json.dumps(asdict(model)))
        assert words["name"] == name
        assert words["licence"]
        assert (words["output"] == "normals") == (words["space"] is None)
        assert words["present"] == (words["path"] is not None)
        assert words["min_steps"] <= words["default_steps"] <= (words["max_steps"] or 10**6)


def test_what_is_on_disk_speaks_for_itself():
    save_model(tiny_bundle("depthfm", default_size=96, licence="mine"), model_path("my-own"))
    model = capabilities("my-own")
    assert (model.present, model.default_size, model.licence) == (True, 96, "mine")
    assert (model.max_steps, model.ensemble, model.space) == (None, "noise", "log_depth")


@pytest.mark.parametrize(
    ("name", "steps", "ensemble", "output"),
    [
        ("marigold-v1-1", 1000, "noise", "depth"),
        ("marigold-lcm-v1-0", 50, "noise", "depth"),
        ("marigold-normals-v1-1", 1000, "noise", "normals"),
        ("lotus-depth-d-v1-0", 1, "views", "depth"),
        ("genpercept-disparity", 1, "views", "depth"),
    ],
)
def test_models_that_are_not_here(name, steps, ensemble, output):
    model = capabilities(name)
    assert not model.present
    assert model.downloadable
    assert (model.max_steps, model.ensemble, model.output) == (steps, ensemble, output)


def test_completion_model_needs_points():
    assert capabilities("depthfm-mini-completion").needs_sparse_depth
    assert not capabilities("depthfm-mini").needs_sparse_depth


def test_by_hub_id():
    assert capabilities("prs-eth/marigold-depth-v1-1") == capabilities("marigold-v1-1")
    assert sampling("prs-eth/marigold-depth-v1-1", "fine").ensemble == 4
    assert sampling("some/body", steps=3).steps == 3  # not in the catalog: loading will tell


def test_unknown_name_is_one_line():
    with pytest.raises(CheckpointError, match="no model or file 'depthzilla'"):
        capabilities("depthzilla")


def test_asking_imports_no_torch():
    code = (
        "import sys; from leadline.checkpoints.capabilities import all_capabilities; all_capabilities(); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
