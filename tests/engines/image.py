#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""image.py ROOTFS ARCHIVE NAME - a root file system as an archive docker, podman and ctr load."""
import hashlib
import io
import json
import os
import sys
import tarfile


def owned_by_root(info):
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = "root"
    return info


def add(archive, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def main():
    root, path, name = sys.argv[1:]
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for entry in sorted(os.listdir(root)):
            tar.add(os.path.join(root, entry), entry, filter=owned_by_root)
    layer = layer.getvalue()
    config = json.dumps({
        "architecture": "amd64", "os": "linux",
        "config": {"Cmd": ["/busybox", "sleep", "1000000"], "Env": [
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp"]},
        "rootfs": {"type": "layers",
                   "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
        "history": [{"created_by": "podpci tests"}],
    }).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        add(tar, config_name, config)
        add(tar, "layer.tar", layer)
        add(tar, "manifest.json", json.dumps(manifest).encode())


main()
