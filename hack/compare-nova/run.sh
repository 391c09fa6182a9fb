#!/bin/sh
# Compare the rewriting of domain XML with Nova's own. Installs python3-nova if
# it is missing, which needs root. Arguments are handed on; see -help.
set -eu
cd "$(dirname "$0")/../.."
if ! /usr/bin/python3 -c 'import nova.virt.libvirt.migration' 2>/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-nova
fi
exec go run ./hack/compare-nova "$@"
