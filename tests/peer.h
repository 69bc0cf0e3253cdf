/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.h - a front-end for tests of back-ends: says what it is told to, right or wrong.
 *
 * peer_send() puts any bytes and descriptors on the wire; the calls below it make a proper
 * session: features, memory, rings. Nothing waits: the test lets the back-end run in between.
 */
#ifndef TESTS_PEER_H
#define TESTS_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "include/vhost_user_wire.h"
#include "tests/drv.h"

#define PEER_RINGS 128

struct peer {
	int      fd;			/* -1: not connected */
	struct drv_mem mem;
	uint64_t features, protocol;	/* acked */
	struct drv_ring *ring[PEER_RINGS];
	int      kick[PEER_RINGS], call[PEER_RINGS];
};

/* Memory of that size and no connection yet. */
int  peer_new(struct peer *p, uint64_t mem_size);
void peer_free(struct peer *p);
int  peer_connect(struct peer *p, const char *path);	/* non-blocking socket; 0 or -errno */
void peer_hang_up(struct peer *p);

/* Any bytes, any descriptors, in one sendmsg(). 0 or -errno. */
int  peer_write(struct peer *p, const void *bytes, size_t n, const int *fds, unsigned nfds);
int  peer_send(struct peer *p, uint32_t request, uint32_t flags, const void *payload,
	       uint32_t size, const int *fds, unsigned nfds);
int  peer_send_u64(struct peer *p, uint32_t request, uint64_t value);
int  peer_send_state(struct peer *p, uint32_t request, uint32_t index, uint32_t num);
/* SET_VRING_KICK, _CALL, _ERR; fd -1: the no-fd bit. */
int  peer_send_fd(struct peer *p, uint32_t request, uint32_t index, int fd);

/*
 * One whole message if it is there: 1, 0: nothing yet, -ENOTCONN: the other end hung up. *fd
 * (may be NULL) gets a descriptor that came along, or -1.
 */
int  peer_recv(struct peer *p, struct vu_header *h, union vu_payload *payload, int *fd);

/* SET_MEM_TABLE with all of the memory as one region. */
int  peer_send_memory(struct peer *p);
/* NUM, BASE, ADDR, CALL and KICK of one ring, made here; enables it where that is spoken. */
int  peer_start_ring(struct peer *p, unsigned index, uint16_t num, uint32_t base);

#endif
