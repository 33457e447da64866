# make        builds bin/cleave, one static binary
# make run    installs what is missing, builds, starts the server with a demonstration stream
# make test   installs what the tests need and runs them all under the race detector
GO ?= go
FUZZTIME ?= 60s
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0

.PHONY: build run test lint fuzz fidelity bench clean

build: web/dist/hls.min.js
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/cleave ./cmd/cleave

# Without npm the page is built without hls.js, and says so.
web/dist/hls.min.js: web/package.json web/fetch.sh
	sh web/fetch.sh

run:
	sh scripts/setup run
	$(MAKE) build
	bin/cleave serve --demo

test:
	sh scripts/setup test
	$(MAKE) build
	$(GO) vet ./...
	$(GO) test -race -timeout 20m ./...

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt -w on these" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

# Each fuzz target in turn.
fuzz:
	sh scripts/fuzz $(FUZZTIME)

# Every file below CLEAVE_MEDIA; it takes long. FIDELITY="-limit BYTES" leaves out large files.
fidelity:
	$(GO) run ./test/fidelity/cmd $(FIDELITY) > docs/fidelity.md

# Against other programs, then function by function.
bench:
	$(GO) run ./bench/cut > bench/cut/RESULT.md
	cat bench/cut/RESULT.md
	$(GO) run ./bench/live > bench/live/RESULT.md
	cat bench/live/RESULT.md
	$(GO) test -run '^$$' -bench . -benchmem ./...

clean:
	rm -rf bin web/node_modules
