/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pcap.h - a port that writes what it is given to a capture file (pcap, nanoseconds).
 *
 * Frames go into a buffer of PCAP_BUFFER bytes, which tick() writes out; what does not fit in
 * between is dropped and counted (out_full), as is all that follows a failed write. Frames are
 * shown as given: with checksums left open and packets still to be segmented.
 */
#ifndef SIM_BACKEND_PCAP_H
#define SIM_BACKEND_PCAP_H

#define PCAP_BUFFER (8u << 20)

struct err;
struct port;

/* Creates the file; one that exists is refused. */
int  pcap_new(struct port **p, const char *name, const char *file, struct err *e);

#endif
