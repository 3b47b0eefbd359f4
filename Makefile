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

PYTEST = .venv/bin/python -m pytest -n auto --maxprocesses 4
# Types are checked beside the tests: what mypy says comes after what they say, and each can fail it.
define beside_types
@.venv/bin/python -m mypy >.venv/mypy.log 2>&1 & types=$$!; \
	$(1); tests=$$?; \
	wait $$types; types=$$?; cat .venv/mypy.log; exit $$((tests + types))
endef

.PHONY: help demo test quick lint style reference docs lock soak bench clean

help:
	@echo "make demo    run the application and the local Procore, then open a browser"
	@echo "make test    lint, type check and run every test"
	@echo "make quick   lint, type check and the fast tests, in under a minute"
	@echo "make lint    lint and type check only"
	@echo "make reference  renew the list of public names and the page of errors (from the source)"
	@echo "make docs    build the documentation as a site, in site/"
	@echo "make lock    renew requirements/ from pyproject.toml (maintainers)"
	@echo "make soak    the long races and crashes of docs/explanation/reliability.md (25 minutes)"
	@echo "make bench   measure against peers (twelve minutes; Linux, nginx, taskset)"
	@echo "make clean   remove what make made; keeps test.db and .env"
	@echo ""
	@echo 'Options go through ARGS: make demo ARGS="--port 8080"'

demo:
	@sh scripts/environment app && exec .venv/bin/python -m procore_signin demo $(ARGS)

test: style
	$(call beside_types,$(PYTEST) $(ARGS))

quick: style
	$(call beside_types,$(PYTEST) -q $(QUICK) $(ARGS))

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

soak:
	@sh scripts/environment test
	@PROCORE_SIGNIN_SOAK=long PROCORE_SIGNIN_REQUIRE_DATABASES=1 .venv/bin/python -m pytest -s tests/reliability $(ARGS)

bench:
	@sh scripts/environment test && sh bench/prepare && cd bench && exec .venv/bin/python -m harness $(ARGS)

clean:
	rm -rf .venv .venv-docs site bench/.venv bench/node/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis artefacts dist
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
