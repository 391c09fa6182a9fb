# All commands of the project. `make help` lists them.

SHELL := /usr/bin/env bash -o pipefail
.SHELLFLAGS := -ec
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

# The image that image and docker-build make and deploy runs, and what it says it is.
IMG ?= virtferry:latest
VERSION = $(shell git describe --tags --always --dirty)
REVISION = $(shell git rev-parse HEAD)

# libvirt is opened at run time: neither its headers nor its library is needed to build.
TAGS := libvirt_dlopen

CONTROLLER_GEN := go tool -modfile=hack/tools/go.mod controller-gen
CRD_REF_DOCS := go tool -modfile=hack/tools/go.mod crd-ref-docs
PACKAGES := go tool -modfile=hack/packages/go.mod
GOLANGCI_LINT := go tool -modfile=hack/lint/go.mod golangci-lint

##@ General

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN { FS = ":.*##"; printf "\nUsage:\n  make \033[36m<target>\033[0m\n" } \
		/^[a-zA-Z_0-9-]+:.*?##/ { printf "  \033[36m%-18s\033[0m %s\n", $$1, $$2 } \
		/^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) }' $(MAKEFILE_LIST)

##@ The lab

.PHONY: demo
demo: ## Move a real guest between two real libvirt hosts on this machine, and show it. Needs root.
	@hack/demo.sh

# Which releases of Debian the hosts run where they do not run this machine's own.
GENERATIONS ?= bookworm,trixie,forky

.PHONY: demo-generations
demo-generations: ## Move a guest from Debian 12's libvirt to 13's, the next one's, and back, and show it. Needs root.
	@hack/deps.sh generations
	@hack/demo.sh -generations '$(GENERATIONS)'

.PHONY: lab-up
lab-up: lab-deps bin/lab ## Start that lab and leave it running, to play with. Needs root.
	bin/lab up

.PHONY: lab-down
lab-down: bin/lab ## Stop the lab that lab-up started.
	bin/lab down

.PHONY: lab-deps
lab-deps: ## Install the Debian packages that the lab needs. Needs root.
	hack/deps.sh lab

.PHONY: controlplane
controlplane: ## Build etcd, kube-apiserver and kubectl for the tests, once.
	@hack/controlplane/build.sh >/dev/null

##@ Test

.PHONY: test
test: test-unit test-worlds test-alerts test-integration test-e2e ## Set up what is needed and run all tests. Needs root.

.PHONY: test-unit
test-unit: ## Run the unit tests, under the race detector: seconds, no set-up, no root.
	go test -race -tags '$(TAGS)' ./...

.PHONY: test-alerts
test-alerts: ## Check the metrics and test the alerts with promtool, on the PATH or Debian's.
	promtool="$$(hack/prometheus.sh promtool)"; go run ./hack/metricsdoc -series | "$$promtool" check metrics; cd config/prometheus; \
		"$$promtool" check rules alerts.yaml; "$$promtool" test rules alerts_test.yaml

.PHONY: test-integration
test-integration: controlplane ## Run the API and controller tests against a real kube-apiserver.
	KUBEBUILDER_ASSETS="$$(hack/controlplane/build.sh)" \
		go test -tags 'integration,$(TAGS)' -count=1 -timeout 15m ./api/... ./controllers/... ./test/integration/...

.PHONY: test-oldest
test-oldest: ## Run the integration tests on the oldest Kubernetes that docs/install.md names. For every night.
	assets="$$(hack/controlplane/build.sh oldest)"; \
		KUBEBUILDER_ASSETS="$$assets" go test -tags 'integration,$(TAGS)' -count=1 -timeout 15m ./api/... ./controllers/... ./test/integration/...

.PHONY: test-e2e
test-e2e: lab-deps controlplane ## Run the end-to-end tests, in which real guests move. Needs root.
	hack/deps.sh e2e
	go test -tags 'e2e,$(TAGS)' -count=1 -p 2 -timeout 40m ./test/... ./pkg/hypervisor/libvirt/ ./pkg/xmlrewrite/

# How many worlds the simulation makes up, from which seed on, and what else its command takes.
SEEDS ?= 1000
FIRST ?= 1
SIMULATION_FLAGS ?=

.PHONY: test-simulation
test-simulation: ## Run managers and agents through SEEDS worlds that are made up, in a time of their own. No set-up, no root.
	overlay="$$(hack/simulation/overlay.sh bin/_runtime)"; \
		go test -tags 'repeatable,$(TAGS)' -overlay "$$overlay" -c -o bin/simulation.test ./test/simulation
	cd test/simulation && ../../bin/simulation.test -test.v -test.run '^TestSimulation$$' -test.timeout 0 -once -seeds '$(SEEDS)' -first '$(FIRST)' $(SIMULATION_FLAGS)

.PHONY: test-worlds
test-worlds: ## Run 300 of these worlds, as a check of a change. Fails for what breaks a promise each time. No set-up, no root.
	go test -tags '$(TAGS)' -v -count=1 -timeout 15m ./test/simulation -run '^TestSimulation$$' -seeds 300 -first 100

# Which of hack/sabotage/list.go are tried, and with how many worlds each; all that there are where it is empty.
SABOTAGES ?=
SABOTAGE_SEEDS ?= 300

.PHONY: test-sabotages
test-sabotages: ## Break the product in one way after the other, and require that the simulation notices. An hour, no set-up, no root.
	go run ./hack/sabotage -tags '$(TAGS)' -only '$(SABOTAGES)' -seeds '$(SABOTAGE_SEEDS)'

# Which of these tests are run; all where it is empty.
PACKAGES_TESTS ?=

.PHONY: test-packages
test-packages: controlplane bin/virtferry ## Install, upgrade and remove the Helm chart and the kustomizations, by the real tools.
	cd hack/packages && go mod tidy -diff
	cd hack/kubestatemetrics && go mod tidy -diff
	export KUBEBUILDER_ASSETS="$$(hack/controlplane/build.sh)" VIRTFERRY="$(CURDIR)/bin/virtferry"; \
		export HELM="$$($(PACKAGES) -n helm)" KUSTOMIZE="$$($(PACKAGES) -n kustomize)"; \
		export KUBE_STATE_METRICS="$$(go tool -modfile=hack/kubestatemetrics/go.mod -n kube-state-metrics)"; \
		export RESOURCE_STATE_METRICS='$(RESOURCE_STATE_METRICS)'; \
		go test -tags 'packages,$(TAGS)' -count=1 -timeout 15m -run '$(PACKAGES_TESTS)' ./test/packages

# A directory with the source of resource-state-metrics.
RESOURCE_STATE_METRICS ?=

.PHONY: test-resource-state-metrics
test-resource-state-metrics: controlplane ## Build resource-state-metrics from the source in RESOURCE_STATE_METRICS, and run it with our configuration.
	@test -n '$(RESOURCE_STATE_METRICS)' || { echo "Set RESOURCE_STATE_METRICS to a directory with the source of resource-state-metrics." >&2; exit 2; }
	$(MAKE) test-packages RESOURCE_STATE_METRICS='$(abspath $(RESOURCE_STATE_METRICS))' PACKAGES_TESTS=TestObjectsAsMetrics

.PHONY: test-image
test-image: image lab-deps controlplane ## Run the manager and the agents from the image, as their manifests say, and move a guest. Needs root.
	KUBEBUILDER_ASSETS="$$(hack/controlplane/build.sh)" IMG='$(IMG)' VERSION='$(VERSION)' REVISION='$(REVISION)' \
		go test -tags 'image,$(TAGS)' -count=1 -timeout 15m ./test/image
	@hack/image/size.sh '$(IMG)'

# Where guests move past the dashboards: in the lab, which needs root, past scripted hypervisors, or both.
DASHBOARD_STAGES ?= lab,scripted

.PHONY: test-dashboards
test-dashboards: $(if $(findstring lab,$(DASHBOARD_STAGES)),lab-deps) controlplane bin/virtferry ## Run every query of the dashboards on a Prometheus that has seen guests move in the lab. Needs root.
	KUBEBUILDER_ASSETS="$$(hack/controlplane/build.sh)" go run -tags '$(TAGS)' ./test/dashboards -stages '$(DASHBOARD_STAGES)' \
		-prometheus "$$(hack/prometheus.sh prometheus)" -virtferry bin/virtferry -dashboards config/grafana -pictures bin/dashboards

# Which packages' rules are broken, and which files' of them; all that it knows where they are empty.
MUTATE ?=
MUTATE_FILES ?=

.PHONY: mutate
mutate: ## Break the rules of MUTATE one at a time, and count how many of these mutants the unit tests kill.
	go run ./hack/mutate -tags '$(TAGS)' -packages '$(MUTATE)' -files '$(MUTATE_FILES)'

.PHONY: test-faults
test-faults: lab-deps controlplane ## Kill and cut off each part at each phase of a migration, FAULT_RUNS times at random. Needs root.
	go run -tags '$(TAGS)' ./test/faults

.PHONY: test-modular
test-modular: lab-deps controlplane ## Move guests between libvirtd and the modular daemons, which are built from source once. Needs root.
	hack/deps.sh generations
	go test -tags 'e2e,$(TAGS)' -c -o bin/generations.test ./test/e2e
	cd test/e2e && ../../bin/generations.test -test.v -test.run '^TestGenerationsExchangeGuests|^TestModular' -test.parallel 2 -test.timeout 60m -generations bookworm,modular

.PHONY: test-generations
test-generations: lab-deps controlplane ## Move guests between hosts of several releases of Debian, from each to each other, in every way. Needs root.
	hack/deps.sh generations
	go test -tags 'e2e,$(TAGS)' -c -o bin/generations.test ./test/e2e
	cd test/e2e && ../../bin/generations.test -test.v -test.run '^TestGenerations' -test.parallel 2 -test.timeout 60m -generations '$(GENERATIONS)'

.PHONY: test-storm
test-storm: lab-deps controlplane ## Move dozens of guests both ways at once, and cancel some of them meanwhile. Needs root.
	go run -tags '$(TAGS)' ./test/storm

.PHONY: test-corpus
test-corpus: lab-deps ## Rewrite all domain documents of libvirt's own tests, from Debian's archive, and have libvirt judge the results. Needs root.
	go test -v -tags '$(TAGS),e2e' -count 1 -timeout 30m -run '^TestCorpus$$' ./pkg/xmlrewrite/ -corpus "$$(hack/corpus.sh)"

##@ Measure and compare

.PHONY: bench-overhead
bench-overhead: lab-deps controlplane ## Measure what a LiveMigration costs over virsh migrate. Needs root.
	go run -tags '$(TAGS)' ./test/bench/overhead

.PHONY: bench-convergence
bench-convergence: lab-deps controlplane ## Compare Adaptive, Stepped and libvirt alone on guests that write. Needs root.
	go run -tags '$(TAGS)' ./test/bench/convergence -svg bin/convergence.svg

# What else bench-outage's command takes, such as -rounds=12.
OUTAGE_FLAGS ?=

.PHONY: bench-outage
bench-outage: lab-deps controlplane ## Measure for how long a guest's peers miss it, against the downtime that is reported. Needs root.
	go run -tags '$(TAGS)' ./test/bench/outage $(OUTAGE_FLAGS)

.PHONY: bench-recovery
bench-recovery: lab-deps controlplane ## Measure how soon a post-copy goes on after the network was gone. Needs root; takes 15 minutes.
	go run -tags '$(TAGS)' ./test/bench/recovery

# How many rounds of moves bench-block makes, and what else its command takes.
BLOCK_ROUNDS ?= 6
BLOCK_FLAGS ?=

.PHONY: bench-block
bench-block: lab-deps controlplane ## Measure a guest with a disk of its host's own against virsh migrate --copy-storage-all, and one that writes fast. Needs root.
	go run -tags '$(TAGS)' ./test/bench/block -rounds '$(BLOCK_ROUNDS)' $(BLOCK_FLAGS)

.PHONY: bench-agent
bench-agent: lab-deps controlplane ## Measure what it costs an agent to steer 50 migrations at once. Needs root.
	go run -tags '$(TAGS)' ./test/bench/agentload

# How many finished LiveMigrations bench-scale has in its cluster, and what else its command takes.
SCALE ?= 10000
SCALE_FLAGS ?=

.PHONY: bench-scale
bench-scale: controlplane ## Measure the manager with SCALE finished LiveMigrations, and with a tenth of them. Needs root.
	go run -tags '$(TAGS)' ./test/bench/scale -finished '$(SCALE)' $(SCALE_FLAGS)

.PHONY: bench-xmlrewrite
bench-xmlrewrite: ## Measure how fast domain XML is rewritten, also by Nova. Installs python3-nova; needs root.
	go test -tags '$(TAGS)' -run '^$$' -bench . -benchmem ./pkg/xmlrewrite/
	hack/compare-nova/run.sh -cases 0

.PHONY: compare-nova
compare-nova: ## Compare the rewriting of domain XML with that of Nova. Installs python3-nova; needs root.
	hack/compare-nova/run.sh -speed=false

# How long each fuzz target runs.
FUZZTIME ?= 30s

.PHONY: fuzz
fuzz: ## Fuzz the rewriting of domain XML, each target for FUZZTIME.
	for package in ./pkg/xmlrewrite/ ./pkg/xmlrewrite/xmltree/; do \
		for target in $$(go test -tags '$(TAGS)' -list '^Fuzz' $$package | grep '^Fuzz'); do \
			go test -tags '$(TAGS)' -run '^$$' -fuzz "^$$target$$" -fuzztime '$(FUZZTIME)' $$package; \
		done; \
	done

##@ Develop

.PHONY: generate
generate: ## Generate Go code, CRDs, roles, what dashboards and Prometheus are given, and the chart's templates.
	$(CONTROLLER_GEN) object applyconfiguration crd paths=./api/v1alpha1 output:crd:dir=config/crd/bases
	go run ./hack/crdbounds config/crd/bases/*.yaml
	$(CONTROLLER_GEN) rbac:roleName=virtferry-manager,fileName=manager_role.yaml paths=./controllers output:rbac:dir=config/rbac
	$(CONTROLLER_GEN) rbac:roleName=virtferry-agent,fileName=agent_role.yaml paths=./controllers/node output:rbac:dir=config/rbac
	go run ./hack/prometheusrule config/prometheus/alerts.yaml config/prometheus/prometheusrule.yaml
	go run ./hack/statemetrics config/kube-state-metrics config/resource-state-metrics
	cd hack/dashboards && go run . ../../config/grafana
	go run ./hack/chart config charts/virtferry

.PHONY: docs-gen
docs-gen: ## Generate the API reference and the page of metrics.
	$(CRD_REF_DOCS) --log-level=WARN --max-depth=30 --source-path=./api/v1alpha1 --config=hack/docs/config.yaml \
		--renderer=markdown --templates-dir=hack/docs/templates --output-path=docs/api.md
	go run ./hack/metricsdoc -page docs/metrics.md

.PHONY: fmt
fmt: ## Format all Go code.
	gofmt -s -w $$(git ls-files --cached --others --exclude-standard '*.go')

.PHONY: vet
vet: ## Run go vet over all code, including tests of every kind.
	go vet -tags '$(TAGS),integration,e2e,packages,image' ./...

.PHONY: lint
lint: ## Run the linters.
	$(GOLANGCI_LINT) run ./...

.PHONY: lint-fix
lint-fix: ## Let the linters fix what they can.
	$(GOLANGCI_LINT) run --fix ./...

.PHONY: verify
verify: ## Check that all generated files are current and all Go code is formatted.
	hack/verify.sh

##@ Build and deploy

.PHONY: build
build: ## Build bin/virtferry.
	go build -trimpath -tags '$(TAGS)' -o bin/virtferry ./cmd/virtferry

# For tests: as quickly as possible, and also for root in a checkout that is somebody else's,
# of which Git tells it nothing.
.PHONY: bin/virtferry
bin/virtferry:
	@go build -buildvcs=false -tags '$(TAGS)' -o bin/virtferry ./cmd/virtferry

.PHONY: bin/lab
bin/lab:
	@go build -buildvcs=false -tags '$(TAGS)' -o bin/lab ./test/lab/cmd/lab

.PHONY: image
image: ## Build the image $(IMG) without a registry, into bin/image, with a list of what is in it. Needs root and Debian.
	hack/deps.sh image
	VERSION='$(VERSION)' REVISION='$(REVISION)' hack/image/build.sh "$$(go env GOHOSTARCH)" '$(IMG)' bin/image
	@hack/image/size.sh '$(IMG)'

# Which registry a release's image will be in, and where the release goes.
REPOSITORY ?= virtferry
DIST ?= dist/$(VERSION)
RELEASE = hack/deps.sh image && VERSION='$(VERSION)' REVISION='$(REVISION)' REPOSITORY='$(REPOSITORY)' hack/release/release.sh

.PHONY: release
release: ## Make all that a release consists of, for amd64 and arm64, in $(DIST). Needs root and Debian.
	$(RELEASE) '$(DIST)'
	@cat '$(DIST)/SHA256SUMS'

.PHONY: test-release
test-release: ## Make it twice, the second time without any layer of the first, and compare the checksums. Needs root and Debian.
	rm -rf dist/first dist/second
	$(RELEASE) dist/first
	export NO_CACHE=yes; $(RELEASE) dist/second
	diff dist/first/SHA256SUMS dist/second/SHA256SUMS
	@echo "test-release: both have the same bytes"

.PHONY: docker-build
docker-build: ## Build the image $(IMG) by Docker.
	docker build --build-arg VERSION='$(VERSION)' --build-arg REVISION='$(REVISION)' --tag '$(IMG)' .

.PHONY: install
install: ## Install the CRDs into the cluster that kubectl points at.
	kubectl apply --server-side -k config/crd

.PHONY: uninstall
uninstall: ## Remove the CRDs, and with them all LiveMigrations.
	kubectl delete --ignore-not-found -k config/crd

# What deploy installs and undeploy removes.
KUSTOMIZATION ?= config/default

.PHONY: deploy
deploy: ## Install the CRDs, the manager and the agents, with the image $(IMG).
	kubectl kustomize '$(KUSTOMIZATION)' | sed 's|image: virtferry:latest|image: $(IMG)|' | \
		kubectl apply --server-side -f -

.PHONY: undeploy
undeploy: ## Remove everything that deploy installed, unless migrations are under way. CANCEL=yes cancels them.
	CANCEL='$(CANCEL)' hack/undeploy.sh '$(KUSTOMIZATION)'
