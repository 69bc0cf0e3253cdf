/* SPDX-License-Identifier: Apache-2.0 */
/* peer.h - who answers at a socket's path: the daemon that is meant, or somebody in its place. */
#ifndef CNI_PLUGIN_PEER_H
#define CNI_PLUGIN_PEER_H

struct ctl;
struct err;

/*
 * A connected socket's other end is root's, our own user's or of the owner of the path's
 * directory, who decides what is there anyway. -EACCES: of somebody who could only write there.
 */
int peer_judge(int fd, const char *path, struct err *e);
/* ctl_open() of a switch that is judged before a word is said. */
int peer_switch(struct ctl **c, const char *path, unsigned timeout_ms, struct err *e);

#endif
