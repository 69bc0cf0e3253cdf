#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""k8s.py DIR - are the manifests what a cluster takes? Prints what is wrong, one a line."""
import json
import os
import sys

import yaml

wrong = []
# Kinds there are here, and where the API server expects what
KINDS = {"Namespace": "v1", "Pod": "v1", "DaemonSet": "apps/v1",
         "RuntimeClass": "node.k8s.io/v1",
         "Kustomization": "kustomize.config.k8s.io/v1beta1",
         "NetworkAttachmentDefinition": "k8s.cni.cncf.io/v1"}
TOP = {"apiVersion", "kind", "metadata", "spec", "handler", "resources", "patches", "namespace",
       "configMapGenerator"}


class Strict(yaml.SafeLoader):
    """A key given twice has one meaning only by accident."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(k, deep=True) for k, _ in node.value]
        if len(keys) != len(set(keys)):
            raise yaml.YAMLError("a key is there twice: %s" % keys)
        return super().construct_mapping(node, deep)


def check(path, condition, text):
    if not condition:
        wrong.append("%s: %s" % (path, text))


def pod_spec(path, spec):
    volumes = {v["name"] for v in spec.get("volumes", [])}
    check(path, len(volumes) == len(spec.get("volumes", [])), "volume names repeat")
    used = set()
    for c in spec.get("initContainers", []) + spec["containers"]:
        check(path, c.get("image") and c.get("name"), "a container without image or name")
        security = c.get("securityContext", {})
        check(path, not security.get("privileged"), "a privileged container")
        check(path, security.get("allowPrivilegeEscalation") is False,
              c["name"] + " may gain privileges")
        check(path, security.get("capabilities", {}).get("drop") == ["ALL"],
              c["name"] + " keeps capabilities it did not ask for")
        for m in c.get("volumeMounts", []):
            check(path, m["name"] in volumes, "no volume " + m["name"])
            check(path, m["mountPath"].startswith("/"), "a relative mountPath")
            used.add(m["name"])
    check(path, volumes == used, "volumes nobody mounts: %s" % (volumes - used))


def merged(base, patch):
    """A strategic merge: of objects by key, of lists of named things by name."""
    if isinstance(base, dict) and isinstance(patch, dict):
        keys = list(base) + [k for k in patch if k not in base]
        both = {k: merged(base[k], patch[k]) if k in base and k in patch else
                   base.get(k, patch.get(k)) for k in keys}
        return {k: v for k, v in both.items() if v is not None}
    if not (isinstance(base, list) and patch and isinstance(patch[0], dict)):
        return patch
    by_name = {p["name"]: p for p in patch}
    gone = {n for n, p in by_name.items() if p.get("$patch") == "delete"}
    check("patch", gone <= {b["name"] for b in base}, "it deletes what is not there: %s" % gone)
    there = [merged(b, by_name.pop(b["name"])) if b["name"] in by_name else b for b in base]
    return [b for b in there if b["name"] not in gone] + list(by_name.values())


def patched(path, patch):
    """An overlay's DaemonSet, as kustomize makes it of the one it patches."""
    name = os.path.join(os.path.dirname(path), "../base/daemonset.yaml")
    with open(name, encoding="utf-8") as f:
        whole = merged(yaml.load(f, Loader=Strict), patch)
    check(path, whole["spec"]["template"]["spec"]["containers"], "no container is left")
    pod_spec(path, whole["spec"]["template"]["spec"])


def restricted(path, spec):
    """What PodSecurity "restricted" asks of a pod."""
    check(path, spec.get("securityContext", {}).get("runAsNonRoot"), "runs as root")
    check(path, spec["securityContext"].get("seccompProfile"), "no seccomp profile")
    check(path, not spec.get("hostNetwork") and not spec.get("volumes"), "asks for the host")
    for c in spec["containers"]:
        check(path, "add" not in c["securityContext"]["capabilities"], "adds capabilities")


def network(path, doc):
    config = json.loads(doc["spec"]["config"])
    check(path, config["type"] == "podpci-cni", "not a network of ours")
    check(path, config["name"] == doc["metadata"]["name"], "its two names differ")
    # the plugin itself is asked whether it takes this
    name = "%s-%s.json" % (os.path.basename(os.path.dirname(path)), config["name"])
    with open(os.path.join(sys.argv[2], name), "w", encoding="utf-8") as f:
        json.dump(config, f)


def kustomization(path, doc):
    here = os.path.dirname(path)
    names = doc.get("resources", []) + [p["path"] for p in doc.get("patches", [])]
    names += [f for g in doc.get("configMapGenerator", []) for f in g["files"]]
    for name in names:
        check(path, os.path.exists(os.path.join(here, name)), "there is no " + name)


def document(path, doc):
    check(path, KINDS.get(doc.get("kind")) == doc.get("apiVersion"),
          "%s of %s" % (doc.get("kind"), doc.get("apiVersion")))
    check(path, set(doc) <= TOP, "unknown keys: %s" % (set(doc) - TOP))
    kind = doc.get("kind")
    if kind == "DaemonSet" and "selector" in doc["spec"]:
        labels = doc["spec"]["template"]["metadata"]["labels"]
        check(path, doc["spec"]["selector"]["matchLabels"].items() <= labels.items(),
              "the selector does not select its own pods")
        pod_spec(path, doc["spec"]["template"]["spec"])
    elif kind == "DaemonSet":
        patched(path, doc)
    elif kind == "Pod":
        pod_spec(path, doc["spec"])
        restricted(path, doc["spec"])
    elif kind == "NetworkAttachmentDefinition":
        network(path, doc)
    elif kind == "Kustomization":
        kustomization(path, doc)


def main():
    count = 0
    for where, _, names in os.walk(sys.argv[1]):
        for name in names:
            if not name.endswith(".yaml"):
                continue
            path = os.path.join(where, name)
            with open(path, encoding="utf-8") as f:
                for doc in yaml.load_all(f, Loader=Strict):
                    document(path, doc)
                    count += 1
    check(sys.argv[1], count >= 10, "only %d documents" % count)
    print("\n".join(wrong))
    sys.exit(bool(wrong))


main()
