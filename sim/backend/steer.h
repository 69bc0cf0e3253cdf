/* SPDX-License-Identifier: Apache-2.0 */
/*
 * steer.h - an eBPF program that picks a TAP interface's queue by destination MAC and VLAN,
 * before the frame is copied: VMDq's sorter.
 *
 * What is not in the table goes to queue 0, groups included. The VLAN is read from where the
 * kernel keeps a tag it took off, or from the frame; a provider's tag says nothing, as in
 * l2switch.h. A frame with a mark of ours (vmdq.h) goes where that says. Making and attaching it
 * needs CAP_BPF (or CAP_SYS_ADMIN) and CAP_NET_ADMIN; changing the table needs nothing.
 */
#ifndef SIM_BACKEND_STEER_H
#define SIM_BACKEND_STEER_H

#include <stdint.h>

#define STEER_MAX 16384			/* addresses */
#define STEER_QUEUES 64			/* a mark can name; a power of two */
#define STEER_MARK 0x564d4400		/* "VMD": skb->mark, with the queue below */

struct bpf_text;
struct err;
struct steer;

int  steer_new(struct steer **s, struct err *e);
void steer_free(struct steer *s);
/* tap_fd: any queue of the interface. */
int  steer_attach(struct steer *s, int tap_fd, struct err *e);

int  steer_set(struct steer *s, const uint8_t mac[6], uint16_t vlan, uint32_t queue);
int  steer_del(struct steer *s, const uint8_t mac[6], uint16_t vlan);

int  steer_map(const struct steer *s);	/* its descriptor: (MAC, VLAN) of 8 bytes to queue */

/*
 * Part of a program about the frame in register SKB: its VLAN, to register VLAN. Four bytes of
 * the stack at -16 are used, and the labels below STEER_LABELS.
 */
enum { STEER_IN_BAND, STEER_MASK, STEER_KNOWN, STEER_LABELS };
#define STEER_TAG 0x0081		/* 0x8100 as it lies in the frame */
void steer_text_vlan(struct bpf_text *t);

#endif
