#!/usr/bin/env bash
# Builds etcd, kube-apiserver and kubectl from this directory's module, once, and
# prints the directory that holds them. Tests and demonstrations run them as a
# real control plane, without images and without downloading executables. With the
# argument "oldest", kube-apiserver is the oldest that Virtferry works with, of the module
# below, beside the same etcd and kubectl.
#
# They are kept in ${VIRTFERRY_CACHE:-the user's cache directory/virtferry} by the
# version of Kubernetes. Progress goes to standard error. Where KUBEBUILDER_ASSETS names
# a directory, as setup-envtest prints one, the programs there are taken instead.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"

say() { echo "$*" >&2; }

module=newest
if [[ $# -gt 0 ]]; then
	module=$1
	[[ $# == 1 && $module == oldest ]] || {
		say "usage: build.sh [oldest]"
		exit 2
	}
fi

if [[ $module == newest && -n ${KUBEBUILDER_ASSETS:-} ]]; then
	for program in etcd kube-apiserver kubectl; do
		if [[ ! -x $KUBEBUILDER_ASSETS/$program ]]; then
			say "KUBEBUILDER_ASSETS is $KUBEBUILDER_ASSETS, which has no $program: correct it, or unset it to have everything built"
			exit 1
		fi
	done
	echo "$KUBEBUILDER_ASSETS"
	exit 0
fi

cache=${VIRTFERRY_CACHE:-}
if [[ -z $cache ]]; then
	base=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
	cache=${base:?set VIRTFERRY_CACHE, XDG_CACHE_HOME or HOME}/virtferry
fi

# What the oldest one is run with is not as old.
if [[ $module == oldest ]]; then
	newest=$(KUBEBUILDER_ASSETS='' ./build.sh)
	cd oldest
fi

# The version is read rather than asked of Go, which would load the whole module.
version=$(awk '$1 == "require" { $1 = ""; $0 = $0 } $1 == "k8s.io/kubernetes" { print $2; exit }' go.mod)
if [[ ! $version =~ ^v([0-9]+)\.([0-9]+)\.[0-9]+$ ]]; then
	say "hack/controlplane/go.mod requires no k8s.io/kubernetes of a release version"
	exit 1
fi
major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]}
dir=$cache/controlplane/$version

# build NAME DURATION PACKAGE FLAG... builds one program unless it is there. It is
# built under another name and renamed, so that what is there is always whole.
build() {
	local name=$1 duration=$2 package=$3
	shift 3
	if [[ -x $dir/$name ]]; then
		return
	fi
	mkdir -p "$dir"
	# Only one builds at a time; who waited finds the work done.
	exec 9>"$dir/.lock"
	flock 9
	if [[ ! -x $dir/$name ]]; then
		say "building $name of Kubernetes $version once, $duration on 2 cores ..."
		local start=$SECONDS
		go build -trimpath "$@" -o "$dir/.$name.new" "$package" >&2
		mv "$dir/.$name.new" "$dir/$name"
		say "built $name in $((SECONDS - start)) s"
	fi
	exec 9>&-
}

stamp="-s -w -X k8s.io/component-base/version.gitVersion=$version"
stamp+=" -X k8s.io/component-base/version.gitMajor=$major -X k8s.io/component-base/version.gitMinor=$minor"

export CGO_ENABLED=0 GOFLAGS= GOWORK=off
build kube-apiserver "about 7 minutes" k8s.io/kubernetes/cmd/kube-apiserver -ldflags "$stamp"
if [[ $module == oldest ]]; then
	ln -sf "$newest/etcd" "$newest/kubectl" "$dir/"
	echo "$dir"
	exit 0
fi
build etcd "about 1 minute" go.etcd.io/etcd/server/v3 -ldflags "-s -w"
build kubectl "about 1 minute" k8s.io/kubernetes/cmd/kubectl -ldflags "$stamp"
echo "$dir"
