/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmds.h - the verbs of the command line. Each gets argv from its own name on and returns the
 * exit status: CMD_FAILED for our own errors, told in one line on stderr.
 */
#ifndef SIM_APP_CMDS_H
#define SIM_APP_CMDS_H

#include <stdbool.h>

#include "sim/app/config.h"

#define CMD_FAILED   125	/* as env(1), nohup(1) and container engines have it */
#define CMD_NOT_EXEC 126
#define CMD_NOT_FOUND 127

struct err;

int cmd_run(int argc, char **argv);
int cmd_sysfs(int argc, char **argv);
int cmd_dev(int argc, char **argv);
int cmd_switch(int argc, char **argv);
int cmd_doctor(int argc, char **argv);

/* ---- options, shared by the verbs ---------------------------------------------------------- */

struct opts {
	struct config config;
	const char   *lib;		/* --lib */
	const char   *sw;		/* --switch; NULL: $PODPCI_SWITCH or the default */
	bool          dry_run, verbose, json, help;
	char        **rest;		/* what follows the options, NULL-terminated */
};

/* Fills o from argv[1..]. */
int  opts_parse(struct opts *o, int argc, char **argv, struct err *e);
/* Finishes the configuration and makes its paths absolute. */
int  opts_finish(struct opts *o, struct err *e);
void opts_help(void);			/* the option and key tables, to stdout */

/* The preload library, absolute: --lib, $PODPCI_LIB or ../lib beside the program. */
int  opts_lib(const struct opts *o, char *path, unsigned size, struct err *e);

#endif
