// SPDX-License-Identifier: Apache-2.0
// vus_ring.c - requests that concern rings and the memory they live in.
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "sim/backend/vus.h"
#include "sim/ring/resume.h"

#define BIT(n)	(1ull << (n))

#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif

#define RING_LOGGED 1u		/* vu_addr.flags */

/* ---- rings start and stop ------------------------------------------------------------------- */

static bool is_packed(const struct vus *v)
{
	return v->features & BIT(VIRTIO_F_RING_PACKED);
}

/* The three areas as mapped here, or false. */
static bool find_areas(const struct vus *v, const struct vus_ring *r, struct vqueue_setup *s)
{
	struct vqueue_size size = vqueue_size(r->num, is_packed(v));

	if (!v->mem || !size.desc)
		return false;
	s->desc = vmem_at_uva(v->mem, r->addr.desc, size.desc);
	s->avail = vmem_at_uva(v->mem, r->addr.avail, size.avail);
	s->used = vmem_at_uva(v->mem, r->addr.used, size.used);
	return s->desc && s->avail && s->used;
}

static struct vlog *log_of(struct vus *v)
{
	return (v->features & BIT(VU_F_LOG_ALL)) && v->log.map ? &v->log : NULL;
}

static uint64_t used_log_of(const struct vus_ring *r)
{
	return r->addr.flags & RING_LOGGED ? r->addr.log : 0;
}

/* Where the ring goes on: where it stands, if the session said that a back-end may have died. */
static uint32_t base_of(const struct vus *v, const struct vus_ring *r,
			const struct vqueue_setup *s)
{
	unsigned flags = RESUME_MEND |
		(v->features & BIT(VIRTIO_F_IN_ORDER) ? RESUME_IN_ORDER : 0);
	uint32_t base;
	int rc;

	if (!v->resumes)
		return r->base;
	rc = is_packed(v) ? resume_packed(s->desc, s->num, flags, &base, NULL) :
			    resume_split(s->used, s->num, &base);
	return rc == 0 ? base : r->base;
}

static int start_ring(struct vus *v, struct vus_ring *r)
{
	struct vqueue_setup s = { .num = r->num, .features = v->features, .mem = v->mem };
	uint32_t base;
	int rc;

	if (!r->addressed || !find_areas(v, r, &s))
		return -EINVAL;
	s.log = log_of(v);
	s.used_log = used_log_of(r);
	base = base_of(v, r, &s);
	if (r->q.shared)
		vqueue_lock(&r->q);
	rc = vqueue_start(&r->q, &s, base);
	if (rc == 0 && v->armed && r->q.transmit)
		r->q.ops->arm(&r->q, true);
	if (r->q.shared)
		vqueue_unlock(&r->q);
	return rc;
}

static void drop_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void vus_stop_ring(struct vus *v, struct vus_ring *r)
{
	if (r->q.running) {
		v->p.host->drain(&v->p);
		if (r->q.shared)
			vqueue_lock(&r->q);
		r->base = vqueue_stop(&r->q);
		if (r->q.shared)
			vqueue_unlock(&r->q);
	}
	if (v->poller)
		poller_del(v->poller, &r->kick);
	drop_fd(&r->kick_fd);
	r->discards = false;
}

void vus_stop_all(struct vus *v)
{
	for (unsigned i = 0; i < v->nrings; i++) {
		struct vus_ring *r = &v->ring[i];

		vus_stop_ring(v, r);
		if (r->q.shared)
			vqueue_lock(&r->q);
		drop_fd(&r->call_fd);
		drop_fd(&r->err_fd);
		if (r->q.shared)
			vqueue_unlock(&r->q);
	}
}

bool vus_any_running(const struct vus *v)
{
	for (unsigned i = 0; i < v->nrings; i++)
		if (v->ring[i].q.running)
			return true;
	return false;
}

void vus_relog(struct vus *v)
{
	vus_lock_rings(v);
	for (unsigned i = 0; i < v->nrings; i++) {
		v->ring[i].q.log = log_of(v);
		v->ring[i].q.used_log = used_log_of(&v->ring[i]);
	}
	vus_unlock_rings(v);
}

/* ---- memory --------------------------------------------------------------------------------- */

static struct vmem_policy policy(const struct vus *v)
{
	return (struct vmem_policy){ v->cfg.memory_max, v->cfg.sealed };
}

static int add_region(const struct vus *v, struct vmem *m, const struct vu_region *r, int fd)
{
	struct vmem_policy p = policy(v);

	return vmem_add(m, &p, r->guest_addr, r->user_addr, r->size, r->mmap_offset, fd);
}

/* Running rings move into the new memory, or stop where they are not part of it. */
static void move_rings(struct vus *v)
{
	for (unsigned i = 0; i < v->nrings; i++) {
		struct vus_ring *r = &v->ring[i];
		struct vqueue_setup s = { .num = r->num };

		if (!r->q.running)
			continue;
		r->q.hit = (struct vqueue_hit){ .size = 0 };
		r->q.mem = v->mem;
		if (find_areas(v, r, &s)) {
			r->q.desc = s.desc;
			r->q.avail = s.avail;
			r->q.used = s.used;
		} else {
			r->base = vqueue_stop(&r->q);
		}
	}
}

int vus_set_mem_table(struct vus *v, struct vus_msg *m)
{
	struct vmem *new, *old = v->mem;
	uint32_t n = m->p.memory.regions;
	int rc = 0;

	if (n > VU_REGIONS_MAX || m->h.size != VU_MEMORY_SIZE(n) || m->nfds != n)
		return -EINVAL;
	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	for (uint32_t i = 0; i < n && rc == 0; i++)
		rc = add_region(v, new, &m->p.memory.region[i], m->fd[i]);
	if (rc < 0) {
		vmem_clear(new);
		free(new);
		return rc;
	}
	/* The fds have served: mappings keep the files. */
	for (uint32_t i = 0; i < n; i++) {
		close(m->fd[i]);
		m->fd[i] = -1;
	}
	v->p.host->drain(&v->p);
	vus_lock_rings(v);
	v->mem = new;
	move_rings(v);
	vus_unlock_rings(v);
	vus_remap(v);
	if (old)
		vmem_clear(old);
	free(old);
	return 0;
}

int vus_add_mem(struct vus *v, struct vus_msg *m)
{
	int rc;

	if (!v->mem) {
		v->mem = calloc(1, sizeof(*v->mem));
		if (!v->mem)
			return -ENOMEM;
	}
	vus_lock_rings(v);
	rc = add_region(v, v->mem, &m->p.single.region, m->fd[0]);
	vus_unlock_rings(v);
	if (rc == 0) {
		close(m->fd[0]);
		m->fd[0] = -1;
	}
	return rc;
}

static bool inside(const void *p, uint64_t len, const uint8_t *host, uint64_t size)
{
	const uint8_t *at = p;

	return at && at < host + size && host < at + len;
}

/* Memory that a running ring is made of stays. (A front-end may send the fd along.) */
int vus_rem_mem(struct vus *v, struct vus_msg *m)
{
	const struct vu_region *g = &m->p.single.region;
	uint8_t *host;
	int rc = 0;

	if (m->nfds) {
		vus_close_foreign(v, m->fd[0]);
		m->fd[0] = -1;
	}
	host = v->mem && g->size ? vmem_at(v->mem, g->guest_addr, g->size) : NULL;
	if (!host)
		return -ENOENT;
	for (unsigned i = 0; i < v->nrings; i++) {
		const struct vqueue *q = &v->ring[i].q;
		struct vqueue_size size = vqueue_size(q->num, is_packed(v));

		if (q->running && (inside(q->desc, size.desc, host, g->size) ||
				   inside(q->avail, size.avail, host, g->size) ||
				   inside(q->used, size.used, host, g->size)))
			return -EBUSY;
	}
	v->p.host->drain(&v->p);
	vus_lock_rings(v);
	rc = vmem_remove(v->mem, g->guest_addr, g->user_addr, g->size);
	for (unsigned i = 0; i < v->nrings; i++)
		v->ring[i].q.hit = (struct vqueue_hit){ .size = 0 };
	vus_unlock_rings(v);
	return rc;
}

int vus_set_log_base(struct vus *v, struct vus_msg *m)
{
	int rc;

	vus_lock_rings(v);
	rc = vlog_map(&v->log, m->p.log.size, m->p.log.offset, m->fd[0]);
	vus_unlock_rings(v);
	if (rc < 0)
		return rc;
	close(m->fd[0]);
	m->fd[0] = -1;
	vus_relog(v);
	m->reply_size = 0;
	return 0;
}

/* ---- requests of one ring; the table has checked the index ---------------------------------- */

int vus_set_num(struct vus *v, struct vus_msg *m)
{
	if (!vqueue_size(m->p.state.num, v->featured ? is_packed(v) : true).desc)
		return -EINVAL;
	v->ring[m->p.state.index].num = (uint16_t)m->p.state.num;
	return 0;
}

/* A running ring's addresses stay; migration sends them again to switch the log. */
int vus_set_addr(struct vus *v, struct vus_msg *m)
{
	struct vu_addr *a = &m->p.addr;
	struct vus_ring *r;

	if (a->index >= v->nrings || (a->flags & ~RING_LOGGED))
		return -EINVAL;
	r = &v->ring[a->index];
	if (r->q.running && (a->desc != r->addr.desc || a->avail != r->addr.avail ||
			     a->used != r->addr.used))
		return -EBUSY;
	r->addr = *a;
	r->addressed = true;
	if (r->q.running)
		vus_relog(v);
	return 0;
}

int vus_set_base(struct vus *v, struct vus_msg *m)
{
	v->ring[m->p.state.index].base = m->p.state.num;
	return 0;
}

int vus_get_base(struct vus *v, struct vus_msg *m)
{
	struct vus_ring *r = &v->ring[m->p.state.index];

	vus_stop_ring(v, r);
	vus_remap(v);
	m->p.state.num = r->base;
	m->reply_size = sizeof(m->p.state);
	return 0;
}

int vus_set_enable(struct vus *v, struct vus_msg *m)
{
	struct vus_ring *r = &v->ring[m->p.state.index];

	if (m->p.state.num > 1)
		return -EINVAL;
	r->enabled = m->p.state.num;
	r->discards = r->q.running && !r->enabled;
	vus_remap(v);
	return 0;
}

/* ---- eventfds ------------------------------------------------------------------------------- */

/*
 * Only an eventfd will do: anything else might block whoever polls or writes it. The kernel's
 * name for the descriptor tells, without a call into whatever file system is behind it.
 */
static bool is_eventfd(int fd)
{
	char path[40], name[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, name, sizeof(name) - 1);
	if (n < 0)
		return false;
	name[n] = '\0';
	return !strcmp(name, "anon_inode:[eventfd]");
}

/* Puts the message's fd, or -1, into the slot. */
static int replace_fd(struct vus_msg *m, int *slot)
{
	int fd = m->nfds ? m->fd[0] : -1;

	if (fd >= 0 && !is_eventfd(fd))
		return -EINVAL;
	if (fd >= 0 && fcntl(fd, F_SETFL, O_NONBLOCK | O_RDWR) < 0)
		return -errno;
	drop_fd(slot);
	*slot = fd;
	if (m->nfds)
		m->fd[0] = -1;
	return 0;
}

static void on_kick(struct poller_source *s, uint32_t events)
{
	struct vus_ring *r;

	(void)events;
	r = (struct vus_ring *)(void *)((char *)s - offsetof(struct vus_ring, kick));
	port_tally(&r->v->row[PORT_KICKS_SEEN], 1);
}

/*
 * The ring starts here. The eventfd is watched edge by edge and never read: a read could block,
 * and its count means nothing to us.
 */
int vus_set_kick(struct vus *v, struct vus_msg *m)
{
	struct vus_ring *r = &v->ring[m->p.u64 & VU_RING_INDEX];
	int rc;

	/* A ring that runs goes on being kicked as before. */
	if (!v->featured || (m->nfds && !is_eventfd(m->fd[0])))
		return -EINVAL;
	poller_del(v->poller, &r->kick);
	rc = replace_fd(m, &r->kick_fd);
	if (rc < 0)
		return rc;
	r->kick.ready = on_kick;
	if (r->kick_fd >= 0)
		rc = poller_add(v->poller, &r->kick, r->kick_fd, EPOLLIN | EPOLLET);
	if (rc == 0 && !r->q.running)
		rc = start_ring(v, r);
	if (rc < 0) {
		vus_stop_ring(v, r);
		return rc;
	}
	/* Without protocol features nobody is going to enable it. */
	if (!(v->features & BIT(VU_F_PROTOCOL_FEATURES)))
		r->enabled = true;
	vus_remap(v);
	return 0;
}

int vus_set_call(struct vus *v, struct vus_msg *m)
{
	struct vus_ring *r = &v->ring[m->p.u64 & VU_RING_INDEX];
	int rc;

	if (r->q.shared)
		vqueue_lock(&r->q);
	rc = replace_fd(m, &r->call_fd);
	/* What was completed while nobody listened is told now. */
	vqueue_set_dirty(&r->q, r->q.dirty || r->q.running);
	if (r->q.shared)
		vqueue_unlock(&r->q);
	return rc;
}

int vus_set_err(struct vus *v, struct vus_msg *m)
{
	return replace_fd(m, &v->ring[m->p.u64 & VU_RING_INDEX].err_fd);
}
