# make demo        the main job: base -> SFT -> reward model -> PPO -> evaluation -> report -> chat
# make demo QUICK=1   the same, smaller, in a few minutes; SERVE=0 ends after the report
# make test        the fast tests;  make test-slow  the rest;  make check  lint, types;  make mutants  break it on purpose
# make web         the web app into src/accordant/serve/page (when its sources changed);  make api  its types from the service
# make bench       how fast it is, against peers and the machine (docs/benchmarks.md);  make test-gpu  on a GPU as on the CPU

PYTHON ?= python3
BIN := .venv/bin
export ACCORDANT_HOME ?= $(CURDIR)/workspace
RECIPE := recipes/$(if $(QUICK),quick,starter).toml
RUN := $(if $(QUICK),quick,starter)
SERVE ?= 1
PORT ?= 0

NPM := $(BIN)/python web/npm.py
# Without npm's registry everything else still works; what needs the page says that it is not built.
WITH_NPM := test ! -e web/node_modules/installed ||
PAGE := src/accordant/serve/page/index.html
WEB_SOURCES := $(shell find web -path web/node_modules -prune -o -type f -print)

.PHONY: demo test test-slow test-gpu check mutants bench web api clean

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

web: $(PAGE)

$(PAGE): $(WEB_SOURCES) web/node_modules/installed
	$(WITH_NPM) $(NPM) run --silent build

web/node_modules/installed: web/package-lock.json .venv/installed
	$(NPM) ci --loglevel error --fetch-retries 1 --fetch-timeout 30000 && touch $@ || echo "the web app is left out: npm could not install what it is built with"

api: web/node_modules/installed
	$(BIN)/python web/api.py

demo: .venv/installed web
	$(BIN)/accordant doctor $(RECIPE)
	$(BIN)/accordant round $(RECIPE)
	@echo
	@echo "talk to it in the terminal:  ACCORDANT_HOME=$(ACCORDANT_HOME) $(BIN)/accordant chat $(RUN)"
ifneq ($(SERVE),0)
	$(BIN)/accordant serve $(RUN) --port $(PORT)
endif

test: .venv/installed web
	$(WITH_NPM) $(NPM) run --silent test
	$(BIN)/python -m pytest

test-gpu: .venv/installed
	$(BIN)/python -m pytest -m gpu

test-slow: .venv/installed
	$(BIN)/python -m pytest -m "slow and not gpu"

check: .venv/installed web/node_modules/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(WITH_NPM) $(NPM) run --silent types
	$(WITH_NPM) $(NPM) run --silent lint
	$(BIN)/python -m pytest tests/test_architecture.py "tests/rounds/test_round.py::test_every_recipe_field_is_read_by_a_round"

mutants: .venv/installed
	$(BIN)/python tests/mutants/run.py

bench: .venv/bench-installed web
	$(BIN)/python -m benchmarks.run

.venv/bench-installed: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,bench]"
	touch $@

clean:
	rm -rf .venv workspace web/node_modules src/accordant/serve/page
