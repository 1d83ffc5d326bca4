# Two commands are enough to begin: `make run` and `make test`. Each sets up what it needs; `make help` shows the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export CGO_ENABLED := 0
GO       ?= go
COMMIT   := $(shell git rev-parse HEAD 2>/dev/null)
LDFLAGS  := -s -w -X github.com/pandodb/pando/services/internal/release.linked=$(COMMIT)
CACHE    := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)
# The race detector needs a C compiler. Packages without goroutines, locks or atomics have nothing for it to find.
RACE     := $(if $(shell command -v gcc clang),-race)
RACED     = $(sort $(dir $(shell cd services && grep -rlE '^[[:space:]]*go [a-z]|errgroup|sync\.|atomic\.' --include='*.go' .)))
# Tests of these packages that say `!race` run without it as well.
PLAIN     = $(sort $(dir $(shell cd services && grep -rl '^//go:build !race' --include='*_test.go' .)))
ALL       = $(sort $(dir $(shell cd services && find . -name '*_test.go' -not -path '*/testdata/*')))

include tools/tools.mk
include clients/clients.mk
include tools/bench/bench.mk

.PHONY: help build run check test lint image cluster sim chaos fuzz go fmt staticcheck clean

help: ## show this
	@echo 'Pando: targets (begin with `make run` or `make test`)'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  %-18s %s\n", $$1, $$2}'

go:
	@command -v $(GO) >/dev/null || { echo 'Pando needs Go 1.26 or newer: https://go.dev/dl/'; exit 1; }

build: go ## build ./pando
	$(GO) build -ldflags '$(LDFLAGS)' -o pando ./services/cmd/pando

run: build ## build and start one peer: REST 6333, gRPC 6334, data in ./storage (ARGS='--config-path my.yaml')
	./pando serve $(ARGS)

# A file target would be always new: the program is linked in a second.
cluster: build | .bin ## three peers on this machine: REST 6333, 6343, 6353, data in ./storage/cluster (PEERS=5 PORT=7333 DIR=folder ARGS='--config-path my.yaml')
	@$(GO) build -o .bin/peers ./services/test/peers
	@.bin/peers -pando ./pando $(if $(PEERS),-peers $(PEERS)) $(if $(PORT),-port $(PORT)) $(if $(DIR),-dir '$(DIR)') -- $(ARGS)

check: go fmt staticcheck ## everything that needs no test run: format, vet, staticcheck, proto lint, house rules, links
	$(GO) vet work
	cd services && $(GO) test -count=1 ./internal/arch
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory proto-lint; else echo 'left out: proto lint (no npm)'; fi

fmt: go
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); test -z "$$out" || { echo "not formatted (gofmt -w): $$out"; exit 1; }

$(BIN)/staticcheck: tools/qa/go.mod tools/qa/go.sum
	GOWORK=off $(GO) -C tools/qa build -trimpath -o $(BIN)/ honnef.co/go/tools/cmd/staticcheck

staticcheck: go $(BIN)/staticcheck
	cd services && $(BIN)/staticcheck ./...

test: go ## all tests, seeds of the fuzzers included; the race detector where there is concurrency
	@test -n '$(RACE)' || echo 'no C compiler: the race detector is left out'
	@failed=0; cd services; set -x; \
	CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(RACE) -timeout 10m $(filter $(ALL),$(RACED)) || failed=1; \
	$(GO) test -timeout 10m $(filter-out $(RACED),$(ALL)) $(PLAIN) || failed=1; \
	cd ../clients/go; GOWORK=off $(GO) test -timeout 5m -run TestDescriptors ./descriptors || failed=1; \
	{ set +x; } 2>/dev/null; exit $$failed

$(BIN)/golangci-lint: tools/lint/go.mod tools/lint/go.sum
	GOWORK=off $(GO) -C tools/lint build -trimpath -o $(BIN)/ tool

lint: check $(BIN)/golangci-lint ## the long form of check (builds golangci-lint the first time: minutes)
	cd services && $(BIN)/golangci-lint run --config ../tools/lint/golangci.yaml ./...

image: ## build the container image pando:dev
	docker build -f deploy/Dockerfile --build-arg COMMIT=$(COMMIT) -t pando:dev .

sim: go ## replication under seeded faults (SEED=7 STEPS=3000: that one, replayed with its trace; SEEDS=60000: so many from SEED on)
	@cd services && \
	PANDO_SIM_SEED=$(SEED) PANDO_SIM_SEEDS=$(SEEDS) PANDO_SIM_STEPS=$(STEPS) PANDO_SIM_TRACE=$(if $(SEED),$(if $(SEEDS),,1)) \
	$(GO) test -count=1 -timeout 24h -v -run 'TestSim$$' ./dataplane/internal/replica/core

fuzz: go ## bad requests of every kind to a whole peer, which refuses them whole (FOR=2h SEED=7; ENGINE=FuzzRESTBodies: one harness under the engine that looks for new ways through the code)
	cd services && $(if $(ENGINE),$(GO) test -run '^$$' -fuzz '^$(ENGINE)$$' -fuzztime $(or $(FOR),30s) ./test/cluster, \
	PANDO_FUZZ_FOR=$(or $(FOR),30s) PANDO_FUZZ_SEED=$(SEED) $(GO) test -count=1 -timeout 0 -v -run 'TestBattered$$' ./test/cluster)

chaos: build | .bin ## hurt real processes in network namespaces and audit every replica (SEED=7 DURATION=10m PEERS=3 FACTOR=3)
	@$(GO) build -o .bin/chaos ./services/test/chaos
	@.bin/chaos -pando ./pando -dir .bin $(if $(SEED),-seed $(SEED)) $(if $(DURATION),-duration $(DURATION)) \
	$(if $(PEERS),-peers $(PEERS)) $(if $(FACTOR),-factor $(FACTOR)) $(ARGS)

clean: ## remove what was built; data stays
	rm -rf .bin pando
