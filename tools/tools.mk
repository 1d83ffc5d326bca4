# Code generation. Tools are built once into .bin, from the lists pinned under tools/; after that everything here works offline.
# Needs npm (for buf) and go. Nothing else in the Makefile depends on it: generated code is committed.

BIN    := $(CURDIR)/.bin
TOOLS  := $(BIN)/.stamp
BUF     = PATH="$(BIN):$$PATH" buf

# The published protos that must stay readable: the last release, if there is one.
PROTO_BASE ?= $(shell git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null)

$(TOOLS): tools/buf/package.json tools/buf/package-lock.json tools/gen/go.mod tools/gen/go.sum
	@mkdir -p $(BIN)
	npm --prefix tools/buf ci --ignore-scripts --no-audit --no-fund --loglevel=error
	ln -sf ../tools/buf/node_modules/.bin/buf $(BIN)/buf
	GOWORK=off go -C tools/gen build -trimpath -o $(BIN)/ tool
	@touch $@

$(BIN)/avo: $(wildcard tools/avo/*.go) tools/avo/go.mod tools/avo/go.sum
	GOWORK=off go -C tools/avo build -trimpath -o $@ .

.PHONY: openapi generate generated generate-check proto-lint

KERNEL  = ../../services/dataplane/internal/kernel
# What generated code is made from, and what it is; gen/STAMP holds the sum of both as of the last `make generate`.
SOURCES = proto buf.yaml buf.gen.yaml tools/buf tools/gen tools/avo gen services/dataplane/internal/kernel/*_amd64.*
SUM     = git ls-files -co --exclude-standard -- $(SOURCES) | grep -v '^gen/STAMP$$' | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1

# gen/go/go.mod is ours: only the folders that plugins fill are removed.
generate: $(TOOLS) $(BIN)/avo ## regenerate gen/ from proto/, and the kernels' assembly
	$(BUF) format -w
	rm -rf gen/go/qdrant gen/go/pando gen/descriptors.binpb
	$(BUF) generate
	$(BUF) build --as-file-descriptor-set --exclude-source-info -o gen/descriptors.binpb
	cd tools/avo && $(BIN)/avo -out $(KERNEL)/kernel_amd64.s -stubs $(KERNEL)/stubs_amd64.go -pkg kernel
	@$(MAKE) --no-print-directory openapi
	@$(SUM) > gen/STAMP

openapi: go ## write the OpenAPI document that the REST port serves, from the route map, the messages and the dialect
	cd services && $(GO) test -count=1 ./dataplane/internal/rest/openapi -run TestServedDocument -rewrite

# Says whether anything that code is generated from, or the code itself, changed since `make generate`. Needs no tools.
generated:
	@test "$$($(SUM))" = "$$(cat gen/STAMP)"

generate-check: generate ## fail if generated code is not what proto/ and tools/avo say
	@git diff --stat --exit-code -- proto gen services/dataplane/internal/kernel || { echo 'proto/ or gen/ changed: run make generate and commit'; exit 1; }
	@test -z "$$(git ls-files --others --exclude-standard -- gen)" || { echo 'gen/ has files that are not committed'; exit 1; }

proto-lint: $(TOOLS) ## lint proto/, and compare it with the last release
	$(BUF) lint
	$(BUF) format -d --exit-code
ifeq ($(strip $(PROTO_BASE)),)
	@echo 'no release to compare proto/ with'
else
	@rm -rf $(BIN)/base && mkdir -p $(BIN)/base && git archive $(PROTO_BASE) proto buf.yaml | tar -x -C $(BIN)/base
	$(BUF) breaking --against $(BIN)/base
endif

.PHONY: descriptors

# Every client that this machine has a tool chain for; the others are named. Needs a package registry the first time.
descriptors: ## compare our API, element by element, with those inside the published clients
	@cd clients/go && GOWORK=off go test -count=1 -v -run 'TestDescriptors' ./descriptors
	@if python3 -c "import ensurepip" 2>/dev/null; then python="$$(clients/python/env.sh)" && cd clients/python && \
	  "$$python" -m pytest -q -p no:cacheprovider test_descriptors.py test_openapi.py; else echo 'left out: python (no python3 with venv)'; fi
	@if command -v npm >/dev/null; then cd clients/typescript && { test node_modules/.package-lock.json -nt package-lock.json || \
	  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; } && npm test --silent; else echo 'left out: typescript (no npm)'; fi

.PHONY: arm64

EMULATOR = $(firstword $(foreach q,qemu-aarch64 qemu-aarch64-static,$(shell command -v $(q))))

# A product that is fused with a sum has other bits than one that is rounded first: nothing that makes codes or compares may contain one.
EXACT = ./dataplane/internal/kernel ./dataplane/internal/index/quant

arm64: | .bin ## compile for arm64, and test the kernels' pure Go there if qemu's user-mode emulation is installed
	@cd services && for p in $(EXACT); do if GOARCH=arm64 go build -gcflags=-S $$p 2>&1 | grep -E '[[:space:]]FN?M(ADD|SUB)[SD]'; then \
	echo "$$p: round each product explicitly"; exit 1; fi; done
	cd services && GOARCH=arm64 go build -o $(BIN)/pando.arm64 ./cmd/pando && GOARCH=arm64 go test -c -o $(BIN)/kernel.arm64 ./dataplane/internal/kernel
	@if test -n '$(EMULATOR)'; then cd services/dataplane/internal/kernel && $(EMULATOR) $(BIN)/kernel.arm64; \
	else echo 'left out: running it (no qemu-aarch64)'; fi
