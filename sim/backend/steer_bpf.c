// SPDX-License-Identifier: Apache-2.0
// steer_bpf.c - see steer.h. The program is small enough to be written down as it is.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/if_tun.h>

#include "sim/backend/bpf_text.h"
#include "sim/backend/steer.h"
#include "sim/core/err.h"

struct key {
	uint8_t  mac[6];
	uint16_t vlan;
};
_Static_assert(sizeof(struct key) == 8, "as the program builds it on its stack");

struct steer {
	int map_fd, prog_fd;
};

enum { STEER_SORT = STEER_LABELS, STEER_UNKNOWN };

void steer_text_vlan(struct bpf_text *t)
{
	BPF_ADD_ALL(t, MOV_IMM(VLAN, 0),
		LOAD(BPF_W, R1, SKB, SKB_FIELD(vlan_present)),
		JUMP_IF(BPF_JEQ, R1, 0, STEER_IN_BAND),
		LOAD(BPF_W, R1, SKB, SKB_FIELD(vlan_proto)),
		JUMP_IF(BPF_JNE, R1, STEER_TAG, STEER_KNOWN),
		LOAD(BPF_W, VLAN, SKB, SKB_FIELD(vlan_tci)),
		JUMP(STEER_MASK));
	bpf_label(t, STEER_IN_BAND);
	BPF_ADD_ALL(t, MOV_REG(R1, SKB), MOV_IMM(R2, 12), MOV_REG(R3, FP), ADD_IMM(R3, -16),
		MOV_IMM(R4, 4),
		CALL(BPF_FUNC_skb_load_bytes),
		JUMP_IF(BPF_JNE, R0, 0, STEER_KNOWN),
		LOAD(BPF_H, R1, FP, -16),
		JUMP_IF(BPF_JNE, R1, STEER_TAG, STEER_KNOWN),
		LOAD(BPF_H, VLAN, FP, -14),
		TO_BE16(VLAN));
	bpf_label(t, STEER_MASK);
	BPF_ADD_ALL(t, AND_IMM(VLAN, 0xfff));
	bpf_label(t, STEER_KNOWN);
}

static int load(int map_fd)
{
	struct bpf_text t = { .n = 0 };

	/* Stack: the key at -8, four bytes behind the addresses (type, tag) at -16. */
	BPF_ADD_ALL(&t, MOV_REG(SKB, R1),
		LOAD(BPF_W, R0, SKB, SKB_FIELD(mark)),
		MOV_REG(R1, R0), AND_IMM(R1, ~(STEER_QUEUES - 1)),
		JUMP_IF(BPF_JNE, R1, STEER_MARK, STEER_SORT),
		AND_IMM(R0, STEER_QUEUES - 1),
		EXIT());
	bpf_label(&t, STEER_SORT);
	BPF_ADD_ALL(&t, MOV_REG(R1, SKB),
		MOV_IMM(R2, 0), MOV_REG(R3, FP), ADD_IMM(R3, -8), MOV_IMM(R4, 6),
		CALL(BPF_FUNC_skb_load_bytes),
		JUMP_IF(BPF_JNE, R0, 0, STEER_UNKNOWN));	/* no frame */
	steer_text_vlan(&t);
	BPF_ADD_ALL(&t, STORE(BPF_H, FP, VLAN, -2),
		MAP_FD(R1, map_fd), MOV_REG(R2, FP), ADD_IMM(R2, -8),
		CALL(BPF_FUNC_map_lookup_elem),
		JUMP_IF(BPF_JEQ, R0, 0, STEER_UNKNOWN),
		LOAD(BPF_W, R0, R0, 0),
		EXIT());
	bpf_label(&t, STEER_UNKNOWN);
	BPF_ADD_ALL(&t, MOV_IMM(R0, 0),
		EXIT());
	return bpf_load(&t, BPF_PROG_TYPE_SOCKET_FILTER);
}

int steer_new(struct steer **out, struct err *e)
{
	struct steer *s = malloc(sizeof(*s));
	int rc;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->prog_fd = -1;
	s->map_fd = bpf_map(BPF_MAP_TYPE_HASH, sizeof(struct key), sizeof(uint32_t), STEER_MAX, 0);
	rc = s->map_fd;
	if (rc >= 0)
		rc = s->prog_fd = load(s->map_fd);
	if (rc < 0) {
		steer_free(s);
		return err_set(e, rc, "steering program: %s", strerror(-rc));
	}
	*out = s;
	return 0;
}

void steer_free(struct steer *s)
{
	if (!s)
		return;
	if (s->map_fd >= 0)
		close(s->map_fd);
	if (s->prog_fd >= 0)
		close(s->prog_fd);
	free(s);
}

int steer_attach(struct steer *s, int tap_fd, struct err *e)
{
	if (ioctl(tap_fd, TUNSETSTEERINGEBPF, &s->prog_fd) < 0)
		return err_set(e, -errno, "steering program: %s", strerror(errno));
	return 0;
}

int steer_map(const struct steer *s)
{
	return s->map_fd;
}

static struct key key_of(const uint8_t mac[6], uint16_t vlan)
{
	struct key k = { .vlan = vlan };

	memcpy(k.mac, mac, 6);
	return k;
}

int steer_set(struct steer *s, const uint8_t mac[6], uint16_t vlan, uint32_t queue)
{
	struct key k = key_of(mac, vlan);

	return bpf_map_set(s->map_fd, &k, &queue);
}

int steer_del(struct steer *s, const uint8_t mac[6], uint16_t vlan)
{
	struct key k = key_of(mac, vlan);

	return bpf_map_del(s->map_fd, &k);
}
