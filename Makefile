# Sluice. `make` alone says what there is.
#
# Everything works from a fresh Debian 12 machine: each target first installs what
# it lacks (build/deps.sh) and keeps what takes long to build in SLUICE_CACHE.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

export SLUICE_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sluice
# A Go that deps.sh had to fetch, and the folders of daemons.
export PATH := $(SLUICE_CACHE)/go/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin

# Pods are network namespaces: the demo and many tests need root.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env)
AS_ROOT := $(if $(SUDO),-exec '$(SUDO)')

COMMIT := $(or $(shell git rev-parse HEAD 2>/dev/null),unknown)
VERSION := $(or $(shell git describe --tags --match 'v*' --dirty 2>/dev/null),v0.0.0-g$(shell printf %.12s $(COMMIT)))
# The commit's time and not now: the same commit gives the same binaries.
DATE := $(or $(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null),1970-01-01T00:00:00Z)
INFO := k8s.io/component-base/version
LDFLAGS := -s -w -X $(INFO).gitVersion=$(VERSION) -X $(INFO).gitCommit=$(COMMIT) -X $(INFO).buildDate=$(DATE)

# Packages to test, and flags for go test. A cached result says nothing about the
# daemons the tests run, which are no part of it: hence -count=1. For a quick look
# while working, `make check TESTFLAGS=` uses the cache.
PKGS ?= ./...
TESTFLAGS ?= -count=1
# Packages to test under the kernel's datapath, and how long each may take there.
# Their tests find SLUICE_KERNEL set, and the binaries in SLUICE_BIN: nothing can
# be compiled in an emulated machine in useful time.
KERNEL_PKGS ?= $(wildcard ./test/kernel ./test/nat ./test/nodes ./test/e2e)
KERNEL_TIMEOUT ?= 40m
# Tests that are left to `make check`, as they are about the agent and the API
# server, whatever the datapath: everything takes many times longer there.
# `make test-kernel KERNEL_SKIP=` runs these too.
KERNEL_SKIP ?= ^(TestFullPodRange|TestLabelsOfPodsAndNamespaces|TestEnforcementStaysWhileTheAPIServerIsAway|TestPodIsNotAttachedWithoutOpenVSwitch)$$
BENCH ?= .
# What cluster to bring up (bin/cluster up --help), and which of the upstream tests
# to run in it (bin/cluster test --help).
CLUSTER ?=
SUITE ?=

comma := ,

.PHONY: help
help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: deps-demo build ## a three-tier application on real Open vSwitch, its policies, a packet explained
	go build -o bin/demo ./examples/demo
	$(SUDO) bin/demo

.PHONY: test
test: deps-test deps-lint deps-kernel deps-cluster deps-image kubernetes build ## everything: lint, all tests with the race detector, the kernel's datapath, a cluster
	MAKE='$(MAKE)' build/beside.sh test-kernel -- lint check-cluster check check-build

.PHONY: check
check: deps-test kubernetes ## all tests with the race detector, on this machine's own kernel
	go test -race $(TESTFLAGS) $(AS_ROOT) $(PKGS)

.PHONY: check-build
check-build: deps-build ## the tests of what makes images and manifests, which are modules of their own
	cd build/image && GOFLAGS=-mod=readonly go test $(TESTFLAGS) ./...
	cd build/manifests && GOFLAGS=-mod=readonly go test $(TESTFLAGS) ./...
	cd build/cluster && GOFLAGS=-mod=readonly go test $(TESTFLAGS) ./images

.PHONY: test-kernel
test-kernel: deps-kernel kubernetes build ## the end-to-end suite with the kernel's datapath, in an emulated machine
	CGO_ENABLED=0 go build -o bin/kernel ./test/kernel
	SLUICE_BIN=$(CURDIR)/bin go test $(TESTFLAGS) -p 1 -skip '$(KERNEL_SKIP)' -timeout $(KERNEL_TIMEOUT) -exec '$(CURDIR)/bin/kernel -timeout $(KERNEL_TIMEOUT)' $(KERNEL_PKGS)

.PHONY: build
build: deps-build ## the binaries, in bin/
	@mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/...
	@[ ! -e bin/sluice ] || ln -sf sluice bin/kubectl-sluice

.PHONY: image
image: deps-image build ## the container images, in bin/sluice-image.tar, without a container engine
	build/image/build.sh bin/sluice-image.tar -version '$(VERSION)' -revision '$(COMMIT)' -created '$(DATE)'
	@ls -sh bin/sluice-image.tar

.PHONY: manifests
manifests: deps-build ## render build/chart into build/manifests
	cd build/manifests && GOFLAGS=-mod=readonly go run .

.PHONY: lint
lint: deps-lint ## gofmt, go vet, staticcheck, shellcheck
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
		[ -z "$$unformatted" ] || { printf 'not formatted with gofmt:\n%s\n' "$$unformatted"; exit 1; }
	go vet ./...
	go tool -modfile=build/tools/go.mod staticcheck ./...
	shellcheck .ci/run $$(git ls-files '*.sh')

.PHONY: bench
bench: deps-test kubernetes ## the figures of docs/performance.md; BENCH=regexp chooses
	go build -o bin/bench ./test/bench
	$(SUDO) bin/bench -run '$(BENCH)'

.PHONY: kubernetes
kubernetes: deps-build ## the Kubernetes binaries that tests need (minutes the first time)
	@build/kubernetes/build.sh >/dev/null

.PHONY: cluster
cluster: build-cluster image ## a Kubernetes cluster on this machine; CLUSTER='--nodes 3 --family dual' chooses, bin/cluster down ends it
	$(SUDO) bin/cluster up --image bin/sluice-image.tar $(CLUSTER)

# in-cluster brings a cluster up, with flags of bin/cluster up, tests in it, with
# flags of bin/cluster test, and takes it down however that ends. Its folder is its
# own: others may be up.
define in-cluster
	dir=$$(mktemp -d "$${TMPDIR:-/tmp}/sluice-cluster-XXXXXX"); \
		trap '$(SUDO) bin/cluster --dir "$$dir/c" down; rmdir "$$dir"' EXIT; \
		$(SUDO) bin/cluster --dir "$$dir/c" up --image bin/sluice-image.tar $(1); \
		$(SUDO) bin/cluster --dir "$$dir/c" test $(2)
endef

.PHONY: test-cluster
test-cluster: build-cluster image ## tests in such a cluster, the project's and Kubernetes' own; SUITE='--set own' chooses
	SLUICE_WHOLE_CLUSTERS=1 go test $(TESTFLAGS) $(AS_ROOT) ./test/cluster/testbed
	$(call in-cluster,$(CLUSTER),$(SUITE))

.PHONY: check-cluster
check-cluster: build-cluster image ## the project's tests and a few of Kubernetes' in a cluster of two nodes, both families, no kube-proxy
	$(call in-cluster,--family dual --kube-proxy=false $(CLUSTER),--set own$(comma)chosen)

.PHONY: build-cluster
build-cluster: deps-cluster
	build/kubernetes/build.sh e2e.test >/dev/null
	build/cluster/build.sh
	CGO_ENABLED=0 go build -o bin/cluster ./test/cluster

.PHONY: clean
clean: ## remove bin/; the cache in SLUICE_CACHE stays
	rm -rf bin

# deps-PURPOSE installs what the machine lacks for a purpose of build/deps.sh.
deps-%:
	@build/deps.sh build $*
