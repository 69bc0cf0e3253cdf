// SPDX-License-Identifier: Apache-2.0
// podpci.c - the command line: verbs as rows.
#include <stdio.h>
#include <string.h>

#include "sim/app/cmds.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static int cmd_help(int argc, char **argv);

static int cmd_version(int argc, char **argv)
{
	printf("podpci %s\n", PODPCI_VERSION);
	return 0;
}

static const struct verb {
	const char *name, *alias;
	const char *help;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{ "run", NULL, "run a command on a simulated PCI bus", cmd_run },
	{ "sysfs", NULL, "render the bus into a directory, for container engines", cmd_sysfs },
	{ "dev", NULL, "look at devices that are in use, trace, add and remove them", cmd_dev },
	{ "switch", NULL, "manage the node's switch, podpci-switch", cmd_switch },
	{ "doctor", NULL, "say why no packets flow, and what to do", cmd_doctor },
	{ "help", "--help", "this list; `podpci VERB --help' says more", cmd_help },
	{ "version", "--version", "print the version", cmd_version },
};

static void print_verbs(FILE *to)
{
	fprintf(to, "Usage: podpci VERB [OPTIONS]\n\n"
		"virtio-net PCI devices for containers, simulated in front of a vhost-user "
		"switch.\n\n");
	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(to, "  %-10s %s\n", verbs[i].name, verbs[i].help);
}

static int cmd_help(int argc, char **argv)
{
	print_verbs(stdout);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		print_verbs(stderr);
		return CMD_FAILED;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++) {
		const struct verb *v = &verbs[i];

		if (!strcmp(argv[1], v->name) || (v->alias && !strcmp(argv[1], v->alias)))
			return v->run(argc - 1, argv + 1);
	}
	fprintf(stderr, "podpci: %s: no such verb; see podpci help\n", argv[1]);
	return CMD_FAILED;
}
