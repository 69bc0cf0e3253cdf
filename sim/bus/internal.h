/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the files of sim/bus share: the bus, a function, a domain.
 *
 * State of a function: built (between pci_func_new() and realize), closed, open, closing, dead
 * (the forked copy of a bus). `gate` says so to those who hold no lock.
 */
#ifndef SIM_BUS_INTERNAL_H
#define SIM_BUS_INTERNAL_H

#include <assert.h>
#include <linux/pci_regs.h>

#include "sim/bus/pci.h"
#include "sim/core/lock.h"
#include "sim/core/trace.h"

#define CFG_BYTES     256
#define CFG_HOOKS_MAX 8
#define BARS          6
#define BUS_FUNCS_MAX 256
#define BUS_EVER_MAX  512	/* functions in a bus's life: what went stays as a stub */

/* What an access needs: the bits of struct ioapi_func's gate. */
#define GATE_OPEN (1u << 0)
#define GATE_MEM  (1u << 1)	/* PCI_COMMAND_MEMORY */
#define GATE_IO   (1u << 2)	/* PCI_COMMAND_IO */
#define GATE_CLOSING (1u << 3)	/* instead of OPEN */

struct window {
	uint64_t         off, len;	/* len 0: gone */
	uint64_t         end_max;	/* the highest place it has been at */
	struct pci_window w;
	uint8_t         *rows;		/* regmap_index() of the map, or NULL: too large for one */
};

struct bar {
	bool           used, upper;	/* upper: the high half of the one before */
	uint32_t       flags;		/* PCI_BAR_* */
	uint32_t       needs;		/* GATE_* */
	uint64_t       size, addr;
	unsigned       count, unlocked;	/* windows; the unlocked ones come first */
	struct window *win[PCI_WINDOWS_MAX];
};

/* A vector's row of the table in the BAR, and who listens. */
struct vector {
	uint32_t entry[4];		/* address low and high, data, control */
	int      fd;			/* the driver's eventfd, kept; -1: nobody listens */
	int      next_fd;		/* while fds are being replaced */
	int      masked_fd;		/* the private one, made at the first masking */
	bool     pending;		/* raised by the device itself while masked */
};

struct msix {
	unsigned       count;		/* 0: the function has no MSI-X */
	unsigned       bar, cap;	/* cap: offset in configuration space */
	uint64_t       pba_off;
	struct vector *vec;
	struct loop_source settle;	/* looks at masked_fds once more after an unmask */
	unsigned       settle_left;
};

struct ioapi_func {
	struct ioapi_bus *bus;
	unsigned          address;	/* domain << 16 | bus << 8 | slot << 3 | function */
	char              bdf[16];
	struct pci_identity ident;
	const struct pci_model_ops *ops;
	void             *dev;
	bool              realized;
	bool              leaving;	/* to go once its driver closes it */
	bool              going;	/* bus lock: being taken off */
	unsigned          door, number, uio;	/* see struct ioapi_ident; atomic */
	struct ioapi_func *next_gone;	/* bus lock */

	struct lock       lock;
	uint32_t          gate;		/* GATE_*; written under the lock, read without it */
	uint32_t          in_flight;	/* unlocked accesses under way */
	uint64_t          refused;	/* accesses that changed nothing */
	uint64_t          reads, writes;	/* reads: under the lock */
	uint64_t          other_reads;		/* those that came without it */

	uint8_t           cfg[CFG_BYTES], power_on[CFG_BYTES], writable[CFG_BYTES];
	unsigned          cap_next;	/* first free byte for a capability */
	unsigned          cap_last;	/* offset of the list's last element, 0: none */
	unsigned          caps;
	uint8_t           cap_off[PCI_CAPS_MAX];
	unsigned          hooks;
	struct pci_cfg_hook hook[CFG_HOOKS_MAX];

	struct bar        bar[BARS];
	unsigned          windows;
	struct window     window[PCI_WINDOWS_MAX];

	struct msix       msix;
	bool              intx_level, intx_asserted;
	int               intx_fd, req_fd;

	struct ioapi_domain *domain;	/* written under domain and function lock */
	struct ioapi_func *next_attached;	/* domain lock */
};

struct ioapi_domain {
	struct ioapi_bus  *bus;		/* NULL: the bus is gone, or this is a forked copy */
	struct lock        lock;
	struct space      *space;
	struct ioapi_func *attached;
	struct ioapi_domain *next;	/* bus lock */
};

struct ioapi_bus {
	struct lock          lock;	/* the two lists; innermost but for the loop's */
	bool                 dead;	/* the forked copy */
	struct loop         *loop;
	struct trace        *trace;
	struct pci_bus_owner owner;	/* the composer */
	int                (*page)(struct ioapi_func *f, unsigned region, uint64_t off, int fd,
				   uint64_t at);	/* a door's; NULL: none maps pages */
	unsigned             ever;	/* functions made */
	struct ioapi_func   *gone;	/* taken off; doors may still name them */
	struct ioapi_domain *domains;
	unsigned             funcs;
	struct ioapi_func   *func[BUS_FUNCS_MAX];	/* by address; also the unrealized */
};

static inline bool touches(unsigned off, unsigned size, unsigned at, unsigned len)
{
	return off < at + len && at < off + size;
}

/* pci.c */
void func_go(struct ioapi_func *f);		/* closed and leaving: off the bus */

uint16_t cfg_u16(const uint8_t *bytes, unsigned off);
uint32_t cfg_u32(const uint8_t *bytes, unsigned off);
void cfg_put(uint8_t *bytes, unsigned off, unsigned size, uint64_t val);

/* cfgspace.c */
void cfg_build(struct ioapi_func *f);		/* identity and the masks of the header */
void cfg_power_on(struct ioapi_func *f);
int  cfg_read(struct ioapi_func *f, uint64_t off, unsigned size, uint64_t *val);
int  cfg_write(struct ioapi_func *f, uint64_t off, unsigned size, uint64_t val);
void cfg_command_set(struct ioapi_func *f, uint16_t command);

/* Lock held: nobody else adds meanwhile, so a store will do. */
static inline void func_count_read(struct ioapi_func *f)
{
	__atomic_store_n(&f->reads, f->reads + 1, __ATOMIC_RELAXED);
}

/* bar.c */
int  bar_layout(struct ioapi_func *f, struct err *e);
int  bar_read(struct ioapi_func *f, unsigned bar, uint64_t off, unsigned size, uint64_t *val);
int  bar_write(struct ioapi_func *f, unsigned bar, uint64_t off, unsigned size, uint64_t val);
void bar_drain(struct ioapi_func *f);		/* waits for unlocked accesses to end */
void bar_free(struct ioapi_func *f);

/* msix.c */
int  msix_build(struct ioapi_func *f);
void msix_reset(struct ioapi_func *f);		/* the table as at power-on */
void msix_forget_pending(struct ioapi_func *f);
void msix_control_written(struct ioapi_func *f, uint16_t was);
int  msix_irq_set(struct ioapi_func *f, unsigned start, unsigned count, const int *fds);
void msix_drop(struct ioapi_func *f);		/* closes all fds */
void msix_free(struct ioapi_func *f);

/* irq.c */
void intx_update(struct ioapi_func *f);		/* something it depends on has changed */
void irq_drop(struct ioapi_func *f);
int  irq_set(struct ioapi_func *f, unsigned index, unsigned start, unsigned count,
	     const int *fds);

/* tell.c */
void tell_access(struct ioapi_func *f, enum trace_kind kind, unsigned region, uint64_t off,
		 unsigned size, uint64_t val, int rc);
void tell_event(struct ioapi_bus *bus, const char *who, enum trace_kind kind, uint64_t off,
		uint32_t size, uint64_t val, int rc);
const char *cfg_name(const struct ioapi_func *f, uint64_t off, const char **block);

/* domain.c */
int  domain_lock_both(struct ioapi_func *f, struct ioapi_domain **locked);
void domain_unlock_both(struct ioapi_func *f, struct ioapi_domain *locked);
void domain_detach(struct ioapi_func *f);	/* both locks held */
void domains_orphan(struct ioapi_bus *bus);
void domains_forget(struct ioapi_bus *bus);

#endif
