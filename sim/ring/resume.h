/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resume.h - where a ring stood when its back-end vanished, read from the ring itself.
 *
 * For back-ends that complete in order (DPDK's and ours do) the ring's memory tells which
 * buffers are still owed. The result is the value SET_VRING_BASE takes. A live driver may go on
 * adding buffers meanwhile.
 */
#ifndef SIM_RING_RESUME_H
#define SIM_RING_RESUME_H

#include <stdint.h>

#define RESUME_PACKED_MAX 32768u	/* virtio 1.2, 2.8.10 */

/* IN_ORDER was negotiated: one used element may stand for a batch of buffers (2.8.9). */
#define RESUME_IN_ORDER (1u << 0)
/*
 * Write what the device left undone; only to be asked for once the old back-end is gone.
 *
 * A torn flush: some devices write the flags of the first element of a batch last; one that died
 * just before leaves a ring at which the driver waits for ever. It is finished.
 *
 * Doubt (see resume.c) about a ring that the device only reads: all its buffers are given back
 * unread, which is as good as lost on the wire. A wrong guess would stop the driver for ever.
 */
#define RESUME_MEND     (1u << 1)

/* What a scan found beside the base. */
struct resume_note {
	unsigned mended;	/* elements finished, or, without RESUME_MEND, to be finished */
	unsigned doubt;		/* 1: the base is a guess, unless buffers were given back */
	unsigned given_back;	/* buffers, some of them perhaps not even owed */
};

/* The ring as mapped in this process; read through guard_copy(). 0, -EFAULT or -EINVAL. */
int resume_split(const void *used, uint16_t num, uint32_t *base);

/*
 * As above; also -EAGAIN: the driver is in the middle of adding a buffer, look again; -EUCLEAN:
 * the ring contradicts itself. *note may be NULL.
 */
int resume_packed(void *desc, uint16_t num, unsigned flags, uint32_t *base,
		  struct resume_note *note);

#endif
