#!/usr/bin/env bash
# root.sh SUITE makes a root file system of a suite of Debian, with what one of the lab's
# hosts runs, once, and prints its directory. Labs mount it read-only, so that hosts of
# several generations of libvirt and QEMU run side by side on one machine; nothing of it
# is installed on the machine itself.
#
# The packages are only unpacked: none of their scripts runs, and nothing is mounted. They
# come from the mirror that apt uses here, or from DEBIAN_MIRROR, and Debian's keyring says
# whether they are Debian's. A root is kept in ${VIRTFERRY_CACHE:-the user's cache
# directory/virtferry}/roots; remove it there to have it made of newer packages. Progress
# goes to standard error.
set -euo pipefail

# Roots that were made otherwise are of another layout, and are not taken.
layout=1

say() { echo "root.sh: $*" >&2; }
fail() {
	say "$@"
	exit 1
}

# What all suites call the same.
packages=(
	base-files base-passwd bash coreutils dash findutils grep hostname libc-bin mount procps sed util-linux
	iproute2 iptables tini
	libvirt-clients libvirt-daemon libvirt-daemon-driver-qemu qemu-system-x86 qemu-utils
	gnutls-bin ovmf swtpm swtpm-tools
)
case ${1:-} in
bookworm) packages+=(libvirt-daemon-system) ;;
trixie | forky)
	packages+=(libvirt-daemon-common libvirt-daemon-driver-interface libvirt-daemon-driver-network
		libvirt-daemon-driver-nodedev libvirt-daemon-driver-secret libvirt-daemon-driver-storage libvirt-daemon-log)
	;;
*)
	echo "usage: root.sh bookworm|trixie|forky" >&2
	exit 2
	;;
esac
suite=$1

cache=${VIRTFERRY_CACHE:-}
if [[ -z $cache ]]; then
	base=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
	cache=${base:?set VIRTFERRY_CACHE, XDG_CACHE_HOME or HOME}/virtferry
fi
dir=$cache/roots/$suite-$layout
if [[ -d $dir ]]; then
	echo "$dir"
	exit 0
fi

[[ $EUID -eq 0 ]] || fail "not root, so the owners of files of $suite cannot be set"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
for needed in /usr/bin/mmdebstrap "$keyring"; do
	[[ -e $needed ]] || fail "$needed is missing: hack/deps.sh generations installs it"
done
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null | head -n 1)}
mirror=${mirror:-http://deb.debian.org/debian}

mkdir -p "$cache/roots"
# Only one makes a root at a time; who waited finds the work done.
exec 9>"$cache/roots/.$suite.lock"
flock 9
if [[ -d $dir ]]; then
	echo "$dir"
	exit 0
fi

new=$(mktemp -d "$cache/roots/.$suite.new.XXXXXX")
trap 'rm -rf "$new"' EXIT
log=$new/log
root=$new/root
start=$SECONDS
say "making a root of $suite from $mirror once, which takes about two minutes ..."
# A suite that is not released yet may be past the day until which its index is valid.
mmdebstrap --quiet --mode=root --variant=extract --format=directory --keyring="$keyring" \
	--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
	--aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' \
	--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--include="$(IFS=,; echo "${packages[*]}")" \
	"$suite" "$root" "deb $mirror $suite main" >"$log" 2>&1 || {
	tail -n 20 "$log" >&2
	fail "$suite cannot be had from $mirror; DEBIAN_MIRROR names another mirror"
}

# What the packages' scripts would have done, as far as a host needs it.
for table in passwd group; do
	cp "$root/usr/share/base-passwd/$table.master" "$root/etc/$table"
done
id=900
for name in libvirt-qemu swtpm tss; do
	echo "$name:x:$id:" >>"$root/etc/group"
	echo "$name:x:$id:$id::/nonexistent:/usr/sbin/nologin" >>"$root/etc/passwd"
	id=$((id + 1))
done
for name in kvm libvirt; do
	grep -q "^$name:" "$root/etc/group" || echo "$name:x:$id:" >>"$root/etc/group"
	id=$((id + 1))
done
# The alternatives that Debian chooses: without them libvirt finds no firewall.
for name in iptables ip6tables; do
	ln -sf xtables-nft-multi "$root/usr/sbin/$name"
done
# Programs look for sockets in either place.
rm -rf "$root/var/run"
ln -s /run "$root/var/run"
# Where a lab mounts what each host has for itself; to what is read-only, nothing can be added.
mkdir -p "$root"/{dev,mnt,proc,run,sys,tmp} "$root"/var/{cache,lib,log}/libvirt
rm -rf "$root"/var/cache/apt "$root"/var/lib/apt

# Their libraries are complete if they tell their versions.
versions=$(for program in libvirtd qemu-system-x86_64 qemu-img ip tc iptables tini virsh; do
	chroot "$root" "$program" -V </dev/null || chroot "$root" "$program" --version </dev/null ||
		fail "in the root of $suite, $program cannot be run: its packages have changed"
done 2>&1) || fail "$versions"
mv "$root" "$dir"
say "made it in $((SECONDS - start)) s, $(du -sm "$dir" | cut -f 1) MiB:" \
	"$(chroot "$dir" libvirtd --version), $(chroot "$dir" qemu-system-x86_64 --version | head -n 1)"
echo "$dir"
