# `make demo` and `make test` need Python 3.11 or newer, and nothing else prepared.
# Options go through ARGS, as in: make demo ARGS="--port 8080"   make test ARGS="-k callback"
# Another Python: make demo PYTHON=/path/to/python3.12

ARGS =
PYTHON =
export PYTHON
# The tests start hundreds of processes. Where Python may not keep its bytecode (containers often say
# so), each of them would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE
# What runs in one process, without a server, a browser or a database of another.
QUICK = tests/protocol tests/flow tests/web/test_endpoints.py tests/web/test_pages.py \
	tests/web/test_cookies.py tests/test_errors.py tests/test_events.py \
	tests/test_forks.py tests/test_front_doors.py tests/test_rooms.py tests/test_settings.py

.PHONY: help demo test quick types versions dist advisories lint style reference docs lock mutants soak simulate bench clean

help:
	@echo "make demo    run the application and the local Procore, then open a browser"
	@echo "make test    lint, type check and run every test"
	@echo "make quick   lint, type check and the fast tests, in under a minute"
	@echo "make types   check the sample applications with mypy --strict and pyright"
	@echo "make versions  the core of the tests on the oldest versions, and on each Python that is here"
	@echo "make dist    the files of a release, in dist/ (ARGS=--fresh: and try them on each Python here)"
	@echo "make advisories  look the locked packages up in a list of known vulnerabilities (needs the network)"
	@echo "make lint    lint and type check only"
	@echo "make reference  renew the list of public names and the page of errors (from the source)"
	@echo "make docs    build the documentation as a site, in site/"
	@echo "make lock    renew requirements/ from pyproject.toml (maintainers)"
	@echo "make mutants  break the code on purpose: does a test of each security row notice? (10 minutes)"
	@echo "make soak    the long races and crashes of docs/explanation/reliability.md (25 minutes)"
	@echo "make simulate  put known faults back and find them, then run a million schedules (two hours)"
	@echo "make bench   measure against peers (twenty minutes; Linux, nginx, taskset)"
	@echo "make clean   remove what make made; keeps test.db and .env"
	@echo ""
	@echo 'Options go through ARGS: make demo ARGS="--port 8080"'

demo:
	@sh scripts/environment app && exec .venv/bin/python -m procore_signin demo $(ARGS)

test: style
	@sh scripts/tests $(ARGS)

quick: style
	@sh scripts/tests -q $(QUICK) $(ARGS)

types:
	@sh scripts/types

versions:
	@sh scripts/versions $(ARGS)

dist:
	@sh scripts/dist $(ARGS)

advisories:
	@sh scripts/advisories $(ARGS)

lint: style
	@.venv/bin/python -m mypy

style:
	@sh scripts/environment test
	@.venv/bin/python -m ruff check --quiet .
	@.venv/bin/python -m ruff format --check --quiet .

reference:
	@sh scripts/environment test && exec .venv/bin/python tests/support/reference.py

docs:
	@sh scripts/docs $(ARGS)

lock:
	@sh scripts/lock

mutants:
	@sh scripts/environment test
	@PYTHONPATH=tests/support PROCORE_SIGNIN_REQUIRE_DATABASES=1 .venv/bin/python tests/mutants $(ARGS)

soak:
	@sh scripts/environment test
	@PROCORE_SIGNIN_SOAK=long PROCORE_SIGNIN_REQUIRE_DATABASES=1 .venv/bin/python -m pytest -s tests/reliability $(ARGS)

simulate:
	@sh scripts/environment test
	@.venv/bin/python -m tests.simulation --faults
	@.venv/bin/python -m tests.simulation --states $(ARGS)

bench:
	@sh scripts/environment test && sh bench/prepare && cd bench && exec .venv/bin/python -m harness $(ARGS)

clean:
	rm -rf examples/react/node_modules examples/react/dist
	rm -rf .venv .venv-docs .venv-dist .venv-types .venv-lowest .venv-3.* site bench/.venv bench/node/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis artefacts dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
