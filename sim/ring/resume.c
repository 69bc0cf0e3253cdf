// SPDX-License-Identifier: Apache-2.0
/*
 * resume.c - see resume.h.
 *
 * Split ring: the device has consumed what it has used, so the base is used->idx.
 *
 * Packed ring (virtio 1.2, 2.8): driver and device write into the same slots and keep their
 * positions to themselves, but each slot tells what was last done to it:
 *	- its AVAIL bit is the driver's wrap counter when it wrote the slot, and the device keeps
 *	  it. So the first slot whose AVAIL differs from slot 0's is where the driver stands.
 *	- USED equal to AVAIL: a used element. The device writes one at the first slot of a buffer,
 *	  or of a batch of buffers when completing in order, with the id of the (last) buffer.
 *	- USED different: owed to the driver, or *stale*: the rest of a chain or batch whose first
 *	  slot became a used element. The last descriptor of a chain carries the buffer's id and
 *	  has no NEXT; hence a run of slots behind a used element is stale up to the buffer end
 *	  that carries the element's id. This holds for drivers that take ids in turn, as DPDK's
 *	  does, so that a new buffer never has the id of the one used just before it.
 *
 * Slots are counted from the driver's position through the whole ring: distance 0 is the oldest
 * slot, num - 1 the youngest. Used elements are then a contiguous chain of extents followed by
 * the owed buffers, and the first owed slot is the base. With nothing in flight in a new
 * back-end, its avail and used halves are the same.
 *
 * Torn flush: an unused head followed by used elements behind the previous element's extent.
 * A device that works so has written all ids and lengths of the batch before any flag (or, for
 * buffers it only reads, need not write a length), and the head's buffer ends where the next
 * element begins, so the head's id and flags can be finished from the ring. DPDK 22.11 does so
 * in vhost_flush_enqueue_shadow_packed() and vhost_flush_dequeue_shadow_packed().
 *
 * Doubt: when not one used element is left, all slots are owed, unless the youngest used element
 * stood for several slots, was collected and overwritten, and the driver has not refilled all
 * the slots it covered. Rings whose buffers are single slots with an element each cannot show
 * that state; a transmit ring completed in order does so whenever its back-end falls behind a
 * driver that sends by a window. Nothing in the slots tells how many are stale, so the way out
 * is one that holds for any number: an element of its own for every buffer. The driver finds one
 * wherever it waits; those in free slots it overwrites before it looks.
 */
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "sim/core/guard.h"
#include "sim/ring/resume.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)
#define WRAP  (1u << 15)		/* in one half of a base */

_Static_assert(sizeof(struct vring_packed_desc) == 16, "virtio 1.2, 2.8.13");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "slots are read as they lie");

struct scan {
	uint8_t *ring;
	unsigned num, flags;
	unsigned head;			/* index of the oldest slot: where the driver stands */
	bool     wrap;			/* the driver's wrap counter there */
	bool     chains;		/* the driver uses NEXT */
	struct resume_note note;
};

int resume_split(const void *used, uint16_t num, uint32_t *base)
{
	uint16_t idx;
	int rc;

	if (!used || !num || (num & (num - 1)))
		return -EINVAL;
	rc = guard_copy(&idx, (const uint8_t *)used + offsetof(struct vring_used, idx),
			sizeof(idx));
	if (!rc)
		*base = idx;
	return rc;
}

/* Twice the same, so that a slot being written is not taken for what it never was. */
static int slot_read(const struct scan *s, unsigned idx, struct vring_packed_desc *d)
{
	const uint8_t *at = s->ring + (size_t)idx * sizeof(*d);
	struct vring_packed_desc again;

	if (guard_copy(&again, at, sizeof(again)) || guard_copy(d, at, sizeof(*d)))
		return -EFAULT;
	return memcmp(&again, d, sizeof(*d)) ? -EAGAIN : 0;
}

static bool is_used(const struct vring_packed_desc *d)
{
	return !(d->flags & AVAIL) == !(d->flags & USED);
}

/* Looks used in an even lap, but no driver lends address 0: never written at all. */
static bool is_virgin(const struct vring_packed_desc *d)
{
	return !d->flags && !d->addr;
}

static unsigned index_of(const struct scan *s, unsigned dist)
{
	return (s->head + dist) % s->num;
}

static bool wrap_of(const struct scan *s, unsigned dist)
{
	return s->head + dist >= s->num ? s->wrap : !s->wrap;
}

/* The slot at a distance; -EAGAIN if the driver has passed it since find_head(). */
static int slot_at(const struct scan *s, unsigned dist, struct vring_packed_desc *d)
{
	int rc = slot_read(s, index_of(s, dist), d);

	if (!rc && !!(d->flags & AVAIL) != wrap_of(s, dist))
		rc = -EAGAIN;
	return rc;
}

/*
 * Where the driver stands. A driver writes the first descriptor of a chain last, so for a moment
 * AVAIL may change more than once around the ring.
 */
static int find_head(struct scan *s)
{
	struct vring_packed_desc d;
	bool first = false, last = false;
	unsigned changes = 0;

	for (unsigned i = 0; i < s->num; i++) {
		int rc = slot_read(s, i, &d);
		bool avail = d.flags & AVAIL;

		if (rc)
			return rc;
		if (!i)
			first = last = avail;
		if (avail != last) {
			s->head = i;
			changes++;
		}
		if (!is_used(&d) && (d.flags & VRING_DESC_F_NEXT))
			s->chains = true;
		last = avail;
	}
	s->wrap = changes ? first : !first;
	return changes > 1 ? -EAGAIN : 0;
}

/* An element may stand for more than its own buffer: never for buffers the device writes. */
static bool may_skip(const struct scan *s, const struct vring_packed_desc *d)
{
	return (s->flags & RESUME_IN_ORDER) && !(d->flags & VRING_DESC_F_WRITE);
}

/* *end: the distance behind the extent of the used element at `dist`, at most `limit`. */
static int extent_end(const struct scan *s, unsigned dist, unsigned limit, unsigned *end)
{
	struct vring_packed_desc elem, d;
	int rc = slot_at(s, dist, &elem);

	*end = dist + 1;
	if (rc || is_virgin(&elem))
		return rc;
	for (unsigned i = dist + 1; i < limit; i++) {
		rc = slot_at(s, i, &d);
		if (rc)
			return rc;
		if (d.flags & VRING_DESC_F_NEXT)
			continue;
		if (d.id == elem.id) {
			*end = i + 1;
			return 0;
		}
		if (!may_skip(s, &d))
			return 0;
	}
	return 0;
}

/* *next: the distance of the first used element from `dist` on, or num. */
static int next_used(const struct scan *s, unsigned dist, unsigned *next)
{
	struct vring_packed_desc d;
	int rc;

	for (; dist < s->num; dist++) {
		rc = slot_at(s, dist, &d);
		if (rc)
			return rc;
		if (is_used(&d))
			break;
	}
	*next = dist;
	return 0;
}

/* The slots [dist, next) must be exactly one buffer; *id is its id, in its last descriptor. */
static int one_buffer(const struct scan *s, unsigned dist, unsigned next, uint16_t *id)
{
	struct vring_packed_desc d;

	for (unsigned i = dist; i < next; i++) {
		int rc = slot_at(s, i, &d);

		if (rc)
			return rc;
		if (!(d.flags & VRING_DESC_F_NEXT) != (i == next - 1))
			return -EUCLEAN;
		*id = d.id;
	}
	return 0;
}

/*
 * Makes a used element of a slot as read. AVAIL keeps its value, so one byte turns it from
 * available to used: the driver never sees half of it, and should the slot be free and the driver
 * be writing it anew, the byte is the one it writes.
 */
static int mark(struct scan *s, unsigned dist, const struct vring_packed_desc *d, uint16_t id)
{
	uint8_t *at = s->ring + (size_t)index_of(s, dist) * sizeof(*d);
	uint16_t flags = (uint16_t)(wrap_of(s, dist) ? d->flags | USED : d->flags & ~USED);
	uint8_t high = (uint8_t)(flags >> 8);

	if (d->id != id && guard_copy(at + offsetof(struct vring_packed_desc, id), &id, sizeof(id)))
		return -EFAULT;
	/* Pairs with the driver's acquire of the flags: whoever sees them sees the id. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	return guard_copy(at + offsetof(struct vring_packed_desc, flags) + 1, &high, sizeof(high));
}

/* Finishes the element at `dist`, whose buffer ends at `next`. */
static int mend(struct scan *s, unsigned dist, unsigned next)
{
	struct vring_packed_desc d;
	uint16_t id = 0;
	int rc;

	s->note.mended++;
	rc = one_buffer(s, dist, next, &id);
	if (!rc && (s->flags & RESUME_MEND))
		rc = slot_at(s, dist, &d);
	return rc || !(s->flags & RESUME_MEND) ? rc : mark(s, dist, &d, id);
}

/* Every buffer in the ring; a slot the driver has meanwhile passed is its own again. */
static int give_back(struct scan *s)
{
	struct vring_packed_desc first, last;
	unsigned dist = 0, end;

	while (dist < s->num) {
		int rc = slot_at(s, dist, &first);

		last = first;
		for (end = dist + 1; !rc && (last.flags & VRING_DESC_F_NEXT) && end < s->num; end++)
			rc = slot_at(s, end, &last);
		if (!rc)
			rc = mark(s, dist, &first, last.id);
		if (rc && rc != -EAGAIN)
			return rc;
		s->note.given_back += !rc;
		dist = rc ? dist + 1 : end;
	}
	return 0;
}

/*
 * Before the oldest used element, at distance next > 0, lies what is left of an extent whose
 * element is overwritten, or a torn head, or both in this order; nothing tells them apart. The
 * last buffer there is finished in any case: if it is stale, its slots are free, the driver looks
 * at them only after writing them anew, and the byte that mend() writes is the one it will write.
 */
static int judge_start(struct scan *s, unsigned next)
{
	unsigned start = next - 1;
	struct vring_packed_desc d;
	int rc = slot_at(s, start, &d);

	if (rc)
		return rc;
	if (d.flags & VRING_DESC_F_NEXT)
		return -EUCLEAN;
	for (; start; start--) {
		rc = slot_at(s, start - 1, &d);
		if (rc)
			return rc;
		if (!(d.flags & VRING_DESC_F_NEXT))
			break;
	}
	return mend(s, start, next);
}

/* Not one used element: *owed as find_owed(). */
static int all_owed(struct scan *s, unsigned *owed)
{
	struct vring_packed_desc d;
	int rc = slot_at(s, 0, &d);

	*owed = 0;
	s->note.doubt = !rc && (s->chains || may_skip(s, &d));
	if (rc || !s->note.doubt || !(s->flags & RESUME_MEND) || (d.flags & VRING_DESC_F_WRITE))
		return rc;
	*owed = s->num;
	return give_back(s);
}

/* *owed: the distance of the first owed slot. */
static int find_owed(struct scan *s, unsigned *owed)
{
	unsigned at, next, end = 0, torn = 0;
	int rc = next_used(s, 0, &at);

	if (!rc && at == s->num)
		return all_owed(s, owed);
	if (!rc && at > 0)
		rc = judge_start(s, at);
	while (!rc) {
		rc = next_used(s, at + 1, &next);
		if (!rc)
			rc = extent_end(s, at, next, &end);
		if (rc || next == s->num)
			break;
		if (end < next)
			rc = torn++ ? -EUCLEAN : mend(s, end, next);	/* a flush has one head */
		at = next;
	}
	*owed = end;
	return rc;
}

int resume_packed(void *desc, uint16_t num, unsigned flags, uint32_t *base,
		  struct resume_note *note)
{
	struct scan s = { .ring = desc, .num = num, .flags = flags };
	unsigned owed;
	uint32_t half;
	int rc;

	if (!desc || !num || num > RESUME_PACKED_MAX)
		return -EINVAL;
	rc = find_head(&s);
	if (!rc)
		rc = find_owed(&s, &owed);
	if (rc)
		return rc;
	half = index_of(&s, owed) | (wrap_of(&s, owed) ? WRAP : 0);
	*base = half | half << 16;
	if (note)
		*note = s.note;
	return 0;
}
