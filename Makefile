# `make demo` and `make test` are each the only command a fresh machine needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS := serve,train,eval,bench,onnx,import,mesh,bag,ros,ray,dev
STAMP  := $(VENV)/.installed

# The inner loop: no ROS, Blender, Ray, servers or trainings.
QUICK := depth files sensors geometry video models checkpoints inference completion

.PHONY: setup demo test quick lint types blender-envs bench extension clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $(STAMP)

demo: setup
	$(BIN)/leadline predict assets/demo -o out/demo --show
	@echo "Depth maps, uncertainty and previews are in out/demo/"

test: setup lint types blender-envs
	$(BIN)/python -m pytest

quick: setup
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(QUICK:%=tests/%)

# Real Blenders as Python modules; their tests are skipped, saying so, where Python 3.11 is missing.
blender-envs:
	bash tests/blender/make_envs.sh || echo "no Blender environments: the tests inside Blender will be skipped"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/leadline bench

extension: setup
	$(BIN)/python blender_addon/build.py

clean:
	rm -rf $(VENV) .venv-* build dist *.egg-info core/*.egg-info out runs
