#!/usr/bin/env bash
# compiler.sh ARCHITECTURE makes target-gcc, in a Debian with gcc, compile for an
# architecture. Run by the Dockerfile.
set -euo pipefail

architecture=$1

compiler=gcc
if [[ $architecture != "$(dpkg --print-architecture)" ]]; then
	case $architecture in
	amd64) triplet=x86-64-linux-gnu ;;
	arm64) triplet=aarch64-linux-gnu ;;
	*)
		echo "compiler.sh: no cross compiler is known for $architecture" >&2
		exit 1
		;;
	esac
	apt-get update --quiet=2
	apt-get install --quiet=2 --yes --no-install-recommends "gcc-$triplet" "libc6-dev-$architecture-cross" >/dev/null
	compiler=${triplet/x86-64/x86_64}-gcc
fi
ln -s "$(command -v "$compiler")" /usr/local/bin/target-gcc
