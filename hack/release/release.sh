#!/usr/bin/env bash
# release.sh DIRECTORY makes all that a release consists of, in a new directory: VERSION,
# built from REVISION, whose images are to be in the registry's REPOSITORY. See
# docs/versioning.md. The same source and the same packages of Debian make the same bytes;
# with NO_CACHE=yes, no layer that is there is taken again, but what Go has compiled is.
# Without a registry, and offline once the modules and Debian's packages are there.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."

directory=$1
: "${VERSION:?}" "${REVISION:?}" "${REPOSITORY:?}"
podman=hack/image/podman.sh

fail() {
	echo "release.sh: $*" >&2
	exit 1
}

[[ ! -e $directory ]] || fail "$directory is there already: remove it, or name another one"
# Helm wants a semantic version, which a commit's hash alone need not be.
chart_version=0.0.0-untagged-$VERSION
if [[ $VERSION =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]]; then
	chart_version=${VERSION#v}
	grep -q "^## $VERSION " CHANGELOG.md || fail "CHANGELOG.md says nothing about $VERSION"
	diff -r config/crd/bases "test/integration/testdata/released/$VERSION" ||
		fail "test/integration/testdata/released/$VERSION does not have this version's CRDs: see docs/versioning.md"
fi
epoch=$(git log -1 --format=%ct)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/out"

# pack ARCHIVE DIRECTORY makes an archive in which only contents count.
pack() {
	tar --create --directory="$2" --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode='u+rw,go+r-w,a+X' --format=gnu . >"$1"
}

$podman manifest rm "localhost/virtferry:$VERSION" >/dev/null 2>&1 || true
$podman manifest create "localhost/virtferry:$VERSION" >/dev/null
for architecture in amd64 arm64; do
	tag=localhost/virtferry:$VERSION-$architecture
	hack/image/build.sh "$architecture" "$tag" "$work"
	$podman manifest add "localhost/virtferry:$VERSION" "containers-storage:$tag" >/dev/null
	mv "$work/virtferry-$architecture.cdx.json" "$work/out/virtferry-$VERSION-image-$architecture.cdx.json"
	mkdir "$work/program"
	files=$($podman image mount "$tag")
	cp -r "$files/usr/local/bin/virtferry" "$files/usr/share/doc/virtferry/third-party" LICENSE "$work/program"
	$podman image unmount "$tag" >/dev/null
	# Nothing here may be able to run it.
	go version -m "$work/program/virtferry" | grep -q "GOARCH=$architecture$" || fail "the program for $architecture is for another architecture"
	pack "$work/program.tar" "$work/program"
	gzip --no-name --best <"$work/program.tar" >"$work/out/virtferry-$VERSION-linux-$architecture.tar.gz"
	rm -r "$work/program"
done
$podman manifest push --quiet --all --format oci "localhost/virtferry:$VERSION" "oci:$work/image:$VERSION"
pack "$work/out/virtferry-$VERSION-image.oci.tar" "$work/image"

cp -r charts/virtferry "$work/chart"
# Helm keeps the files' times.
find "$work/chart" -exec touch --date="@$epoch" {} +
sed -i "s|^  repository: virtferry$|  repository: $REPOSITORY|" "$work/chart/values.yaml"
touch --date="@$epoch" "$work/chart/values.yaml"
go tool -modfile=hack/packages/go.mod helm package "$work/chart" --version "$chart_version" --app-version "$VERSION" --destination "$work" >/dev/null
(cd hack/release && go run . "$work/virtferry-$chart_version.tgz" "$epoch" "$work/layout")
mv "$work/virtferry-$chart_version.tgz" "$work/out/virtferry-chart-$chart_version.tgz"
pack "$work/out/virtferry-chart-$chart_version.oci.tar" "$work/layout"

go tool -modfile=hack/packages/go.mod kustomize build config/default |
	sed "s|image: virtferry:latest|image: $REPOSITORY:$VERSION|" >"$work/out/virtferry-$VERSION.yaml"
go tool -modfile=hack/packages/go.mod kustomize build config/crd >"$work/out/virtferry-$VERSION-crds.yaml"

(cd "$work/out" && sha256sum -- * >"$work/SHA256SUMS")
mv "$work/SHA256SUMS" "$work/out"
mkdir -p "$(dirname "$directory")"
mv "$work/out" "$directory"
