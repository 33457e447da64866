# make        builds bin/cleave, one static binary, and bin/cleave-av, which reads the
#             containers that only libavformat knows, if FFmpeg's development files are there
# make run    installs what is missing, builds, starts the server with a demonstration stream
# make test   installs what the tests need and runs them all under the race detector
GO ?= go
FUZZTIME ?= 60s
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOFUMPT = mvdan.cc/gofumpt@v0.9.2

# What cleave-av is built with, empty if FFmpeg 5.1 or newer is not there to build with.
AV := $(shell pkg-config --exists 'libavformat >= 59.27.100' libavcodec libavutil 2>/dev/null && command -v "$$($(GO) env CC)" >/dev/null && echo libav)
AV_MISSING = bin/cleave-av is not built: it needs FFmpeg 5.1 or newer with its development files \
	(Debian: apt-get install gcc libc6-dev pkg-config libavformat-dev libavcodec-dev libavutil-dev, or sh scripts/setup av). \
	Matroska, WebM, Ogg, AVI and others cannot be read without it

.PHONY: build cleave-av run test check lint sanitize fuzz fidelity interop crash torture soak cache bench bench-libav bench-http clean

build: web/dist/hls.min.js cleave-av
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/cleave ./cmd/cleave

cleave-av:
ifneq ($(AV),)
	CGO_ENABLED=1 $(GO) build -tags libav -trimpath -ldflags=-s -o bin/cleave-av ./cmd/cleave-av
else
	@echo "$(AV_MISSING)"
endif

# Without npm the page is built without hls.js, and says so.
web/dist/hls.min.js: web/package.json web/fetch.sh
	sh web/fetch.sh

run:
	sh scripts/setup run
	$(MAKE) build
	bin/cleave serve --demo

# A make of its own sees what the set-up has installed.
test:
	sh scripts/setup test
	$(MAKE) build check

# The tests alone, without the set-up.
check:
	$(GO) vet -tags '$(AV)' ./...
	$(GO) test -tags '$(AV)' -race -timeout 40m ./...

lint:
	@bad=$$($(GO) run $(GOFUMPT) -l $$(git ls-files '*.go')) && test -z "$$bad" || { echo "$$bad"; echo "run gofumpt -w on these" >&2; exit 1; }
	$(GO) vet -tags '$(AV)' ./...
	$(GO) run $(STATICCHECK) -tags '$(AV)' ./...

# The C of cleave-av under the address and thread sanitizers.
sanitize:
	$(GO) test -tags libav -asan ./cmd/cleave-av/internal/shim
	CGO_CFLAGS="-g -O1 -fsanitize=thread" CGO_LDFLAGS=-fsanitize=thread setarch -R $(GO) test -tags libav -count=1 ./cmd/cleave-av/internal/shim

# Each fuzz target in turn.
fuzz:
	sh scripts/fuzz $(FUZZTIME)

# Every file below CLEAVE_MEDIA and what its synth.sh makes; it takes long. The table
# stays in bin/ if there are differences. FIDELITY="-match NAME" compares some files.
fidelity:
	mkdir -p bin
	$(GO) run ./test/fidelity/cmd $(FIDELITY) > bin/fidelity.md
	mv bin/fidelity.md docs/fidelity.md

# Every way in against every way out with programs that were not made here; about a
# quarter of an hour. INTEROP="-match TEXT" runs some rows, into bin/ only.
interop:
	sh scripts/setup interop
	mkdir -p bin
	$(GO) run ./test/interop/cmd $(INTEROP) > bin/interop.md
	$(if $(INTEROP),,mv bin/interop.md docs/interop.md)

# Kills a server 500 times at random points and compares; it takes some minutes. The table
# stays in bin/ if something was wrong. CRASH="-kills N -seed N" does otherwise.
crash:
	mkdir -p bin
	$(GO) run ./test/crash/cmd $(CRASH) > bin/reliability.md
	mv bin/reliability.md docs/reliability.md

# Sends a server what it should survive; three minutes. The table stays in bin/ if something
# did not go as it should. TORTURE="-http HOST:PORT …" tries another server, into bin/ only.
torture:
	mkdir -p bin
	$(GO) run ./test/torture/cmd $(TORTURE) > bin/torture.md
	$(if $(TORTURE),,mv bin/torture.md docs/torture.md)

# Clients of all kinds come and go for 20 minutes, then nothing may be left. The page and its
# graph stay in bin/ if something was wrong. SOAK="-for 60m" does it for an hour.
soak:
	mkdir -p bin
	$(GO) run ./test/soak/cmd -o bin $(SOAK)
	mv bin/soak.md bin/soak.svg docs/

# A thousand players through nginx's cache, which must be there; two minutes. CACHE="-players N"
# does otherwise, into bin/ only.
cache:
	mkdir -p bin
	$(GO) run ./test/cache/cmd $(CACHE) > bin/cache.md
	$(if $(CACHE),,mv bin/cache.md docs/cache.md)

# Against other programs, then function by function.
bench:
	$(GO) run ./bench/cut > bench/cut/RESULT.md
	cat bench/cut/RESULT.md
	$(GO) run ./bench/store > bench/store/RESULT.md
	cat bench/store/RESULT.md
	$(GO) run ./bench/live > bench/live/RESULT.md
	cat bench/live/RESULT.md
	$(GO) test -run '^$$' -bench . -benchmem ./...

# cleave-av beside plain libavformat and cleave's own demuxers.
bench-libav:
	$(GO) run ./bench/libav > bench/libav/RESULT.md
	cat bench/libav/RESULT.md

# Answers over HTTP beside nginx, and TLS with and without coalescing.
bench-http:
	sh scripts/setup http
	$(GO) run ./bench/http > bench/http/RESULT.md
	cat bench/http/RESULT.md

clean:
	rm -rf bin web/node_modules
