// SPDX-License-Identifier: Apache-2.0
// podpci.c - the command line: verbs as rows.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sim/app/cmds.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static int cmd_help(int argc, char **argv);

static int cmd_version(int argc, char **argv)
{
	printf("podpci %s\n", PODPCI_VERSION);
	return 0;
}

/* A program of its own, for engines' sake: it lies beside this one. */
static int cmd_cdi(int argc, char **argv)
{
	char path[PATH_MAX + 16];
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);

	path[n > 0 ? n : 0] = '\0';
	snprintf(strrchr(path, '/') ? strrchr(path, '/') : path, 16, "/podpci-cdi");
	execv(path, argv);
	fprintf(stderr, "podpci: %s: %s\n", path, strerror(errno));
	return errno == ENOENT ? CMD_NOT_FOUND : CMD_NOT_EXEC;
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
	{ "cdi", NULL, "specifications for podman and containerd: --device podpci.dev/net=NAME",
	  cmd_cdi },
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
