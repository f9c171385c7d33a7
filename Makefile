# Every target first makes its own environment in .venv (tools/bootstrap.py); nothing is built twice.
#   PYTHON=python3.12   another interpreter (3.11 or newer)      BMS_CC=clang      another compiler
#   BMS_CFLAGS="-O1 -g" extra compiler options                   PYTEST="-k wake"  extra pytest options

PYTHON ?= $(or $(shell command -v python3.11 2>/dev/null),python3)
VENV := .venv/bin
BOOTSTRAP := $(PYTHON) tools/bootstrap.py
PYTEST ?=
OUT ?= out

.DEFAULT_GOAL := help
.PHONY: help demo docs firmware test test-long test-mcu test-socketcan test-tools guard guard-mutants generate lint build clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a solid-state pack drives under its own firmware; ends with a report to open
	@$(BOOTSTRAP)
	@$(VENV)/bms demo --out $(OUT)/demo

docs: ## the documentation site, into out/docs
	@$(BOOTSTRAP) docs
	@NO_MKDOCS_2_WARNING=1 $(VENV)/mkdocs -q build --strict -d $(abspath $(OUT))/docs
	@echo $(OUT)/docs/index.html

test: ## every test but the minutes-long ones
	@$(BOOTSTRAP) test
	@$(VENV)/python -m pytest -q -n 2 --dist loadgroup $(PYTEST)

test-long: ## every test, with the long random campaigns
	@$(BOOTSTRAP) test
	@$(VENV)/python -m pytest -q -n 2 --dist loadgroup --long $(PYTEST)

test-socketcan: ## our CAN links against the kernel's CAN, in user-mode Linux (test-tools installs it)
	@$(BOOTSTRAP) test
	@tools/socketcan/run.sh

test-mcu: ## the firmware as ARM code on an emulated Cortex-M4F, against the host's (installs QEMU as root)
	@$(PYTHON) tools/bootstrap.py --compilers
	@$(BOOTSTRAP) test
	@$(VENV)/python -m pytest -q --mcu tests/mcu $(PYTEST)

test-tools: ## as root: the compilers some tests compare with (else those tests skip and say so)
	@$(PYTHON) tools/bootstrap.py --compilers

guard: ## the C core under its own guard: coverage with MC/DC, sanitizers, MISRA, proofs, size and stack; a quarter of an hour
	@$(BOOTSTRAP) test
	@$(VENV)/python tools/guard/target.py
	@$(VENV)/python tools/guard/misra.py --write
	@if command -v frama-c >/dev/null; then $(VENV)/python tools/guard/eva.py; else echo "eva.py left out: no frama-c"; fi
	@$(VENV)/python tools/guard/sanitize.py
	@$(VENV)/python tools/guard/coverage.py

guard-mutants: ## small errors planted in the C core one by one; an hour
	@$(BOOTSTRAP) test
	@$(VENV)/python tools/guard/mutate.py

firmware: ## the firmware as an image for a Cortex-M4F, into build/target
	@$(BOOTSTRAP)
	@$(VENV)/python -m bms_hil.target

generate: ## C, enums and tables from src/bms/spec
	@$(BOOTSTRAP)
	@$(VENV)/python tools/generate.py

lint: ## ruff, mypy and the house rules
	@$(BOOTSTRAP) test
	@$(VENV)/ruff check .
	@$(VENV)/mypy
	@$(VENV)/python -m pytest -q tests/tidy

build: ## sdist and wheel into dist/
	@$(BOOTSTRAP)
	@$(VENV)/python -c "import sys; from setuptools import build_meta as b; print(b.build_sdist('dist')); print(b.build_wheel('dist'))" >/dev/null
	@ls dist

clean: ## removes what was built, keeps .venv
	@rm -rf build dist out *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find src ext -name '*.so' -delete
	@rm -f .venv/.bootstrap.json
