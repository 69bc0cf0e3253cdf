// SPDX-License-Identifier: Apache-2.0
// backend_forward.c - frames through the switch's data path, between ports made of arrays.
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>

#include "sim/backend/forward.h"
#include "tests/unit/cu.h"

#define PORTS 4
#define BIT(n) (1ull << (n))
#define TSO (BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4))

struct rig {
	struct l2 *l2;
	struct forward *fw;
	struct forward_ports ports;
	uint64_t now;
};

static struct l2_conf *trunk(void)
{
	struct l2_conf *c = malloc(sizeof(*c));

	l2_conf_init(c);
	return c;
}

static struct l2_conf *access_conf(uint16_t vlan)
{
	struct l2_conf *c = trunk();

	c->flags &= ~(uint32_t)L2_TRUNK;
	memset(c->vlans, 0, sizeof(c->vlans));
	l2_conf_vlan(c, vlan, true);
	c->pvid = vlan;
	return c;
}

static void rig_up(struct rig *r)
{
	struct l2_opts o = { .seed = { 1, 2 } };
	char name[8];

	memset(r, 0, sizeof(*r));
	r->now = 1;
	CU_EQ(l2_new(&r->l2, &o), 0);
	CU_EQ(forward_new(&r->fw, r->l2, &r->ports), 0);
	for (unsigned i = 0; i < PORTS; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		CU_EQ(port_mem_new(&r->ports.port[i], name, 256, NULL, NULL), 0);
		free(l2_port_set(r->l2, i, trunk()));
		port_mem_link(r->ports.port[i], true);
	}
}

static void rig_down(struct rig *r)
{
	for (unsigned i = 0; i < PORTS; i++)
		if (r->ports.port[i])
			r->ports.port[i]->ops->free(r->ports.port[i]);
	forward_free(r->fw);
	l2_free(r->l2);
}

/* A frame of n bytes from station src to dst (0: broadcast) that carries a number. */
static void frame_bytes(uint8_t *b, uint32_t n, uint8_t dst, uint8_t src, uint8_t number)
{
	memset(b, 0, n);
	memcpy(b, (uint8_t[]){ 2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 0x88, 0xb5, number }, 15);
	if (!dst)
		memset(b, 0xff, 6);
	for (uint32_t i = 15; i < n; i++)
		b[i] = (uint8_t)(i * 3);
}

static void push(struct rig *r, unsigned port, uint32_t n, uint8_t dst, uint8_t src, uint8_t number)
{
	static uint8_t b[FRAME_MAX];

	frame_bytes(b, n, dst, src, number);
	CU_EQ(port_mem_push(r->ports.port[port], NULL, b, n), 0);
}

static unsigned run(struct rig *r, unsigned port)
{
	unsigned n, all = 0;

	while ((n = forward_poll(r->fw, port, r->ports.port[port], 0, r->now)))
		all += n;
	return all;
}

static uint32_t pop(struct rig *r, unsigned port, uint8_t *b)
{
	struct virtio_net_hdr_v1 h;

	return port_mem_pop(r->ports.port[port], &h, b, FRAME_MAX);
}

static void a_frame_arrives_as_it_was_sent_and_in_order(void)
{
	static uint8_t got[FRAME_MAX], want[FRAME_MAX];
	struct rig r;

	rig_up(&r);
	push(&r, 1, 60, 9, 2, 0);		/* station 2 makes itself known */
	run(&r, 1);
	for (unsigned p = 0; p < PORTS; p++)
		while (pop(&r, p, got))
			;
	for (unsigned i = 0; i < 200; i++)
		push(&r, 0, 60 + i * 7, 2, 1, (uint8_t)i);
	CU_EQ(run(&r, 0), 200);
	for (unsigned i = 0; i < 200; i++) {
		CU_EQ(pop(&r, 1, got), 60 + i * 7);
		frame_bytes(want, 60 + i * 7, 2, 1, (uint8_t)i);
		CU_EQ(memcmp(got, want, 60 + i * 7), 0);
	}
	CU_EQ(pop(&r, 1, got), 0);
	CU_EQ(pop(&r, 2, got), 0);
	rig_down(&r);
}

static void a_broadcast_reaches_everybody_else_once(void)
{
	static uint8_t got[FRAME_MAX];
	struct forward_counters c;
	struct l2_set touched;
	struct rig r;

	rig_up(&r);
	for (unsigned i = 0; i < 100; i++)
		push(&r, 0, 100, 0, 1, (uint8_t)i);
	run(&r, 0);
	for (unsigned p = 1; p < PORTS; p++) {
		for (unsigned i = 0; i < 100; i++) {
			CU_EQ(pop(&r, p, got), 100);
			CU_EQ(got[14], i);
		}
		CU_EQ(pop(&r, p, got), 0);
	}
	CU_EQ(pop(&r, 0, got), 0);
	forward_counters(r.fw, &c);
	CU_EQ(c.copies, 300);
	forward_touched(r.fw, &touched);
	CU_EQ(touched.w[0], 0xe);
	forward_touched(r.fw, &touched);
	CU_EQ(touched.w[0], 0);
	rig_down(&r);
}

static void each_member_of_a_flood_gets_its_own_tag(void)
{
	static uint8_t got[FRAME_MAX], want[FRAME_MAX];
	struct rig r;

	rig_up(&r);
	free(l2_port_set(r.l2, 0, access_conf(7)));
	free(l2_port_set(r.l2, 2, access_conf(7)));
	free(l2_port_set(r.l2, 3, access_conf(8)));
	for (unsigned i = 0; i < 70; i++)
		push(&r, 0, 80, 0, 1, (uint8_t)i);
	run(&r, 0);
	for (unsigned i = 0; i < 70; i++) {
		frame_bytes(want, 80, 0, 1, (uint8_t)i);
		CU_EQ(pop(&r, 2, got), 80);
		CU_EQ(memcmp(got, want, 80), 0);
		CU_EQ(pop(&r, 1, got), 84);
		CU_EQ(memcmp(got + 12, "\x81\x00\x00\x07", 4), 0);
		CU_EQ(memcmp(got, want, 12), 0);
		CU_EQ(memcmp(got + 16, want + 12, 68), 0);
	}
	CU_EQ(pop(&r, 3, got), 0);
	rig_down(&r);
}

static void a_mirror_sees_the_frame_before_its_tag_changes(void)
{
	static uint8_t got[FRAME_MAX];
	struct l2_conf *mirror = trunk();
	struct rig r;

	rig_up(&r);
	free(l2_port_set(r.l2, 0, access_conf(7)));
	free(l2_port_set(r.l2, 2, NULL));
	mirror->flags |= L2_MIRROR;
	mirror->pvid = 7;
	free(l2_port_set(r.l2, 3, mirror));
	push(&r, 1, 60, 9, 2, 0);
	run(&r, 1);
	while (pop(&r, 3, got))
		;
	push(&r, 0, 90, 2, 1, 1);
	run(&r, 0);
	CU_EQ(pop(&r, 1, got), 94);
	CU_EQ(pop(&r, 3, got), 90);
	CU_EQ(pop(&r, 3, got), 0);
	rig_down(&r);
}

/* A TCP packet to be segmented, between two small frames of the same flow. */
static void segments_keep_their_place_among_other_frames(void)
{
	static uint8_t b[FRAME_MAX], got[FRAME_MAX];
	struct virtio_net_hdr_v1 h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 1000, .csum_start = 34, .csum_offset = 16,
	};
	struct rig r;

	rig_up(&r);
	push(&r, 1, 60, 9, 2, 0);
	run(&r, 1);
	frame_bytes(b, 54 + 3500, 2, 1, 0);
	memcpy(b + 12, "\x08\x00\x45\x00\x00\x00\x00\x01\x00\x00\x40\x06", 12);
	b[46] = 0x50;
	push(&r, 0, 60, 2, 1, 1);
	CU_EQ(port_mem_push(r.ports.port[0], &h, b, 54 + 3500), 0);
	push(&r, 0, 61, 2, 1, 2);
	r.ports.port[1]->features = 0;
	run(&r, 0);
	CU_EQ(pop(&r, 1, got), 60);
	CU_EQ(pop(&r, 1, got), 1054);
	CU_EQ(pop(&r, 1, got), 1054);
	CU_EQ(pop(&r, 1, got), 1054);
	CU_EQ(pop(&r, 1, got), 554);
	CU_EQ(pop(&r, 1, got), 61);
	CU_EQ(pop(&r, 1, got), 0);
	r.ports.port[1]->features = TSO;
	CU_EQ(port_mem_push(r.ports.port[0], &h, b, 54 + 3500), 0);
	run(&r, 0);
	CU_EQ(pop(&r, 1, got), 54 + 3500);
	h.csum_start = 35;
	CU_EQ(port_mem_push(r.ports.port[0], &h, b, 54 + 3500), 0);
	run(&r, 0);
	CU_EQ(pop(&r, 1, got), 0);
	rig_down(&r);
}

static void a_port_that_left_costs_only_its_frames(void)
{
	static uint8_t got[FRAME_MAX];
	struct forward_counters c;
	struct port *gone;
	struct rig r;

	rig_up(&r);
	gone = r.ports.port[2];
	r.ports.port[2] = NULL;			/* the decision may still name it */
	push(&r, 0, 60, 0, 1, 1);
	run(&r, 0);
	CU_EQ(pop(&r, 1, got), 60);
	CU_EQ(pop(&r, 3, got), 60);
	forward_counters(r.fw, &c);
	CU_EQ(c.gone, 1);
	gone->ops->free(gone);
	rig_down(&r);
}

static void a_shaped_port_gets_its_rate(void)
{
	static uint8_t got[FRAME_MAX];
	struct l2_conf *c = trunk();
	struct forward_counters count;
	unsigned n = 0;
	struct rig r;

	rig_up(&r);
	c->out_bytes = (struct l2_rate){ 100000, 1000 };
	free(l2_port_set(r.l2, 1, c));
	for (unsigned i = 0; i < 100; i++)
		push(&r, 0, 100, 0, 1, 1);
	run(&r, 0);
	while (pop(&r, 1, got))
		n++;
	CU_EQ(n, 10);
	forward_counters(r.fw, &count);
	CU_EQ(count.shaped, 90);
	rig_down(&r);
}

/* A port nobody has filtered passes each tag, and none, as they are. */
static void every_tag_passes_a_port_without_filters(void)
{
	static uint8_t b[64], got[FRAME_MAX];
	struct rig r;

	rig_up(&r);
	for (unsigned vid = 0; vid < 4095; vid++) {
		frame_bytes(b, sizeof(b), 2, 1, 0);
		b[12] = 0x81;
		b[13] = 0;
		b[14] = (uint8_t)(vid >> 8);
		b[15] = (uint8_t)vid;
		CU_EQ(port_mem_push(r.ports.port[0], NULL, b, sizeof(b)), 0);
		CU_EQ(run(&r, 0), 1);
		CU_EQ(pop(&r, 1, got), sizeof(b));
		CU_EQ(memcmp(got, b, sizeof(b)), 0);
		while (pop(&r, 2, got) || pop(&r, 3, got))
			;
	}
	rig_down(&r);
}

CU_MAIN("backend/forward",
	TC("A-CV-11", every_tag_passes_a_port_without_filters),
	T(a_frame_arrives_as_it_was_sent_and_in_order),
	T(a_broadcast_reaches_everybody_else_once),
	T(each_member_of_a_flood_gets_its_own_tag),
	T(a_mirror_sees_the_frame_before_its_tag_changes),
	T(segments_keep_their_place_among_other_frames),
	T(a_port_that_left_costs_only_its_frames),
	T(a_shaped_port_gets_its_rate))
