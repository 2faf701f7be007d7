# Every chore is one line. `make run` and `make test` need nothing but Python 3.11 or later.
PYTHON ?= $(firstword $(foreach v,3.13 3.12 3.11,$(if $(shell python$(v) -c "import venv, ensurepip" 2>/dev/null && echo yes),python$(v))) python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test check fix validate nightly bench clean

run: $(VENV)/run.stamp  ## install and run the main job
	$(BIN)/bankwidth run h200 llama-2-7b --phase decode --batch 1 --context 2048 --out runs/h200-llama-2-7b --force

test: check  ## install, lint, check types, run all tests and notebooks
	$(BIN)/python -m pytest -n 2 --dist worksteal
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=300 -p no:cacheprovider -n 2 --dist worksteal notebooks

check: $(VENV)/test.stamp  ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fix: $(VENV)/test.stamp  ## format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

validate: $(VENV)/test.stamp  ## reference runs and published numbers, slow ones too
	$(BIN)/python -m pytest -m "validation" tests

nightly: $(VENV)/test.stamp  ## property runs of a thousand examples and more
	$(BIN)/python -m pytest -m nightly tests

bench: $(VENV)/test.stamp  ## speeds
	$(BIN)/python benchmarks/main_job.py
	$(BIN)/python benchmarks/dram.py
	$(BIN)/python benchmarks/gpu.py
	$(BIN)/python benchmarks/pim.py
	$(BIN)/python benchmarks/flash.py --model
	$(BIN)/python benchmarks/sram_lut.py
	$(BIN)/python benchmarks/traces.py
	$(BIN)/python benchmarks/kineto.py
	$(BIN)/python benchmarks/serving.py --alone

clean:
	rm -rf $(VENV) runs

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/run.stamp: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/test.stamp: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -e ".[test]"
	touch $@
