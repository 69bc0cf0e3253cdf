/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port.h - in and out: a program that asked for I/O ports (iopl, ioperm) and got none faults at
 * each, and its access goes to the function whose I/O BAR has the port.
 *
 * As on a bus without such a device, a port nobody has (0x80, that delays are made of) reads as
 * ones and swallows writes. iopl and ioperm themselves are swallowed where a bus is simulated,
 * or a privileged driver would get the host's ports.
 */
#ifndef PMD_SHIM_PORT_H
#define PMD_SHIM_PORT_H

#include <stdbool.h>

/* The application asked for ports: 0, or -errno (-EINVAL: no such level or range). */
int port_iopl(int level);
int port_ioperm(unsigned long from, unsigned long num, int on);

/* In the SIGSEGV handler, for a general protection fault: true if it was a port access of ours. */
bool port_fault(void *ucontext);

#endif
