#!/usr/bin/env bash
# Prints the path of promtool, which tests the alerts, or of prometheus, which the
# dashboards are tested with: the one on the PATH or else the one of Debian's package
# prometheus, which is unpacked, not installed. It is kept in ${VIRTFERRY_CACHE:-the
# user's cache directory/virtferry}. Progress goes to standard error. See
# docs/decisions/0021.
set -euo pipefail

fail() {
	echo "prometheus.sh: $*" >&2
	exit 1
}

program=${1:-}
[[ $program == promtool || $program == prometheus ]] || fail "usage: prometheus.sh promtool|prometheus"

if command -v "$program"; then exit 0; fi

cache=${VIRTFERRY_CACHE:-}
if [[ -z $cache ]]; then
	base=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
	cache=${base:?set VIRTFERRY_CACHE, XDG_CACHE_HOME or HOME}/virtferry
fi
path=$cache/$program/$program
if [[ -x $path ]]; then
	echo "$path"
	exit 0
fi

command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
	fail "this is no Debian or Ubuntu; put Prometheus' $program on the PATH"
if ! apt-cache show prometheus >/dev/null 2>&1; then
	[[ $EUID -eq 0 ]] || fail "not root, so apt's lists, which lack prometheus, cannot be refreshed; put $program on the PATH"
	apt-get update --quiet=2 >&2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
echo "prometheus.sh: downloading Debian's package prometheus" >&2
(cd "$work" && apt-get download --quiet=2 -o APT::Sandbox::User=root prometheus >&2)
dpkg-deb --fsys-tarfile "$work"/prometheus_*.deb | tar --extract --directory="$work" "./usr/bin/$program"
mkdir -p "$(dirname "$path")"
# Renamed, so that what is there is always whole.
mv "$work/usr/bin/$program" "$path.new"
mv "$path.new" "$path"
echo "$path"
