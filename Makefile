# Every target does its own set-up: python3 and make are all a fresh machine needs.

PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin

.PHONY: help demo test check coverage docs bench bench-peers fuzz fuzz-check chaos soak protos test-peers test-matrix clean

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

$(VENV)/.docs: $(VENV)/.run
	$(BIN)/$(PIP) install --quiet --group docs
	@touch $@

$(VENV)/.coverage: $(VENV)/.dev
	$(BIN)/$(PIP) install --quiet --group coverage
	@touch $@

$(PEERS)/.dev: pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/$(PIP) install --quiet --upgrade "pip>=25.1"
	$(PEERS)/bin/$(PIP) install --quiet --editable . --group test --group peers
	@touch $@

demo: $(VENV)/.run  ## pictures through the embedded models: colours, boxes, a mask, a digit, and a report
	@mkdir -p demo-output
	$(BIN)/tfs-predict --image examples/pupper.jpg --embedded --model colors --top 5
	$(BIN)/tfs-predict --image examples/scene.png --embedded --model shapes \
		--labels examples/shape-labels.json --draw demo-output/scene-boxes.png
	$(BIN)/tfs-predict --image examples/pupper.jpg --embedded --model segment \
		--labels examples/segment-labels.txt --draw demo-output/pupper-mask.png
	$(BIN)/tfs-predict --image examples/digit.png --embedded --model digits --scale unit --top 3
	$(BIN)/tfs-predict --image examples/scene.png examples/pupper.jpg --embedded --model shapes \
		--labels examples/shape-labels.json --min-score 0.93 \
		--output demo-output/shapes.jsonl --overwrite --html demo-output/report.html

# The workers, and the programs that they start, share compiled modules; without them each compiles all it imports.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.dev  ## the base tests
	$(BIN)/python -m pytest -m "not peer" --numprocesses auto --dist loadfile --no-loadscope-reorder --ignore tests/typing

# pyright takes its packages from the python that it finds first.
check: $(VENV)/.dev  ## lint, format, types, workflows, and the files that are written by scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@PATH="$(CURDIR)/$(BIN):$$PATH" pyright --verifytypes tfs_client --ignoreexternal > $(VENV)/types.txt \
		|| { cat $(VENV)/types.txt; exit 1; }
	@grep "completeness score" $(VENV)/types.txt
	$(BIN)/python -m pytest --quiet tests/typing
	$(BIN)/zizmor --offline --quiet .github examples/*/.github
	PYTHON=$(BIN)/python scripts/gen_protos.sh --check
	$(BIN)/python scripts/public_surface.py --check

coverage: $(VENV)/.coverage  ## the base tests with a report of the lines and branches that they run; takes longer
	$(BIN)/python -m pytest -m "not peer" --numprocesses auto --dist loadfile \
		--no-loadscope-reorder --ignore tests/typing --cov --cov-report=term:skip-covered

# With --quiet, mkdocs would not count the warnings that --strict is for.
docs: $(VENV)/.docs  ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

protos: $(VENV)/.dev  ## compile protos/ into tfs_client/protos/
	PYTHON=$(BIN)/python scripts/gen_protos.sh

bench: $(VENV)/.dev  ## the benchmarks that need no peer; figures are printed
	$(BIN)/python benchmarks/comparison
	$(BIN)/python benchmarks/codec.py
	$(BIN)/python benchmarks/endurance.py
	$(BIN)/python benchmarks/cold_start.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/pictures.py

bench-peers: $(VENV)/.dev  ## tfs_client beside other clients, in .venv-bench/; COMPARISON="--quick --only 'sync/*'" for a part
	$(BIN)/python benchmarks/comparison --peers $(COMPARISON)

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
	TFS_NGINX=$$(test -d $(PEERS)/nginx && echo $(PEERS)/nginx || true) $(PEERS)/bin/python -m pytest -m peer --timeout 600
	TFS_TEST_LOOP=uvloop $(PEERS)/bin/python -m pytest -m "not peer" --numprocesses auto --dist loadfile \
		tests/test_*.py tests/contract tests/flows tests/transports

test-matrix: $(VENV)/.dev  ## the base tests with each major version of protobuf
	$(BIN)/python scripts/test_matrix.py

clean:  ## remove environments and what runs leave behind
	rm -rf $(VENV) $(PEERS) .venv-matrix .venv-bench benchmarks/results demo-output fuzz-failures build dist site .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
