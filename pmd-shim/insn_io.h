/* SPDX-License-Identifier: Apache-2.0 */
/*
 * insn_io.h - the x86 instructions that access a port: in and out, by number or by dx.
 *
 * Pure and stateless, as insn_x86.h. The string forms (ins, outs) are refused: no compiler makes
 * them and no virtio register is a stream.
 */
#ifndef PMD_SHIM_INSN_IO_H
#define PMD_SHIM_INSN_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct insn_io {
	bool    in;			/* from the port into al, ax or eax */
	bool    by_dx;			/* the port is in dx, not in the instruction */
	uint8_t port;
	uint8_t size;			/* bytes: 1, 2, 4 */
	uint8_t len;			/* of the instruction, bytes */
};

/* 0, or -EINVAL: not one of ours or cut short by n. */
int insn_io_decode(struct insn_io *i, const uint8_t *bytes, size_t n);

/* What rax holds after `in` brought val. */
uint64_t insn_io_result(const struct insn_io *i, uint64_t rax, uint64_t val);

#endif
