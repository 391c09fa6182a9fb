#!/usr/bin/env bash
# Makes the image that the Dockerfile starts from of Debian's packages, unless it is
# there, so that no registry is needed. It bears the public image's name, among images of
# our own only (see podman.sh), and lacks Go, which build.sh brings.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"

name=docker.io/library/golang:1.26-bookworm
if ./podman.sh image exists "$name"; then exit 0; fi

fail() {
	echo "base.sh: $*" >&2
	exit 1
}

[[ $EUID -eq 0 ]] || fail "not root, so $name cannot be made of Debian's packages; build the image by \`make docker-build\`"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "base.sh: making $name of Debian's packages, which takes some minutes" >&2
mmdebstrap --quiet --mode=root --variant=apt --include=ca-certificates,gcc,libc6-dev,usr-is-merged \
	--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
	bookworm "$work/base.tar" \
	'deb http://deb.debian.org/debian bookworm main' \
	'deb http://deb.debian.org/debian bookworm-updates main' \
	'deb http://deb.debian.org/debian-security bookworm-security main'
./podman.sh import --quiet --change 'ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
	--change 'ENV GOTOOLCHAIN=local' "$work/base.tar" "$name" >&2
