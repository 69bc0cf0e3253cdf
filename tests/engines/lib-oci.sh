# SPDX-License-Identifier: Apache-2.0
# lib-oci.sh - pods without an engine: the CNI plugin called by hand, as libcni does, and a
# container of runc or crun with podpci-hook in its config.json.

# cni COMMAND NAME NETWORK-FILE [IFNAME]: the pod's network namespace is of its name
cni() {
	local netns=/run/netns/$2
	case $1 in GC|STATUS|VERSION) netns= ;; esac
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin ${netns:+CNI_NETNS=$netns} CNI_COMMAND="$1" \
		${netns:+CNI_CONTAINERID="$2"} ${netns:+CNI_IFNAME="${4:-net1}"} \
		CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=$2" \
		CNI_PATH=/usr/lib/cni "${CNI_WRAP[@]}" "$BIN/podpci-cni" <"$3"
}
CNI_WRAP=()

# bundle NAME COMMAND...: $T/NAME.bundle, uid 1000, no capabilities, seccomp, read-only root
bundle() {
	local name=$1 dir=$T/$1.bundle
	shift
	"$ROOT/deploy/bundle.sh" "$dir" ${OCI_MOUNTS:-} -- "$@" </dev/null || return
	jq --arg h "$BIN/podpci-hook" --arg n "/run/netns/$name" --arg g "/$CGROUP/$name" '
		.mounts |= map(select(.type != "hugetlbfs")) |
		.linux.cgroupsPath = $g |
		(.linux.namespaces[] | select(.type == "network")).path = $n |
		.hooks = { createRuntime: [{ path: $h, args: ["podpci-hook"], timeout: 30 }],
			poststop: [{ path: $h, args: ["podpci-hook", "--stage", "poststop"],
				timeout: 30 }] }' "$dir/config.json" >"$dir/new" &&
		mv "$dir/new" "$dir/config.json"
}

# oci_up RUNTIME NAME NETWORK-FILE COMMAND...: a pod with one device; its output is $T/NAME.log
oci_up() {
	local runtime=$1 name=$2 network=$3
	shift 3
	[ -e "/run/netns/$name" ] || ip netns add "$name" || return
	cni ADD "$name" "$network" >"$T/$name.result" || { cat "$T/$name.result"; return 1; }
	bundle "$name" "$@" || return
	mark "$name"
	start "$name" "$runtime" --root "$T/$runtime" run -b "$T/$name.bundle" "$name"
}

oci_down() {	# RUNTIME NAME NETWORK-FILE
	"$1" --root "$T/$1" kill "$2" KILL 2>/dev/null
	[ -z "${PID[$2]:-}" ] || wait "${PID[$2]}"
	"$1" --root "$T/$1" delete -f "$2" 2>/dev/null
	cni DEL "$2" "$3" && ip netns del "$2"
}
