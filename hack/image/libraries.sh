#!/usr/bin/env bash
# libraries.sh ARCHITECTURE DIRECTORY unpacks libvirt's client library for an
# architecture, and all that it needs, from Debian's packages: what an image has besides
# our program. Nothing of it is run. Each package's description goes where scanners for
# vulnerabilities look. Run by the Dockerfile.
set -euo pipefail

architecture=$1 root=$2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/state" "$work/cache/archives/partial" "$root/var/lib/dpkg/status.d"
# An installation of its own, in which there is nothing yet, of that architecture.
cat >"$work/apt.conf" <<END
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Dir::State "$work/state";
Dir::State::status "/dev/null";
Dir::Cache "$work/cache";
pkgCacheGen::ForceEssential ",";
END
export APT_CONFIG=$work/apt.conf
apt-get update --quiet=2
apt-get install --quiet=2 --yes --download-only libvirt0

for package in "$work"/cache/archives/*.deb; do
	# Of the documentation only the licences are kept.
	dpkg-deb --fsys-tarfile "$package" | tar --extract --directory="$root" --wildcards \
		--exclude='./usr/share/doc/*/changelog*' --exclude='./usr/share/doc/*/NEWS*' --exclude='./usr/share/doc/*/README*' \
		--exclude='./usr/share/locale/*' --exclude='./usr/share/man/*' --exclude='./usr/share/lintian/*' \
		--exclude='./usr/lib/*/gconv/*'
	dpkg-deb --field "$package" >"$root/var/lib/dpkg/status.d/$(dpkg-deb --field "$package" Package)"
done

mkdir -p "$root/run" "$root/etc"
# Where libvirt's library looks for its daemon.
ln -s /run "$root/var/run"
install -d -m 1777 "$root/tmp"
cp --dereference /etc/os-release "$root/etc/os-release"
# To these the packages' own refer by their place.
cp --recursive /usr/share/common-licenses "$root/usr/share/"
printf '%s\n' 'root:x:0:0:root:/:/sbin/nologin' 'nonroot:x:65532:65532:nonroot:/:/sbin/nologin' >"$root/etc/passwd"
printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' >"$root/etc/group"
