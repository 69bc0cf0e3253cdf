/* SPDX-License-Identifier: Apache-2.0 */
/*
 * offload.h - what a sender left to the device, done in software for receivers that did not
 * negotiate it: checksums filled in, TCP and UDP packets segmented (virtio 1.2, 5.1.6.2 and
 * 5.1.6.4); and the two edits of a VLAN tag.
 *
 * Headers are parsed and rewritten in the frame's private head; payload stays in the sender's
 * memory and is read for a checksum only. If it changes after that, the receiver finds a wrong
 * checksum: the sender harms nobody else.
 */
#ifndef SIM_BACKEND_OFFLOAD_H
#define SIM_BACKEND_OFFLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/backend/port.h"

#define OFFLOAD_SEGMENTS_MAX 128	/* of one packet; more is refused */
/* Each cut falls into one view at most, and one segment may begin in the head. */
#define OFFLOAD_VIEWS_MAX (FRAME_SEGS + OFFLOAD_SEGMENTS_MAX + 2)
#define OFFLOAD_TAGS_MAX 2		/* VLAN tags the parser looks through */
#define OFFLOAD_EXTS_MAX 8		/* IPv6 extension headers */

/* Where the headers are, from the start of the frame. Offsets are 0 for what is not there. */
struct offload_layers {
	uint16_t l3, l4, payload;
	uint8_t  version;		/* 4, 6, or 0: not IP */
	uint8_t  proto;			/* IPPROTO_TCP, IPPROTO_UDP, or another; 0 for fragments */
};

/*
 * Reads the headers that lie in n bytes of a frame. -EINVAL if they contradict themselves or
 * end outside n. What is not IP is no error.
 */
int offload_parse(const uint8_t *b, uint32_t n, struct offload_layers *l);

/*
 * Judges a taken frame's offload fields against its contents and sets *wire_len to the length
 * of its longest segment. For a packet to be segmented: type, protocol and checksum fields must
 * agree, hdr_len is corrected. -EINVAL: drop. Cheap for frames without offloads.
 */
int offload_judge(struct frame *f, uint32_t *wire_len);

/* A worker's scratch: the frames made of one. */
struct offload {
	unsigned     n;
	struct frame frame[OFFLOAD_SEGMENTS_MAX];
	struct frame whole;
	struct seg   segs[OFFLOAD_VIEWS_MAX];
};

/*
 * Makes of f what a receiver with these features may be given: o->frame[0 .. n). They refer to
 * f's memory: give them before f is released. f must have passed offload_judge(). -EINVAL if it
 * cannot be done (then drop), -E2BIG for too many segments.
 */
int offload_fit(struct offload *o, const struct frame *f, uint64_t features);

/*
 * Put a tag behind the addresses, take it away, change it. The offload fields follow. -EINVAL
 * when there is no room or no tag.
 */
int offload_tag_push(struct frame *f, uint16_t tci);
int offload_tag_pop(struct frame *f);
int offload_tag_swap(struct frame *f, uint16_t tci);

/* The Internet checksum's sum (RFC 1071) over n bytes, on top of `sum`; not folded. */
uint64_t offload_sum(const void *p, uint32_t n, uint64_t sum);
uint16_t offload_fold(uint64_t sum);

#endif
