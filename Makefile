# Two commands: `make demo` and `make test`. Each makes .venv when it is missing, says what it does, and needs nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Pins torch so that no gigabytes of CUDA are pulled by accident; GPU users: `make demo PIP_CONSTRAINT=`.
export PIP_CONSTRAINT ?= $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test study-p clean

demo: $(VENV)/.installed-demo
	$(BIN)/segue demo --out demo

test: $(VENV)/.installed-test
	@echo "== style and types: ruff, mypy"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@echo "== tests: pytest on $$(nproc) processes, one torch thread each"
	$(BIN)/pytest -n auto

# Hours on two cores; resumable. Every recipe on the first 900 Wikipedia documents, and docs/p-series.md written anew.
study-p: $(VENV)/.installed-demo
	$(BIN)/python benchmarks/study_p.py

$(VENV)/bin/python:
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "== installing segue, torch and the offline encoder into $(VENV): some 2 GB, a few minutes"
	$(BIN)/python -m pip install --quiet --editable '.[offline,track,serve]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "== installing segue with its test tools into $(VENV): some 2 GB the first time, a few minutes"
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@bash tests/install-browser.sh $(BIN)/python
	@touch $@ $(VENV)/.installed-demo

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .hypothesis
