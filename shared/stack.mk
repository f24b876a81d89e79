# The four commands of a stack folder, where it lies. A copy made by `make template` has the same four.

ROOT := $(patsubst %/shared/stack.mk,%,$(abspath $(lastword $(MAKEFILE_LIST))))
NAME := $(notdir $(abspath $(CURDIR)/..))/$(notdir $(CURDIR))
THERE := $(MAKE) --no-print-directory -C $(ROOT)

.PHONY: help run test bench image
help:
	@echo "make run    start the server on this machine; Ctrl-C stops it"
	@echo "make test   its tests, against the server"
	@echo "make bench  measure it: PROFILE=smoke unless told otherwise"
	@echo "make image  build its container"
run:
	@$(THERE) serve STACK=$(NAME)
test:
	@$(THERE) test-stack STACK=$(NAME)
bench:
	@$(THERE) bench STACK=$(NAME)
image:
	@$(THERE) image STACK=$(NAME)
