#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# bundle.sh - an OCI bundle with a simulated PCI bus in it, for runc and its like.
#
#	podpci sysfs DIR --net socket=PATH ... | bundle.sh BUNDLE [HOSTDIR:PATH...] -- COMMAND...
#
# The container: uid 1000, no capabilities, no new privileges, seccomp.json, no /dev/vfio, a
# read-only root whose /usr is the host's, its own pid, mount, network, ipc and uts namespaces, a
# hugetlbfs at /dev/hugepages. From stdin: "SOURCE TARGET" bind mounts and "NAME=VALUE" variables.
# Memory for it: HUGE=1G (default).
set -eu
umask 022

bundle=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
mounts='' env='"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "TERM=dumb"' args=''

mount_entry() {	# DESTINATION TYPE SOURCE OPTIONS...
	local d=$1 t=$2 s=$3 o
	shift 3
	o=$(printf ', "%s"' "$@")
	mounts+=",
		{ \"destination\": \"$d\", \"type\": \"$t\", \"source\": \"$s\",
		  \"options\": [ ${o:2} ] }"
}

quote() {	# a JSON string (RFC 8259, 7)
	local s=${1//\\/\\\\}
	s=${s//\"/\\\"}
	s=${s//$'\t'/\\t}
	printf '"%s"' "${s//$'\n'/\\n}"
}

mount_entry /proc proc proc nosuid noexec nodev
mount_entry /dev tmpfs tmpfs nosuid strictatime mode=755 size=65536k
mount_entry /dev/pts devpts devpts nosuid noexec newinstance ptmxmode=0666 mode=0620
mount_entry /dev/hugepages hugetlbfs hugetlbfs mode=1777 pagesize=2M size="${HUGE:-1G}"
mount_entry /sys sysfs sysfs nosuid noexec nodev ro
mount_entry /tmp tmpfs tmpfs nosuid nodev mode=1777
mount_entry /usr bind /usr rbind ro

while [ "$1" != -- ]; do
	mount_entry "${1#*:}" bind "${1%%:*}" bind rw
	shift
done
shift
while read -r line; do
	case $line in
	/*)	mount_entry "${line#* }" bind "${line%% *}" rbind ro ;;
	*)	env+=", $(quote "$line")" ;;
	esac
done
for a in "$@"; do
	args+=", $(quote "$a")"
done

mkdir -p "$bundle"/rootfs/{usr,etc,proc,sys,dev,tmp,run,var}
chmod 1777 "$bundle/rootfs/tmp"	# runc gives a tmpfs the mode of what it covers
for d in bin sbin lib lib64; do
	[ -L "$bundle/rootfs/$d" ] || ln -s "usr/$d" "$bundle/rootfs/$d"
done
echo 'pod:x:1000:1000::/tmp:/bin/sh' >"$bundle/rootfs/etc/passwd"

cat >"$bundle/config.json" <<END
{
	"ociVersion": "1.0.2",
	"hostname": "pod",
	"root": { "path": "rootfs", "readonly": true },
	"process": {
		"terminal": false,
		"user": { "uid": 1000, "gid": 1000 },
		"cwd": "/tmp",
		"noNewPrivileges": true,
		"capabilities": {
			"bounding": [], "effective": [], "permitted": [], "inheritable": [],
			"ambient": []
		},
		"rlimits": [ { "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 } ],
		"env": [ $env ],
		"args": [ ${args:2} ]
	},
	"mounts": [${mounts:1}
	],
	"linux": {
		"namespaces": [
			{ "type": "pid" }, { "type": "mount" }, { "type": "network" },
			{ "type": "ipc" }, { "type": "uts" }
		],
		"maskedPaths": [ "/proc/kcore", "/proc/keys", "/proc/sysrq-trigger" ],
		"readonlyPaths": [ "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys" ],
		"resources": { "devices": [ { "allow": false, "access": "rwm" } ] },
		"seccomp": $(cat "$here/seccomp.json")
	}
}
END
