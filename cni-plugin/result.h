/* SPDX-License-Identifier: Apache-2.0 */
/*
 * result.h - what a runtime is told: results, errors, device information, and what the pod is
 * told about its addresses.
 */
#ifndef CNI_PLUGIN_RESULT_H
#define CNI_PLUGIN_RESULT_H

#include <stdio.h>

#include <json-c/json.h>

#include "cni-plugin/plan.h"

/* Error codes of the CNI specification (1.1.0, section 5), and ours from 100. */
enum cni_code {
	CNI_VERSION = 1, CNI_UNSUPPORTED = 2, CNI_ENVIRONMENT = 4, CNI_IO = 5, CNI_DECODE = 6,
	CNI_CONFIG = 7, CNI_AGAIN = 11, CNI_NOT_AVAILABLE = 50, CNI_LIMITED = 51,
	CNI_FAILED = 100,		/* a step failed */
	CNI_EXISTS = 101,		/* attached already, or the interface is there */
	CNI_NO_MEMORY = 102,		/* hugepages */
	CNI_BROKEN = 103,		/* CHECK: something is not as it was made */
};

/* The code for an -errno of reading what was asked, or of carrying it out. */
enum cni_code result_code_asked(int rc);
enum cni_code result_code_done(int rc);
/* {"cniVersion","code","msg"[,"details"]} on one line; version may be NULL. */
void result_print_error(FILE *to, const char *version, int code, const char *msg);

/* -EINVAL says what is wrong with what an IPAM plugin gave. */
int  result_judge_ipam(struct json_object *ipam, struct err *e);
/*
 * The result of ADD in the version asked for: prevResult, if there is one, and ours. The
 * caller's; NULL without memory.
 */
struct json_object *result_make(const struct attach *a, struct json_object *ipam);
/* -EINVAL: prevResult is none that can be passed on. */
int  result_judge_prev(const struct netconf *c, struct err *e);

/* Device information 1.1.0, by atomic rename; removed only if it is ours. */
int  result_devinfo_write(const struct attach *a, const char *path, struct err *e);
int  result_devinfo_remove(const struct attach *a, const char *path, struct err *e);

/* "10.1.2.3/24": 4, "fd00::1/64": 6, else 0; the address in network order. */
int  result_cidr(const char *text, uint8_t address[16], unsigned *bits);
/* Of a result, the addresses of this device; the caller's. */
struct json_object *result_own_ips(const struct attach *a, struct json_object *result);

/* The pod's own description of one device: addresses, routes, DNS. The caller's. */
struct json_object *result_network(const struct attach *a, struct json_object *result);
/* The same as programs written for userspace-cni read it; the socket is below POD_DEVICES. */
struct json_object *result_userspace(const struct attach *a, struct json_object *result);

#endif
