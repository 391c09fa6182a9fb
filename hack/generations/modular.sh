#!/usr/bin/env bash
# modular.sh makes a root file system like that of Debian's trixie, but with libvirt's modular
# daemons (virtqemud, virtproxyd and others) beside libvirtd, once, and prints its directory.
#
# No suite of Debian packages them, while other distributions run nothing else. They are built
# from Debian's own source package of the same version, whose other parts they load: in a
# root of its own, which is thrown away, with the compiler of the same suite. That takes ten to
# twenty minutes. Everything else is as root.sh has it.
set -euo pipefail

layout=1
daemons=(virtqemud virtproxyd virtstoraged virtnetworkd virtnodedevd virtsecretd)
# What it takes to build them, and no more than that of libvirt.
packages=(
	dpkg-dev gcc gettext libacl1-dev libc6-dev libcap-ng-dev libglib2.0-dev libgnutls28-dev libjson-c-dev libnl-3-dev
	libnl-route-3-dev libpciaccess-dev libreadline-dev libtirpc-dev libudev-dev libxml2-dev libxml2-utils meson
	ninja-build pkgconf python3-docutils xsltproc
)

say() { echo "modular.sh: $*" >&2; }
fail() {
	say "$@"
	exit 1
}

base=$("$(dirname "$0")/root.sh" trixie)
roots=$(dirname "$base")
dir=$roots/modular-$layout
if [[ -d $dir ]]; then
	echo "$dir"
	exit 0
fi
exec 9>"$roots/.modular.lock"
flock 9
if [[ -d $dir ]]; then
	echo "$dir"
	exit 0
fi
version=$(chroot "$base" libvirtd --version | sed -n 's/.* \([0-9.]*\)$/\1/p')
[[ $version ]] || fail "$base does not tell libvirt's version"
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null | head -n 1)}
mirror=${mirror:-http://deb.debian.org/debian}

new=$(mktemp -d "$roots/.modular.new.XXXXXX")
trap 'rm -rf "$new"' EXIT
log=$new/log
mkdir "$new/built"
start=$SECONDS
say "building libvirt $version's modular daemons once, which takes ten to twenty minutes ..."

# This runs in the root for building.
cat >"$new/build" <<EOF
set -eux
cd /tmp
# A mirror need not have the description of the source package: the index, which Debian has
# signed, says what is in it as well.
apt-get source --print-uris libvirt | sed -nE "s/^'([^']*)' ([^ ]*\.tar\.xz) [0-9]+ SHA256:([0-9a-f]+)$/\3  \2 \1/p" >files
while read -r sum file uri; do
	/usr/lib/apt/apt-helper download-file "\$uri" "\$file" "SHA256:\$sum"
done <files
tar -xf libvirt_*.orig.tar.xz
cd libvirt-$version
tar -xf ../libvirt_*.debian.tar.xz
sed -e 's/#.*//' debian/patches/series | while read -r patch; do
	[ -z "\$patch" ] || patch --quiet -p1 <"debian/patches/\$patch"
done
meson setup b -Dsystem=true --prefix=/usr --libdir=/usr/lib/x86_64-linux-gnu --sysconfdir=/etc --localstatedir=/var -Drunstatedir=/run \
	-Dauto_features=disabled -Ddriver_remote=enabled -Ddriver_libvirtd=enabled -Ddriver_qemu=enabled -Dqemu_user=root -Dqemu_group=root \
	-Djson_c=enabled -Ddriver_network=enabled -Ddriver_secrets=enabled -Dlibnl=enabled -Dudev=enabled -Dpciaccess=enabled \
	-Dstorage_dir=enabled -Dstorage_fs=disabled -Ddocs=disabled -Dtests=disabled -Dnls=disabled -Dreadline=enabled
ninja -C b ${daemons[*]/#/src/}
strip --strip-debug ${daemons[*]/#/b/src/}
EOF
mmdebstrap --quiet --mode=root --variant=apt --format=null --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
	--aptopt='APT::Install-Recommends "false"' --include="$(IFS=,; echo "${packages[*]}")" \
	--customize-hook="copy-in '$new/build' /tmp" --customize-hook='chroot "$1" sh /tmp/build' \
	--customize-hook="copy-out ${daemons[*]/#//tmp/libvirt-$version/b/src/} '$new/built'" \
	trixie - "deb $mirror trixie main" "deb-src $mirror trixie main" >"$log" 2>&1 || {
	tail -n 20 "$log" >&2
	fail "they cannot be built; the mirror $mirror may have another version than $base, which can be removed to have it made anew"
}

cp -a "$base" "$new/root"
for daemon in "${daemons[@]}"; do
	install -m 755 "$new/built/$daemon" "$new/root/usr/sbin/$daemon"
	told=$(chroot "$new/root" "$daemon" --version) || fail "$daemon cannot be run"
	[[ $told == *" $version" ]] || fail "$daemon is of another version than libvirtd, $version: $told"
done
mv "$new/root" "$dir"
say "made it in $((SECONDS - start)) s"
echo "$dir"
