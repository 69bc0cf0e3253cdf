/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap.h - a port whose peer is the kernel: a TAP interface with one or several queues.
 *
 * Every system call moves a burst: reads and writes go through io_uring, all of them without
 * waiting (the descriptors are non-blocking), so that one io_uring_enter carries out up to
 * TAP_BURST of them, in order, and none is ever left pending. Where io_uring may not be used
 * (old kernels, sandboxes) the same bursts are made of readv and writev.
 *
 * One copy: what is given is written by the kernel from the frame's head and the sender's
 * memory. All queues are opened at once and stay for the interface's life: the kernel gives the
 * last queue the number of one that is closed, and frames would go astray.
 */
#ifndef SIM_BACKEND_TAP_H
#define SIM_BACKEND_TAP_H

#include <stdbool.h>
#include <stdint.h>

#define TAP_BURST 32			/* reads posted at once */
#define TAP_QUEUES_MAX 64

struct err;
struct port;
struct port_host;

struct tap_config {
	const char *name;		/* of the port */
	const char *dev;		/* of the interface, "upl0" */
	unsigned queues;
	unsigned mtu;			/* 0: the kernel's default */
	const char *address;		/* "10.0.0.1/24" for the host's side; NULL: none */
	const char *bridge;		/* one it joins; NULL: none */
	bool     plain;			/* readv and writev even where io_uring works */
	bool     steer;			/* queue 0 for all, the others (or it) for lanes */
};

/* Makes the interface and brings it up. Needs CAP_NET_ADMIN. */
int  tap_new(struct port **p, const struct tap_config *cfg, const struct port_host *host,
	     void *owner, struct err *e);

struct tap_info {
	bool     uring, steered;
	unsigned queues;
};
void tap_info(const struct port *p, struct tap_info *info);

#endif
