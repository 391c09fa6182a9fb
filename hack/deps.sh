#!/usr/bin/env bash
# Installs the Debian packages that are missing for test/lab, or with the argument
# "e2e" those that some end-to-end tests need besides, with "image" those that the image
# is built, tested and released with, or with "generations" those that roots of other
# releases are made with. Says nothing when there is nothing to do.
#
# The lab runs its own libvirt daemons, and the image is built by programs that need no
# service either. None must come to life on this machine just because its program is
# wanted, so no service is started while the packages are installed, and none that was
# not enabled before is enabled after.
set -euo pipefail

lab=(
	iproute2                # ip, tc
	iptables                # iptables
	libvirt-clients         # virsh
	libvirt-daemon-system   # libvirtd
	mount                   # mount
	qemu-system-x86         # qemu-system-x86_64
	qemu-utils              # qemu-img
	tini                    # The first process of each host.
	util-linux              # flock
)
e2e=(
	nftables       # A firewall as docs/install.md has it.
	ovmf           # UEFI guests.
	openssh-client # Hosts that reach each other by SSH.
	openssh-server
	swtpm          # Guests with a TPM.
	swtpm-tools
)
image=(
	crun       # What podman runs containers with.
	mmdebstrap # The image that the build starts from.
	podman
)
generations=(
	debian-archive-keyring
	mmdebstrap
	ovmf        # For those hosts that run this machine's own release.
	swtpm
	swtpm-tools
)
lab_units=(
	libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd-tcp.socket libvirtd-tls.socket
	virtlogd.service virtlogd.socket virtlogd-admin.socket
	virtlockd.service virtlockd.socket virtlockd-admin.socket
	libvirt-guests.service
)
e2e_units=(nftables.service ssh.service ssh.socket sshd.service)
image_units=(podman.service podman.socket podman-restart.service podman-auto-update.service podman-auto-update.timer)
case ${1:-lab} in
lab) packages=("${lab[@]}") units=("${lab_units[@]}") ;;
e2e) packages=("${e2e[@]}") units=("${e2e_units[@]}") ;;
image) packages=("${image[@]}") units=("${image_units[@]}") ;;
generations) packages=("${generations[@]}") units=() ;;
*)
	echo "usage: deps.sh [lab|e2e|image|generations]" >&2
	exit 2
	;;
esac

fail() {
	echo "deps.sh: $*" >&2
	exit 1
}

command -v dpkg-query >/dev/null && command -v apt-get >/dev/null ||
	fail "this is no Debian or Ubuntu; install what these packages hold by hand: ${packages[*]}"

missing=()
for package in "${packages[@]}"; do
	status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || status=absent
	[[ $status == installed ]] || missing+=("$package")
done
# The guests' kernel is downloaded, not installed; apt must know the package.
kernel=linux-image-cloud-amd64
if [[ ${#missing[@]} -eq 0 ]]; then
	[[ ${1:-lab} == lab ]] || exit 0
	if apt-cache show "$kernel" >/dev/null 2>&1; then exit 0; fi
	[[ $EUID -eq 0 ]] || fail "not root, so apt's lists, which lack $kernel, cannot be refreshed"
	apt-get update --quiet=2
	apt-cache show "$kernel" >/dev/null 2>&1 || fail "no package source offers $kernel"
	exit 0
fi
[[ $EUID -eq 0 ]] || fail "not root, so these packages cannot be installed: ${missing[*]}"

# Asked of systemd's files, so that it works where systemd is not running.
enabled() { command -v systemctl >/dev/null && [[ $(systemctl is-enabled "$1" 2>/dev/null) == enabled ]]; }

declare -A was_enabled=()
for unit in "${units[@]}"; do
	if enabled "$unit"; then was_enabled[$unit]=1; fi
done

# Package scripts ask policy-rc.d before they start a service; 101 forbids it.
policy=/usr/sbin/policy-rc.d
saved=
restore_policy() {
	rm -f "$policy"
	if [[ -n $saved ]]; then mv "$saved" "$policy"; fi
}
if [[ -e $policy || -L $policy ]]; then
	saved=$policy.deps
	mv "$policy" "$saved"
fi
trap restore_policy EXIT
printf '#!/bin/sh\nexit 101\n' >"$policy"
chmod 755 "$policy"

echo "deps.sh: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}"

for unit in "${units[@]}"; do
	if [[ -z ${was_enabled[$unit]:-} ]] && enabled "$unit"; then
		systemctl --quiet disable "$unit"
	fi
done
echo "deps.sh: done"
