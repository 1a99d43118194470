# Everything that one does here. `make` alone lists it; needs Python 3.11 and, to compile, a C compiler.
# ARGS goes to the tool: make test ARGS="tests/wire -k parser", make run ARGS="--bind 0.0.0.0:5672".

.DEFAULT_GOAL := help
.PHONY: help run demo test check compile interop beside fuzz crash bench clean

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
ARGS ?=

# Development is done in .venv, where the package is installed in place; what users get is
# installed in .venv-run.
DEV := .venv
RUN := .venv-run
PIP := python -m pip --disable-pip-version-check -q -q
SOURCES := setup.py pyproject.toml $(shell find amqbroker -name '*.py')

help:
	@echo 'make run      install the broker (compiled, if there is a C compiler) and start it on 127.0.0.1:5672'
	@echo 'make demo     run the examples: a work queue, publish and subscribe, a Celery task, administration'
	@echo 'make test     run the tests'
	@echo 'make check    formatting, lint, types, and the rules of the house'
	@echo 'make compile  compile the package in place; make clean goes back to interpreted'
	@echo 'make interop  clients in seven languages against the broker; skips what is not installed'
	@echo 'make beside   RabbitMQ and the broker side by side: where do clients see a difference?'
	@echo 'make fuzz     damaged and random bytes against the broker'
	@echo 'make crash    kill a loaded broker again and again; nothing that it confirmed may be lost'
	@echo 'make bench    measure'
	@echo 'make clean    remove what the others made'

run: $(RUN)/.ready
	@$(RUN)/bin/amqbroker --version
	$(RUN)/bin/amqbroker $(ARGS)

demo: $(DEV)/.ready
	$(DEV)/bin/$(PIP) install -r interop/requirements.txt
	set -e; for each in examples/*.py; do echo "--- $$each"; PYTHONPATH=$(CURDIR) $(DEV)/bin/python $$each; done

test: $(DEV)/.ready
	$(DEV)/bin/python -m pytest $(ARGS)

check: $(DEV)/.ready
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check --output-format=concise .
	$(DEV)/bin/mypy
	$(DEV)/bin/python -m pytest -q tests/test_floors.py

compile: $(DEV)/.ready
	AMQBROKER_REQUIRE_COMPILED=1 $(DEV)/bin/python setup.py -q build_ext --inplace

interop: $(DEV)/.ready
	$(DEV)/bin/$(PIP) install -r interop/requirements.txt
	$(DEV)/bin/python -m interop $(ARGS)

beside: $(DEV)/.ready
	$(DEV)/bin/$(PIP) install -r interop/requirements.txt
	$(DEV)/bin/python -m interop.beside $(ARGS)
	$(DEV)/bin/python -m interop.definitions

fuzz: $(DEV)/.ready
	$(DEV)/bin/python -m fuzz $(ARGS)

crash: $(DEV)/.ready
	$(DEV)/bin/python -m tests.durability $(ARGS)

bench: $(DEV)/.ready
	set -e; for each in benchmarks/[a-z]*.py; do echo "$$each"; PYTHONPATH=. $(DEV)/bin/python $$each $(ARGS); done

clean:
	rm -rf build dist *.egg-info *__mypyc*.so $(DEV) $(RUN)
	find amqbroker -name '*.so' -delete

$(DEV)/.ready: pyproject.toml setup.py | python
	test -x $(DEV)/bin/python || $(PYTHON) -m venv $(DEV)
	AMQBROKER_PURE=1 $(DEV)/bin/$(PIP) install -e '.[dev,fast]'
	touch $@

# build/lib would bring back modules that are gone.
$(RUN)/.ready: $(SOURCES) | python
	@echo 'Installing; compiling takes a minute or two.'
	test -x $(RUN)/bin/python || $(PYTHON) -m venv $(RUN)
	rm -rf build/lib*
	$(RUN)/bin/$(PIP) install '.[fast]'
	touch $@

.PHONY: python
python:
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer is needed (make PYTHON=/path/to/python3)'; exit 1; }
