// SPDX-License-Identifier: Apache-2.0
// vring.c - what split and packed rings share: geometry, chains, copies.
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "sim/core/guard.h"
#include "sim/ring/vring.h"

#define DESC_SIZE 16u		/* both formats */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are read as they lie");
_Static_assert(VQ_CHAIN_MAX <= VQ_SIZE_MAX, "a chain fits its ring");

/* The three areas: alignment and length as functions of the size (2.7, 2.8). */
struct area {
	uint64_t addr;
	uint64_t len;
	unsigned align;
};

static void areas_of(const struct vq_setup *s, struct area a[3])
{
	uint64_t n = s->num;

	a[0] = (struct area){ s->desc, DESC_SIZE * n, 16 };
	a[1] = (struct area){ s->avail, s->packed ? 4 : 6 + 2 * n, s->packed ? 4 : 2 };
	a[2] = (struct area){ s->used, s->packed ? 4 : 6 + 8 * n, 4 };
}

static bool overlap(const struct area *a, const struct area *b)
{
	return a->addr < b->addr + b->len && b->addr < a->addr + a->len;
}

int vq_check(const struct vq_setup *s)
{
	struct area a[3];

	if (!s->num || s->num > VQ_SIZE_MAX)
		return -EINVAL;
	if (!s->packed && (s->num & (s->num - 1)))
		return -EINVAL;
	areas_of(s, a);
	for (unsigned i = 0; i < 3; i++) {
		if (a[i].addr % a[i].align || a[i].addr + a[i].len < a[i].addr)
			return -EINVAL;
		for (unsigned j = 0; j < i; j++)
			if (overlap(&a[i], &a[j]))
				return -EINVAL;
	}
	for (unsigned i = 0; i < 3; i++)
		if (!s->at(s->ctx, a[i].addr, a[i].len))
			return -EFAULT;
	return 0;
}

int vq_init(struct vq *r, const struct vq_setup *s)
{
	int rc = vq_check(s);

	*r = (struct vq){
		.ops = s->packed ? &vq_packed : &vq_split,
		.set = *s,
		.next_wrap = true,
		.used_wrap = true,
		.broken = rc,
	};
	return rc;
}

int vq_take(struct vq *r, struct vq_chain *c)
{
	int rc;

	if (r->broken)
		return r->broken;
	vq_chain_clear(c);
	rc = r->ops->take(r, c);
	if (rc < 0)
		r->broken = rc;
	return rc;
}

int vq_give(struct vq *r, const struct vq_chain *c, uint32_t written)
{
	int rc;

	assert(written <= c->write_len);
	if (r->broken)
		return r->broken;
	rc = r->ops->give(r, c, written);
	if (rc < 0)
		r->broken = rc;
	return rc;
}

bool vq_should_notify(struct vq *r)
{
	return !r->broken && r->ops->should_notify(r);
}

int vq_arm(struct vq *r)
{
	int rc = r->broken ? r->broken : r->ops->arm(r);

	if (rc < 0)
		r->broken = rc;
	return rc;
}

/* ---- chains -------------------------------------------------------------------------------- */

void vq_chain_clear(struct vq_chain *c)
{
	memset(c, 0, offsetof(struct vq_chain, part));
}

int vq_chain_add(const struct vq *r, struct vq_chain *c, const struct vq_desc *d)
{
	unsigned n = c->readable + c->writable;

	/* 2.7.5.2: no longer than the ring; 2.7.4.2: readable parts come first. */
	if (n >= r->set.num || n >= VQ_CHAIN_MAX)
		return -EINVAL;
	if (!d->write && c->writable)
		return -EINVAL;
	if (d->addr + d->len < d->addr)
		return -EINVAL;
	if (c->read_len + c->write_len + d->len > UINT32_MAX)
		return -EINVAL;
	c->part[n] = (struct vq_part){ d->addr, d->len };
	if (d->write) {
		c->writable++;
		c->write_len += d->len;
	} else {
		c->readable++;
		c->read_len += d->len;
	}
	return 0;
}

int vq_table(const struct vq *r, uint32_t len)
{
	uint32_t n = len / DESC_SIZE;

	if (!r->set.indirect || !n || len % DESC_SIZE || n > VQ_SIZE_MAX)
		return -EINVAL;
	return (int)n;
}

/* ---- copies -------------------------------------------------------------------------------- */

int vq_load(const struct vq *r, uint64_t addr, void *word, size_t len)
{
	const void *p = r->set.at(r->set.ctx, addr, len);

	return p ? guard_copy(word, p, len) : -EFAULT;
}

int vq_store(const struct vq *r, uint64_t addr, const void *word, size_t len)
{
	void *p = r->set.at(r->set.ctx, addr, len);
	int rc = p ? guard_copy(p, word, len) : -EFAULT;

	if (!rc && r->set.wrote)
		r->set.wrote(r->set.ctx, addr, len);
	return rc;
}

typedef int (*copy_part)(const struct vq *r, uint64_t addr, void *buf, size_t len);

static int copy_in(const struct vq *r, uint64_t addr, void *buf, size_t len)
{
	return vq_load(r, addr, buf, len);
}

static int copy_out(const struct vq *r, uint64_t addr, void *buf, size_t len)
{
	return vq_store(r, addr, buf, len);
}

/* Walks n parts, copying what falls into [off, off + len). */
static int copy_parts(const struct vq *r, const struct vq_part *p, unsigned n,
		      uint64_t off, char *buf, size_t len, copy_part copy)
{
	for (; n && len; n--, p++) {
		size_t some;
		int rc;

		if (off >= p->len) {
			off -= p->len;
			continue;
		}
		some = p->len - off < len ? p->len - off : len;
		rc = copy(r, p->addr + off, buf, some);
		if (rc < 0)
			return rc;
		buf += some;
		len -= some;
		off = 0;
	}
	return len ? -ERANGE : 0;
}

int vq_read(const struct vq *r, const struct vq_chain *c, uint64_t off, void *buf,
	       size_t len)
{
	return copy_parts(r, c->part, c->readable, off, buf, len, copy_in);
}

int vq_write(const struct vq *r, const struct vq_chain *c, uint64_t off,
		const void *buf, size_t len)
{
	return copy_parts(r, c->part + c->readable, c->writable, off, (char *)(uintptr_t)buf, len,
			  copy_out);
}
