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
	END
	start containerd containerd -c "$CTR_DIR/config.toml"
	until_true 15 ctr_ready || { log containerd | tail -n 20; return 1; }
	protoc -I"$HERE" --python_out="$T/cri" "$HERE/cri.proto" || return
	export CRI_GEN=$T/cri
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
