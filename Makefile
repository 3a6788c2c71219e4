# Everything here works in a fresh clone, in a path with spaces, as root and as an ordinary user. It needs git, make and
# Python 3.11 or newer; whatever else there is comes hashed from requirements/ into .venv, and pip's cache is the user's own.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?=
ARGS ?=
PYTEST_ARGS ?=

venv := .venv
py := $(venv)/bin/python
pip := $(py) -m pip --disable-pip-version-check --quiet
made := $(venv)/.made-in
has_run := $(venv)/.has-run
has_dev := $(venv)/.has-dev
has_kustomize := $(venv)/.has-kustomize
has_fuzz := $(venv)/.has-fuzz
has_release := $(venv)/.has-release
protos := $(wildcard proto/nodetell/v1/*.proto)

# The scripts of a virtual environment hold its absolute path, and it leads to a system's Python: one that was moved, or
# whose Python is gone, is made anew. At the start, because make looks at each file once.
ifneq ($(shell [ -d $(venv) ] && [ -e $(made) ] && { [ "$$(cat $(made))" != "$$(pwd)" ] || [ ! -x $(py) ]; } && echo stale),)
$(info $(venv) was made in another place or its Python is gone: making it anew)
$(shell rm -rf $(venv))
endif

.PHONY: help
help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: $(has_run) ## .venv with the nodetell command in it
	@echo "$(venv)/bin/nodetell is ready"

.PHONY: run
run: $(has_run) ## an aggregator and an agent of this very host, on loopback; ARGS goes to `nodetell up`
	@$(venv)/bin/nodetell up --own-terminal $(ARGS)

.PHONY: test
test: $(has_dev) $(has_kustomize) lint proto-check ## all checks, then all tests; PYTEST_ARGS goes to pytest
	@$(py) -m pytest --numprocesses=2 --dist=loadscope $(PYTEST_ARGS)

.PHONY: dev
dev: $(has_dev) ## .venv with the tools of the tests in it too

.PHONY: lint
lint: $(has_dev) ## ruff, mypy --strict, import contracts
	@status=0; \
	$(venv)/bin/ruff check --quiet . || status=1; \
	$(venv)/bin/ruff format --check --quiet . || { $(venv)/bin/ruff format --check . | grep '^Would'; status=1; }; \
	$(py) -m mypy || status=1; \
	contracts=$$(PYTHONPATH=.:proto $(venv)/bin/lint-imports --no-cache) || { echo "$$contracts"; status=1; }; \
	exit $$status

# $(call protoc,DIRECTORY): stubs into DIRECTORY; those of services only for files that have some.
define protoc
$(py) -m grpc_tools.protoc -Iproto --python_out="$(1)" --pyi_out="$(1)" $(patsubst proto/%,%,$(protos)) && \
$(py) -m grpc_tools.protoc -Iproto --grpc_python_out="$(1)" nodetell/v1/agent.proto nodetell/v1/operator.proto
endef

.PHONY: docs
docs: $(has_run) ## the page of codes and thresholds, anew from their tables
	@$(py) -m cli.signatures > docs/thresholds.md

.PHONY: proto
proto: $(has_dev) ## the stubs beside the .proto files, anew
	@rm -f proto/nodetell/v1/*_pb2.py proto/nodetell/v1/*_pb2.pyi proto/nodetell/v1/*_pb2_grpc.py
	@$(call protoc,proto)

.PHONY: proto-check
proto-check: $(has_dev) ## fails where the stubs are not what the .proto files say
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	$(call protoc,$$scratch) && \
	diff -r -q -x '*.proto' -x '__init__.py' -x __pycache__ "$$scratch/nodetell/v1" proto/nodetell/v1 \
		|| { echo "make: stubs are stale: run 'make proto' and commit what it changes" >&2; exit 1; }

.PHONY: bench
bench: $(has_dev) ## CPU and memory beside node_exporter's, in one run (root; ARGS goes to bench/sweep.py)
	@$(py) -m bench.sweep $(ARGS)

.PHONY: bench-rivals
bench-rivals: $(has_dev) ## the agent beside node_exporter, netdata and collectd (root; ARGS goes to bench/rivals.py)
	@$(py) -m bench.rivals $(ARGS)

.PHONY: crash
crash: $(has_dev) ## the aggregator is killed 200 times under load: is all there that it acknowledged? (ARGS: --kills, --seed)
	@$(py) -m tests.crash.harness $(ARGS)

.PHONY: storm
storm: $(has_dev) ## 2,000 agents come back at once to an aggregator that was killed (ARGS: --mtls, --agents, --away)
	@PYTHONPATH=proto $(py) -m bench.storm $(ARGS)

.PHONY: flood
flood: $(has_dev) ## what 199 agents wait for while one floods (ARGS goes to bench.flood: --agents, --only)
	@PYTHONPATH=proto $(py) -m bench.flood $(ARGS)

.PHONY: soak
soak: $(has_dev) ## days in minutes: does either role grow? (ARGS goes to bench.soak: --hours, --only agent)
	@PYTHONPATH=proto $(py) -m bench.soak $(ARGS)

.PHONY: mutation
mutation: $(has_dev) ## which changes of the signatures no test notices (ARGS goes to bench/mutation.py: modules, --minutes)
	@$(py) -m bench.mutation $(ARGS)

.PHONY: fuzz
fuzz: $(has_fuzz) ## a million cases for each family of parsers: hours (ARGS goes to fuzz: targets, --runs, --keep)
	@$(py) -m fuzz $(ARGS)

.PHONY: lock
lock: ## requirements/*.txt anew from pyproject.toml (needs uv; LOCK_OPTIONS= keeps the versions that are there)
	@command -v uv >/dev/null || { echo "make: uv makes the lock files and is not here: pip install uv" >&2; exit 1; }
	$(call lock_role,dev,--extra dev)
	$(call lock_role,run,--extra cli --extra top --extra build -c requirements/dev.txt)
	$(call lock_role,image,--extra cli -c requirements/dev.txt)
	$(call lock_role,agent,--extra agent -c requirements/dev.txt)
	$(call lock_role,aggregator,--extra aggregator -c requirements/dev.txt)
	$(call lock_role,fuzz,--extra fuzz -c requirements/dev.txt)
	$(call lock_role,release,--extra release -c requirements/dev.txt)
LOCK_OPTIONS ?= --upgrade
lock_options := --quiet --generate-hashes --no-emit-index-url --no-header --universal --python-version 3.11

# $(call lock_role,NAME,EXTRAS): what is tested is what is shipped, so the versions of the first lock bind the others.
define lock_role
uv pip compile $(lock_options) $(LOCK_OPTIONS) $(2) -o requirements/$(1).txt pyproject.toml
endef

.PHONY: audit
audit: $(has_release) ## known vulnerabilities of every locked version, of the package index (ARGS: roles)
	@$(py) -m release.audit $(ARGS)

.PHONY: sbom
sbom: $(has_release) ## dist/sbom/: what each role is made of, with hashes and licences (CycloneDX)
	@$(py) -m release.sbom

.PHONY: licences
licences: $(has_release) ## docs/licences.md anew from what the locked distributions say of themselves
	@$(py) -m release.licences

.PHONY: manifests
manifests: $(has_dev) $(has_kustomize) ## what `nodetell install` prints, anew from manifests/overlays
	@$(py) -m release.kustomize

.PHONY: chart
chart: $(has_run) ## dist/nodetell-VERSION.tgz: the Helm chart, the same each time
	@$(py) -m release.chart

.PHONY: screenshots
screenshots: $(has_dev) ## docs/images/*.png: the page, of bundles made of the tests' scenarios (needs chromium; ARGS: names)
	@$(py) -m release.screenshots $(ARGS)

.PHONY: man
man: $(has_run) ## dist/man/nodetell*.1: manual pages, made from the command's own help
	@$(py) -m release.manual

.PHONY: image-rootfs
image-rootfs: $(has_run) ## build/rootfs: the very file tree of the image, made without a container engine
	@rm -rf build/packages build/rootfs && mkdir -p build
	@$(pip) install --no-compile --target build/packages --only-binary :all: --require-hashes -r requirements/image.txt
	@$(pip) install --no-compile --target build/packages --no-build-isolation --no-deps .
	@$(py) -m release.rootfs build/rootfs --packages build/packages

.PHONY: image-archive
image-archive: image-rootfs ## dist/nodetell-image.tar: that tree as an image that `docker load` and `ctr image import` take
	@mkdir -p dist && $(py) -m release.archive build/rootfs dist/nodetell-image.tar

.PHONY: clean
clean: ## without .venv and caches
	rm -rf $(venv) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find agent aggregator cli proto tests bench fuzz -name __pycache__ -type d -prune -exec rm -rf {} +

# The first Python that will do, in $$python. A pyenv shim exists and does not run: so each is tried.
define find_python
python=; without_venv=; \
for candidate in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
	"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	if "$$candidate" -c 'import venv, ensurepip' 2>/dev/null; then python=$$candidate; break; fi; \
	without_venv="$$without_venv $$candidate"; \
done; \
if [ -z "$$python" ] && [ -n "$$without_venv" ]; then \
	echo "make:$$without_venv cannot make virtual environments (no module venv or ensurepip); on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
elif [ -z "$$python" ]; then \
	echo "make: Python 3.11 or newer is needed; found: $$( { $(or $(PYTHON),python3) --version; } 2>&1 | head -n 1). 'make PYTHON=/path/to/python' takes another" >&2; exit 1; \
fi
endef

$(made):
	@$(find_python); \
	[ -w . ] || { echo "make: $$PWD is not writable for $$(id -un): clone it somewhere that is" >&2; exit 1; }; \
	echo "making $(venv) with $$("$$python" --version)"; \
	"$$python" -m venv --clear $(venv) && pwd > $@

$(has_run): requirements/run.txt pyproject.toml $(made)
	@echo "installing what it needs to run (requirements/run.txt)"
	@$(pip) install --only-binary :all: --require-hashes -r requirements/run.txt
	@$(pip) install --no-build-isolation --no-deps -e .
	@touch $@

$(has_dev): requirements/dev.txt $(has_run)
	@echo "installing what its tests need (requirements/dev.txt)"
	@$(pip) install --only-binary :all: --require-hashes -r requirements/dev.txt
	@touch $@

$(has_fuzz): requirements/fuzz.txt $(has_dev)
	@echo "installing the fuzzer (requirements/fuzz.txt)"
	@$(pip) install --only-binary :all: --require-hashes -r requirements/fuzz.txt
	@touch $@

$(has_release): requirements/release.txt $(has_dev)
	@echo "installing what a release needs (requirements/release.txt)"
	@$(pip) install --only-binary :all: --require-hashes -r requirements/release.txt
	@touch $@

# A shared library within a distribution that asks for a newer Python, which nothing here runs. Where it can't be had, what
# needs it is skipped and says so.
$(has_kustomize): release/kustomize.txt $(has_run)
	@rm -rf $(venv)/kustomize && mkdir $(venv)/kustomize
	@$(pip) download --no-deps --python-version 3.14 --only-binary :all: --require-hashes -r $< -d $(venv)/kustomize \
		&& $(py) -m zipfile -e $(venv)/kustomize/*.whl $(venv)/kustomize && rm -f $(venv)/kustomize/*.whl \
		&& rm -rf $(venv)/kustomize/*.data || echo "make: kustomize could not be had; what needs it is left out" >&2
	@touch $@
