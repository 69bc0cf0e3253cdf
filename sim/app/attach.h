/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach.h - ports for devices that name no socket: of the node's switch, or of a private one.
 *
 * A port made here lives as long as the calling process, whatever program it becomes: a keeper
 * (a process of its own, nobody's child) waits for its end and takes the ports away, or ends the
 * private switch.
 */
#ifndef SIM_APP_ATTACH_H
#define SIM_APP_ATTACH_H

#include <stdbool.h>

#include "sim/app/config.h"

struct err;

/*
 * Fills in the sockets that are missing. path: the switch's control socket, NULL for the
 * default; there, a private switch is started if none runs or it may not be asked. Nothing is
 * done if every device has a socket. Call it before the process changes its namespaces.
 */
int attach_ports(struct config *c, const char *path, bool verbose, struct err *e);

#endif
