# Pando seen from outside: published clients, the demo, figures.
.PHONY: conformance demo figures

conformance: build ## run the published clients (curl, Python, Go) against a fresh peer
	PANDO=./pando clients/run.sh $(CLIENTS)

demo: build ## load real vectors, query them against the exact answer, kill -9, audit (DATA=folder; none: a small excerpt)
	$(GO) run ./services/test/demo -pando ./pando $(if $(DATA),-data '$(DATA)')

figures: build ## measure what README and CHANGELOG report: size, memory, start, searches, durable writes
	$(GO) run ./services/test/figures -pando ./pando
