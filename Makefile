# souk: build, show, test. `make` alone lists the targets.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

TOOLS := bin/tools
GO    := go

# Without a C compiler Go leaves cgo out by itself, and with it the probe of
# NVIDIA devices; the build says so rather than fail.
HAS_CC := $(shell command -v "$$($(GO) env CC 2>/dev/null)" 2>/dev/null)

# go-nvml declares what NVIDIA deprecated, and the compiler says so in a hundred lines.
export CGO_CFLAGS ?= -g -O2 -Wno-deprecated-declarations

# A checkout that git refuses to read (another owner) still builds, unstamped.
VCS := $(if $(shell git rev-parse HEAD 2>/dev/null),auto,false)

# need installs the packages $(2) when the command or file $(1) is absent, because of $(3).
SUDO = $(if $(filter-out 0,$(shell id -u)),sudo)
define need
command -v $(1) >/dev/null || [ -e $(1) ] || { \
	echo "$(1) is missing ($(3)): installing $(2) with apt-get"; \
	command -v apt-get >/dev/null || { echo "no apt-get here: install $(2), then run make again" >&2; exit 1; }; \
	$(SUDO) apt-get update -qq; \
	$(SUDO) apt-get install -y -qq --no-install-recommends $(2) >/dev/null; }
endef

.PHONY: help
help: # list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*# /\1\t/p' Makefile | awk -F'\t' '{printf "make %-10s %s\n", $$1, $$2}'

.PHONY: build
build: # bin/souk, and the demo's job as bin/digits.wasm
	@$(if $(HAS_CC),,echo "no C compiler: building without cgo; NVIDIA devices will not be seen")
	$(GO) build -buildvcs=$(VCS) -o bin/souk ./cmd/souk
	GOOS=wasip1 GOARCH=wasm $(GO) build -buildvcs=false -o bin/digits.wasm ./examples/digits

.PHONY: demo
demo: build # one real job, found, run, paid and proved on this machine
	bin/souk demo

# The rooms that read no clock, no disk and no network, and other packages as quick to test.
PURE := . ./proto/... ./gpu ./gpu/cpu ./gpu/fake ./gpu/runner ./payment ./storage/mem ./market/... ./scheduler/... \
	./cmd/souk/yamlfile ./cmd/souk/plainjson ./cmd/souk/jobfile ./integration/house

.PHONY: quick
quick: # compile all, vet and test the pure rooms: the loop of an edit, in seconds
	@$(GO) list -export -f '{{""}}' ./... >/dev/null # compiles as go build does, and links no program
	@$(GO) vet $(PURE)
	@$(GO) test -short -vet=off $(PURE)

.PHONY: test
test: deps # everything: what check checks, then all tests under the race detector
	@$(MAKE) --no-print-directory -j2 check $(PYTORCH)
	@echo "== tests, with the race detector"
	@$(GO) test -race -vet=off -timeout 15m -json ./... | $(GO) run ./integration/testlog

.PHONY: check
check: format vet static messages contracts tidy house # all that needs no running souk

.PHONY: bench
bench: # the table of measured rows, each beside its limit; writes bench.json
	@$(MAKE) --no-print-directory $(TOOLS)/ipfs || echo "no IPFS reference node: the rows that need one will say so" >&2
	$(GO) run ./integration/bench

DEVICE := bin/device

.PHONY: device
device: $(DEVICE)/runc # bin/device/souk-device.tar.gz: souk on a real card, without a network; see docs/operations.md
	@$(call need,podman,podman crun,to go into the bundle)
	@$(call need,patchelf,patchelf,to move Podman)
	$(GO) build -buildvcs=$(VCS) -ldflags '-s -w' -o $(DEVICE)/souk ./cmd/souk
	$(GO) build -buildvcs=$(VCS) -ldflags '-s -w' -o $(DEVICE)/souk-device ./integration/device
	integration/device/bundle.sh $(DEVICE)/bundle $(DEVICE)/souk $(DEVICE)/souk-device $(DEVICE)/runc "$$(command -v podman)"
	@tar -C $(DEVICE)/bundle -cf - . | gzip -9 >$(DEVICE)/souk-device.tar.gz
	@ls -l $(DEVICE)/souk-device.tar.gz | awk '{print $$9 ": " $$5 " bytes"}'

# Linked statically: it copies itself into memory and starts itself from there, where no
# path to libraries holds.
$(DEVICE)/runc: .ci/runc/go.mod .ci/runc/go.sum
	@$(call need,pkg-config,pkg-config,to build runc)
	@$(call need,/usr/include/seccomp.h,libseccomp-dev,to build runc)
	@echo "== building runc, for the bundle"
	@mkdir -p $(@D) && cd .ci/runc && $(GO) build -buildvcs=false -tags seccomp,netgo,osusergo -ldflags '-s -w -extldflags "-static"' -o "$(CURDIR)/$@" github.com/opencontainers/runc && touch "$(CURDIR)/$@"

BUDGET := 2h
.PHONY: soak
soak: deps # the long forms of the tests, for BUDGET=2h in all; attempts, failures, seeds
	$(GO) run ./integration/soak -budget $(BUDGET)

PYTORCH := bin/images/pytorch.tar

.PHONY: image
image: $(PYTORCH) # the image of examples/pytorch, from Debian packages, for this user's Podman
	@$(call need,podman,podman crun,to keep the image)
	@podman import --quiet --change 'CMD ["python3"]' $(PYTORCH) localhost/souk/pytorch:bookworm >/dev/null
	@echo "a provider that uses this Podman runs it as:"
	@echo "  souk run --gpu 0 --image localhost/souk/pytorch@$$(podman image inspect --format '{{.Digest}}' localhost/souk/pytorch:bookworm) examples/pytorch/job.yaml"

# Python and PyTorch for the processor, about 1.2 GB: nothing of it is downloaded but from Debian.
$(PYTORCH): examples/pytorch/packages
	@$(call need,mmdebstrap,mmdebstrap,to make the image of examples/pytorch)
	@echo "== the image of examples/pytorch, from Debian packages (about 3 minutes)"
	@mkdir -p $(@D)
	@mmdebstrap --quiet --format=tar --variant=essential --aptopt='Apt::Install-Recommends false' --include="$$(paste -sd, $<)" \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		bookworm $@.part http://deb.debian.org/debian && mv $@.part $@

.PHONY: generate
generate: $(TOOLS)/buf $(TOOLS)/.built # the Go code of messages and contracts, anew
	cd proto && PATH="$(CURDIR)/$(TOOLS):$$PATH" buf generate
	PATH="$(CURDIR)/$(TOOLS):$$PATH" payment/chain/contracts/generate.sh

.PHONY: kernels
kernels: # the PTX of gpu/challenge/kernels/challenge.cl, anew
	@$(call need,clang-15,clang-15,to compile the kernels)
	gpu/challenge/kernels/generate.sh

.PHONY: baseline
baseline: $(TOOLS)/buf # accept today's messages as what later ones must stay compatible with
	$(TOOLS)/buf build proto -o proto/baseline.binpb

# What makes the containers of the tests: Debian's crun, but where both versions of
# control groups are mounted. crun does not take that, and Debian's runc has known holes.
RUNC := $(if $(wildcard /sys/fs/cgroup/cgroup.controllers),,$(TOOLS)/runc)

# What check is made of; each can be run alone.

.PHONY: deps format vet static messages contracts tidy house
deps: $(RUNC)
	@$(call need,gcc,gcc libc6-dev,for cgo and the race detector)
	@$(call need,npm,nodejs npm,for the Solidity compiler and the browser's script)
	@$(call need,chromium,chromium,for the test of the page)
	@$(call need,/etc/OpenCL/vendors/pocl.icd,pocl-opencl-icd ocl-icd-libopencl1,for an OpenCL device without a GPU)
	@$(call need,/usr/include/CL/cl.h,ocl-icd-opencl-dev opencl-c-headers,for the stand-in of CUDA's driver)
	@$(call need,pgrep,procps,to see that the demo leaves no process)
	@$(call need,podman,podman crun,for the tests of containers: they start a Podman of their own)

format:
	@echo "== gofmt"
	@bad=$$(find . -name '*.go' -not -path './bin/*' -not -path '*/node_modules/*' | xargs gofmt -l); \
	if [ -n "$$bad" ]; then echo "not formatted; run gofmt -w on:"; echo "$$bad"; exit 1; fi >&2

vet:
	@echo "== go vet"
	@$(GO) vet ./...
	@$(GO) vet -tags crashpoints ./node/...

static: $(TOOLS)/.built
	@echo "== staticcheck"
	@$(TOOLS)/staticcheck ./...

messages: $(TOOLS)/buf $(TOOLS)/.built
	@echo "== buf: lint, breaking, generated code"
	@$(TOOLS)/buf lint proto
	@$(TOOLS)/buf breaking proto --against proto/baseline.binpb
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	(cd proto && PATH="$(CURDIR)/$(TOOLS):$$PATH" buf generate -o "$$fresh"); \
	diff -rq --exclude='*.proto' proto/souk "$$fresh/souk" >&2 || \
	{ echo "the Go code of the messages is not what buf makes of them: run make generate" >&2; exit 1; }

contracts: $(TOOLS)/.built
	@echo "== contracts: artefacts and bindings"
	@PATH="$(CURDIR)/$(TOOLS):$$PATH" payment/chain/contracts/check.sh

# Not .ci/kubo: its modules are fetched only where the bench wants them.
tidy:
	@echo "== go mod tidy"
	@for m in . .ci/buf .ci/runc .ci/tools; do (cd $$m && $(GO) mod tidy -diff) || { echo "$$m/go.mod is not tidy: run go mod tidy there" >&2; exit 1; }; done

house:
	@echo "== house rules"
	@$(GO) test -count=1 -json ./integration/house | $(GO) run ./integration/testlog

# The tools have modules of their own, so that what they need never bends the
# versions that souk itself is built with; buf builds only alone in its module.
$(TOOLS)/buf: .ci/buf/go.mod .ci/buf/go.sum
	@echo "== building buf"
	@cd .ci/buf && $(GO) build -buildvcs=false -o "$(CURDIR)/$(TOOLS)/" tool

$(TOOLS)/runc: .ci/runc/go.mod .ci/runc/go.sum
	@$(call need,pkg-config,pkg-config,to build runc)
	@$(call need,/usr/include/seccomp.h,libseccomp-dev,to build runc)
	@echo "== building runc, for the tests of containers"
	@cd .ci/runc && $(GO) build -buildvcs=false -tags seccomp -o "$(CURDIR)/$(TOOLS)/" tool && touch "$(CURDIR)/$@"

# The tag is its own: kubo asks for it where Go is newer than its authors tried.
$(TOOLS)/ipfs: .ci/kubo/go.mod .ci/kubo/go.sum
	@echo "== building the IPFS reference node, for the bench alone"
	@cd .ci/kubo && $(GO) build -buildvcs=false -tags untested_go_version -o "$(CURDIR)/$(TOOLS)/" tool && touch "$(CURDIR)/$@"

$(TOOLS)/.built: .ci/tools/go.mod .ci/tools/go.sum
	@echo "== building abigen, protoc-gen-go, protoc-gen-connect-go and staticcheck"
	@cd .ci/tools && $(GO) build -buildvcs=false -o "$(CURDIR)/$(TOOLS)/" tool && touch "$(CURDIR)/$@"
