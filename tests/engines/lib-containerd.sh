# SPDX-License-Identifier: Apache-2.0
# lib-containerd.sh - a containerd of the test's own, and kubelet's part of the conversation.

CTR_DIR=$T/containerd
CTR_SOCK=$CTR_DIR/c.sock
CNI_BIN=$T/cni/bin
CNI_CONF=$T/cni/net.d
# A newer containerd than the distribution's may have been unpacked by setup.sh.
NEWER=/opt/podpci-engines/containerd/usr/bin
[ ! -x $NEWER/containerd ] || PATH=$NEWER:$PATH

# containerd_up [HOOKS-SPEC]: with a base spec for the containers of pods, if given
containerd_up() {
	local base=${1:+"base_runtime_spec = \"$1\""}
	mkdir -p "$CTR_DIR" "$CNI_BIN" "$CNI_CONF" "$T/cri" /etc/cdi
	cat >"$CTR_DIR/config.toml" <<-END
	version = 2
	root = "$CTR_DIR/root"
	state = "$CTR_DIR/state"
	disabled_plugins = ["io.containerd.internal.v1.opt",
	  "io.containerd.tracing.processor.v1.otlp"]
	[grpc]
	  address = "$CTR_SOCK"
	[plugins."io.containerd.grpc.v1.cri"]
	  sandbox_image = "$IMAGE"
	  disable_apparmor = true
	  restrict_oom_score_adj = true
	  disable_cgroup = false
	  enable_cdi = true
	  cdi_spec_dirs = ["/etc/cdi", "/var/run/cdi"]
	  stream_server_address = "127.0.0.1"
	  [plugins."io.containerd.grpc.v1.cri".cni]
	    bin_dir = "$CNI_BIN"
	    conf_dir = "$CNI_CONF"
	    max_conf_num = 0
	  [plugins."io.containerd.grpc.v1.cri".containerd]
	    snapshotter = "native"
	    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
	      runtime_type = "io.containerd.runc.v2"
	      pod_annotations = ["*", "*/*"]
	      container_annotations = ["*", "*/*"]
	      $base
	    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.podpci]
	      runtime_type = "io.containerd.runc.v2"
	      pod_annotations = ["podpci.dev/*"]
	      container_annotations = ["podpci.dev/*"]
	      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.podpci.options]
	        BinaryName = "$BIN/podpci-runtime"
	END
	containerd_again && protoc -I"$HERE" --python_out="$T/cri" "$HERE/cri.proto" || return
	export CRI_GEN=$T/cri
}

containerd_again() {
	mark containerd
	start containerd containerd -c "$CTR_DIR/config.toml"
	until_true 15 ctr_ready || { log containerd | tail -n 20; return 1; }
}

ctr_ready() {
	ctr -a "$CTR_SOCK" version
}

ctr_load() {
	image "$T/image.tar" && ctr -a "$CTR_SOCK" -n k8s.io image import "$T/image.tar"
}

cri() {
	/usr/bin/python3 "$HERE/cri.py" "$CTR_SOCK" "$@"
}

# hooks_spec FILE: a base for containers of pods, with podpci-hook in it
hooks_spec() {
	ctr oci spec | jq --arg h "$BIN/podpci-hook" '.hooks = {
		createRuntime: [{ path: $h, args: ["podpci-hook"], timeout: 30 }],
		poststop: [{ path: $h, args: ["podpci-hook", "--stage", "poststop"],
			timeout: 30 }] }' >"$1"
}

# cri_pod NAME [COMMAND...]: writes $T/NAME.json, a pod whose one container runs the command as
# uid 1000 without any capability on a read-only root, with the host's programs
cri_pod() {
	local name=$1
	shift
	jq -n --arg name "$name" --arg image "$IMAGE" --arg logs "$T/logs" \
		--arg group "/$CGROUP" \
		--arg handler "${CRI_HANDLER:-}" --arg cdi "${CRI_CDI:-}" \
		'{ handler: $handler,
		sandbox: { metadata: { name: $name, uid: $name, namespace: "default" },
			hostname: $name, log_directory: $logs, linux: { cgroup_parent: $group } },
		containers: [ { metadata: { name: "app" }, image: { image: $image },
			CDI_devices: (if $cdi == "" then [] else [{ name: $cdi }] end),
			command: ($words | split("\n")[:-1]), log_path: ($name + ".log"),
			envs: [ { key: "HOME", value: "/tmp" } ],
			mounts: [ { container_path: "/usr", host_path: "/usr", readonly: true },
				{ container_path: "/tmp", host_path: ($logs + "/tmp") } ],
			linux: { resources: { memory_limit_in_bytes: 1073741824 },
				security_context: { run_as_user: { value: 1000 },
				run_as_group: { value: 1000 }, readonly_rootfs: true,
				no_new_privs: true, capabilities: { drop_capabilities: ["ALL"] },
				seccomp: { profile_type: 0 } } } } ] }' \
		--arg words "$(printf '%s\n' "$@" end)" >"$T/$name.json"
	mkdir -p "$T/logs/tmp" && chmod 1777 "$T/logs/tmp"
}

# cri_up NAME [COMMAND...]: the pod runs; its ids are in $T/NAME.ids
cri_up() {
	cri_pod "$@" && cri pod "$T/$1.json" >"$T/$1.ids"
}

sandbox_of() {	# NAME
	sed -n 1p "$T/$1.ids"
}

container_of() {	# NAME
	sed -n 2p "$T/$1.ids"
}

cri_down() {	# NAME
	local id
	id=$(sandbox_of "$1")
	cri StopPodSandbox "{\"pod_sandbox_id\":\"$id\"}" &&
		cri RemovePodSandbox "{\"pod_sandbox_id\":\"$id\"}"
}
