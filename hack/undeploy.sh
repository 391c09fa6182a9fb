#!/usr/bin/env bash
# Removes what `make deploy` has installed, all LiveMigrations first. While some of them
# are under way it removes nothing, unless it is told to cancel them, with CANCEL=yes.
set -euo pipefail

kustomization=${1:?the kustomization that was deployed}
crd=livemigrations.migration.virtferry.dev

if [[ -n $(kubectl get customresourcedefinition "$crd" --ignore-not-found --output=name) ]]; then
	under_way=$(kubectl get "$crd" --all-namespaces --no-headers \
		--output=custom-columns=NAMESPACE:.metadata.namespace,NAME:.metadata.name,PHASE:.status.phase,END:.status.completionTime |
		awk '$4 == "<none>" { print "  " $1 "/" $2 " " $3 }')
	if [[ -n $under_way && ${CANCEL:-} != yes ]]; then
		echo "undeploy: nothing is removed, because migrations are under way:" >&2
		echo "$under_way" >&2
		echo "undeploy: wait for their end, or run 'make undeploy CANCEL=yes' to cancel them" >&2
		exit 1
	fi
	# The manager, which is still there, lets each go when its guest is safe.
	kubectl delete --all --all-namespaces --timeout=10m "$crd" ||
		{ echo "undeploy: LiveMigrations are left, see above; what became of their guests is in 'kubectl get lm -A -o wide'" >&2; exit 1; }
fi
kubectl delete --ignore-not-found -k "$kustomization"
