// SPDX-License-Identifier: Apache-2.0
// user_trace.c - vhost-user messages as text, for those who follow them.
#include <stdio.h>
#include <string.h>

#include "sim/core/trace.h"
#include "sim/vhost/user.h"
#include "sim/vhost/vhost.h"

typedef void (*tell_fn)(const union vu_payload *p, char *buf, size_t size);

static void tell_number(const union vu_payload *p, char *buf, size_t size)
{
	snprintf(buf, size, "%#llx", (unsigned long long)p->u64);
}

static void tell_ring(const union vu_payload *p, char *buf, size_t size)
{
	snprintf(buf, size, "ring %u value %#x", p->state.index, p->state.num);
}

static void tell_ring_fd(const union vu_payload *p, char *buf, size_t size)
{
	snprintf(buf, size, "ring %u%s", (unsigned)(p->u64 & VU_RING_INDEX),
		 p->u64 & VU_RING_NOFD ? " none" : "");
}

static void tell_addr(const union vu_payload *p, char *buf, size_t size)
{
	snprintf(buf, size, "ring %u desc %#llx", p->addr.index,
		 (unsigned long long)p->addr.desc);
}

static void tell_memory(const union vu_payload *p, char *buf, size_t size)
{
	snprintf(buf, size, "regions %u first %#llx+%#llx", p->memory.regions,
		 (unsigned long long)p->memory.region[0].guest_addr,
		 (unsigned long long)p->memory.region[0].size);
}

static void tell_config(const union vu_payload *p, char *buf, size_t size)
{
	snprintf(buf, size, "offset %u bytes %u", p->config.offset, p->config.size);
}

static const tell_fn tellers[VU_REQUESTS] = {
	[VU_SET_MEM_TABLE] = tell_memory,
	[VU_SET_VRING_NUM] = tell_ring,		[VU_SET_VRING_BASE] = tell_ring,
	[VU_GET_VRING_BASE] = tell_ring,	[VU_SET_VRING_ENABLE] = tell_ring,
	[VU_SET_VRING_ADDR] = tell_addr,
	[VU_SET_VRING_KICK] = tell_ring_fd,	[VU_SET_VRING_CALL] = tell_ring_fd,
	[VU_SET_VRING_ERR] = tell_ring_fd,
	[VU_GET_CONFIG] = tell_config,		[VU_SET_CONFIG] = tell_config,
};

/* An acknowledgement is a number, whatever it is for. */
void user_tell(struct vhost_user *u, bool sent, enum vu_request request, const char *name,
	       const void *payload, uint32_t size, bool ack)
{
	struct trace *t = u->t.cfg->trace;
	struct trace_event e = {
		.who = u->t.cfg->id, .kind = sent ? TRACE_SENT : TRACE_RECEIVED, .name = name,
	};
	union vu_payload p = { .u64 = 0 };
	tell_fn tell = tellers[request] && !ack ? tellers[request] : tell_number;
	int n = 0;

	if (!trace_wanted(t))
		return;
	if (payload)
		memcpy(&p, payload, size < sizeof(p) ? size : sizeof(p));
	if (ack)
		n = snprintf(e.detail, sizeof(e.detail), "ack ");
	if (size)
		tell(&p, e.detail + n, sizeof(e.detail) - (size_t)n);
	trace_add(t, &e);
}
