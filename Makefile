# The front door. `make` lists what there is; every target does its own set-up.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
PORT ?= 8080
ADMIN_PORT ?= 9090
DIR ?= manifests/quickstart
REV ?= HEAD
SOURCES := operator gateway protocol cli charts tests bench
ARGS ?=
# Tests that disturb nobody and that nobody disturbs: they run on both cores.
SIDE_BY_SIDE := $(addsuffix /,$(wildcard $(addprefix tests/,protocol operator gateway corpus oracles harness_tests bench_tests)))

.PHONY: help setup run test images test-clients test-cluster check lint format types imports generated crds charts proto lock lock-clients matrix golden clean \
	bench bench-quick bench-check bench-record bench-diff bench-peers bench-idle bench-main-job soak profile

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/uv: bootstrap.txt
	@test -n "$(PYTHON)" || { echo "Trunkline needs Python 3.11 or newer (python3 on the PATH, or make PYTHON=…)" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "python3 -m venv failed: on Debian, apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap.txt
	@touch $@

# Two stamps: what serving needs, and what working on it needs. The second includes the first.
.venv/.runtime: $(BIN)/uv uv.lock pyproject.toml
	@$(BIN)/uv sync --quiet --frozen --all-extras --no-default-groups --inexact
	@touch $@

.venv/.dev: $(BIN)/uv uv.lock pyproject.toml
	@$(BIN)/uv sync --quiet --frozen --all-extras
	@touch .venv/.runtime $@

setup: .venv/.dev ## Make .venv with the locked dependencies and the commands

run: .venv/.runtime ## Serve manifests/quickstart on this machine, no cluster, no key (PORT=, ADMIN_PORT=, DIR=)
	@exec $(BIN)/trunkline run "$(DIR)" --port $(PORT) --admin-port $(ADMIN_PORT) --welcome

test: .venv/.dev ## Run every test that can run here, a real API server included (ARGS= for pytest)
	@if [ -n "$(ARGS)" ]; then $(BIN)/pytest $(ARGS); else \
		$(BIN)/pytest --quiet -n 2 --dist loadfile $(SIDE_BY_SIDE) && \
		$(BIN)/pytest $(filter-out $(SIDE_BY_SIDE),$(wildcard tests/*/)); fi

images: ## Build the three images into build/images (docker, or buildah as root)
	@scripts/images.sh

test-clients: .venv/.dev ## Real SDKs, frameworks and coding agents through the gateway (installs them once, 1.4 GB; needs Node.js 20)
	@$(BIN)/python tests/clients/install.py
	@TRUNKLINE_CLIENTS=1 $(BIN)/pytest tests/contract/clients $(ARGS)

test-cluster: .venv/.dev ## Images, charts and the life of a pod on a real node (root on Linux), or on the cluster of KUBECONFIG
	@PYTHONPATH=tests $(BIN)/python -m cluster.node prepare
	@test -n "$$KUBECONFIG" || scripts/images.sh
	@TRUNKLINE_CLUSTER=1 $(BIN)/pytest tests/images tests/cluster $(ARGS)

check: lint types imports generated test ## What CI runs: lint, format, types, imports, generated files, tests

lint: .venv/.dev ## Lint and check the format
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)

format: .venv/.dev ## Format and mend what can be mended
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

types: .venv/.dev ## Check types, strictly
	@$(BIN)/mypy

imports: .venv/.dev ## Check the layer rules, and that operator/ does not shadow the stdlib's module
	@$(BIN)/lint-imports --verbose >/tmp/trunkline-imports.$$$$ 2>&1 || { cat /tmp/trunkline-imports.$$$$; exit 1; }
	@test ! -e operator/__init__.py && test -z "$$(find tests -name __init__.py)" || { echo "operator/ and tests/ take no __init__.py" >&2; exit 1; }
	@cd $(CURDIR) && PYTHONPATH=. $(BIN)/python -c 'import collections, operator; operator.itemgetter'

crds: .venv/.dev ## Write crds/ from the resource types
	@$(BIN)/python -m trunkline_protocol.resources.crd crds/

charts: .venv/.dev ## Write what the charts hold of crds/, and their reference
	@$(BIN)/python charts/generate.py

proto: .venv/.dev ## Write the stubs of routing.proto
	@PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python -m grpc_tools.protoc -I protocol --python_out=protocol --grpc_python_out=protocol \
		--mypy_out=quiet:protocol --mypy_grpc_out=quiet:protocol protocol/trunkline_protocol/v1/routing.proto

lock-clients: $(BIN)/uv ## Lock the clients of test-clients anew
	@for set in sdks frameworks; do $(BIN)/uv pip compile --quiet --upgrade --generate-hashes --universal --python-version 3.11 \
		--no-header -o tests/clients/$$set.txt tests/clients/$$set.in || exit 1; done
	@cd tests/clients/node && npm install --package-lock-only --ignore-scripts --no-audit --no-fund --silent

lock: $(BIN)/uv ## Lock the dependencies anew
	@$(BIN)/uv lock --quiet
	@for group in bootstrap build; do \
		$(BIN)/uv export --quiet --frozen --only-group $$group --no-header -o $$group.txt >/dev/null || exit 1; done

generated: crds charts proto ## Check that generated files are fresh
	@$(BIN)/uv lock --quiet --check
	@git diff --exit-code --stat -- crds charts docs/reference/chart.md protocol uv.lock bootstrap.txt build.txt && \
		test -z "$$(git ls-files --others --exclude-standard -- crds charts protocol)" || \
		{ echo "generated files differ from what is committed: review, then commit them" >&2; exit 1; }

matrix: .venv/.dev ## Write docs/reference/dialects.md: what every dialect keeps, maps and loses
	@PYTHONPATH=tests $(BIN)/python -m corpus.matrix

golden: .venv/.dev ## Rewrite the golden files; review the diff like code
	@$(BIN)/pytest --update-golden tests/operator tests/chart -q

BENCH := PYTHONPATH=tests $(BIN)/python -m bench

bench: .venv/.dev ## Measure the hot path against nginx: throughput, streams, TLS, latency, memory (ARGS=, see docs)
	@$(BENCH) all $(ARGS)

bench-quick: .venv/.dev ## Throughput and streams against nginx, in less than a minute
	@$(BENCH) quick $(ARGS)

bench-check: .venv/.dev ## The same, and fail under 0.85 of what bench/recorded.json says
	@$(BENCH) check $(ARGS)

bench-record: .venv/.dev ## Write bench/recorded.json
	@$(BENCH) record $(ARGS)

bench-diff: .venv/.dev ## The work tree against an earlier commit (REV=)
	@$(BENCH) diff "$(REV)" $(ARGS)

bench-peers: .venv/.dev ## LiteLLM and Portkey beside us; installs them under ~/.cache/trunkline
	@$(BENCH) peers $(ARGS)

bench-idle: .venv/.dev ## What 10,000 idle streams cost
	@$(BENCH) idle $(ARGS)

bench-main-job: .venv/.dev ## Measure propagation, start-up and memory with a real API server
	@PYTHONPATH=tests $(BIN)/python bench/propagation.py --tls
	@PYTHONPATH=tests $(BIN)/python bench/main_job.py $(ARGS)

soak: .venv/.dev ## Ten minutes of mixed traffic: does memory stay flat? (ARGS="--minutes 2")
	@$(BENCH) soak $(ARGS)

profile: .venv/.dev ## Where the gateway's time goes under load; needs py-spy (ARGS="--py-spy PATH --kind stream")
	@$(BENCH) profile $(ARGS)

clean: ## Remove the virtual environment and caches
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
