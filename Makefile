# Every target does its own set-up: python3 and make are all a fresh machine needs.

PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin

.PHONY: help demo test check bench fuzz fuzz-check chaos soak protos test-peers test-matrix clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | column -t -s:

PIP := python -m pip --disable-pip-version-check

# What is installed is stamped, so that later runs start at once; a change of pyproject.toml renews it.
$(VENV)/.run: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP) install --quiet --upgrade "pip>=25.1"
	$(BIN)/$(PIP) install --quiet --editable .
	$(BIN)/python -m compileall -q tfs_client
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/$(PIP) install --quiet --group check --group test
	@touch $@

$(PEERS)/.dev: pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/$(PIP) install --quiet --upgrade "pip>=25.1"
	$(PEERS)/bin/$(PIP) install --quiet --editable . --group test --group peers
	@touch $@

demo: $(VENV)/.run  ## a picture and a digit through the embedded models
	@mkdir -p demo-output
	$(BIN)/tfs-predict --image examples/pupper.jpg --embedded --model colors --top 5
	$(BIN)/tfs-predict --image examples/pupper.jpg --embedded --model segment \
		--labels examples/segment-labels.txt --save-mask demo-output/pupper-mask.png
	$(BIN)/tfs-predict --image examples/digit.png --embedded --model digits --top 3

test: $(VENV)/.dev  ## the base tests
	$(BIN)/python -m pytest -m "not peer" --numprocesses auto --dist loadfile

check: $(VENV)/.dev  ## lint, format, types, and the compiled schema against protos/
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHON=$(BIN)/python scripts/gen_protos.sh --check

protos: $(VENV)/.dev  ## compile protos/ into tfs_client/protos/
	PYTHON=$(BIN)/python scripts/gen_protos.sh

bench: $(VENV)/.dev  ## the benchmarks that need no peer; figures are printed
	$(BIN)/python benchmarks/codec.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/overhead.py --aio
	$(BIN)/python benchmarks/rest.py
	$(BIN)/python benchmarks/endurance.py
	$(BIN)/python benchmarks/cold_start.py
	$(BIN)/python benchmarks/scale.py

chaos: $(VENV)/.dev  ## calls while servers are killed and connections break; CHAOS_SECONDS=60 a scenario
	$(BIN)/python benchmarks/chaos.py

soak: $(VENV)/.dev  ## memory and open files over SOAK_CALLS=20000 calls in each style
	$(BIN)/python benchmarks/soak.py

fuzz: $(VENV)/.dev  ## hostile bytes for every reader; FUZZ_SECONDS=60 for each, FUZZ_READERS=tensor,rest, FUZZ_SEED=1
	GRPC_VERBOSITY=$${GRPC_VERBOSITY:-NONE} PYTHONPATH=tests $(BIN)/python -m hostile.run

fuzz-check: $(VENV)/.dev  ## check that fuzz finds faults planted in a copy of the package
	PYTHONPATH=tests $(BIN)/python -m hostile.planted

test-peers: $(PEERS)/.dev  ## comparison with TensorFlow and others, and asyncio in uvloop, in an environment of their own
	bash scripts/fetch_nginx.sh
	TFS_NGINX=$$(test -d $(PEERS)/nginx && echo $(PEERS)/nginx || true) $(PEERS)/bin/python -m pytest -m peer
	TFS_TEST_LOOP=uvloop $(PEERS)/bin/python -m pytest -m "not peer" --numprocesses auto --dist loadfile \
		tests/test_*.py tests/batching tests/contract tests/transports

test-matrix: $(VENV)/.dev  ## the base tests with each major version of protobuf
	$(BIN)/python scripts/test_matrix.py

clean:  ## remove environments and what runs leave behind
	rm -rf $(VENV) $(PEERS) .venv-matrix demo-output fuzz-failures build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
