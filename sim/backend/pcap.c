// SPDX-License-Identifier: Apache-2.0
// pcap.c - see pcap.h.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "sim/backend/pcap.h"
#include "sim/backend/port.h"
#include "sim/core/err.h"

#define PCAP_MAGIC_NSEC 0xa1b23c4du	/* draft-ietf-opsawg-pcap */
#define LINK_ETHERNET 1

struct pcap_head {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t reserved[2], snap, link;
};

struct pcap_frame {
	uint32_t sec, nsec, kept, len;
};

struct pcap {
	struct port p;
	int fd;
	uint32_t lock;
	size_t n;			/* bytes in buf */
	uint8_t *buf, *spare;		/* filled; written out */
	uint64_t row[PORT_COUNTERS];
};

static struct pcap *pcap_of(struct port *p)
{
	return (struct pcap *)p;
}

static void lock_take(struct pcap *c)
{
	while (__atomic_exchange_n(&c->lock, 1, __ATOMIC_ACQUIRE))
		__builtin_ia32_pause();
}

static void lock_drop(struct pcap *c)
{
	__atomic_store_n(&c->lock, 0, __ATOMIC_RELEASE);
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		p += done;
		n -= (size_t)done;
	}
	return 0;
}

/* Swaps the buffers, then writes without holding anybody up. Owner's thread. */
static void flush(struct pcap *c)
{
	uint8_t *full;
	size_t n;

	lock_take(c);
	full = c->buf;
	n = c->n;
	c->buf = c->spare;
	c->spare = full;
	c->n = 0;
	lock_drop(c);
	if (n && write_all(c->fd, full, n))
		port_store(c->p.up, false);	/* the disk is full: it ends here */
}

static bool put(struct pcap *c, const struct frame *f, const struct timespec *now)
{
	struct pcap_frame h = {
		.sec = (uint32_t)now->tv_sec, .nsec = (uint32_t)now->tv_nsec, .kept = f->len,
		.len = f->len,
	};

	if (c->n + sizeof(h) + f->len > PCAP_BUFFER)
		return false;
	memcpy(c->buf + c->n, &h, sizeof(h));
	frame_copy(c->buf + c->n + sizeof(h), f, 0, f->len);
	c->n += sizeof(h) + f->len;
	return true;
}

static unsigned pcap_give(struct port *p, unsigned q, struct frame *const *f, unsigned n)
{
	struct pcap *c = pcap_of(p);
	struct timespec now;
	unsigned done = 0;

	(void)q;
	clock_gettime(CLOCK_REALTIME, &now);
	lock_take(c);
	for (unsigned i = 0; i < n; i++) {
		if (!p->up)
			port_tally(&c->row[PORT_OUT_DOWN], 1);
		else if (!put(c, f[i], &now))
			port_tally(&c->row[PORT_OUT_FULL], 1);
		else
			port_tally(&c->row[PORT_OUT_BYTES], f[i]->len), done++;
	}
	port_tally(&c->row[PORT_OUT_FRAMES], done);
	lock_drop(c);
	return done;
}

static int pcap_attach(struct port *p, struct poller *poller)
{
	(void)poller;
	port_store(p->features, UINT64_MAX);
	port_store(p->gives, 1);
	port_store(p->up, true);
	return 0;
}

static void pcap_detach(struct port *p)
{
	port_store(p->up, false);
	flush(pcap_of(p));
}

static void pcap_tick(struct port *p, uint64_t now_ms)
{
	(void)now_ms;
	if (port_load(p->up))
		flush(pcap_of(p));
}

static unsigned pcap_take(struct port *p, unsigned q, struct batch *b, unsigned max)
{
	(void)p;
	(void)q;
	(void)max;
	b->n = b->segs_used = b->entries = 0;
	return 0;
}

static void pcap_release(struct port *p, unsigned q, struct batch *b)
{
	(void)p;
	(void)q;
	(void)b;
}

static bool pcap_notify(struct port *p)
{
	(void)p;
	return false;
}

static bool pcap_arm(struct port *p, bool on)
{
	(void)p;
	(void)on;
	return false;
}

static void pcap_count(const struct port *p, uint64_t *row)
{
	struct pcap *c = pcap_of((struct port *)(uintptr_t)p);

	lock_take(c);
	for (unsigned i = 0; i < PORT_COUNTERS; i++)
		row[i] += __atomic_load_n(&c->row[i], __ATOMIC_RELAXED);
	lock_drop(c);
}

static void pcap_free(struct port *p)
{
	struct pcap *c = pcap_of(p);

	if (c->fd >= 0)
		close(c->fd);
	free(c->buf);
	free(c->spare);
	free(c);
}

static const struct port_ops pcap_ops = {
	"pcap", pcap_attach, pcap_detach, pcap_tick, pcap_take, pcap_release, pcap_give,
	pcap_notify, pcap_arm, pcap_count, pcap_free,
};

int pcap_new(struct port **out, const char *name, const char *file, struct err *e)
{
	static const struct pcap_head head = {
		.magic = PCAP_MAGIC_NSEC, .major = 2, .minor = 4, .snap = FRAME_MAX,
		.link = LINK_ETHERNET,
	};
	struct pcap *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	port_init(&c->p, &pcap_ops, name, NULL, NULL);
	c->buf = malloc(PCAP_BUFFER);
	c->spare = malloc(PCAP_BUFFER);
	c->fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (!c->buf || !c->spare)
		rc = err_set(e, -ENOMEM, "out of memory");
	else if (c->fd < 0)
		rc = err_set(e, -errno, "file %s: %s", file, strerror(errno));
	else
		rc = write_all(c->fd, (const uint8_t *)&head, sizeof(head));
	if (rc) {
		pcap_free(&c->p);
		return rc;
	}
	*out = &c->p;
	return 0;
}
