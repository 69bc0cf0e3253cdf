/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pci.h - what a device model gives to the bus and what the bus gives back.
 *
 * A model fills a struct pci_identity, calls pci_func_new() and then builds: BARs, windows,
 * capabilities, MSI-X. pci_func_realize() seals the function: sizes are fixed, BAR addresses
 * assigned, the configuration space is complete. Only then does include/ioapi.h show it, and
 * only from then on does the bus own the model (ops->free).
 *
 * Lock order: domain -> function -> space. Model ops are called with the function's lock held
 * (pci_func_lock()); an op may be on a driver's thread, possibly inside a trap, so it allocates
 * nothing and waits no longer than the configured timeout. Exceptions: free and orphan are
 * called with no lock held and no other thread about.
 */
#ifndef SIM_BUS_PCI_H
#define SIM_BUS_PCI_H

#include <stdbool.h>
#include <stdint.h>

#include "include/ioapi.h"
#include "sim/bus/regmap.h"
#include "sim/core/lock.h"
#include "sim/core/loop.h"

#define PCI_WINDOWS_MAX 16
#define PCI_CAPS_MAX    16
#define PCI_MSIX_MAX    2048	/* vectors, PCI 3.0 6.8.2.3 */

struct space;

/* Written by a device model, called by the bus. Complete: no NULL. */
struct pci_model_ops {
	const char *name;
	/* A driver opened or closed the function; reset comes before open. open may fail only for
	 * want of resources. No `unlocked` access is under way when close is called. */
	int  (*open)(void *dev, struct err *e);
	void (*close)(void *dev);
	/* Power-on state. */
	void (*reset)(void *dev);
	/* What pci_func_irq_fd(vector) answers may have changed, for one vector or all (-1). */
	void (*irq_changed)(void *dev, int vector);
	/* MSI-X was turned on or off: the legacy register layout moves. */
	void (*msix_changed)(void *dev, bool on);
	/* The space's content changed (or the space itself: NULL, detached). 0 or -errno: the
	 * mapping is then rolled back and this called again. Also called while closed (the space
	 * is to be remembered, and may be named again) and after open, if there is a space. */
	int  (*memory_changed)(void *dev, struct space *s);
	/* Bus mastering, memory or I/O decoding changed (PCI_COMMAND_*). */
	void (*command_changed)(void *dev, uint16_t command);
	unsigned (*stats)(void *dev, struct ioapi_stat *rows, unsigned max);
	void (*orphan)(void *dev);
	void (*free)(void *dev);
};

struct pci_identity {
	uint16_t vendor, device, subsys_vendor, subsys_device;
	uint32_t class;			/* 24 bits */
	uint8_t  revision;
	char     id[32];
};

struct ioapi_bus;	/* pci.c's own; one per process or test */
struct loop_world;

int  pci_bus_new(struct ioapi_bus **bus);	/* ioapi_bus_close() frees it */
/* In a world of its own (sim/core/loop.h). */
int  pci_bus_new_in(struct ioapi_bus **bus, const struct loop_world *w);
struct loop *pci_bus_loop(struct ioapi_bus *bus);
struct trace *pci_bus_trace(struct ioapi_bus *bus);
/* Traces the memory that was lent before somebody followed, as if it were lent now. */
void pci_bus_tell_memory(struct ioapi_bus *bus);

/*
 * Whoever composed the bus. opened, closed: a driver has a function now, or has it no longer; no
 * lock is held. going: it is about to be taken off, its address still its own; likewise. orphan:
 * as ioapi_bus_orphan(). free: the last thing of all, when there is no loop any more.
 */
struct pci_bus_owner {
	void  *owner;
	void (*opened)(void *owner, struct ioapi_func *f);
	void (*closed)(void *owner, struct ioapi_func *f);
	void (*going)(void *owner, struct ioapi_func *f);
	void (*orphan)(void *owner);
	void (*free)(void *owner);
};
void  pci_bus_set_owner(struct ioapi_bus *bus, const struct pci_bus_owner *o);
void *pci_bus_owner(const struct ioapi_bus *bus);

/*
 * bdf "0000:00:04.0" or NULL for the next free slot from 00:04.0. -EEXIST if taken, -EINVAL.
 * The ops table must be complete and, like the device, outlive the function.
 */
int  pci_func_new(struct ioapi_bus *bus, const char *bdf, const struct pci_identity *ident,
		  const struct pci_model_ops *ops, void *dev, struct ioapi_func **f, struct err *e);
/* Seals and publishes. Before it (or when it failed), pci_func_free() undoes pci_func_new(). */
int  pci_func_realize(struct ioapi_func *f, struct err *e);
void pci_func_free(struct ioapi_func *f);
/* What ioapi_ident() says besides. */
void pci_func_place(struct ioapi_func *f, enum ioapi_door door, unsigned number, unsigned uio);
/*
 * Takes a realized function off the bus. One that is not open goes at once. The driver of an open
 * one is asked to let go (IOAPI_IRQ_REQ), and it goes when that closes it; with force it is
 * closed here, as if pulled out of its slot. What it was stays allocated until the bus closes:
 * every call on it fails with -ENODEV. No lock may be held.
 */
int  pci_func_remove(struct ioapi_func *f, bool force, struct err *e);
struct ioapi_bus *pci_func_bus(const struct ioapi_func *f);
bool pci_func_is_open(const struct ioapi_func *f);
bool pci_func_is_leaving(const struct ioapi_func *f);
/* The model, if these are its ops; else NULL. */
void *pci_func_model(const struct ioapi_func *f, const struct pci_model_ops *ops);

struct lock *pci_func_lock(struct ioapi_func *f);
struct space *pci_func_space(struct ioapi_func *f);	/* NULL when detached; lock held */
bool pci_func_msix_on(const struct ioapi_func *f);
uint16_t pci_func_command(const struct ioapi_func *f);
/* The 256 bytes as a driver reads them, for rendering sysfs. */
void pci_func_config(const struct ioapi_func *f, uint8_t out[256]);
/* The BAR's assigned address, for sysfs "resource"; 0 if there is none. */
uint64_t pci_func_bar_addr(const struct ioapi_func *f, unsigned bar);

/* ---- building ------------------------------------------------------------------------------ */

#define PCI_BAR_IO  (1u << 0)
#define PCI_BAR_64  (1u << 1)	/* takes the next BAR too */
#define PCI_BAR_MAP (1u << 2)	/* IOAPI_F_MMIO: a door may trap it */

/*
 * Declares a BAR. Its size follows at realize from the windows in it (the highest place each
 * has been at), rounded up to a power of two; memory BARs have at least 4 KiB.
 */
void pci_bar_add(struct ioapi_func *f, unsigned bar, uint32_t flags);

/* A block of a BAR: either a register map or a pair of functions. */
struct pci_window {
	unsigned             bar;
	uint64_t             off;
	const struct regmap *map;
	void                *dev;
	/* Instead of a map, for blocks that are not registers (notify pages, MSI-X table). Offsets
	 * are relative to the window. NULL read: reads 0; NULL write: read-only. */
	int (*read)(void *dev, uint64_t off, unsigned size, uint64_t *val);
	int (*write)(void *dev, uint64_t off, unsigned size, uint64_t val);
	uint64_t             len;	/* of the window when map is NULL */
	const char          *name;	/* NULL: the map's */
	const struct regmap *names;	/* of registers that read and write serve; may be NULL */
	/* Called without the function's lock, between open and close only: what it touches must
	 * stay valid in between (a kick eventfd stays open over resets). Cannot be moved. */
	bool                 unlocked;
};
/* The struct is copied; the map, dev and name must outlive the function. */
void pci_window_add(struct ioapi_func *f, const struct pci_window *w);
/*
 * Moves the window whose map is m (legacy device config behind MSI-X vectors): lock held, or
 * before realize. PCI_WINDOW_GONE takes it away until it is moved again.
 */
#define PCI_WINDOW_GONE UINT64_MAX
void pci_window_move(struct ioapi_func *f, const struct regmap *m, uint64_t off);

/*
 * Adds a capability of `len` bytes (header included; bytes 0-1 are filled in here) with its
 * content and the mask of bits a driver may write (NULL: none). Order of calls is list order.
 * Returns a handle for pci_cap_off().
 */
int pci_cap_add(struct ioapi_func *f, uint8_t id, const void *bytes, const void *writable,
		unsigned len);
unsigned pci_cap_off(const struct ioapi_func *f, int cap);	/* known at once */

/*
 * Code behind configuration bytes: called for a read before the bytes are taken and for a write
 * after they are stored, when the access touches [off, off + len); off and size are those of the
 * access. Either may be NULL. To be added before realize.
 */
struct pci_cfg_hook {
	unsigned off, len;
	void (*before_read)(void *dev, unsigned off, unsigned size);
	void (*after_write)(void *dev, unsigned off, unsigned size);
};
void pci_cfg_hook_add(struct ioapi_func *f, const struct pci_cfg_hook *h);
/* The live byte array (lock held), for hooks. */
uint8_t *pci_cfg_bytes(struct ioapi_func *f);

/* A register as an onlooker sees it. */
struct pci_reg_view {
	const char *block, *name;
	const char *const *bits;	/* as in struct reg; may be NULL */
	unsigned    bar, size;
	uint64_t    off;		/* in the BAR */
	bool        shown;		/* false: reading it would change something */
	uint64_t    val;
};
/* At most max rows; how many there are. Takes the function's lock. */
unsigned pci_func_regs(struct ioapi_func *f, struct pci_reg_view *rows, unsigned max);

/* A BAR access by the function itself: the virtio PCI_CFG window. Lock held; as ioapi_read(). */
int pci_bar_access(struct ioapi_func *f, unsigned bar, uint64_t off, unsigned size, bool write,
		   uint64_t *val);

/* Lends a page of a BAR to a page of a file, or (fd -1) has it back: see ioapi_bus_pages(). */
int pci_bar_page(struct ioapi_func *f, unsigned bar, uint64_t off, int fd, uint64_t at);

/* ---- interrupts ---------------------------------------------------------------------------- */

/* Declares MSI-X with n vectors, its table and PBA alone in `bar` (created here). */
void pci_msix_add(struct ioapi_func *f, unsigned bar, unsigned n);

/*
 * The eventfd to signal for a vector: what a model hands to its back-end as call fd. While the
 * vector (or the function) is masked this is a private eventfd that collects pendings; -1 if
 * nobody listens. With MSI-X off every vector answers -1 (INTx is pci_intx()).
 *
 * Valid until ops->irq_changed() returns: an fd that was replaced is closed after it. A back-end
 * may go on signalling the private one for a while; it is looked at again after an unmask.
 */
int pci_func_irq_fd(struct ioapi_func *f, unsigned vector);
/* Signals a vector from the device itself (configuration change). */
void pci_func_irq(struct ioapi_func *f, unsigned vector);
/*
 * INTx level: shows in STATUS, and signals the eventfd of IOAPI_IRQ_INTX whenever the line comes
 * to be asserted, that is, level && MSI-X off && INTx not disabled. Lock held, as above.
 */
void pci_intx(struct ioapi_func *f, bool level);

#endif
