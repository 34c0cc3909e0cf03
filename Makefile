# One verb each. `make demo` and `make test` set everything up on a machine that has only Python 3.11 and make.
PYTHON ?= python3.11
# Processes that test at once; each takes up to 3 GB.
JOBS ?= 2
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup setup-paddle setup-mindspore demo test check fmt faults bench docs lock

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

setup: .venv/ready  ## make .venv with the locked packages

.venv/ready: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.lock -e .
	touch $@

setup-paddle: .venv-paddle/ready  ## make .venv-paddle, where engine=paddle runs

setup-mindspore: .venv-mindspore/ready  ## make .venv-mindspore, where engine=mindspore runs (it needs numpy 1.26)

# The engines' processes need their framework, numpy and safetensors, and none of the package's other dependencies.
.venv-%/ready: requirements-%.lock .venv/ready
	test -x .venv-$*/bin/python || $(PYTHON) -m venv .venv-$*
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-$*/bin/python -r requirements-$*.lock
	touch $@

demo: setup  ## phantoms -> fine-tune -> evaluate -> report, in a few minutes
	$(BIN)/eyeground demo

test: setup  ## all tests
	$(BIN)/python -m pytest -m "not slow" -n $(JOBS) --dist loadfile

check: setup  ## format, lint, types, the law of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: setup  ## put the code in shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

faults: setup  ## the long fault-injection variants
	$(BIN)/python -m pytest -m slow

bench: setup  ## speed, as ratios against named references
	$(BIN)/python -m benchmarks

docs: setup  ## the commands' pages, written from their own help
	$(BIN)/python -m docs.commands

lock: setup  ## pin the newest versions (no index address is written)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --extra dev --extra onnx --extra openvino --extra serve --extra clinic --extra fonts --extra ray --extra s3 --extra shards \
		--python-version 3.11 pyproject.toml -o requirements.lock
	for name in paddle mindspore; do $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header \
		--no-annotate --python-version 3.11 requirements-$$name.in -o requirements-$$name.lock; done
