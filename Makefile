# What you can do here. `make help` lists it.
PYTHON = .venv/bin/python
# Six at a time, however few the processors: many of them wait for something now and then.
PYTEST = $(PYTHON) -m pytest --dist worksteal --numprocesses 6
# Each of them would compile all tests each time.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help demo demo-cluster demo-dashboard demo-web screenshots test-unit test test-all test-bare test-role faults bench bench-quick bench-catalogue fuzz lint format types layers check pins docs reference set-up clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: set-up ## bring experiments home from a simulated facility, and compare
	@$(PYTHON) -m simulator.demo

demo-cluster: set-up ## one experiment by two workers of a Dask cluster, one of which is killed (2 minutes)
	@$(PYTHON) -m simulator.demo_cluster

demo-dashboard: set-up ## the dashboard of what `make demo` did, until Ctrl-C
	@$(PYTHON) -m simulator.demo_dashboard

demo-web: set-up ## a facility with transfers going on, and the dashboard of it, until Ctrl-C
	@$(PYTHON) -m simulator.demo_web

screenshots: ## the pictures of the dashboard in the docs (needs Chromium)
	@scripts/set-up --all
	@$(PYTHON) -m simulator.screenshots

test-unit: ## the pure tests, which need Python alone (about 45 s on two processors)
	@scripts/set-up --unit
	@$(PYTEST) --numprocesses auto --hypothesis-profile quick -m "not extra and not postgres" tests/unit

test: set-up ## tests against a real sshd, rsync, portal and mail server (7 minutes)
	@$(PYTEST) -m "not extra"

test-all: ## test, and what needs more time, Debian packages or rights (16 minutes)
	@scripts/set-up --all
	@$(PYTEST) -m "not extra"
	@$(PYTEST) -m extra

test-bare: ## `make demo test` on bare Debian 12 and 13, as root and as a user (root, an hour; SUITE, USER)
	@scripts/test-bare $(if $(findstring command line,$(origin USER)),$(USER))

test-role: ## the Ansible role on a bare Debian with systemd, twice, and its service (root, 5 minutes; SUITE)
	@scripts/set-up --deploy
	@scripts/test-role

faults: set-up ## bring experiments home while all goes wrong, 200 times (root: disks fill, too; RUNS, SEED, JOBS, ONLY)
	@$(PYTHON) -m tests.faults

worlds: set-up ## decide in drawn worlds of 100 days, 10,000 of them, and ask an oracle (WORLDS, SEED, DAYS, JOBS)
	@$(PYTHON) -m tests.worlds

bench: ## how fast experiments come home, against other programs (root, 90 minutes; OUT, DATA, RTT, PEERS, ROUNDS, CAP)
	@scripts/set-up --bench
	@$(PYTHON) -m benchmarks
	@$(PYTHON) -m benchmarks.decisions
	@$(PYTHON) -m benchmarks.dashboard
	@$(PYTHON) -m benchmarks.viewers

bench-quick: ## the same in five minutes: less data, fewer distances, one round
	@scripts/set-up --bench
	@$(PYTHON) -m benchmarks --quick

bench-catalogue: set-up ## how fast the catalogue takes files in (ROWS, ROUNDS)
	@$(PYTHON) -m benchmarks.catalogue

fuzz: set-up ## feed nonsense to the parsers of what comes from outside, for FUZZ_SECONDS (60) in all
	@.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@corpus=$$(mktemp -d); trap 'rm -r "$$corpus"' EXIT; export FUZZ_SECONDS=$$(($${FUZZ_SECONDS:-60} / 4)); \
	for parser in packets portal rsync_output journal; do \
		echo "fuzz: $$parser"; mkdir "$$corpus/$$parser"; \
		$(PYTHON) -m tests.fuzz.$$parser "$$corpus/$$parser" || exit; \
	done

lint: set-up ## ruff: style and mistakes
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

types: set-up ## mypy --strict
	@.venv/bin/mypy

layers: set-up ## import-linter: the layers of docs/architecture.md
	@.venv/bin/lint-imports

docs: ## these pages as a site, in docs/_build: searchable, works offline
	@scripts/set-up --docs
	@.venv/bin/sphinx-build -q -W -n -b html docs docs/_build

reference: set-up ## write the pages of the commands and the man pages from the code
	@$(PYTHON) scripts/reference.py

check: lint types layers docs test-all ## all that CI runs

format: set-up ## let ruff format the code
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

pins: set-up ## pin the dependencies of pyproject.toml anew, with hashes (needs uv)
	@scripts/pins

set-up: ## make .venv, install what is missing (test and demo do)
	@scripts/set-up

clean: ## remove what the targets made
	@rm -rf .venv docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
