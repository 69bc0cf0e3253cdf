// SPDX-License-Identifier: Apache-2.0
// switch_cmd.c - `podpci switch ...`: talks to the node's switch.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/ctlapi.h"
#include "sim/app/cmds.h"
#include "sim/core/err.h"

#define TIMEOUT_MS 10000

static void usage(FILE *to)
{
	const char *verb, *args, *help;

	fprintf(to, "Usage: podpci switch [-j] [-s SOCKET] COMMAND...\n\n"
		"Asks podpci-switch, at SOCKET, $PODPCI_SWITCH or " CTL_SOCKET ". -j: JSON.\n\n");
	for (unsigned i = 0; (verb = ctl_verb(i, &args, &help)); i++) {
		if (!strncmp(verb, "dev ", 4))
			continue;
		fprintf(to, "  %s%s%s\n", verb, args[0] ? " " : "", args);
		fprintf(to, "          %s\n", help);
	}
	fprintf(to, "\nKeys of a port: socket PATH, connect on|off, queues N, worker N, node N, "
		"memory_max BYTES,\nmode access|trunk, pvid N, vlans LIST, mtu N, macs LIST, "
		"spoofcheck, learning, learn_max N,\nin_bytes RATE, in_frames RATE, "
		"out_bytes RATE, storm RATE, isolated, uplink, mirror, reserved, direct (on|off),\n"
		"accept MODES; for tap: dev NAME, address A/LEN, bridge NAME; for pcap: file "
		"PATH.\n`show' may be left out; numbers take k, m, g.\n");
}

static int call(const char *path, char **argv, int argc, bool json)
{
	struct ctl_rows *rows = NULL;
	struct ctl *c = NULL;
	struct err e;
	int rc = ctl_open(&c, path, TIMEOUT_MS, &e);

	if (rc == -ENOENT || rc == -ECONNREFUSED)
		rc = err_wrap(&e, rc, "is podpci-switch running?");
	if (!rc)
		rc = ctl_call(c, (const char *const *)argv, (unsigned)argc, &rows, &e);
	if (!rc && ctl_rows_print(rows, stdout, json))
		rc = err_set(&e, -1, "cannot write the answer");
	if (rc)
		fprintf(stderr, "podpci switch: %s\n", e.msg);
	ctl_rows_free(rows);
	ctl_close(c);
	return rc ? CMD_FAILED : 0;
}

int cmd_switch(int argc, char **argv)
{
	const char *asked = getenv("PODPCI_SWITCH"), *path = asked ? asked : CTL_SOCKET;
	bool json = false;
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "-j") || !strcmp(argv[i], "--json")) {
			json = true;
		} else if ((!strcmp(argv[i], "-s") || !strcmp(argv[i], "--socket")) &&
			   i + 1 < argc) {
			path = argv[++i];
		} else {
			usage(strcmp(argv[i], "--help") && strcmp(argv[i], "-h") ? stderr : stdout);
			return strcmp(argv[i], "--help") && strcmp(argv[i], "-h") ? CMD_FAILED : 0;
		}
	}
	if (i == argc || !strcmp(argv[i], "help")) {
		usage(i == argc ? stderr : stdout);
		return i == argc ? CMD_FAILED : 0;
	}
	return call(path, argv + i, argc - i, json);
}
