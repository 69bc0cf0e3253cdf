/* SPDX-License-Identifier: Apache-2.0 */
/*
 * steer.h - an eBPF program that picks a TAP interface's queue by destination MAC and VLAN,
 * before the frame is copied: VMDq's sorter.
 *
 * What is not in the table goes to queue 0, groups included. The VLAN is read from where the
 * kernel keeps a tag it took off, or from the frame. Making and attaching it needs CAP_BPF (or
 * CAP_SYS_ADMIN) and CAP_NET_ADMIN; changing the table needs nothing.
 */
#ifndef SIM_BACKEND_STEER_H
#define SIM_BACKEND_STEER_H

#include <stdint.h>

#define STEER_MAX 16384			/* addresses */

struct err;
struct steer;

int  steer_new(struct steer **s, struct err *e);
void steer_free(struct steer *s);
/* tap_fd: any queue of the interface. */
int  steer_attach(struct steer *s, int tap_fd, struct err *e);

int  steer_set(struct steer *s, const uint8_t mac[6], uint16_t vlan, uint32_t queue);
int  steer_del(struct steer *s, const uint8_t mac[6], uint16_t vlan);

#endif
