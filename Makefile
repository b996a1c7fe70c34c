# `make demo` and `make test` do all the set-up: they need Python 3.11, git and the package registries.

.DEFAULT_GOAL := help

UV_VERSION := 0.13.9
PYTHON     ?= $(shell command -v python3.11 || command -v python3)
UV         := .tools/bin/uv
BIN        := .venv/bin
FOLDER     := .vectorferry
# The environment is made anew when the lock or the project's own definition changes, and only then.
LOCK       := $(shell cat requirements.txt tests/requirements.txt pyproject.toml | git hash-object --stdin)
READY      := .venv/ready-$(LOCK)

SOURCE  ?= pinecone
TARGET  ?= weaviate
APPROVE ?= ask
LIVE    ?=
JOBS    ?= 2
MINUTES ?= 5
DRIFTING := $(foreach each,ROWS DRIFT SEED KILLS PHASE RATE,$(if $($(each)),--$(shell echo $(each) | tr A-Z a-z) $($(each))))
# Files in the order that tests/conftest.py gives them, not by their number of tests.
BESIDE  := --numprocesses $(JOBS) --no-loadscope-reorder
SOAK    := $(foreach each,SWITCHES RATE CHAOS SEED,$(if $($(each)),--$(shell echo $(each) | tr A-Z a-z) $($(each))))

export UV_PYTHON_DOWNLOADS := never
export VECTORFERRY_UV := $(abspath $(UV))

.PHONY: help demo with test test-long check format wheel compat lock clean distclean stop bench model soak drift pairs dataset schema vendor env lock ready weaviate chromium pictures

help: ## Show the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: ## Move real data on local servers; SOURCE= and TARGET= of pinecone, weaviate, pgvector, qdrant, lancedb, or one twice; APPROVE=auto; LIVE=1
	@$(MAKE) --no-print-directory -j2 ready $(if $(filter weaviate,$(SOURCE) $(TARGET)),weaviate)
	@$(BIN)/python -m vectorferry.local.demo --source $(SOURCE) --target $(TARGET) --approve $(APPROVE) $(if $(LIVE),--live)

with: ## Run a command among the servers of the last demo: RUN='vectorferry compare SPEC'
	@$(MAKE) --no-print-directory -j2 ready $(if $(filter weaviate,$(SOURCE) $(TARGET)),weaviate)
	@$(BIN)/python -m vectorferry.local.demo --source $(SOURCE) --target $(TARGET) --command "$(RUN)"

test: ## Run every kind of test, two at a time (30 minutes); ARGS= for pytest, JOBS=0 for one at a time
	@$(MAKE) --no-print-directory -j2 ready weaviate
	@$(BIN)/pytest -m "not long" $(BESIDE) $(ARGS)

test-long: ## Run what is long by nature: another demo, series of kills, a soak, large models
	@$(MAKE) --no-print-directory -j2 ready weaviate
	@$(BIN)/pytest -m long $(BESIDE) $(ARGS)

check: $(READY) ## Lint, types, imports, the spec's schema, docker-compose.yaml
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/schema.py --check
	$(BIN)/python scripts/check_compose.py docker-compose.yaml --example .env.example

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

schema: $(READY) ## Write the JSON schema and the documentation of spec files
	$(BIN)/python scripts/schema.py

vendor: $(READY) ## Fetch the charting library of report and page from the npm registry again, as it is pinned (needs npm)
	$(BIN)/python scripts/vendor.py

env: $(READY) ## Write .env with random secrets, for docker compose
	$(BIN)/python scripts/make_env.py .env.example .env

dataset: $(UV) ## Make the demo's data set again (downloads a model and torch)
	$(UV) run --no-project --python $(PYTHON) scripts/make_dataset.py

bench: $(READY) weaviate ## Measure export, upsert, checks and live writes
	$(BIN)/python -m benchmarks

model: $(READY) ## Explore the whole model of live writes, with every guard and without each (minutes)
	PYTHONPATH=tests $(BIN)/python -m model

soak: $(READY) ## Move the authority under writes, kills, stops and faults; MINUTES=5 SEED= RATE=, or SWITCHES=10 RATE=300 CHAOS=no
	PYTHONPATH=tests $(BIN)/python -m soak --minutes $(MINUTES) $(SOAK)

drift: $(READY) weaviate ## Plant drift in a pair, reconcile it under writes and judge; ROWS=100000 DRIFT=1000 SEED= KILLS= PHASE=TRACK_B
	PYTHONPATH=tests $(BIN)/python -m drift $(DRIFTING)

pairs: $(READY) weaviate ## Move every kind of value between all pairs of databases, and write docs/pairs.md (minutes)
	PYTHONPATH=tests $(BIN)/python -m pairs

chromium: ## Install Debian's Chromium, with which the page in Airflow is tested, where root and apt-get are
	@for each in $(or $(CHROMIUM),chromium chromium-browser google-chrome); do command -v $$each >/dev/null && exit 0; done; \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update -qq && apt-get install -qq --yes --no-install-recommends chromium >/dev/null; \
		else echo "no browser, and no right to install one: have root run apt-get install chromium, or name one with CHROMIUM="; exit 1; fi

pictures: $(READY) ## Make the pictures of the page in Airflow that README and docs show
	PYTHONPATH=tests $(BIN)/python scripts/pictures.py

wheel: $(READY) ## Build the wheel into dist/
	@$(UV) build --wheel --no-build-isolation --python $(BIN)/python --out-dir dist --quiet && ls dist/*.whl

compat: $(READY) ## Move a small collection, and try to forge its approval, in Airflow 3.1, 3.2 and 3.3 (minutes); VERSION= for one of them
	PYTHONPATH=tests $(BIN)/python -m compat $(VERSION)

stop: ## Stop the servers that `make demo` started, and nothing else
	@if [ -e $(FOLDER)/run.json ]; then $(MAKE) --no-print-directory ready && $(BIN)/python -m vectorferry.local.servers.stop $(FOLDER); \
		else echo "nothing was running"; fi

clean: stop ## Stop the servers and remove their data
	rm -rf $(FOLDER) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

distclean: clean ## Remove the environment too
	rm -rf .venv .tools

lock: $(UV) ## Compile requirements.txt from pyproject.toml, and that of the tests
	$(UV) pip compile pyproject.toml --all-extras --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--quiet --output-file requirements.txt $(ARGS)
	$(UV) pip compile tests/requirements.in --constraints requirements.txt --python-version 3.11 --generate-hashes --no-header \
		--no-annotate --no-strip-markers --quiet --output-file tests/requirements.txt $(ARGS)
	$(UV) pip compile tests/pipeline/llamaindex_postgres.in --python-version 3.11 --generate-hashes --no-header \
		--no-annotate --no-strip-markers --quiet --output-file tests/pipeline/llamaindex_postgres.txt $(ARGS)

ready: $(READY)

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
		|| { echo "Python 3.11 or 3.12 is needed; name it with PYTHON="; exit 1; }
	@echo "environment: installing uv $(UV_VERSION) into .tools"
	@$(PYTHON) -m venv --clear .tools
	@.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(READY): | $(UV)
	@echo "environment: installing $$(grep -c '^[a-z]' requirements.txt) packages into .venv"
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --python .venv --require-hashes requirements.txt
	@$(UV) pip install --quiet --python .venv --no-deps --require-hashes --requirement tests/requirements.txt
	@$(UV) pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
	@rm -f .venv/ready-* && touch $@
	@echo "environment: ready"

# Needs only the standard library, so that it goes on while the environment is being made.
weaviate: | $(UV)
ifndef WEAVIATE_URL
	@PYTHONPATH=include $(PYTHON) -m vectorferry.local.servers.weaviate_binary --build >/dev/null
endif
