/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioapi.h - the waist: everything above it is a driver, everything below it a device.
 *
 * A *bus* holds *functions* (PCI devices) described by a configuration file. A door (VFIO, UIO,
 * trapped loads and stores, a test, a fuzzer) opens a function and then reads and writes its
 * regions, sets its interrupt eventfds and tells it which memory the driver lends for DMA.
 *
 * Regions are numbered as in VFIO: 0-5 the BARs, 6 the ROM, 7 configuration space. Addresses
 * are I/O virtual addresses (IOVA), sizes and offsets bytes, values host-endian integers in the
 * low bits of a uint64_t.
 *
 * 64-bit virtual frame numbers: an 8-byte write to the legacy QUEUE_PFN register (BAR0 + 8)
 * stores the whole number (ring address >> 12); a 4-byte write keeps the legacy meaning. A
 * 4-byte read gives the low half, an 8-byte read all of it.
 *
 * Errors: 0 or -errno. A wrong access (width, hole, read-only register) changes nothing; a read
 * then yields all ones. Every call may come from any thread. ioapi_read, ioapi_write,
 * ioapi_irq_set and the DMA calls allocate nothing and may be made from a synchronous signal
 * handler (a trap) unless the interrupted code was itself inside the same function; such a
 * re-entry is refused with -EDEADLK.
 *
 * No call waits longer than the `timeout` of the function's configuration.
 */
#ifndef PODPCI_IOAPI_H
#define PODPCI_IOAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;		/* sim/core/err.h: who and why, filled on failure; may be NULL */
struct ioapi_bus;
struct ioapi_func;
struct ioapi_domain;

enum ioapi_region_index {
	IOAPI_BAR0, IOAPI_BAR1, IOAPI_BAR2, IOAPI_BAR3, IOAPI_BAR4, IOAPI_BAR5,
	IOAPI_ROM, IOAPI_CONFIG, IOAPI_REGIONS,
};

enum ioapi_irq_index {		/* numbered as in VFIO */
	IOAPI_IRQ_INTX, IOAPI_IRQ_MSI, IOAPI_IRQ_MSIX, IOAPI_IRQ_ERR, IOAPI_IRQ_REQ, IOAPI_IRQS,
};

#define IOAPI_F_READ	(1u << 0)
#define IOAPI_F_WRITE	(1u << 1)
#define IOAPI_F_MMIO	(1u << 2)	/* memory BAR: a door may offer it for trapped mapping */
#define IOAPI_F_PIO	(1u << 3)	/* I/O BAR */

struct ioapi_region {
	uint64_t size;			/* 0: the region does not exist */
	uint32_t flags;			/* IOAPI_F_* */
};

/*
 * The driver of the host that a function is said to hang on, and so the door its own drivers are
 * to come through. IOAPI_DOOR_SYSFS: none, they use the files of its directory (which the others
 * have too).
 */
enum ioapi_door {
	IOAPI_DOOR_VFIO, IOAPI_DOOR_UIO, IOAPI_DOOR_IGB_UIO, IOAPI_DOOR_SYSFS, IOAPI_DOORS,
};

#define IOAPI_NUMBER_MAX 64

struct ioapi_ident {
	char     bdf[16];		/* "DDDD:BB:DD.F" */
	char     id[32];		/* the name in the configuration, "net0" */
	uint16_t vendor, device, subsys_vendor, subsys_device;
	uint32_t class;			/* 24 bits */
	uint8_t  revision;
	enum ioapi_door door;
	/*
	 * For names: its number among the functions, from 1 to IOAPI_NUMBER_MAX, first in BDF
	 * order; and among those on a UIO driver, from 0. A number that was given is given again
	 * only when all others have been.
	 */
	unsigned number, uio;
};

/* ---- bus ----------------------------------------------------------------------------------- */

/*
 * Builds the bus a configuration file (see `podpci run --help`) describes. No I/O other than
 * reading the file: sockets are touched by ioapi_open(). The caller owns the bus.
 */
int ioapi_bus_open(struct ioapi_bus **bus, const char *config_path, struct err *e);

/* Closes what is open and frees the bus. NULL is fine. */
void ioapi_bus_close(struct ioapi_bus *bus);

/* The i-th function in BDF order, or NULL past the last. The pointer lives as long as the bus. */
struct ioapi_func *ioapi_bus_func(struct ioapi_bus *bus, unsigned i);

/* The function at a BDF ("0000:00:04.0"), or NULL. */
struct ioapi_func *ioapi_bus_find(struct ioapi_bus *bus, const char *bdf);

/*
 * What the configuration says of an option of the doors ("coalesce", "pagemap"): 1 on, 0 off,
 * -ENOENT for a name it does not know. Constant for the life of the bus.
 */
int ioapi_bus_flag(const struct ioapi_bus *bus, const char *name);

/* The process ends and leaves the bus as it is: what it has in the file system goes. */
void ioapi_bus_exit(struct ioapi_bus *bus);

/*
 * To be called once in a forked child: the copy of the bus gives up its threads, sockets and
 * eventfds without a word to any back-end (they belong to the parent), and each later call on
 * it fails with -ENODEV. Async-signal-safe.
 */
void ioapi_bus_orphan(struct ioapi_bus *bus);

/* ---- devices that come and go -------------------------------------------------------------- */

/*
 * Plugs a device in, described as for `podpci run --net`; *f is the function. It is on the bus
 * when this returns, and in sysfs as far as the process may write there.
 */
int ioapi_bus_add(struct ioapi_bus *bus, const char *net, struct ioapi_func **f, struct err *e);

/*
 * Takes a device off. One that nobody has open goes at once. The driver of an open one is asked
 * to let go (IOAPI_IRQ_REQ is signalled) and it goes when that closes it; with force it is closed
 * at once, as if pulled out. A function that went is not listed and its address may be given to
 * another; the pointer stays valid as long as the bus, and each call on it fails with -ENODEV.
 */
int ioapi_bus_del(struct ioapi_func *f, bool force, struct err *e);

/*
 * Looks at what processes on the same bus (those that see the same sysfs) plugged in and out
 * meanwhile, and follows. Takes memory.
 */
void ioapi_bus_scan(struct ioapi_bus *bus);

/*
 * Tells a door of both, on the thread that did it, with no lock held. `came` false: it was taken
 * off or is to be let go.
 */
void ioapi_bus_watch(struct ioapi_bus *bus,
		     void (*came)(void *ctx, struct ioapi_func *f, bool came), void *ctx);

/* ---- function ------------------------------------------------------------------------------ */

void ioapi_ident(const struct ioapi_func *f, struct ioapi_ident *ident);

/* Geometry; constant for the life of the bus. -EINVAL past IOAPI_REGIONS. */
int ioapi_region(const struct ioapi_func *f, unsigned region, struct ioapi_region *r);

/* Number of vectors an interrupt index has (0: none). */
unsigned ioapi_irq_count(const struct ioapi_func *f, unsigned index);

/*
 * Opens the function for one driver: power-on state, and the session with the back-end starts.
 * A missing back-end is no error (the device comes up with its link down). -EBUSY if open.
 */
int ioapi_open(struct ioapi_func *f, struct err *e);

/* The driver is gone: rings stop, interrupts and the domain are let go, the session ends. */
void ioapi_close(struct ioapi_func *f);

/*
 * size is 1, 2, 4 or 8, else -EINVAL. -ENXIO: no such register, region or width; -EPERM:
 * read-only; -EIO: memory or I/O decoding is off; -ENODEV: the function is not open
 * (configuration space may be read all the same).
 */
int ioapi_read(struct ioapi_func *f, unsigned region, uint64_t off, unsigned size, uint64_t *val);
int ioapi_write(struct ioapi_func *f, unsigned region, uint64_t off, unsigned size, uint64_t val);

/*
 * Sets the eventfds of vectors [start, start + count) of an index; -1 takes one away. fds NULL
 * with count 0 turns the index off (MSI-X enable follows). The fds stay the caller's: they are
 * duplicated here. An MSI-X vector that gets an eventfd is unmasked. -EINVAL for a wrong range
 * or what is no eventfd; on failure nothing has changed.
 */
int ioapi_irq_set(struct ioapi_func *f, unsigned index, unsigned start, unsigned count,
		  const int *fds);

/*
 * Function level reset as the kernel does it for a driver: the device is as at power-on, its
 * rings stopped; configuration space, eventfds and memory stay.
 */
int ioapi_reset(struct ioapi_func *f);

/* ---- DMA ----------------------------------------------------------------------------------- */

/*
 * A domain is an I/O address space (a VFIO container). Functions attached to it see its
 * mappings. It must outlive its attachments: free only after the last detach.
 */
int ioapi_domain_new(struct ioapi_bus *bus, struct ioapi_domain **d);
void ioapi_domain_free(struct ioapi_domain *d);
int ioapi_attach(struct ioapi_func *f, struct ioapi_domain *d);
void ioapi_detach(struct ioapi_func *f);

/* A piece of the driver's memory: [va, va + size) is [off, off + size) of the file behind fd. */
struct ioapi_dma {
	uint64_t iova;
	uint64_t size;
	void    *va;
	int      fd;			/* borrowed for the call; duplicated inside */
	uint64_t off;
};

/*
 * Lends n pieces that together are one DMA mapping; all or nothing. -EEXIST if an IOVA range is
 * taken, -E2BIG if more regions would be needed than a running back-end takes, -EINVAL for
 * unaligned (4 KiB), empty or wrapping ranges. When it returns a running back-end has the
 * memory.
 */
int ioapi_dma_map(struct ioapi_domain *d, const struct ioapi_dma *pieces, unsigned n);

/*
 * Takes back every mapping inside [iova, iova + size); *unmapped gets the bytes taken. When it
 * returns no back-end uses the memory any more (or it has been cut off).
 */
int ioapi_dma_unmap(struct ioapi_domain *d, uint64_t iova, uint64_t size, uint64_t *unmapped);

/* ---- a back-end's own pages ---------------------------------------------------------------- */

/*
 * Tells a door of a page the back-end would have the driver's stores go to (--net
 * host-notifier=on): [off, off + 4096) of a memory BAR, wherever it is mapped, is the page at `at`
 * of the file behind fd from now on, or (fd -1) the device's own again. 0, or -errno: refused,
 * and all of it is the device's. Called with the function's lock held, on any thread, also in a
 * trap: no call of this file may be made in it. fd is borrowed.
 */
void ioapi_bus_pages(struct ioapi_bus *bus, int (*page)(struct ioapi_func *f, unsigned region,
							uint64_t off, int fd, uint64_t at));

/* ---- counters ------------------------------------------------------------------------------ */

struct ioapi_stat {
	const char *name;		/* static storage */
	uint64_t    value;
};

/* Fills at most max rows, returns how many there are in all. Counters only grow. */
unsigned ioapi_stats(const struct ioapi_func *f, struct ioapi_stat *rows, unsigned max);

/* What a door counts of its process (traps, ...), for those who ask; as ioapi_stats(). */
void ioapi_bus_door_stats(struct ioapi_bus *bus,
			  unsigned (*stats)(struct ioapi_stat *rows, unsigned max));

#endif
