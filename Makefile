# A newcomer needs two of these: make demo and make test. `make help` lists the rest.
SHELL := /bin/bash -o pipefail
BIN := var/bin
# The stack is large: without symbol tables it links in a third of the time.
SLIM := -ldflags='-s -w'
# The evidence names the source that its workers were built from.
REVISION := $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
WORKFLOWCHECK := go.temporal.io/sdk/contrib/tools/workflowcheck@v0.6.0
# Where tests are that prove controls; the stack's are last.
PROVEN := . ./identity/... ./policy/... ./evidence/... ./activities/... ./workflows/... ./workers/... ./starter/... ./verifier/... ./tests/...
# Shows that a long build is alive: on one line of a terminal, seldom elsewhere. What is no name of a package is an error, and is shown whole.
COUNT = awk -v what='$(1)' -v tty="$$([ -t 2 ] && echo 1)" '/^[a-zA-Z0-9_.\/~-]+$$/ { n++; if (tty) printf "\r  %s: %d packages compiled ", what, n; else if (n % 250 == 0) print "  " what ": " n " packages compiled"; fflush(); next } { print } END { if (tty && n) printf "\n" }'

.PHONY: help
help: ## list what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the commands into var/bin
	@mkdir -p $(BIN)
	@go build -v -ldflags='-s -w -X github.com/countersign-dev/countersign/workers/pool.revision=$(REVISION)' -o $(BIN)/workers ./workers 2>&1 | $(call COUNT,workers)
	@go build -v $(SLIM) -o $(BIN)/countersign ./starter 2>&1 | $(call COUNT,countersign)
	@go -C infra build -v $(SLIM) -o ../$(BIN)/devstack ./devstack 2>&1 | $(call COUNT,local stack (minutes the first time))

.PHONY: verifier
verifier: ## build what verifies alone: var/bin/verifier, and var/bin/verifier.html for browsers (ANCHORS=file offers roots)
	@mkdir -p $(BIN)
	@CGO_ENABLED=0 go build -trimpath $(SLIM) -o $(BIN)/verifier ./verifier
	@go run ./verifier/page -o $(BIN)/verifier.html $(if $(ANCHORS),-anchors '$(ANCHORS)')

.PHONY: demo
demo: build ## run signings from request to verified evidence, and stay up (ONCE=1 ends after them, PDF=path signs your own file)
	@go -C infra build $(SLIM) -o ../$(BIN)/demo ./demo
	@$(BIN)/demo $(if $(ONCE),--once) $(if $(PDF),--pdf '$(PDF)')

# Packages with a stack each run one after another (-p 1): two stacks at once are too much for two cores.
.PHONY: test
test: build ## everything that needs Go alone: unit, workflow, replay, end to end on the stack
	go test . ./identity/... ./policy/... ./evidence/... ./activities/... ./workflows/... ./workers/... ./starter/... ./verifier/...
	go -C infra test ./...
	go test -p 1 -parallel 8 -timeout 20m ./tests/...

.PHONY: controls
controls: ## run the tests that prove controls, and print the table of controls with their results
	@go generate ./starter/controls >/dev/null
	@$(MAKE) --no-print-directory build
	@go test -json -run '^Test[RMN][0-9]+_' -p 1 -parallel 8 -timeout 20m $(PROVEN) >var/test-results.json; failed=$$?; \
		go -C infra test -json -run '^Test[RMN][0-9]+_' ./... >var/test-results-infra.json || failed=1; \
		$(BIN)/countersign controls --results var/test-results.json --results var/test-results-infra.json && exit $$failed

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, workflowcheck, the floors
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo 'not formatted:'; gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	GOOS=js GOARCH=wasm go vet ./verifier
	go -C infra vet ./...
	go run $(STATICCHECK) ./...
	cd infra && go run $(STATICCHECK) ./...
	go run $(WORKFLOWCHECK) -config workflows/workflowcheck.yaml ./workflows/...
	go test ./tests/floors

.PHONY: interop
interop: build ## the evidence under strangers' tools, the key service's contract against moto, and other SDKs
	tests/interop/run.sh

.PHONY: demo-check
demo-check: ## run the demo twice, check its evidence with strangers' tools and its time
	tests/interop/demo.sh

.PHONY: bench
bench: build ## history events, KMS calls, latency and throughput of a two-approval signing on the stack, and how soon a revocation is felt
	go test -run '^$$' -bench . -skip MillionLog -benchtime 100x -timeout 30m ./tests
	go test -run '^$$' -bench . ./policy ./evidence ./tests/golden

# Of a bundle of the demo: make bench-verify BUNDLE=var/demo/evidence.asice CA=var/demo
BUNDLE := tests/golden/histories/v0.2.0/completed.asice
CA = $(dir $(BUNDLE))
.PHONY: bench-verify
bench-verify: build verifier ## how long the verifier takes for a bundle, and openssl and sha256sum (BUNDLE=file CA=directory of its roots)
	@go run ./tests/speed $(BUNDLE) $(CA)/tenant-ca.pem $(CA)/tsa-ca.pem

.PHONY: bench-log
bench-log: build ## a log of a million entries on the stack: appends a second, proof size, verification time (minutes)
	go test -run '^$$' -bench MillionLog -benchtime 500x -timeout 15m ./tests

.PHONY: clean
clean: ## remove what was built and the demo's data
	rm -rf var
