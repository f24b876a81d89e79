# The whole study from one place. `make help` lists what there is.

include shared/tools.mk
.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets and the variables
	@echo "make TARGET [VARIABLE=value …]"; echo
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target text; do \
	  printf '  %-12s %s\n' "$$target" "$$text"; done
	@echo; echo "Variables:"
	@$(PYTHON) -P -c 'import ast, pathlib; tree = ast.parse(pathlib.Path("shared/bench/bench/settings.py").read_text()); \
	table = next(ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "VARIABLES"); \
	[print(f"  {name:<12} {text}") for name, text in table.items()]'

.PHONY: bench
bench: tools ## measure: PROFILE=smoke unless told otherwise; RUN=<id> continues an interrupted run
	@$(STUDY_PYTHON) -m bench bench

.PHONY: calibrate
calibrate: tools ## how wrong the generator's figures can be here, each beside its goal (5 minutes)
	@$(STUDY_PYTHON) -m bench calibrate

.PHONY: overhead
overhead: tools ## what REST, gRPC, SSE and WebSocket cost by themselves, by payload size
	@$(STUDY_PYTHON) -m bench overhead

.PHONY: crosscheck
crosscheck: tools ## k6 beside Locust and an asyncio client, on a known truth and on one stack
	@$(STUDY_PYTHON) -m bench crosscheck

.PHONY: requests
requests: tools ## write down what k6 sends a stack, for other load generators: GROUP=1 STACK=triton
	@$(STUDY_PYTHON) -m bench requests

.PHONY: replay
replay: tools ## measure a run once more, with all that it was made with, and compare: RUN=<id>
	@$(STUDY_PYTHON) -m bench replay

.PHONY: recompute
recompute: tools ## derive a run's figures again from its raw records and compare: RUN=<id>
	@$(STUDY_PYTHON) -m bench recompute

.PHONY: doctor
doctor: tools ## what this machine can and can't run, and why
	@$(STUDY_PYTHON) -m bench doctor

# Reports have an environment of their own: charts, and the drivers of object storage.
REPORTS := $(BUILD)/envs/reports
$(REPORTS)/ready: reports/requirements.lock $(STUDY)/ready
	@echo "setting up the reports"
	@$(UV) venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(REPORTS)
	@$(UV) pip sync --quiet --require-hashes --compile-bytecode --python $(REPORTS) $<
	@touch $@

# RESULTS=s3://… is asked from there.
ASK := $(if $(findstring ://,$(RESULTS)),$(REPORTS)/bin/python -P,$(STUDY_PYTHON))
ASK_READY := $(if $(findstring ://,$(RESULTS)),$(REPORTS)/ready,tools)

.PHONY: query
query: $(ASK_READY) ## ask the results: Q="select …" or FILE=queries/x.sql; FORMAT=table|csv|json|parquet, OUT=file for parquet
	@$(ASK) -m reports.query --results "$(or $(RESULTS),results)" --format "$(or $(FORMAT),table)" \
	  $(if $(OUT),--out "$(OUT)") $(if $(FILE),--file "$(FILE)","$${Q-}")

.PHONY: export
export: $(ASK_READY) ## every view as a Parquet file, for notebooks: TO=folder
	@test -n "$(TO)" || { echo "export: say where to: make export TO=folder" >&2; exit 2; }
	@$(ASK) -m reports.export --results "$(or $(RESULTS),results)" --to "$(TO)"

.PHONY: sql
sql: $(ASK_READY) ## a SQL prompt with the views loaded
	@$(ASK) -m reports.sql --results "$(or $(RESULTS),results)"

.PHONY: columns
columns: tools ## every column of every view, with its unit and meaning
	@$(STUDY_PYTHON) -m reports.columns

.PHONY: validate
validate: tools ## check every results file against its schema
	@$(STUDY_PYTHON) -m reports.validate --results "$(or $(RESULTS),results)"

.PHONY: submit
submit: tools ## check a run and pack it to be sent: RUN=<id>, TO=file; CHECK=file checks a pack that you got
	@$(STUDY_PYTHON) -m reports.submit --results "$(or $(RESULTS),results)" $(if $(RUN),--run "$(RUN)") \
	  $(if $(TO),--to "$(TO)") $(if $(CHECK),--check "$(CHECK)")

.PHONY: tables
tables: tools ## renew the documents' measured tables from the newest calibrate, overhead and crosscheck
	@$(STUDY_PYTHON) -m reports.tables

# The pages' own tests need a browser as well: another environment, so that a report needs none of it.
REPORTS_TEST := $(BUILD)/envs/reports-test
$(REPORTS_TEST)/ready: reports/requirements.test.lock $(STUDY)/ready
	@echo "setting up the reports' tests"
	@$(UV) venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(REPORTS_TEST)
	@$(UV) pip sync --quiet --require-hashes --compile-bytecode --python $(REPORTS_TEST) $<
	@touch $@

.PHONY: report
report: $(REPORTS)/ready ## HTML pages that open offline: GROUP, RUN; OPEN=1 shows them, WATCH=1 rebuilds while a run goes on
	@$(REPORTS)/bin/python -P -m pages --results "$(or $(RESULTS),results)" $(if $(GROUP),--group "$(GROUP)") \
	  $(if $(RUN),--run "$(RUN)") $(if $(OPEN),--open) $(if $(WATCH),--watch)

.PHONY: compare
compare: $(REPORTS)/ready ## a page of what differs between two runs or two commits: A=… B=…
	@test -n "$(A)" -a -n "$(B)" || { echo "compare: name two runs or commits: make compare A=… B=…" >&2; exit 2; }
	@$(REPORTS)/bin/python -P -m pages.compare --results "$(or $(RESULTS),results)" "$(A)" "$(B)"

# Two things are served: a stack, named; or the report of whatever is being measured.
.PHONY: serve
serve: $(if $(STACK),tools,$(REPORTS)/ready) ## the report, built again while a run goes on; GROUP=1 STACK=triton: that stack, by hand
ifneq ($(STACK),)
	@$(STUDY_PYTHON) -m bench serve
else
	@$(MAKE) report WATCH=1
endif

.PHONY: template
template: tools ## a stack as a service of your own: STACK=1-image-classification/triton TO=../my-service
	@$(STUDY_PYTHON) -m bench template

.PHONY: image
image: tools ## build a stack's container image: GROUP=1 STACK=triton; BASE=… instead of the Dockerfile's base
	@$(STUDY_PYTHON) -m bench image

.PHONY: generator
generator: tools ## build the load generator, with a Go of its own where there is none (the first run does it itself)
	@$(STUDY_PYTHON) -m bench k6

.PHONY: test
test: tools $(REPORTS_TEST)/ready ## all tests, the end-to-end smoke run included
	@$(STUDY_PYTHON) -m bench k6
	@cd shared/k6 && PATH="$(CURDIR)/$(BUILD)/tools/go/bin:$$PATH" GOTOOLCHAIN=local GOFLAGS=-mod=readonly CGO_ENABLED=0 go test ./...
	@$(STUDY_PYTHON) -m pytest -m "not slow"
	@$(REPORTS_TEST)/bin/python -P -m pytest -m "not slow" reports/pages/tests

.PHONY: test-stack
test-stack: tools ## one stack's own tests, against its server: STACK=1-image-classification/triton
	@test -d "groups/$(STACK)/tests" || { echo "STACK=$(STACK): name it as <group>/<stack>, with its tests" >&2; exit 2; }
	@$(STUDY_PYTHON) -m pytest "groups/$(STACK)/tests"

.PHONY: test-all
test-all: tools $(REPORTS_TEST)/ready ## also what takes long
	@$(STUDY_PYTHON) -m bench k6
	@cd shared/k6 && PATH="$(CURDIR)/$(BUILD)/tools/go/bin:$$PATH" GOTOOLCHAIN=local GOFLAGS=-mod=readonly CGO_ENABLED=0 go test ./...
	@$(STUDY_PYTHON) -m pytest
	@$(REPORTS_TEST)/bin/python -P -m pytest reports/pages/tests

# The packaged Go where there is one: the first run sets it up if PATH's is missing or too old. Else PATH's.
GO := PATH="$(CURDIR)/$(BUILD)/tools/go/bin:$$PATH" go
.PHONY: go-here
go-here:
	@PATH="$(CURDIR)/$(BUILD)/tools/go/bin:$$PATH" command -v go >/dev/null || { \
	  echo "there is no Go here: install 1.26 or newer, or run make bench once, which brings one" >&2; exit 2; }

LINT := $(BUILD)/envs/lint
$(LINT)/ready: shared/bench/requirements.lint.lock $(STUDY)/ready
	@$(UV) venv --quiet --clear $(LINT)
	@$(UV) pip sync --quiet --require-hashes --python $(LINT) $<
	@touch $@

.PHONY: lint
lint: $(LINT)/ready $(REPORTS)/ready go-here lint-workflows ## ruff, pyright, gofmt, vet, staticcheck, sqlfluff, hadolint, and lint-workflows
	@$(LINT)/bin/ruff check . && $(LINT)/bin/ruff format --check .
	@$(LINT)/bin/pyright && $(LINT)/bin/pyright -p reports
	@cd shared/metrics/sql && $(CURDIR)/$(LINT)/bin/sqlfluff lint --dialect duckdb -q .
	@cd results/views && $(CURDIR)/$(LINT)/bin/sqlfluff lint --dialect duckdb -q .
	@cd queries && $(CURDIR)/$(LINT)/bin/sqlfluff lint --dialect duckdb -q .
	@cd shared/k6 && unformatted=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) && \
	  { test -z "$$unformatted" || { echo "run make format for shared/k6: $$unformatted" >&2; exit 1; }; }
	@cd shared/k6 && CGO_ENABLED=0 $(GO) vet ./...
	@cd shared/k6 && CGO_ENABLED=0 $(GO) tool -modfile=../supply/go.mod staticcheck ./...
	@$(LINT)/bin/hadolint groups/*/*/Dockerfile

SUPPLY := $(BUILD)/envs/supply
$(SUPPLY)/ready: shared/supply/requirements.lock $(STUDY)/ready
	@$(UV) venv --quiet --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(SUPPLY)
	@$(UV) pip sync --quiet --require-hashes --python $(SUPPLY) $<
	@touch $@

.PHONY: audit
audit: $(SUPPLY)/ready ## known vulnerabilities of all locks, and licences; what can't be checked is said
	@PYTHONPATH=shared/supply $(SUPPLY)/bin/python -P -m supply audit

.PHONY: sbom
sbom: $(SUPPLY)/ready ## a CycloneDX bill of materials of each lock and of each image that is here, in .build/sbom
	@PYTHONPATH=shared/supply $(SUPPLY)/bin/python -P -m supply sbom

.PHONY: lint-workflows
lint-workflows: $(SUPPLY)/ready go-here ## actionlint and zizmor over .github
	@$(GO) -C shared/supply tool actionlint
	@$(SUPPLY)/bin/zizmor --offline --quiet .

.PHONY: format
format: $(LINT)/ready go-here ## format the Python and Go code
	@$(LINT)/bin/ruff check --fix . ; $(LINT)/bin/ruff format .
	@cd shared/k6 && "$$($(GO) env GOROOT)/bin/gofmt" -w .

.PHONY: clean
clean: no-images ## free what was built: tools, environments, artefacts, images (results stay)
	@rm -rf $(BUILD) && echo "removed $(BUILD)/"
