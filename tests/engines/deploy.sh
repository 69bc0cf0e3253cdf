#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# deploy.sh - what deploy/ hands out: the Debian package goes in, works and goes without a trace;
# the DaemonSet's installer upgrades under use; manifests, snippets and man pages say what is so.
# shellcheck source=tests/engines/lib.sh
PARTS="bin/podpci bin/podpci-switch bin/podpci-cni bin/podpci-hook bin/podpci-runtime"
. "$(dirname "$0")/lib.sh"
need dpkg-deb dpkg-shlibdeps groff jq python3

DEB=$T/podpci.deb
D=$ROOT/deploy

# ---- the package ---------------------------------------------------------------------------------

made() {
	B=$B MAKE=make "$D/deb.sh" 0.1.0 "$DEB" && dpkg-deb --info "$DEB" &&
		dpkg-deb --field "$DEB" Depends | grep -q 'libc6.*libjson-c5'
}

# A machine with nothing but dpkg's own records of ours; the programs' libraries are the host's.
machine() {
	mkdir -p "$T/m/var/lib/dpkg/"{info,updates,triggers} "$T/m/bin" "$T/m/usr/bin"
	: >"$T/m/var/lib/dpkg/status"
	: >"$T/m/var/lib/dpkg/available"
}

dpkg_there() {
	dpkg --root="$T/m" --force-depends --force-script-chrootless --log="$T/dpkg.log" "$@"
}

installed() {
	machine && dpkg_there -i "$DEB" || return
	local f
	for f in usr/bin/podpci usr/bin/podpci-switch usr/lib/libpodpci.so usr/lib/cni/podpci-cni \
		lib/systemd/system/podpci-switch.service etc/podpci/node.json \
		usr/share/man/man1/podpci.1.gz usr/share/containers/oci/hooks.d/podpci.json; do
		[ -e "$T/m/$f" ] || { echo "no $f"; return 1; }
	done
	[ "$(find "$T/m/usr" "$T/m/etc" ! -user root -o -perm /022 ! -type l | wc -l)" = 0 ]
}

works() {
	"$T/m/usr/bin/podpci" run --net socket=/none,server --dry-run -- true &&
		"$T/m/usr/bin/podpci" run --net "socket=$T/n.sock,server" -- lspci -n |
			grep '00:04.0 .*1af4:1041' &&
		CNI_COMMAND=VERSION "$T/m/usr/lib/cni/podpci-cni" </dev/null |
			jq -e .supportedVersions
}

purged() {
	dpkg_there -P podpci || return
	find "$T/m" -path "$T/m/var" -prune -o -type f -print -o -type l -print >"$T/rest"
	[ ! -s "$T/rest" ] || { cat "$T/rest"; return 1; }
	[ ! -e "$T/m/etc/podpci" ] || { ls -R "$T/m/etc"; return 1; }
}

a_changed_file_stays() {
	machine && dpkg_there -i "$DEB" && echo '# mine' >>"$T/m/etc/podpci/switch.conf" &&
		dpkg_there -r podpci && grep mine "$T/m/etc/podpci/switch.conf"
}

# ---- the DaemonSet's installer -------------------------------------------------------------------

source_tree() {
	make --no-print-directory -s -C "$ROOT" B="$B" PREFIX=/usr DESTDIR="$T/src" install
	mkdir -p "$T/image" && cp -r "$D/install.sh" "$D/conf" "$D/hooks.d" "$T/image/"
}

install_on() {	# HOST
	HOST=$1 SOURCE=$T/src/usr "$T/image/install.sh"
}

node_installed() {
	source_tree && mkdir "$T/host" && install_on "$T/host" || return
	[ "$(stat -c %a%u "$T/host/opt/podpci/bin/podpci-cni")" = 7550 ] &&
		[ "$(readlink "$T/host/opt/cni/bin/podpci-cni")" = /opt/podpci/bin/podpci-cni ] &&
		jq -e '.hook.path == "/opt/podpci/bin/podpci-hook"' \
			"$T/host/etc/containers/oci/hooks.d/podpci.json"
}

upgrades_under_use() {	# whoever looks sees a whole program, and keeps what he runs
	local i busy
	"$T/host/opt/podpci/bin/podpci-switch" --socket "$T/up.ctl" >"$T/up.log" 2>&1 &
	busy=$!
	(while :; do
		"$T/host/opt/podpci/bin/podpci" version || echo broken
	done) >"$T/versions" 2>&1 &
	local looker=$!
	for ((i = 0; i < 10; i++)); do
		install_on "$T/host" || return
	done
	kill $looker
	wait $looker 2>/dev/null
	kill -0 $busy && kill $busy
	same versions "$(sort -u "$T/versions")" "podpci 0.1.0" || return
	! find "$T/host" -name '*.new' | grep .
}

own_settings_stay() {
	echo '{"attachmentsMax": 3}' >"$T/host/etc/podpci/node.json"
	install_on "$T/host" && grep attachmentsMax...3 "$T/host/etc/podpci/node.json"
}

# ---- what is written down ------------------------------------------------------------------------

manifests() {
	mkdir -p "$T/networks"
	python3 "$HERE/k8s.py" "$D/k8s" "$T/networks"
}

networks_are_taken() {	# by the plugin, which names a key it does not know the value of
	local f n=0
	mkdir -p /etc/podpci && cp "$D/conf/node.json" /etc/podpci/
	for f in "$T/networks"/*.json; do
		CNI_COMMAND=ADD CNI_CONTAINERID=c CNI_IFNAME=net1 CNI_NETNS=/proc/self/ns/net \
			CNI_ARGS="K8S_POD_NAMESPACE=default;K8S_POD_NAME=p" \
			CNI_PATH=/usr/lib/cni "$BIN/podpci-cni" --dry-run <"$f" ||
			{ echo "$f"; return 1; }
		n=$((n + 1))
	done
	[ $n -ge 5 ]
}

snippets() {
	local f
	for f in "$D"/conf/*.json "$D"/hooks.d/*.json; do
		jq -e . "$f" >/dev/null || return
	done
	"$BIN/podpci-hook" --node "$D/conf/node.json" --help >/dev/null &&
		python3 -c 'import sys, tomllib; tomllib.load(open(sys.argv[1], "rb"))' \
			"$D/conf/containerd.toml"
}

unit() {	# systemd's own verifier, where there is one
	command -v systemd-analyze >/dev/null || return 77
	sed "s,/usr/local/bin/,$BIN/," "$D/systemd/podpci-switch.service" \
		>"$T/podpci-switch.service"
	! systemd-analyze verify "$T/podpci-switch.service" 2>&1 | grep podpci-switch.service
}

# Long options of a text, one a line.
options() {
	grep -oE -- '--[a-z][a-z-]+' | sort -u
}

verbs() {
	"$PODPCI" help | sed -n 's/^  \([a-z]*\) .*/\1/p' | grep -vxE 'help|version'
}

in_step() {	# PROGRAM PAGE [VERB]: the page has all options --help has, and no others
	local page=$D/man/$2
	"$BIN/$1" --help 2>&1 | options >"$T/help.options"
	[ "$1" != podpci ] || for verb in $(verbs); do
		"$BIN/podpci" "$verb" --help | options
	done | sort -u >"$T/help.options"
	groff -man -Tascii -P-c "$page" | sed 's/.\x08//g' | options >"$T/page.options"
	# of programs in examples
	local others='--(runtime|device|in-memory|no-huge)'
	comm -13 "$T/help.options" "$T/page.options" | grep -vxE -- "$others" >"$T/extra"
	comm -23 "$T/help.options" "$T/page.options" | grep -vxE -- "$others" >"$T/missing"
	[ ! -s "$T/missing" ] && [ ! -s "$T/extra" ] && return
	echo "in --help only:" && cat "$T/missing" && echo "in the page only:" && cat "$T/extra"
	return 1
}

well_set() {
	local f
	for f in "$D"/man/*; do
		groff -man -Tutf8 -ww "$f" 2>&1 >/dev/null | grep . && return 1
	done
	return 0
}

every_verb() {	# of podpci help is in its page or named by it
	local verb
	for verb in $(verbs); do
		grep -q "podpci $verb" "$D/man/podpci.1" || { echo "$verb"; return 1; }
	done
}

check "make deb makes a package" made
check "D-SE-17 it is installed, root's and nobody else's to write" installed
check "what it installed works" works
check "it is purged without a trace" purged
check "a settings file that was changed stays when it is removed" a_changed_file_stays
check "the installer puts all on a node" node_installed
check "D-SE-17 it upgrades under use, each file whole" upgrades_under_use
check "a node's own settings stay" own_settings_stay
check "the manifests are what a cluster takes" manifests
check "the networks in them are what the plugin takes" networks_are_taken
check "snippets parse" snippets
check "the systemd unit is well" unit
check "man pages are well set" well_set
for page in podpci.1 podpci-switch.8 podpci-cni.8 podpci-hook.8 podpci-runtime.8; do
	check "$page is in step with --help" in_step "${page%.*}" $page
done
check "podpci.1 names the verbs" every_verb
finish
