# Two commands for a newcomer: `make demo` and `make test`. Each sets up what it needs on a bare machine.
PYTHON ?= $(shell sh env/find-python 3.11 3.12 3.13)
# a second environment with the other supported scvi-tools, where its Python is there
PYTHON_SECOND ?= $(shell sh env/find-python 3.12)
VENV ?= .venv
VENV_SECOND ?= .venv-py312
PIP_FLAGS = --quiet --disable-pip-version-check -c constraints.txt
PYTEST = -m pytest -n 2 --dist worksteal -q
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-second check format docs clean

demo: $(VENV)/.with-package
	OMP_NUM_THREADS=2 $(VENV)/bin/betascvi demo --out demo/

test: $(VENV)/.with-tests
	$(VENV)/bin/python $(PYTEST)
ifdef CI
	$(MAKE) test-second
endif

test-second:
	@if [ -z "$(PYTHON_SECOND)" ]; then \
		echo "NOT RUN: no Python 3.12 here, so scvi-tools 1.5 was not tested"; \
	else $(MAKE) $(VENV_SECOND)/.with-tests && $(VENV_SECOND)/bin/python $(PYTEST); fi

check: $(VENV)/.with-tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/.with-tests
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(VENV)/.with-docs
	$(VENV)/bin/sphinx-build -W --keep-going -b html docs docs/_build/html

$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "betascvi needs Python 3.11, 3.12 or 3.13 and found none"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV_SECOND)/bin/python:
	$(PYTHON_SECOND) -m venv $(VENV_SECOND)

$(VENV)/.with-package: $(VENV)/bin/python pyproject.toml constraints.txt
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) torch
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) -e .
	touch $@

$(VENV)/.with-tests: $(VENV)/.with-package
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) -e ".[dev]"
	touch $@

$(VENV)/.with-docs: $(VENV)/.with-package
	$(VENV)/bin/python -m pip install $(PIP_FLAGS) -e ".[clustering,doc]"
	touch $@

$(VENV_SECOND)/.with-tests: $(VENV_SECOND)/bin/python pyproject.toml constraints.txt
	$(VENV_SECOND)/bin/python -m pip install $(PIP_FLAGS) torch
	$(VENV_SECOND)/bin/python -m pip install $(PIP_FLAGS) -e ".[test]"
	touch $@

clean:
	rm -rf demo docs/_build $(VENV) $(VENV_SECOND)
