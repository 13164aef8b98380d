"""What GitHub Actions, pre-commit and the Makefile run is there."""

from __future__ import annotations

import re

import pytest
import yaml
from places import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_jobs_whose_steps_do_something(workflow):
    content = yaml.safe_load(workflow.read_text())
    assert content[True]  # "on", which YAML 1.1 reads as a truth value
    assert content["jobs"]
    for job in content["jobs"].values():
        assert job["runs-on"]
        assert job["steps"][0]["uses"].startswith("actions/checkout@")
        assert all(set(step) & {"run", "uses"} for step in job["steps"])


def test_the_tests_and_extras_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    text = "\n".join(path.read_text() for path in WORKFLOWS)
    tests = set(re.findall(r"tests/[\w/]+", text))
    tests |= {f"tests/{room}" for room in re.search(r"^QUICK := (.+)$", makefile, re.MULTILINE)[1].split()}
    assert len(tests) > 8
    assert [name for name in sorted(tests) if not (ROOT / name).exists()] == []
    known = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    named = {extra for group in re.findall(r"-e \"?\.\[([\w,]+)\]", text) for extra in group.split(",")}
    named |= set(re.search(r"^EXTRAS := (.+)$", makefile, re.MULTILINE)[1].split(","))
    assert named - known == set()


def test_every_python_and_system_that_we_claim_is_tried():
    text = "\n".join(path.read_text() for path in WORKFLOWS)
    assert set(re.findall(r'python(?:-version)?: "([\d.]+)"', text)) >= {"3.10", "3.11", "3.12", "3.13"}
    assert all(name in text for name in ("ubuntu-", "macos-", "windows-", "ros:jazzy"))


def test_the_hooks_before_a_commit_are_readable():
    assert yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
