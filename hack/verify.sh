#!/usr/bin/env bash
# Checks that everything generated is current, that the modules are tidy and that
# all Go code is formatted. It works on a copy and changes nothing here.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

# Everything that is, or would be, in Git, as it is now.
git ls-files -z --cached --others --exclude-standard |
	while IFS= read -r -d '' file; do
		if [[ -e $file || -L $file ]]; then printf '%s\0' "$file"; fi
	done |
	tar --create --null --files-from=- | tar --extract --directory="$copy"
cd "$copy"
git init --quiet
git add --all

failed=0
fail() {
	echo "verify: $*" >&2
	failed=1
}

# What is generated from nothing any more has to go, too.
rm -rf api/v1alpha1/applyconfiguration api/v1alpha1/zz_generated.* config/crd/bases config/rbac/{manager,agent}_role.yaml config/prometheus/prometheusrule.yaml config/kube-state-metrics/{config,configmap}.yaml config/resource-state-metrics/monitor.yaml config/grafana/{*.json,configmap.yaml} charts/virtferry/templates/*/ charts/virtferry/LICENSE docs/{api,metrics}.md
make --no-print-directory generate docs-gen >&2
if ! git diff --exit-code || [[ -n $(git ls-files --others --exclude-standard) ]]; then
	git ls-files --others --exclude-standard
	fail "generated files are not current: run 'make generate docs-gen'"
fi

# git lists what it was given; the files above are back by now.
unformatted=$(git ls-files -z '*.go' | xargs -0 gofmt -s -l)
if [[ -n $unformatted ]]; then
	echo "$unformatted"
	fail "Go files are not formatted: run 'make fmt'"
fi

for module in . hack/controlplane hack/tools hack/lint hack/controlplane/oldest hack/dashboards hack/release hack/sbom; do
	(cd "$module" && go mod tidy -diff) || fail "go.mod or go.sum of $module is not tidy: run 'go mod tidy' there"
done

if [[ $failed == 0 ]]; then
	echo "verify: everything is current"
fi
exit "$failed"
