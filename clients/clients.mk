# Pando seen from outside: published clients, the demo, figures.
.PHONY: conformance differential demo figures

conformance: build ## run the published clients against a fresh peer (CLIENTS='curl go': these; CLIENTS=stores: LangChain, LlamaIndex, Haystack; PEERS=3: against three, one killed)
	PANDO=./pando PEERS=$(or $(PEERS),1) clients/run.sh $(CLIENTS)

differential: build | .bin ## the same random operations to the client's own engine and to Pando, one shard and three peers (SEED=7 OPS=20000 ONLY='scroll,count')
	@$(GO) build -o .bin/peers ./services/test/peers
	@"$$(clients/python/env.sh)" -B clients/python/differential $(if $(SEED),--seed $(SEED)) $(if $(OPS),--ops $(OPS)) $(if $(FIRST),--first $(FIRST)) $(if $(ONLY),--only '$(ONLY)')

demo: build | .bin ## real vectors, exact answers, kill -9 of one peer and of each of three under load, audit of every replica (DATA=folder; none: a small excerpt)
	$(GO) run ./services/test/demo -pando ./pando -dir .bin $(if $(DATA),-data '$(DATA)')

figures: build | .bin ## measure one, two and three peers: size, memory, start, searches, durable writes, kill -9 (ARGS='-one=false -kills 2': only clusters, few kills; ARGS=-help: all flags; DATA=folder)
	$(GO) run ./services/test/figures -pando ./pando -dir .bin $(if $(DATA),-data '$(DATA)') $(ARGS)

# Data of the demo and of the figures is put beside the sources, where a real disk is; /tmp may be memory.
.bin:
	@mkdir -p .bin
