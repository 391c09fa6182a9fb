#!/usr/bin/env bash
# build.sh ARCHITECTURE TAG DIRECTORY builds the image for an architecture from the
# Dockerfile, without a registry, and writes it to DIRECTORY as an OCI layout, with a
# list of what is in it beside it. It says that it is VERSION, built from REVISION. The
# same source and the same packages make the same bytes; with NO_CACHE=yes, no layer that
# is there is taken again, but what Go has compiled is.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

architecture=$1 tag=$2 directory=$3
podman=hack/image/podman.sh

fail() {
	echo "build.sh: $*" >&2
	exit 1
}

version=$(go env GOVERSION)
[[ $version == go1.26 || $version == go1.26.* ]] || fail "the image is built by Go 1.26, but go is $version"
hack/image/base.sh

# What the build needs of modules, it takes from those that are here.
go mod download
# Nothing of the image bears a time but 1970's: layers of an older commit, which are taken
# again, would bear that one's. Podman's older versions have to be told the platform that
# the image is built on.
options=()
if [[ ${NO_CACHE:-} == yes ]]; then options+=(--no-cache); fi
$podman build "${options[@]}" --isolation chroot --network host --pull=never --format oci \
	--platform "linux/$architecture" --timestamp 0 \
	--volume "$(go env GOROOT):/usr/local/go:ro" --volume "$(go env GOMODCACHE)/cache/download:/modules:ro" \
	--build-arg BUILDPLATFORM="linux/$(go env GOHOSTARCH)" --build-arg GOPROXY=file:///modules --build-arg VERSION="${VERSION:?}" \
	--build-arg REVISION="${REVISION:?}" --tag "$tag" . >&2
times=$($podman image inspect --format '{{range .History}}{{.Created.Unix}} {{end}}' "$tag")
[[ $times != *[1-9]* ]] ||
	fail "the image has layers that another script has made, which bear other times: remove them by \`$podman image prune --all --force\`, and build it again"

name=$directory/virtferry-$architecture
rm -rf "$name" "$name.cdx.json"
mkdir -p "$directory"
$podman push --quiet --format oci "$tag" "oci:$name:$VERSION"
files=$($podman image mount "$tag")
(cd hack/sbom && go run . "$files" "$VERSION") >"$name.cdx.json"
$podman image unmount "$tag" >/dev/null
