# The commands of the suite; `make help` lists them. Every target builds .venv when it is missing.
# More options: make reproduce ARGS="--only 02 --fresh", make test ARGS="-k covariance".
PYTHON ?= python3.11
BIN := .venv/bin
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help reproduce standard test lint bench clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

reproduce: .venv/.ok ## run every notebook at scale quick (digits and synthetic data, no download)
	$(BIN)/python reproduce.py $(ARGS)

standard: .venv/.ok ## run every notebook at scale standard, into results/standard
	$(BIN)/python reproduce.py --profile standard $(ARGS)

test: .venv/.ok ## run the tests, the doctests and the README's code
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/.ok ## ruff (lint and format, notebooks too) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.ok ## measure the speed claims, each as a ratio within one run
	@for file in benchmarks/*.py; do $(BIN)/python $$file || exit; done

clean: ## remove the virtual environment and every cache; results stay
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ok: requirements.lock pyproject.toml
	@echo "building .venv from requirements.lock; this takes some minutes"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
