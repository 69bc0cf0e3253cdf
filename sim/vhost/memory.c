// SPDX-License-Identifier: Apache-2.0
/*
 * memory.c - keeps a back-end's view of the driver's memory, and the log of what it writes there.
 *
 * A back-end with slots is told the difference: regions that went are taken away first, gaps are
 * filled. What it has may therefore be cut finer than the space is. Only where a region goes of
 * which some memory stays lent, rings are paused: for a moment the back-end has none of it. A
 * back-end without slots is told the whole table, which it exchanges at once.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "sim/core/sys.h"
#include "sim/vhost/session.h"

static struct told_region told_of(const struct space_region *r)
{
	struct told_region told = { .r = *r };
	struct stat st;

	if (!sys_call(SYS_fstat, r->fd, &st)) {
		told.dev = st.st_dev;
		told.ino = st.st_ino;
	}
	return told;
}

static uint64_t end_of(const struct told_region *t)
{
	return t->r.iova + t->r.size;
}

/* Bytes of the one are the bytes of the other, as far as both go. */
static bool same_memory(const struct told_region *a, const struct told_region *b)
{
	return a->dev == b->dev && a->ino == b->ino &&
	       a->r.va - a->r.iova == b->r.va - b->r.iova &&
	       a->r.off - a->r.iova == b->r.off - b->r.iova;
}

static bool inside(const struct told_region *a, const struct told_region *b)
{
	return a->r.iova >= b->r.iova && end_of(a) <= end_of(b);
}

static int too_many(struct vhost *v, unsigned n)
{
	v->why = "the driver's memory is in more pieces than the back-end takes";
	v->memory_refused++;
	if (log_may(&v->may_log, loop_now(v->host.loop)))
		log_warn(v->cfg.id, "the driver's memory is in %u pieces, the back-end takes %u: "
			 "leave hugepage coalescing on (option coalesce=on), or give DPDK "
			 "--single-file-segments", n, v->peer.regions_max);
	return -E2BIG;
}

/* ---- the whole table ------------------------------------------------------------------------ */

static bool same_table(const struct vhost *v, unsigned n)
{
	for (unsigned i = 0; i < n && i < v->told_n; i++)
		if (!same_memory(&v->told[i], &v->now[i]) ||
		    v->told[i].r.iova != v->now[i].r.iova || v->told[i].r.size != v->now[i].r.size)
			return false;
	return n == v->told_n;
}

/* An empty table is never told: some back-ends end the session over it. */
static int tell_table(struct vhost *v, unsigned n)
{
	int rc;

	if (!n || same_table(v, n))
		return 0;
	rc = v->t->ops->set_memory(v->t, v->scratch, n);
	if (rc)
		return rc;
	v->memory_updates++;
	v->told_n = n;
	memcpy(v->told, v->now, n * sizeof(v->now[0]));
	return 0;
}

/* ---- slots ---------------------------------------------------------------------------------- */

/*
 * Finds what the peer may keep. Returns how many regions it will have in the end; *torn: one has
 * to go although memory at its place stays lent.
 */
static unsigned plan(struct vhost *v, unsigned n, bool *torn)
{
	unsigned total = 0, k = 0;

	*torn = false;
	for (unsigned i = 0; i < v->told_n; i++) {
		struct told_region *t = &v->told[i];

		while (k < n && end_of(&v->now[k]) <= t->r.iova)
			k++;
		t->keep = k < n && inside(t, &v->now[k]) && same_memory(t, &v->now[k]);
		*torn |= !t->keep && k < n && v->now[k].r.iova < end_of(t);
		total += t->keep;
	}
	k = 0;
	for (unsigned i = 0; i < n; i++) {	/* and the gaps */
		uint64_t at = v->now[i].r.iova;

		for (; k < v->told_n && v->told[k].r.iova < end_of(&v->now[i]); k++) {
			if (!v->told[k].keep)
				continue;
			total += v->told[k].r.iova > at;
			at = end_of(&v->told[k]);
		}
		total += at < end_of(&v->now[i]);
	}
	return total;
}

static int take_away(struct vhost *v)
{
	for (unsigned i = 0; i < v->told_n; ) {
		int rc;

		if (v->told[i].keep) {
			i++;
			continue;
		}
		rc = v->t->ops->memory_del(v->t, &v->told[i].r);
		if (rc)
			return rc;
		v->told_n--;
		memmove(&v->told[i], &v->told[i + 1], (v->told_n - i) * sizeof(v->told[0]));
		v->memory_updates++;
	}
	return 0;
}

/* [from, to) of a region that is lent now, to become the told one at index `at`. */
static int fill_gap(struct vhost *v, unsigned at, const struct told_region *of, uint64_t from,
		    uint64_t to)
{
	struct told_region t = *of;
	uint64_t skip = from - of->r.iova;
	int rc;

	assert(v->told_n < VHOST_REGIONS_MAX);
	t.r.iova += skip;
	t.r.va += skip;
	t.r.off += skip;
	t.r.size = to - from;
	t.keep = true;
	rc = v->t->ops->memory_add(v->t, &t.r);
	if (rc)
		return rc;
	memmove(&v->told[at + 1], &v->told[at], (v->told_n - at) * sizeof(v->told[0]));
	v->told[at] = t;
	v->told_n++;
	v->memory_updates++;
	return 0;
}

/* Nothing is told any more that is not lent. */
static int fill_gaps(struct vhost *v, unsigned n)
{
	unsigned k = 0;
	int rc = 0;

	for (unsigned i = 0; i < n; i++) {
		const struct told_region *of = &v->now[i];
		uint64_t at = of->r.iova;

		for (; k < v->told_n && v->told[k].r.iova < end_of(of); k++) {
			uint64_t next = v->told[k].r.iova;

			if (next > at)		/* then told[k] is the new one */
				rc = fill_gap(v, k, of, at, next);
			if (rc)
				return rc;
			at = end_of(&v->told[k]);
		}
		if (at < end_of(of))
			rc = fill_gap(v, k++, of, at, end_of(of));
		if (rc)
			return rc;
	}
	return 0;
}

static int tell_slots(struct vhost *v, unsigned n)
{
	bool torn, pause;
	int rc = v->t->ops->sync(v->t), resumed = 0;

	/* From here on a refusal is of what was last said: what the peer has is known. */
	if (rc)
		return rc;
	if (plan(v, n, &torn) > v->peer.regions_max) {
		/* Cut too fine: all of it anew, in as few regions as there can be. */
		for (unsigned i = 0; i < v->told_n; i++)
			v->told[i].keep = false;
		torn = true;
	}
	pause = torn && v->state == VHOST_RUNNING;
	if (pause)
		rc = run_pause(v);
	v->why = "the back-end refused the memory";
	if (!rc)
		rc = take_away(v);
	if (!rc)
		rc = fill_gaps(v, n);
	/* It had memory that stays lent, and has not got it back: a new session tells it all. */
	if (rc && torn && !session_is_loss(rc)) {
		session_drop(v, false);
		return rc;
	}
	if (pause && !session_is_loss(rc))
		resumed = run_resume(v);
	if (!resumed)
		return rc;
	/* Rings that were running do not any more: that is no state to leave a session in. */
	if (!session_is_loss(resumed))
		session_drop(v, false);
	return -ENOTCONN;
}

/* ---- the log -------------------------------------------------------------------------------- */

/* One of this peer's own, with the marks of those before it. */
static int renew(struct vhost *v)
{
	struct dirty fresh;
	/* Bytes may stand for all of the address space. */
	uint64_t top = v->log.bytes ? v->log.bytes * 8 * DIRTY_PAGE - 1 : 0;
	int rc = dirty_open(&fresh);

	if (!rc)
		rc = dirty_cover(&fresh, top);
	if (!rc && v->log.fd >= 0)
		rc = dirty_add(&fresh, &v->log);
	if (rc) {
		dirty_close(&fresh);
		return rc;
	}
	dirty_close(&v->log);
	v->log = fresh;
	return 0;
}

/*
 * It covers 0 to the end of the driver's highest memory, and grows before that is told. A peer
 * that is told nothing yet gets one of its own.
 */
static int tell_log(struct vhost *v, uint64_t top)
{
	uint64_t was = v->log_told;
	int rc = 0;

	if (!v->log_on || !top)
		return 0;
	if (!(v->peer.can & VHOST_CAN_LOG)) {
		v->log_lost = true;
		return 0;
	}
	v->why = "no log of the back-end's writes can be had";
	if (!was)
		rc = renew(v);
	if (!rc)
		rc = dirty_cover(&v->log, top);
	if (rc)
		return -EREMOTEIO;	/* it may be had for the next peer */
	if (v->log.bytes == was)
		return 0;
	v->why = "the back-end refused the log";
	rc = v->t->ops->set_log(v->t, v->log.fd, v->log.bytes);
	if (!rc)
		v->log_told = v->log.bytes;
	return rc;
}

/* ---- both ----------------------------------------------------------------------------------- */

int memory_tell(struct vhost *v)
{
	unsigned n = v->space ? space_snapshot(v->space, v->scratch, VHOST_REGIONS_MAX + 1) : 0;
	int rc;

	assert(v->peer.regions_max <= VHOST_REGIONS_MAX);
	if (n > v->peer.regions_max)
		return too_many(v, n);
	for (unsigned i = 0; i < n; i++)
		v->now[i] = told_of(&v->scratch[i]);
	rc = tell_log(v, n ? end_of(&v->now[n - 1]) : 0);
	if (rc)
		return rc;
	v->why = "the back-end refused the memory";
	return v->peer.can & VHOST_CAN_SLOTS ? tell_slots(v, n) : tell_table(v, n);
}

bool memory_lost(struct vhost *v)
{
	for (unsigned i = 0; i < v->told_n; i++) {
		const struct space_region *r = &v->told[i].r;

		if (!v->space || (uintptr_t)space_at(v->space, r->iova, r->size) != r->va)
			return true;
	}
	return false;
}
