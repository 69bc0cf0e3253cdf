// SPDX-License-Identifier: Apache-2.0
// port.c - see port.h; I/O BARs are where configuration space has them at the moment.
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include "include/ioapi.h"
#include "pmd-shim/func.h"
#include "pmd-shim/insn_io.h"
#include "pmd-shim/insn_x86.h"
#include "pmd-shim/port.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/trap.h"
#include "sim/core/guard.h"

#define PORTS 65536u

static bool granted;			/* once is enough: a driver's threads share its wish */

static bool has_ports(const struct ioapi_func *f)
{
	struct ioapi_region r;

	for (unsigned bar = 0; bar <= IOAPI_BAR5; bar++)
		if (!ioapi_region(f, bar, &r) && r.size && (r.flags & IOAPI_F_PIO))
			return true;
	return false;
}

/* The handlers only where they could be of use. */
static int grant(void)
{
	struct ioapi_bus *bus = shim_bus();
	struct ioapi_func *f;

	for (unsigned i = 0; bus && (f = ioapi_bus_func(bus, i)); i++)
		if (has_ports(f)) {
			__atomic_store_n(&granted, true, __ATOMIC_RELAXED);
			return trap_install();
		}
	return 0;
}

int port_iopl(int level)
{
	if (level < 0 || level > 3)
		return -EINVAL;
	return level == 3 ? grant() : 0;
}

int port_ioperm(unsigned long from, unsigned long num, int on)
{
	if (from >= PORTS || num > PORTS - from)
		return -EINVAL;
	return on ? grant() : 0;
}

/* The function and BAR that decode a port, and where in it. */
static struct ioapi_func *owner_of(uint16_t port, unsigned *bar, uint64_t *off)
{
	struct ioapi_bus *bus = shim_bus_open();
	struct ioapi_func *f;

	for (unsigned i = 0; bus && (f = ioapi_bus_func(bus, i)); i++) {
		for (*bar = 0; *bar <= IOAPI_BAR5; (*bar)++) {
			struct ioapi_region r;
			uint64_t at = 0;

			if (ioapi_region(f, *bar, &r) < 0 || !r.size || !(r.flags & IOAPI_F_PIO))
				continue;
			if (func_read(f, IOAPI_CONFIG, PCI_BASE_ADDRESS_0 + 4 * *bar, 4, &at) < 0)
				continue;
			*off = port - (at & PCI_BASE_ADDRESS_IO_MASK);
			if (*off < r.size)
				return f;
		}
	}
	return NULL;
}

static uint64_t access_port(const struct insn_io *i, uint16_t port, uint64_t val)
{
	struct ioapi_func *f;
	uint64_t off;
	unsigned bar;

	f = owner_of(port, &bar, &off);
	if (i->in)
		val = UINT64_MAX;
	/* An instruction that accesses a port is never inside malloc(): the function may open. */
	if (!f || func_use(f) < 0)
		return val;
	if (i->in)
		func_read(f, bar, off, i->size, &val);
	else
		func_write(f, bar, off, i->size, val & (UINT64_MAX >> (64 - 8 * i->size)));
	return val;
}

bool port_fault(void *ucontext)
{
	greg_t *regs = ((ucontext_t *)ucontext)->uc_mcontext.gregs;
	const uint8_t *rip = (const uint8_t *)regs[REG_RIP];
	uint8_t bytes[INSN_LEN_MAX];
	struct insn_io i;
	uint64_t val;
	size_t n = 0;

	if (!__atomic_load_n(&granted, __ATOMIC_RELAXED))
		return false;
	while (n < sizeof(bytes) && !guard_copy(&bytes[n], rip + n, 1))
		n++;
	if (insn_io_decode(&i, bytes, n))
		return false;
	val = access_port(&i, i.by_dx ? (uint16_t)regs[REG_RDX] : i.port, (uint64_t)regs[REG_RAX]);
	if (i.in)
		regs[REG_RAX] = (greg_t)insn_io_result(&i, (uint64_t)regs[REG_RAX], val);
	regs[REG_RIP] += i.len;
	return true;
}
