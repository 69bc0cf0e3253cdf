#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deb.sh - `make deb`: a Debian package of what is built.
#
#	deb.sh VERSION OUTPUT.deb	(with B, MAKE; `make install` says what belongs where)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=$1 out=$2
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
umask 022

"$MAKE" --no-print-directory -s -C "$here/.." B="$B" PREFIX=/usr DESTDIR="$root" install
for d in /usr/lib/cni /usr/share/containers/oci/hooks.d /lib/systemd/system \
	/etc/podpci/net.d /usr/share/doc/podpci/examples; do
	install -d "$root$d"
done
ln -s ../../bin/podpci-cni "$root/usr/lib/cni/podpci-cni"
install -m 644 "$here"/hooks.d/*.json "$root/usr/share/containers/oci/hooks.d/"
sed 's,/usr/local/bin/,/usr/bin/,' "$here/systemd/podpci-switch.service" \
	>"$root/lib/systemd/system/podpci-switch.service"
install -m 644 "$here/conf/switch.conf" "$here/conf/node.json" "$root/etc/podpci/"
cp -r "$here/conf" "$here/k8s" "$root/usr/share/doc/podpci/examples/"
find "$root/usr/share/man" -type f -exec gzip -9n {} +

mkdir "$root/DEBIAN"
install -m 755 "$here"/debian/p* "$root/DEBIAN/"
(cd "$root" && find etc -type f -printf '/%p\n') >"$root/DEBIAN/conffiles"
# dpkg-shlibdeps wants a source tree around it.
mkdir -p "$root.src/debian"
trap 'rm -rf "$root" "$root.src"' EXIT
printf 'Source: podpci\n\nPackage: podpci\nArchitecture: any\n' >"$root.src/debian/control"
depends=$(cd "$root.src" && dpkg-shlibdeps -O "$root"/usr/bin/podpci \
	"$root"/usr/bin/podpci-switch "$root"/usr/lib/libpodpci.so 2>/dev/null |
	sed -n 's/^shlibs:Depends=//p')
cat >"$root/DEBIAN/control" <<END
Package: podpci
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: podpci <podpci@podpci.dev>
Depends: $depends
Recommends: runc | crun
Suggests: containerd | podman | docker.io, openvswitch-switch-dpdk
Section: net
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Description: virtio-net PCI devices for containers
 Gives a container without any privilege a virtio-net PCI device that its own
 user-space driver (DPDK's net_virtio, unmodified) finds and drives; packets go
 through shared memory to the node's vhost-user switch. With a CNI plugin, an
 OCI hook, a runtime wrapper, CDI and a switch of its own.
END
dpkg-deb --root-owner-group --build "$root" "$out" >/dev/null
echo "$out"
