# `make demo` and `make test` are each the only command a fresh machine needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS := serve,http,train,lora,eval,bench,onnx,openvino,import,mesh,heic,bag,ros,ray,dev
STAMP  := $(VENV)/.installed

# The inner loop: no ROS, Blender, Ray, servers or trainings.
QUICK := depth files sensors geometry video models checkpoints inference completion

.PHONY: setup demo test quick packages lint types docs release blender-envs bench extension clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $(STAMP)

# Inference alone: about a minute after the download. Nothing else is installed.
demo: $(VENV)/.lean
	$(BIN)/leadline predict assets/demo -o out/demo --quality fine --show
	@echo "Depth maps, uncertainty and previews are in out/demo/; turn a picture in 3D with"
	@echo "  $(BIN)/leadline view assets/demo/living_room.jpg"

$(VENV)/.lean: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -f $(STAMP) || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $(VENV)/.lean

# Two files of tests at a time, in the order of their names: by the number of their tests, Blender's few long ones would come last, on one core.
test: setup lint types blender-envs
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: setup
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist loadfile $(QUICK:%=tests/%)

# Everything that is handed out, built from a clean clone of the last commit and used: ten minutes and more.
packages: setup
	$(BIN)/python -m pytest --runslow tests/test_clean_clone.py

# Real Blenders as Python modules; their tests are skipped, saying so, where Python 3.11 is missing.
blender-envs:
	bash tests/blender/make_envs.sh || echo "no Blender environments: the tests inside Blender will be skipped"

# The documentation's site, in site/; any warning ends it.
docs: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python docs/make_cli_reference.py
	$(BIN)/mkdocs build --strict

# Wheel and source archive in dist/, checked, with their SHA-256 sums; signed where gpg has a key.
release: setup
	rm -rf dist
	$(BIN)/python -m pip install --quiet --disable-pip-version-check build twine
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	cd dist && sha256sum * > SHA256SUMS
	cd dist && { gpg --list-secret-keys 2>/dev/null | grep -q sec && gpg --armor --detach-sign SHA256SUMS || echo "not signed: gpg has no key"; }

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

bench: setup
	$(BIN)/leadline bench -m fiffdepth-mini -m depthmaster-mini -m depthfm-mini --threads 1 --clock cpu --no-memory --against benchmarks/ratios.json

extension: setup
	$(BIN)/python blender_addon/build.py --full

clean:
	rm -rf $(VENV) .venv-* build dist site *.egg-info core/*.egg-info out runs
