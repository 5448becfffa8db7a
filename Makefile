# The few verbs of this project. Python 3.11 or newer and make are all they need; the rest goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test soak check format generate api bench clean

help: ## list the verbs
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

demo: .venv/demo ## one script on five backends, then the conformance suite on each (one to two minutes)
	@mkdir -p out/conformance
	@$(BIN)/python examples/with_postgres.py $(BIN)/python examples/demo.py

test: .venv/dev ## run the whole test suite
	$(BIN)/python -m pytest

soak: .venv/dev ## run the long soaks: many searches under churn, interrupts, forks, faults in turn
	$(BIN)/python -m pytest tests/soak

check: .venv/dev ## lint, strict types, and drift: of the generated code from the spec, of the API from its snapshot
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python spec/generate.py --check
	$(BIN)/python spec/api.py --check

format: .venv/dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generate: .venv/dev ## write openmem/_generated from spec/openapi.yaml
	$(BIN)/python spec/generate.py

api: .venv/dev ## accept the public API as it is now: print what breaks, write spec/api.txt
	$(BIN)/python spec/api.py

bench: .venv/dev ## measure retrieval and speed, each beside its raw engine
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/loop.py
	$(BIN)/python benchmarks/after_delete.py
	$(BIN)/python examples/with_postgres.py sh -c '$(BIN)/python benchmarks/erase.py --postgres "$$POSTGRES_URL"'
	$(BIN)/python examples/with_postgres.py sh -c '$(BIN)/python benchmarks/reads.py --postgres "$$POSTGRES_URL"'
	$(BIN)/python examples/with_postgres.py sh -c '$(BIN)/python benchmarks/postgres.py "$$POSTGRES_URL"'
	$(BIN)/python examples/with_postgres.py sh -c '$(BIN)/python benchmarks/postgres_index.py "$$POSTGRES_URL"'
	$(BIN)/python benchmarks/locomo.py memory:// sqlite:///out/locomo.db mem0:///out/locomo-mem0

clean: ## remove .venv and everything made
	rm -rf .venv out build dist *.egg-info

.venv/python:
	$(PYTHON) -c 'import sys; sys.exit("openmem needs Python 3.11 or newer: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	@touch $@

.venv/demo: .venv/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[demo]'
	@touch $@

.venv/dev: .venv/python pyproject.toml setup/editable.py
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@
