# The pinned tools in .build/: uv, and the runner's own environment. Whoever includes this stands at the top of a
# checkout, or of a service made by `make template`.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

# The design's variables reach the runner through the environment: make passes on what it was given.

PYTHON ?= python3
BUILD := .build
STUDY := $(BUILD)/envs/study
export PYTHONPATH := $(CURDIR)/shared/bench:$(CURDIR)/shared/metrics:$(CURDIR)/shared/client:$(CURDIR)/reports
export UV_PYTHON_DOWNLOADS := never
STUDY_PYTHON := $(STUDY)/bin/python -P

# `nix develop` brings a uv and says so in STUDY_UV: then none is downloaded.
UV := $(or $(STUDY_UV),$(BUILD)/tools/venv/bin/uv)
UV_READY := $(if $(STUDY_UV),,$(BUILD)/tools/venv/ready)

.PHONY: tools
tools: $(STUDY)/ready ## set up uv and the runner's own environment (the other targets do it themselves)

$(BUILD)/tools/venv/ready: shared/bench/requirements.uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "needs Python 3.11 or newer, $$($(PYTHON) --version) found: set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "setting up uv"
	@rm -rf $(BUILD)/tools/venv && $(PYTHON) -m venv $(BUILD)/tools/venv
	@$(BUILD)/tools/venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(STUDY)/ready: shared/bench/requirements.lock $(UV_READY)
	@echo "setting up the runner"
	@$(UV) venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(STUDY)
	@$(UV) pip sync --quiet --require-hashes --compile-bytecode --python $(STUDY) $<
	@touch $@

# `make clean`: the images that were built from here, in whatever engine there is.
.PHONY: no-images
no-images:
	@for engine in docker podman nerdctl; do ! command -v $$engine >/dev/null || { \
	  $$engine images -q --filter "label=inference-study=$(CURDIR)" 2>/dev/null | sort -u | xargs -r $$engine rmi -f >/dev/null; } || true; done
