// SPDX-License-Identifier: Apache-2.0
/*
 * switch_idle.c - pods that are there and do nothing: a session on each socket, with running rings
 * and posted buffers, held until stdin ends. Says "ready" once all are connected.
 *
 *	switch_idle SOCKET...
 */
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>

#include "include/vhost_user_wire.h"
#include "tests/peer.h"

#define BIT(n)	(1ull << (n))
#define NUM	256u
#define POSTED	64u		/* receive buffers */
#define ROOM	2048u
#define MEM	(1u << 20)

static int join(struct peer *p, const char *path)
{
	uint64_t off;

	if (peer_new(p, MEM) < 0)
		return -1;
	p->features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) |
		      BIT(VIRTIO_F_RING_PACKED);
	if (peer_connect(p, path) < 0)
		return -1;
	peer_send(p, VU_SET_OWNER, VU_VERSION, NULL, 0, NULL, 0);
	peer_send_u64(p, VU_SET_FEATURES, p->features);
	peer_send_memory(p);
	for (unsigned i = 0; i < 2; i++)
		peer_start_ring(p, i, NUM, 0x80008000);
	off = drv_alloc(&p->mem, POSTED * ROOM, 4096);
	for (unsigned i = 0; i < POSTED; i++)
		drv_add(p->ring[0], &(struct drv_buf){ drv_gpa(off + i * ROOM), ROOM, true }, 1);
	return 0;
}

int main(int argc, char **argv)
{
	struct peer *p = calloc((size_t)argc, sizeof(*p));

	for (int i = 1; p && i < argc; i++)
		if (join(&p[i], argv[i]) < 0) {
			fprintf(stderr, "switch_idle: %s: cannot connect\n", argv[i]);
			return 1;
		}
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
