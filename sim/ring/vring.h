/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vring.h - the device's side of a virtqueue (virtio 1.2, 2.7 and 2.8): take a chain, give it
 * back, ask whether the driver wants to hear of it.
 *
 * The ring belongs to a driver that may be wrong or hostile and may write to it at any moment.
 * Each word is copied once and only the copy is judged; addresses are translated by the owner
 * when they are used, so memory that was taken away is not touched. What breaks the rules
 * breaks the ring: take answers -EINVAL or -EFAULT from then on until vq_init().
 *
 * Not thread-safe: one thread at a time per ring. Nothing allocates.
 */
#ifndef SIM_RING_VRING_H
#define SIM_RING_VRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VQ_SIZE_MAX  32768	/* virtio 1.2, 2.7 and 2.8 */
#define VQ_CHAIN_MAX 1024	/* longest chain taken, also on larger rings */

/* Where [addr, addr + len) of the driver's memory is in this process; NULL: nowhere. */
typedef void *(*vq_at)(void *ctx, uint64_t addr, uint64_t len);
/* The device wrote there. */
typedef void (*vq_wrote)(void *ctx, uint64_t addr, uint64_t len);

struct vq_setup {
	uint16_t num;
	uint64_t desc, avail, used;	/* packed: descriptors, driver area, device area */
	bool     packed, event_idx, indirect;
	vq_at at;
	vq_wrote wrote;			/* NULL: nobody wants to know */
	void    *ctx;
};

struct vq_part {
	uint64_t addr;
	uint32_t len;
};

/* One buffer: `readable` parts, then `writable` ones. */
struct vq_chain {
	uint16_t id;			/* split: head index; packed: buffer id */
	uint16_t slots;			/* packed: ring entries it took */
	uint16_t readable, writable;
	uint64_t read_len, write_len;	/* bytes */
	struct vq_part part[VQ_CHAIN_MAX];
};

struct vq;

/* Split and packed. Called through the functions below. */
struct vq_ops {
	const char *name;
	int  (*take)(struct vq *r, struct vq_chain *c);
	int  (*give)(struct vq *r, const struct vq_chain *c, uint32_t written);
	bool (*should_notify)(struct vq *r);
	int  (*arm)(struct vq *r);
};

extern const struct vq_ops vq_split, vq_packed;

struct vq {
	const struct vq_ops *ops;
	struct vq_setup set;
	uint16_t next;			/* to take */
	uint16_t used;			/* to fill */
	uint16_t told;			/* `used` when should_notify was last asked */
	bool     next_wrap, used_wrap;	/* packed: lap parities */
	bool     told_valid;
	int      broken;		/* 0 or the -errno that broke it */
};

/* Checks sizes, alignment and reach of the three areas. -EINVAL, -EFAULT (not in memory). */
int vq_check(const struct vq_setup *s);
/* As vq_check(), then the ring stands at its beginning. */
int vq_init(struct vq *r, const struct vq_setup *s);

/* 1 and a chain, 0 if the driver has offered none, or why the ring is broken. */
int vq_take(struct vq *r, struct vq_chain *c);
/* Hands a taken chain back; `written` bytes of its writable parts, counted from the first. */
int vq_give(struct vq *r, const struct vq_chain *c, uint32_t written);
/* After one or more vq_give(): true if the driver asked to be told. */
bool vq_should_notify(struct vq *r);
/* Asks the driver to notify of the next buffer it offers; take once more afterwards. */
int vq_arm(struct vq *r);

/* Copies from readable or to writable bytes [off, off + len). -ERANGE, -EFAULT. */
int vq_read(const struct vq *r, const struct vq_chain *c, uint64_t off, void *buf,
	       size_t len);
int vq_write(const struct vq *r, const struct vq_chain *c, uint64_t off,
		const void *buf, size_t len);

/* ---- between split.c, packed.c and chain.c ------------------------------------------------- */

struct vq_desc {			/* as split and packed descriptors agree */
	uint64_t addr;
	uint32_t len;
	bool     write;
};

void vq_chain_clear(struct vq_chain *c);
/* Adds a part; -EINVAL for one too many, readable after writable, wrapping, over 2^32 bytes. */
int  vq_chain_add(const struct vq *r, struct vq_chain *c, const struct vq_desc *d);
/* A word of the ring itself, by address. */
int  vq_load(const struct vq *r, uint64_t addr, void *word, size_t len);
int  vq_store(const struct vq *r, uint64_t addr, const void *word, size_t len);
/* Judges an indirect table's length; its number of entries or -EINVAL. */
int  vq_table(const struct vq *r, uint32_t len);

#endif
