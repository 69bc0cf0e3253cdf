// SPDX-License-Identifier: Apache-2.0
// vmdq.c - the memory and tables the programs at a TAP interface work with. See vmdq.h.
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim/backend/bpf_text.h"
#include "sim/backend/vmdq.h"
#include "sim/core/err.h"

#define GROUPS_MAX L2_GROUPS_MAX

struct key {
	uint8_t  mac[6];
	uint16_t number;		/* VLAN, or queue */
};
_Static_assert(sizeof(struct key) == 8, "as the programs build it on their stack");

struct vmdq {
	struct vmdq_maps m;
	int prog[2];			/* egress, ingress */
	struct vmdq_shared *shared;	/* NULL: not mapped */
	uint64_t *members;
};

/* An array that is memory of ours, too; NULL. */
static void *make_array(int *fd, size_t size, unsigned n)
{
	void *p = MAP_FAILED;

	*fd = bpf_map(BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), (unsigned)size, n, BPF_F_MMAPABLE);
	if (*fd >= 0)
		p = mmap(NULL, size * n, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static int make_maps(struct vmdq *v, struct err *e)
{
	v->shared = make_array(&v->m.shared, sizeof(*v->shared), 1);
	v->members = make_array(&v->m.member, sizeof(*v->members), L2_VLANS);
	v->m.source = bpf_map(BPF_MAP_TYPE_HASH, sizeof(struct key), sizeof(uint32_t),
			      VMDQ_QUEUES * L2_PORT_MACS_MAX, 0);
	v->m.group = bpf_map(BPF_MAP_TYPE_HASH, sizeof(struct key), sizeof(uint64_t), GROUPS_MAX,
			     0);
	if (v->shared && v->members && v->m.source >= 0 && v->m.group >= 0)
		return 0;
	return err_set(e, v->m.shared < 0 ? v->m.shared : -ENOMEM, "eBPF tables: %s",
		       strerror(v->m.shared < 0 ? -v->m.shared : ENOMEM));
}

static int start(struct vmdq *v, const char *dev, bool ingress, struct err *e)
{
	int fd = v->prog[ingress] = vmdq_load(&v->m, ingress);

	if (fd < 0)
		return err_set(e, fd, "%s program: %s", ingress ? "ingress" : "egress",
			       strerror(-fd));
	return tc_attach(dev, ingress, fd, e);
}

int vmdq_new(struct vmdq **out, const char *dev, unsigned queues, const struct steer *steer,
	     struct err *e)
{
	struct vmdq *v = malloc(sizeof(*v));
	int rc;

	if (!v)
		return err_set(e, -ENOMEM, "out of memory");
	*v = (struct vmdq){
		.m = { .shared = -1, .member = -1, .source = -1, .group = -1,
		       .steer = steer_map(steer), .ifindex = (int)if_nametoindex(dev),
		       .queues = queues },
		.prog = { -1, -1 },
	};
	rc = make_maps(v, e);
	if (!rc)
		rc = start(v, dev, false, e);
	if (!rc)
		rc = start(v, dev, true, e);
	if (rc) {
		vmdq_free(v);
		return rc;
	}
	*out = v;
	return 0;
}

static void drop(int fd)
{
	if (fd >= 0)
		close(fd);
}

void vmdq_free(struct vmdq *v)
{
	if (!v)
		return;
	if (v->shared) {		/* all pass, should the interface outlive us */
		__atomic_store_n(&v->shared->owned, 0, __ATOMIC_RELEASE);
		__atomic_store_n(&v->shared->whole, 0, __ATOMIC_RELEASE);
		munmap(v->shared, sizeof(*v->shared));
	}
	if (v->members)
		munmap(v->members, L2_VLANS * sizeof(*v->members));
	drop(v->m.shared);
	drop(v->m.member);
	drop(v->m.source);
	drop(v->m.group);
	drop(v->prog[0]);
	drop(v->prog[1]);
	free(v);
}

struct vmdq_shared *vmdq_shared(const struct vmdq *v)
{
	return v->shared;
}

uint64_t *vmdq_members(const struct vmdq *v)
{
	return v->members;
}

int vmdq_source(struct vmdq *v, const uint8_t mac[6], unsigned queue, bool on)
{
	struct key k = { .number = (uint16_t)queue };
	const uint32_t yes = 1;

	memcpy(k.mac, mac, 6);
	return on ? bpf_map_set(v->m.source, &k, &yes) : bpf_map_del(v->m.source, &k);
}

int vmdq_group(struct vmdq *v, const uint8_t mac[6], uint16_t vlan, uint64_t members)
{
	struct key k = { .number = vlan };

	memcpy(k.mac, mac, 6);
	return members ? bpf_map_set(v->m.group, &k, &members) : bpf_map_del(v->m.group, &k);
}
