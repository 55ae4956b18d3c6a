# `make help` lists every target.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One test process a core (nproc honours taskset), at most four, each with one thread.
PARALLEL := --numprocesses $(shell nproc) --maxprocesses 4 --dist worksteal
.DEFAULT_GOAL := help
.PHONY: help setup reproduce-table1 exact ablation tune tuned smoke train-prior card test test-slow docs lint format clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv and install the suite with pinned versions

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(f"Python >= 3.11 is needed, this is {v.major}.{v.minor}; set PYTHON=python3.11" if v < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

TABLE1_paper := table1
TABLE1_ := table1_embedded

reproduce-table1: setup ## compute Table 1 on the images that ship; SCALE=paper: on FFHQ and ImageNet, needs GPUs
	$(if $(TABLE1_$(SCALE)),,$(error SCALE=$(SCALE): expected paper, or nothing for the images that ship))
	$(BIN)/safari-bench -m experiments=$(TABLE1_$(SCALE)) $(ARGS)

ABLATIONS := ablation ablation_factorial ablation_cutoff ablation_factor ablation_methods
ablation: setup ## what each part of psi does and how methods fail: five studies in results/ablation*
	@status=0; for study in $(ABLATIONS); do \
	  $(BIN)/safari-bench -m experiments=$$study hydra/launcher=joblib hydra.launcher.n_jobs=2 $(ARGS) || status=1; \
	  $(BIN)/safari-bench ablate results/$$study || status=1; \
	done; exit $$status # a cell that fails stops neither its study nor the next

tuned: setup ## search the settings behind conf/tuned: make tuned PRIOR=photos64 [TASK=sr_x4] [SAMPLER=dps] [INTO=photos64]
	@test -n "$(PRIOR)" || { echo "say which: make tuned PRIOR=photos64"; exit 2; }
	$(BIN)/safari-bench tune --prior $(PRIOR) $(if $(TASK),--task $(TASK)) $(if $(SAMPLER),--sampler $(SAMPLER)) $(if $(INTO),--into $(INTO)) $(ARGS)

tune: setup ## an Optuna search on tuning images: make tune TASK=sr_x4 SAMPLER=safari [INTO=mine]
	@test -n "$(TASK)" -a -n "$(SAMPLER)" || { echo "say which: make tune TASK=sr_x4 SAMPLER=safari"; exit 2; }
	$(BIN)/safari-bench tune --draw --task $(TASK) --sampler $(SAMPLER) $(if $(INTO),--into $(INTO)) $(ARGS)

exact: setup ## score every sampler against posteriors that are known exactly, write results/exact/
	$(BIN)/safari-bench exact $(ARGS)

smoke: setup ## one small cell end to end, seconds
	$(BIN)/safari-bench experiments=smoke $(ARGS)

train-prior: setup ## train the network prior on free photographs; hours on a CPU, goes on where it stopped
	$(BIN)/python -m recipes.photographs --into photographs
	$(BIN)/python -m recipes.train_prior --photographs photographs --into results/train_prior $(ARGS)

card: setup ## judge a prior on its own: make card [PRIOR=photos64]
	$(BIN)/python -m recipes.card prior=$(or $(PRIOR),photos64) $(ARGS)

test: setup ## run the tests
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow and not gpu and not weights" $(ARGS)

test-slow: setup ## run the slow tests too
	$(BIN)/python -m pytest $(PARALLEL) -m "not gpu and not weights" $(ARGS)

docs: setup ## write docs/cli.md and build the documentation into site/
	$(BIN)/python docs/write_cli.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup ## let ruff rewrite the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove caches and the virtual environment, never results
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
