# Everything that a person or CI does with a clone. `make run` and `make test` set a fresh Debian machine up by
# themselves; the only thing they expect is a Swift toolchain, 6.2 or later. Builds and the Python environment of the
# tests live in .build/ and nowhere else.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# What the binary needs to be built, and what only the tests need. SKIP_SETUP=1 leaves the machine alone.
BUILD_PACKAGES := libssl-dev libhiredis-dev zlib1g-dev
TEST_PACKAGES := redis-server python3-venv tmux
PYTHON_PACKAGES := centrifuge-python==0.7.0
SKIP_SETUP ?=

# One debug build serves the tests, the binaries that the tests start, and the fuzz driver.
CONFIGURATION ?= debug
RELEASE_FLAGS := -c release --static-swift-stdlib
SWIFT_SOURCES := Package.swift Sources Tests loadtest
ARGS ?=
SECONDS_PER_TARGET ?= 20
SEED ?= $(shell date +%s)
TARGET ?= http proxy frames deflate commands resp
PROFILE ?= smoke

# $(call install,PACKAGES): nothing when all are there; else apt as root or through sudo, or one line on what to do.
define install
[ -z "$(SKIP_SETUP)" ] || exit 0
missing=
for package in $(1); do
    case "$$(dpkg-query -W -f='$${db:Status-Status}' $$package 2>/dev/null || true)" in
    installed) ;;
    *) missing="$$missing $$package" ;;
    esac
done
[ -n "$$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "martlet: not a Debian machine; install what these packages hold and run again with SKIP_SETUP=1:$$missing" >&2
    exit 1
fi
if [ "$$(id -u)" = 0 ]; then as=; elif command -v sudo >/dev/null; then as=sudo; else
    echo "martlet: missing$$missing; run 'apt-get install$$missing' as root, then again" >&2
    exit 1
fi
echo "martlet: installing$$missing"
$$as apt-get update -qq
DEBIAN_FRONTEND=noninteractive $$as apt-get install -y -qq --no-install-recommends $$missing >/dev/null
endef

##@ The two that do everything
.PHONY: run
run: setup ## build a release and serve on 127.0.0.1:8000 (ARGS='--port 8001' goes to martlet serve)
	swift build $(RELEASE_FLAGS) --product martlet
	exec "$$(swift build $(RELEASE_FLAGS) --show-bin-path)/martlet" serve --insecure $(ARGS)

.PHONY: test
test: setup-tests ## build once and run all tests in parallel (ARGS='--filter HTTPTests' goes to swift test)
	swift build -c $(CONFIGURATION) --build-tests
	swift test -c $(CONFIGURATION) --skip-build --disable-xctest --parallel $(ARGS)

##@ The rest
.PHONY: build
build: setup ## release build of the programs into .build/release
	@# By product: what only tests need does not build with a static standard library.
	for product in martlet martlet-chat martlet-load; do swift build $(RELEASE_FLAGS) --product $$product; done

.PHONY: bench
bench: setup ## CPU per message of martlet beside a bare C server in the same run (ROUNDS=5)
	swift build $(RELEASE_FLAGS) --product martlet
	swift build $(RELEASE_FLAGS) --product martlet-load
	bash loadtest/bench.sh "$$(swift build $(RELEASE_FLAGS) --show-bin-path)" .build/bench

# The gateways of the mutants are another build: a normal one has nothing of the defects.
.PHONY: verify
verify: toolchain packages ## delivery checker: gateways and Redis, faults, every message judged (PROFILE=smoke or std, SEED=n)
	@for product in martlet martlet-load; do swift build -c $(CONFIGURATION) --product $$product; done
	bin="$$(swift build -c $(CONFIGURATION) --show-bin-path)"
	"$$bin/martlet-load" verify --martlet "$$bin/martlet" --profile $(PROFILE) --seed $(SEED) $(ARGS)

.PHONY: test-mutants
test-mutants: toolchain packages ## is the delivery checker awake? one defect after the other, each must be found by its own promise
	@swift build -c $(CONFIGURATION) --product martlet-load
	mutants=(swift build -c $(CONFIGURATION) --scratch-path .build/mutants -Xswiftc -DMARTLET_MUTANTS)
	"$${mutants[@]}" --product martlet
	load="$$(swift build -c $(CONFIGURATION) --show-bin-path)/martlet-load"
	"$$load" verify --martlet "$$("$${mutants[@]}" --show-bin-path)/martlet" --mutant all --seed $(SEED) $(ARGS)

.PHONY: fuzz
fuzz: setup ## seeded mutation fuzzing of every parser (SECONDS_PER_TARGET=20 SEED=n)
	@swift build -c $(CONFIGURATION) --product martlet-fuzz
	bin="$$(swift build -c $(CONFIGURATION) --show-bin-path)"
	for target in $(TARGET); do
	    "$$bin/martlet-fuzz" --target $$target --seconds $(SECONDS_PER_TARGET) --seed $(SEED)
	done

.PHONY: fuzz-libfuzzer
fuzz-libfuzzer: setup ## the same targets guided by coverage, corpus in .build/corpus (TARGET=frames)
	@swift build --scratch-path .build/libfuzzer -c release -Xswiftc -sanitize=fuzzer -Xswiftc -DLIBFUZZER \
	    -Xswiftc -use-ld=lld --product martlet-fuzz
	for target in $(TARGET); do
	    mkdir -p .build/corpus/$$target
	    MARTLET_FUZZ_TARGET=$$target SWIFT_BACKTRACE=enable=no .build/libfuzzer/release/martlet-fuzz \
	        -max_total_time=$(SECONDS_PER_TARGET) -max_len=4096 -artifact_prefix=.build/corpus/$$target- \
	        .build/corpus/$$target
	done

.PHONY: format
format: ## rewrite all Swift files in the house style
	swift format --in-place --parallel --recursive $(SWIFT_SOURCES)

.PHONY: lint
lint: ## check the house style; changes nothing
	swift format lint --strict --parallel --recursive $(SWIFT_SOURCES)

.PHONY: clean
clean: ## remove all that was built
	rm -rf .build

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } /^##@/ { print "\n" substr($$0, 5) } \
	    /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: toolchain
	@$(call install,$(BUILD_PACKAGES))

# The tests start a redis-server of their own on a free port; one that Debian started as a service is never touched.
.PHONY: setup-tests
setup-tests: toolchain .build/venv/$(PYTHON_PACKAGES)
	@true

.build/venv/$(PYTHON_PACKAGES): Makefile | packages
	@[ -z "$(SKIP_SETUP)" ] || [ ! -x .build/venv/bin/python ] || exit 0
	echo "martlet: Python environment of the tests in .build/venv"
	[ -x .build/venv/bin/pip ] || python3 -m venv .build/venv
	.build/venv/bin/pip install --quiet --disable-pip-version-check $(PYTHON_PACKAGES)
	touch $@

.PHONY: packages
packages:
	@$(call install,$(BUILD_PACKAGES) $(TEST_PACKAGES))

.PHONY: toolchain
toolchain:
	@if ! command -v swift >/dev/null; then
	    echo "martlet: no 'swift' on PATH; install Swift 6.2 or later: https://swift.org/install" >&2
	    exit 1
	fi
	version="$$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -1)"
	if [ "$$(printf '%s\n' 6.2 "$$version" | sort -V | head -1)" != 6.2 ]; then
	    echo "martlet: Swift $$version is too old; 6.2 or later is needed: https://swift.org/install" >&2
	    exit 1
	fi
