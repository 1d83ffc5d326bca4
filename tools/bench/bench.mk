# The search engine measured on real vectors, alone and beside other libraries: docs/benchmarks.md.
.PHONY: bench bench-peers bench-kernel bench-api

BENCH   = .bin/bench -data '$(or $(DATA),services/test/demo/words)' $(if $(SETS),-sets '$(SETS)') $(if $(QUICK),-quick) $(ARGS)
RIVALS := .bin/rivals
DRAW    = test ! -f .bin/benchmarks/$(1)curves.csv || .bin/plot .bin/benchmarks/$(1)curves.csv || failed=1

.bin/plot: $(wildcard tools/plot/*) | .bin
	GOWORK=off $(GO) -C tools/plot build -o $(CURDIR)/$@ .

.PHONY: .bin/bench
.bin/bench: | .bin
	@$(GO) build -o $@ ./services/test/bench

# What was measured is drawn even if something was not.
bench: .bin/bench .bin/plot ## recall, speed, memory of searches, building, upserts, kernels (DATA=folder of data sets; SETS=words,fashion; QUICK=1; ARGS=-help: all flags)
	@failed=0; $(BENCH) || failed=1; $(call DRAW,); \
	if command -v gcc >/dev/null; then $(MAKE) --no-print-directory bench-kernel || failed=1; else echo 'left out: kernels beside C (no gcc)'; fi; exit $$failed

# A package that cannot be had is named, the others are compared with; the next run tries again.
$(RIVALS)/stamp: tools/bench/requirements.txt | .bin
	@test -x $(RIVALS)/bin/pip || python3 -m venv $(RIVALS)
	@failed=0; for p in $$(grep -v '^#' $<); do \
	  $(RIVALS)/bin/pip install -q --disable-pip-version-check "$$p" || { echo "cannot be installed: $$p"; failed=1; }; \
	done; test $$failed = 1 || touch $@

bench-peers: .bin/bench .bin/plot $(RIVALS)/stamp ## the same beside hnswlib, faiss, usearch and Qdrant's edge engine, by turns on one core (DATA, SETS, QUICK as above)
	@failed=0; $(BENCH) -peers tools/bench/peers.py -python $(RIVALS)/bin/python || failed=1; $(call DRAW,peers-); exit $$failed

bench-api: | .bin ## searches and upserts over gRPC and REST: speed, where the CPU time goes, what groups and fusion cost (DATA=one data set with base.f16.npy.gz)
	@$(GO) build -o .bin/apibench ./services/test/apibench && .bin/apibench -dir .bin $(if $(DATA),-data '$(DATA)') $(ARGS)

bench-kernel: | .bin ## compare gathers of float32 with the same in C, and scans with a plain read of memory (needs gcc)
	@CGO_ENABLED=1 GOWORK=off go -C tools/bench build -o $(BIN)/bench-kernel . && $(BIN)/bench-kernel
