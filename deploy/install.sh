#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install.sh - puts podpci's programs on the node whose root is mounted at HOST (/host); what the
# DaemonSet runs first. May run again and again, also beside pods that use what is installed:
# each file is renamed into place whole, and what engines act upon comes last.
#
#	HOST=/host SOURCE=/usr PREFIX=/opt/podpci CNI_BIN=/opt/cni/bin install.sh [--stay SECONDS]
#
# --stay: every so many seconds puts back what went missing or was changed (upgrades of an engine
# clear CNI_BIN), until it is told to end.
set -eu
umask 022
HOST=${HOST:-/host} SOURCE=${SOURCE:-/usr} PREFIX=${PREFIX:-/opt/podpci}
CNI_BIN=${CNI_BIN:-/opt/cni/bin} HOOKS=${HOOKS:-/etc/containers/oci/hooks.d}
here=$(cd "$(dirname "$0")" && pwd)

stay='' sleeper=''
case ${1:-} in
--stay)	stay=$2 ;;
'')	;;
*)	echo "usage: install.sh [--stay SECONDS]" >&2; exit 2 ;;
esac

put() {	# MODE FILE TARGET-BELOW-HOST
	! cmp -s "$2" "$HOST$3" || [ "$(stat -c %a:%u:%g "$HOST$3")" != "$1:0:0" ] || return 0
	mkdir -p "$HOST${3%/*}"
	rm -f "$HOST$3.new"
	cp "$2" "$HOST$3.new"
	chown 0:0 "$HOST$3.new"
	chmod "$1" "$HOST$3.new"
	mv "$HOST$3.new" "$HOST$3"
}

all() {
	put 644 "$SOURCE/lib/libpodpci.so" "$PREFIX/lib/libpodpci.so"
	for program in podpci podpci-switch podpci-cdi podpci-hook podpci-runtime podpci-cni; do
		put 755 "$SOURCE/bin/$program" "$PREFIX/bin/$program"
	done
	if [ "$(readlink "$HOST$CNI_BIN/podpci-cni")" != "$PREFIX/bin/podpci-cni" ]; then
		mkdir -p "$HOST$CNI_BIN"
		ln -sfn "$PREFIX/bin/podpci-cni" "$HOST$CNI_BIN/.podpci-cni.new"
		mv -T "$HOST$CNI_BIN/.podpci-cni.new" "$HOST$CNI_BIN/podpci-cni"
	fi
	[ -e "$HOST/etc/podpci/node.json" ] ||
		put 644 "$here/conf/node.json" /etc/podpci/node.json
	for hook in podpci podpci-stop; do
		sed "s,/usr/bin/,$PREFIX/bin/," "$here/hooks.d/$hook.json" >"/tmp/$hook.$$"
		put 644 "/tmp/$hook.$$" "$HOOKS/$hook.json"
		rm -f "/tmp/$hook.$$"
	done
}

all
[ -n "$stay" ] || exit 0
trap 'kill $sleeper 2>/dev/null || :; exit 0' TERM INT
while :; do
	sleep "$stay" &
	sleeper=$!
	wait $sleeper
	all
done
