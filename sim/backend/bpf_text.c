// SPDX-License-Identifier: Apache-2.0
// bpf_text.c - see bpf_text.h.
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sim/backend/bpf_text.h"
#include "sim/core/log.h"

#define LOG_BYTES 4096
#define LOAD_TRIES 16

int bpf_call(int cmd, union bpf_attr *attr)
{
	long rc = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	return rc < 0 ? -errno : (int)rc;
}

static bool jumps(const struct bpf_insn *i)
{
	unsigned op = BPF_OP(i->code);

	return BPF_CLASS(i->code) == BPF_JMP && op != BPF_CALL && op != BPF_EXIT;
}

void bpf_add(struct bpf_text *t, const struct bpf_insn *insn, unsigned n)
{
	assert(t->n + n <= BPF_TEXT_MAX);
	memcpy(&t->insn[t->n], insn, n * sizeof(*insn));
	t->n += n;
	for (unsigned i = 0; i < n; i++)
		if (jumps(&insn[i]))
			t->wanted[insn[i].off] = true;
}

void bpf_label(struct bpf_text *t, unsigned label)
{
	assert(label < BPF_LABELS_MAX && !t->label[label]);
	t->label[label] = t->n;
}

bool bpf_wanted(const struct bpf_text *t, unsigned label)
{
	return t->wanted[label];
}

/* The verifier stops, to be asked again, when work is pending for the thread: a ring's last. */
static int load(union bpf_attr *a)
{
	int rc = -EAGAIN;

	for (unsigned i = 0; i < LOAD_TRIES && rc == -EAGAIN; i++)
		rc = bpf_call(BPF_PROG_LOAD, a);
	return rc;
}

int bpf_load(struct bpf_text *t, enum bpf_prog_type type)
{
	char log[LOG_BYTES] = "";
	union bpf_attr a;
	int rc;

	for (unsigned i = 0; i < t->n; i++) {
		struct bpf_insn *j = &t->insn[i];

		if (!jumps(j))
			continue;
		assert(t->label[j->off]);	/* no label is at the very beginning */
		j->off = (int16_t)(t->label[j->off] - i - 1);
	}
	memset(&a, 0, sizeof(a));
	a.prog_type = type;
	a.insns = (uintptr_t)t->insn;
	a.insn_cnt = t->n;
	a.license = (uintptr_t)"Apache-2.0";
	rc = load(&a);
	if (rc != -EINVAL && rc != -EACCES)
		return rc;
	a.log_buf = (uintptr_t)log;		/* the verifier refused it: why? */
	a.log_size = sizeof(log);
	a.log_level = 1;
	rc = load(&a);
	log_debug("bpf", "event=refused n=%u why=\"%.*s\"", t->n, LOG_BYTES - 1, log);
	return rc;
}

int bpf_map(enum bpf_map_type type, unsigned key, unsigned value, unsigned entries,
	    unsigned flags)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_type = type;
	a.key_size = key;
	a.value_size = value;
	a.max_entries = entries;
	a.map_flags = flags;
	return bpf_call(BPF_MAP_CREATE, &a);
}

int bpf_map_set(int fd, const void *key, const void *value)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)fd;
	a.key = (uintptr_t)key;
	a.value = (uintptr_t)value;
	return bpf_call(BPF_MAP_UPDATE_ELEM, &a);
}

int bpf_map_del(int fd, const void *key)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)fd;
	a.key = (uintptr_t)key;
	return bpf_call(BPF_MAP_DELETE_ELEM, &a);
}
