// SPDX-License-Identifier: Apache-2.0
// steer_bpf.c - see steer.h. The program is small enough to be written down as it is.
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/bpf.h>
#include <linux/if_tun.h>

#include "sim/backend/steer.h"
#include "sim/core/err.h"

#define LOG_BYTES 4096

struct key {
	uint8_t  mac[6];
	uint16_t vlan;
};
_Static_assert(sizeof(struct key) == 8, "as the program builds it on its stack");

struct steer {
	int map_fd, prog_fd;
};

static int bpf(int cmd, union bpf_attr *attr)
{
	long rc = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return rc < 0 ? -errno : (int)rc;
}

#define INSN(c, d, s, o, i) \
	{ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) }
#define MOV_REG(d, s)	   INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV_IMM(d, i)	   INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD_IMM(d, i)	   INSN(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define AND_IMM(d, i)	   INSN(BPF_ALU64 | BPF_AND | BPF_K, d, 0, 0, i)
#define TO_BE16(d)	   INSN(BPF_ALU | BPF_END | BPF_TO_BE, d, 0, 0, 16)
#define LOAD(sz, d, s, o)  INSN(BPF_LDX | BPF_MEM | (sz), d, s, o, 0)
#define STORE(sz, d, s, o) INSN(BPF_STX | BPF_MEM | (sz), d, s, o, 0)
#define JUMP_EQ(d, i, o)   INSN(BPF_JMP | BPF_JEQ | BPF_K, d, 0, o, i)
#define JUMP_NE(d, i, o)   INSN(BPF_JMP | BPF_JNE | BPF_K, d, 0, o, i)
#define JUMP(o)		   INSN(BPF_JMP | BPF_JA, 0, 0, o, 0)
#define CALL(fn)	   INSN(BPF_JMP | BPF_CALL, 0, 0, 0, fn)
#define EXIT()		   INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define MAP_FD(d, fd)	   INSN(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_FD, 0, fd), \
			   INSN(0, 0, 0, 0, 0)

#define R0 BPF_REG_0
#define R1 BPF_REG_1
#define R2 BPF_REG_2
#define R3 BPF_REG_3
#define R4 BPF_REG_4
#define SKB BPF_REG_6
#define VLAN BPF_REG_7
#define FP BPF_REG_10
#define SKB_FIELD(f) offsetof(struct __sk_buff, f)

static int load(int map_fd)
{
	/* Stack: the key at -8, four bytes behind the addresses (type, tag) at -16. */
	const struct bpf_insn prog[] = {
		MOV_REG(SKB, R1),
		MOV_IMM(R2, 0), MOV_REG(R3, FP), ADD_IMM(R3, -8), MOV_IMM(R4, 6),
		CALL(BPF_FUNC_skb_load_bytes),
		JUMP_NE(R0, 0, 26),				/* no frame: to `unknown` */
		MOV_IMM(VLAN, 0),
		LOAD(BPF_W, R1, SKB, SKB_FIELD(vlan_present)),
		JUMP_EQ(R1, 0, 2),
		LOAD(BPF_W, VLAN, SKB, SKB_FIELD(vlan_tci)),
		JUMP(11),					/* to `sort` */
		MOV_REG(R1, SKB), MOV_IMM(R2, 12), MOV_REG(R3, FP), ADD_IMM(R3, -16),
		MOV_IMM(R4, 4),
		CALL(BPF_FUNC_skb_load_bytes),
		JUMP_NE(R0, 0, 4),				/* to `sort` */
		LOAD(BPF_H, R1, FP, -16),
		JUMP_NE(R1, 0x0081, 2),				/* 0x8100 as it lies there */
		LOAD(BPF_H, VLAN, FP, -14),
		TO_BE16(VLAN),
		/* sort: */
		AND_IMM(VLAN, 0xfff),
		STORE(BPF_H, FP, VLAN, -2),
		MAP_FD(R1, map_fd), MOV_REG(R2, FP), ADD_IMM(R2, -8),
		CALL(BPF_FUNC_map_lookup_elem),
		JUMP_EQ(R0, 0, 2),				/* to `unknown` */
		LOAD(BPF_W, R0, R0, 0),
		EXIT(),
		/* unknown: */
		MOV_IMM(R0, 0),
		EXIT(),
	};
	static char log[LOG_BYTES];
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	a.insns = (uintptr_t)prog;
	a.insn_cnt = sizeof(prog) / sizeof(prog[0]);
	a.license = (uintptr_t)"Apache-2.0";
	a.log_buf = (uintptr_t)log;
	a.log_size = sizeof(log);
	a.log_level = 1;
	return bpf(BPF_PROG_LOAD, &a);
}

static int make_map(void)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_type = BPF_MAP_TYPE_HASH;
	a.key_size = sizeof(struct key);
	a.value_size = sizeof(uint32_t);
	a.max_entries = STEER_MAX;
	return bpf(BPF_MAP_CREATE, &a);
}

int steer_new(struct steer **out, struct err *e)
{
	struct steer *s = malloc(sizeof(*s));
	int rc;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->prog_fd = -1;
	s->map_fd = make_map();
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

static int change(struct steer *s, int cmd, const uint8_t mac[6], uint16_t vlan, uint32_t *queue)
{
	struct key k = { .vlan = vlan };
	union bpf_attr a;

	memcpy(k.mac, mac, 6);
	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)s->map_fd;
	a.key = (uintptr_t)&k;
	a.value = (uintptr_t)queue;
	return bpf(cmd, &a);
}

int steer_set(struct steer *s, const uint8_t mac[6], uint16_t vlan, uint32_t queue)
{
	return change(s, BPF_MAP_UPDATE_ELEM, mac, vlan, &queue);
}

int steer_del(struct steer *s, const uint8_t mac[6], uint16_t vlan)
{
	return change(s, BPF_MAP_DELETE_ELEM, mac, vlan, NULL);
}
