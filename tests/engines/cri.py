#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""cri.py - talks to a container runtime as kubelet does.

cri.py SOCKET METHOD [JSON]          one call; prints the answer as JSON
cri.py SOCKET pod POD.json [NAME]    a sandbox and its containers from one file; prints their ids
cri.py SOCKET exec ID COMMAND...     runs it in a container; its output, its status

POD.json is {"sandbox": PodSandboxConfig, "containers": [ContainerConfig, ...]}. CRI_GEN is a
directory with cri_pb2.py, made by protoc from cri.proto.
"""
import json
import os
import sys

import grpc
from google.protobuf import json_format

sys.path.insert(0, os.environ["CRI_GEN"])
import cri_pb2  # noqa: E402

TIMEOUT = 30


class Runtime:
    def __init__(self, path):
        self.channel = grpc.insecure_channel("unix://" + path)

    def call(self, method, args):
        request = json_format.ParseDict(args, getattr(cri_pb2, method + "Request")())
        rpc = self.channel.unary_unary(
            "/runtime.v1.RuntimeService/" + method,
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=getattr(cri_pb2, method + "Response").FromString)
        return rpc(request, timeout=TIMEOUT, wait_for_ready=True)


def pod(runtime, path, *_):
    with open(path, encoding="utf-8") as f:
        want = json.load(f)
    sandbox = runtime.call("RunPodSandbox", {
        "config": want["sandbox"], "runtime_handler": want.get("handler", "")}).pod_sandbox_id
    print(sandbox, flush=True)
    for config in want.get("containers", []):
        container = runtime.call("CreateContainer", {
            "pod_sandbox_id": sandbox, "config": config,
            "sandbox_config": want["sandbox"]}).container_id
        print(container, flush=True)
        runtime.call("StartContainer", {"container_id": container})


def execute(runtime, container, *cmd):
    got = runtime.call("ExecSync", {
        "container_id": container, "cmd": list(cmd), "timeout": 20})
    sys.stdout.buffer.write(got.stdout)
    sys.stderr.buffer.write(got.stderr)
    sys.exit(got.exit_code)


def call(runtime, method, args="{}"):
    print(json_format.MessageToJson(runtime.call(method, json.loads(args)),
                                    preserving_proto_field_name=True))


def main():
    runtime, verb = Runtime(sys.argv[1]), sys.argv[2]
    try:
        {"pod": pod, "exec": execute}.get(verb, lambda r, *a: call(r, verb, *a))(
            runtime, *sys.argv[3:])
    except grpc.RpcError as e:
        sys.exit("cri: %s: %s" % (e.code().name, e.details()))


main()
