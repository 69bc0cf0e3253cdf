// SPDX-License-Identifier: Apache-2.0
// bus_msix.c - vectors, masks, pending bits, eventfds, and the INTx line.
#include <fcntl.h>
#include <pthread.h>	/* pthread_create() is the loop's: this test runs under TSan too */
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sim/core/fault.h"
#include "tests/unit/bus_rig.h"

#define CAP      0x50
#define CONTROL  (CAP + PCI_MSIX_FLAGS)
#define MASK(v)  (16 * (v) + 12)
#define PBA      0x800

struct irqs {
	int fd[RIG_VECTORS];
};

static void irqs_new(struct irqs *q)
{
	for (unsigned i = 0; i < RIG_VECTORS; i++)
		q->fd[i] = eventfd(0, EFD_NONBLOCK);
}

static void irqs_free(struct irqs *q)
{
	for (unsigned i = 0; i < RIG_VECTORS; i++)
		close(q->fd[i]);
}

/* The number of signals since the last look. */
static uint64_t heard(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static int set_all(struct rig *r, struct irqs *q)
{
	return ioapi_irq_set(r->f, IOAPI_IRQ_MSIX, 0, RIG_VECTORS, q->fd);
}

static void raise_irq(struct rig *r, unsigned v)
{
	lock_take(pci_func_lock(r->f));
	pci_func_irq(r->f, v);
	lock_drop(pci_func_lock(r->f));
}

static void drive_intx(struct rig *r, bool level)
{
	lock_take(pci_func_lock(r->f));
	pci_intx(r->f, level);
	lock_drop(pci_func_lock(r->f));
}

static int call_fd(struct rig *r, unsigned v)
{
	int fd;

	lock_take(pci_func_lock(r->f));
	fd = pci_func_irq_fd(r->f, v);
	lock_drop(pci_func_lock(r->f));
	return fd;
}

static void table_put(struct rig *r, unsigned off, unsigned size, uint64_t val)
{
	CU_EQ(ioapi_write(r->f, 1, off, size, val), 0);
}

static bool msix_enabled(struct rig *r)
{
	return rig_cfg(r, CONTROL, 2) & PCI_MSIX_FLAGS_ENABLE;
}

/* ---- set and enable ------------------------------------------------------------------------ */

static void setting_eventfds_turns_msix_on_and_taking_them_turns_it_off(void)
{
	unsigned before = fds_open();
	struct irqs q;
	struct rig r;

	rig_up(&r);
	irqs_new(&q);
	CU_ASSERT_FALSE(msix_enabled(&r));
	CU_EQ(set_all(&r, &q), 0);
	CU_ASSERT_TRUE(msix_enabled(&r));
	CU_EQ(r.msix_on, 1);
	CU_EQ(r.irq_vector, -1);
	CU_EQ(set_all(&r, &q), 0);
	CU_EQ(r.msix_changes, 1);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 0, NULL), 0);
	CU_ASSERT_FALSE(msix_enabled(&r));
	CU_EQ(r.msix_on, 0);
	CU_EQ(call_fd(&r, 0), -1);
	irqs_free(&q);
	rig_down(&r);
	CU_EQ(fds_open(), before);
	CU_EQ(fd_kept_count(), 0);
}

static void vectors_deliver_without_the_driver_touching_the_table(void)
{
	struct irqs q;
	struct rig r;

	rig_up(&r);
	irqs_new(&q);
	CU_EQ(rig_read(&r, 1, MASK(2), 4), 1);	/* masked at power-on */
	CU_EQ(set_all(&r, &q), 0);
	CU_EQ(rig_read(&r, 1, MASK(2), 4), 0);
	for (unsigned v = 0; v < RIG_VECTORS; v++) {
		raise_irq(&r, v);
		for (unsigned w = 0; w < RIG_VECTORS; w++)
			CU_EQ(heard(q.fd[w]), v == w);
		fd_signal(r.call_fd[v]);		/* the back-end */
		CU_EQ(heard(q.fd[v]), 1);
	}
	raise_irq(&r, RIG_VECTORS);
	raise_irq(&r, 0xffff);
	CU_EQ(call_fd(&r, RIG_VECTORS), -1);
	CU_EQ(call_fd(&r, 0xffff), -1);
	irqs_free(&q);
	rig_down(&r);
}

static void the_fds_stay_the_callers(void)
{
	struct irqs q;
	struct rig r;

	rig_up(&r);
	irqs_new(&q);
	CU_EQ(set_all(&r, &q), 0);
	CU_ASSERT_TRUE(r.call_fd[0] >= 0 && r.call_fd[0] != q.fd[0]);
	CU_ASSERT_TRUE(fd_is_kept(r.call_fd[0]));
	for (unsigned i = 1; i < RIG_VECTORS; i++)
		close(q.fd[i]);
	raise_irq(&r, 1);	/* the duplicate is still open */
	raise_irq(&r, 0);
	CU_EQ(heard(q.fd[0]), 1);
	rig_down(&r);
	CU_ASSERT_TRUE(fcntl(q.fd[0], F_GETFD) >= 0);
	close(q.fd[0]);
}

static void one_vector_is_replaced_and_taken_away_alone(void)
{
	int fd = eventfd(0, EFD_NONBLOCK), none = -1;
	struct irqs q;
	struct rig r;

	rig_up(&r);
	irqs_new(&q);
	CU_EQ(set_all(&r, &q), 0);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 3, 1, &fd), 0);
	CU_EQ(r.irq_vector, 3);
	raise_irq(&r, 3);
	CU_EQ(heard(q.fd[3]), 0);
	CU_EQ(heard(fd), 1);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 3, 1, &none), 0);
	CU_ASSERT_TRUE(msix_enabled(&r));
	CU_EQ(r.call_fd[3], -1);
	raise_irq(&r, 3);
	CU_EQ(heard(fd), 0);
	close(fd);
	irqs_free(&q);
	rig_down(&r);
}

static void wrong_ranges_and_descriptors_change_nothing(void)
{
	static const struct { unsigned index, start, count; int rc; } bad[] = {
		{ IOAPI_IRQ_MSIX, 0, RIG_VECTORS + 1, -EINVAL },
		{ IOAPI_IRQ_MSIX, RIG_VECTORS, 1, -EINVAL },
		{ IOAPI_IRQ_MSIX, 1, UINT32_MAX, -EINVAL },
		{ IOAPI_IRQ_MSIX, UINT32_MAX, 2, -EINVAL },
		{ IOAPI_IRQ_MSI, 0, 1, -EINVAL },
		{ IOAPI_IRQ_ERR, 0, 1, -EINVAL },
		{ IOAPI_IRQ_INTX, 0, 2, -EINVAL },
		{ IOAPI_IRQ_REQ, 1, 1, -EINVAL },
		{ IOAPI_IRQS, 0, 1, -EINVAL },
		{ UINT32_MAX, 0, 1, -EINVAL },
	};
	int closed[RIG_VECTORS] = { -1, -1, -1, -1, 1000000 }, odd = -2, pipe_fd[2];
	struct irqs q;
	struct rig r;
	unsigned kept;

	rig_up(&r);
	irqs_new(&q);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, RIG_VECTORS, closed), -EBADF);
	CU_ASSERT_FALSE(msix_enabled(&r));
	CU_EQ(set_all(&r, &q), 0);
	kept = fd_kept_count();
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		CU_EQ(ioapi_irq_set(r.f, bad[i].index, bad[i].start, bad[i].count, q.fd),
		      bad[i].rc);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 1, NULL), -EINVAL);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 1, &odd), -EINVAL);
	CU_EQ(pipe(pipe_fd), 0);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 1, &pipe_fd[1]), -EINVAL);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, RIG_VECTORS, closed), -EBADF);
	CU_EQ(fd_kept_count(), kept);
	raise_irq(&r, 0);
	CU_EQ(heard(q.fd[0]), 1);
	irqs_free(&q);
	rig_down(&r);
}

static void counts_are_those_of_vfio(void)
{
	struct rig r;

	rig_new(&r);
	CU_EQ(ioapi_irq_count(r.f, IOAPI_IRQ_INTX), 1);
	CU_EQ(ioapi_irq_count(r.f, IOAPI_IRQ_MSI), 0);
	CU_EQ(ioapi_irq_count(r.f, IOAPI_IRQ_MSIX), RIG_VECTORS);
	CU_EQ(ioapi_irq_count(r.f, IOAPI_IRQ_ERR), 0);
	CU_EQ(ioapi_irq_count(r.f, IOAPI_IRQ_REQ), 1);
	CU_EQ(ioapi_irq_count(r.f, IOAPI_IRQS), 0);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 0, NULL), -ENODEV);
	rig_down(&r);
}

static void running_out_of_descriptors_anywhere_changes_nothing(void)
{
	struct irqs q;
	struct rig r;
	unsigned n;

	rig_up(&r);
	irqs_new(&q);
	for (n = 1; n < 20; n++) {
		unsigned before = fds_open();
		int rc;

		fault_arm(n);
		rc = set_all(&r, &q);
		if (!rc)
			break;
		CU_EQ(rc, -EMFILE);
		CU_EQ(fds_open(), before);
		CU_ASSERT_FALSE(msix_enabled(&r));
	}
	fault_arm(0);
	CU_EQ(n, RIG_VECTORS + 1);
	irqs_free(&q);
	rig_down(&r);
}

/* ---- masks and pending bits ---------------------------------------------------------------- */

static void a_masked_vector_is_pending_and_fires_once_when_unmasked(void)
{
	struct irqs q;
	struct rig r;

	rig_up(&r);
	irqs_new(&q);
	CU_EQ(set_all(&r, &q), 0);
	table_put(&r, MASK(1), 4, 1);
	CU_EQ(r.irq_vector, 1);
	CU_EQ(rig_read(&r, 1, PBA, 8), 0);
	fd_signal(r.call_fd[1]);	/* the back-end, twice */
	fd_signal(r.call_fd[1]);
	CU_EQ(heard(q.fd[1]), 0);
	CU_EQ(rig_read(&r, 1, PBA, 8), 1 << 1);
	table_put(&r, MASK(3), 4, 1);
	raise_irq(&r, 3);		/* the device itself */
	CU_EQ(rig_read(&r, 1, PBA, 4), 1 << 1 | 1 << 3);
	CU_EQ(heard(q.fd[3]), 0);
	table_put(&r, MASK(1), 4, 0);
	CU_EQ(heard(q.fd[1]), 1);
	CU_EQ(rig_read(&r, 1, PBA, 8), 1 << 3);
	table_put(&r, MASK(3), 4, 0);
	CU_EQ(heard(q.fd[3]), 1);
	CU_EQ(rig_read(&r, 1, PBA, 8), 0);
	irqs_free(&q);
	rig_down(&r);
}

static void unmasking_without_an_event_is_silent(void)
{
	struct irqs q;
	struct rig r;

	rig_up(&r);
	irqs_new(&q);
	CU_EQ(set_all(&r, &q), 0);
	table_put(&r, MASK(0), 4, 1);
	table_put(&r, MASK(0), 4, 0);
	CU_EQ(heard(q.fd[0]), 0);
	raise_irq(&r, 0);
	CU_EQ(heard(q.fd[0]), 1);
	irqs_free(&q);
	rig_down(&r);
}

static void the_function_mask_holds_all_vectors(void)
{
	struct irqs q;
	struct rig r;

	rig_up(&r);
	irqs_new(&q);
	CU_EQ(set_all(&r, &q), 0);
	CU_EQ(rig_cfg_put(&r, CONTROL, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL), 0);
	for (unsigned v = 0; v < RIG_VECTORS; v++) {
		CU_ASSERT_TRUE(r.call_fd[v] >= 0);
		if (v % 2)
			fd_signal(r.call_fd[v]);
		else
			raise_irq(&r, v);
		CU_EQ(heard(q.fd[v]), 0);
	}
	CU_EQ(rig_read(&r, 1, PBA, 8), 0x1f);
	table_put(&r, MASK(4), 4, 1);
	CU_EQ(rig_cfg_put(&r, CONTROL, 2, PCI_MSIX_FLAGS_ENABLE), 0);
	for (unsigned v = 0; v < RIG_VECTORS; v++)
		CU_EQ(heard(q.fd[v]), v != 4);
	CU_EQ(rig_read(&r, 1, PBA, 8), 0x10);
	irqs_free(&q);
	rig_down(&r);
}

static void a_late_signal_on_the_private_eventfd_arrives_all_the_same(void)
{
	struct irqs q;
	struct rig r;
	unsigned waited_ms;
	int stale;

	rig_up(&r);
	irqs_new(&q);
	CU_EQ(set_all(&r, &q), 0);
	table_put(&r, MASK(2), 4, 1);
	stale = r.call_fd[2];
	table_put(&r, MASK(2), 4, 0);
	CU_ASSERT_TRUE(r.call_fd[2] != stale);
	for (unsigned i = 0; i < 2; i++) {
		fd_signal(stale);	/* a back-end that has not been told yet */
		for (waited_ms = 0; waited_ms < 3000 && !heard(q.fd[2]); waited_ms++)
			usleep(1000);
		CU_ASSERT_TRUE(waited_ms < 3000);
	}
	irqs_free(&q);
	rig_down(&r);
}

static void the_private_eventfd_is_made_only_when_needed(void)
{
	struct irqs q;
	struct rig r;
	unsigned kept;

	rig_up(&r);
	irqs_new(&q);
	CU_EQ(set_all(&r, &q), 0);
	kept = fd_kept_count();
	table_put(&r, MASK(2), 4, 1);
	CU_EQ(fd_kept_count(), kept + 1);
	table_put(&r, MASK(2), 4, 0);
	table_put(&r, MASK(2), 4, 1);
	CU_EQ(fd_kept_count(), kept + 1);
	/* Without one, an interrupt too many rather than one too few. */
	fault_arm(1);
	table_put(&r, MASK(3), 4, 1);
	CU_ASSERT_FALSE(fault_armed());
	fd_signal(r.call_fd[3]);
	CU_EQ(heard(q.fd[3]), 1);
	irqs_free(&q);
	rig_down(&r);
}

static void the_table_keeps_what_is_written_in_whole_dwords(void)
{
	static const uint64_t whole = 0x1122334455667788;
	struct rig r;

	rig_up(&r);
	for (unsigned v = 0; v < RIG_VECTORS; v++) {
		table_put(&r, 16 * v, 8, whole + 3);
		table_put(&r, 16 * v + 8, 4, 0xcafe0000 + v);
		CU_EQ(rig_read(&r, 1, 16 * v, 8), (whole + 3) & ~3ull);
		CU_EQ(rig_read(&r, 1, 16 * v + 4, 4), whole >> 32);
		CU_EQ(rig_read(&r, 1, 16 * v + 8, 8), 1ull << 32 | (0xcafe0000 + v));
		table_put(&r, 16 * v + 8, 8, 0xfffffffe00000000);
		CU_EQ(rig_read(&r, 1, MASK(v), 4), 0);
	}
	CU_EQ(ioapi_write(r.f, 1, 16 * RIG_VECTORS, 4, 0), -ENXIO);
	CU_EQ(ioapi_write(r.f, 1, 16 * RIG_VECTORS - 4, 8, 0), -ENXIO);
	rig_down(&r);
}

#define MANY 100

static void pending_bits_of_many_vectors_lie_where_they_should(void)
{
	struct ioapi_func *f;
	struct rig r;
	uint64_t val;
	int fd;

	rig_new(&r);
	CU_EQ(pci_func_new(r.bus, NULL, &rig_ident, &rig_ops, &r, &f, NULL), 0);
	pci_msix_add(f, 2, MANY);
	pci_bar_add(f, 0, PCI_BAR_IO);
	pci_window_add(f, &(struct pci_window){ .off = 24, .map = &rig_config_map, .dev = &r });
	CU_EQ(pci_func_realize(f, NULL), 0);
	r.f = f;
	CU_EQ(ioapi_open(f, NULL), 0);
	fd = eventfd(0, EFD_NONBLOCK);
	for (unsigned v = 0; v < MANY; v++)
		CU_EQ(ioapi_irq_set(f, IOAPI_IRQ_MSIX, v, 1, &fd), 0);
	for (unsigned v = 0; v < MANY; v++) {
		CU_EQ(ioapi_write(f, 2, MASK(v), 4, 1), 0);
		raise_irq(&r, v);
		for (unsigned off = 0; off < 16; off += 4) {
			CU_EQ(ioapi_read(f, 2, PBA + off, 4, &val), 0);
			CU_EQ(val, v / 32 == off / 4 ? 1u << v % 32 : 0);
		}
		CU_EQ(ioapi_read(f, 2, PBA + v / 64 * 8, 8, &val), 0);
		CU_EQ(val, 1ull << v % 64);
		CU_EQ(ioapi_write(f, 2, MASK(v), 4, 0), 0);
		CU_EQ(heard(fd), 1);
	}
	close(fd);
	rig_down(&r);
}

static void table_sweep_of_every_width_and_offset_is_safe(void)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };
	struct rig r;

	rig_up(&r);
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (unsigned off = 0; off < 0x1010; off++) {
			bool table = off + sizes[s] <= 16 * RIG_VECTORS;
			bool pba = off >= PBA && off + sizes[s] <= PBA + 8;
			bool whole = sizes[s] >= 4 && off % sizes[s] == 0;
			int want = !table && !pba ? -ENXIO : pba ? -EPERM : whole ? 0 : -ENXIO;
			uint64_t val;

			CU_EQ(ioapi_write(r.f, 1, off, sizes[s], UINT64_MAX), want);
			CU_EQ(ioapi_read(r.f, 1, off, sizes[s], &val),
			      (table || pba) && whole ? 0 : -ENXIO);
		}
	}
	rig_down(&r);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void the_enable_bit_in_config_space_moves_the_layout(void)
{
	struct irqs q;
	struct rig r;

	rig_up(&r);
	irqs_new(&q);
	r.config = 0x42;
	CU_EQ(rig_read(&r, 0, 20, 1), 0x42);
	CU_EQ(rig_cfg_put(&r, CONTROL, 2, PCI_MSIX_FLAGS_ENABLE), 0);
	CU_EQ(r.msix_on, 1);
	CU_EQ(rig_read(&r, 0, 24, 1), 0x42);
	CU_EQ(set_all(&r, &q), 0);
	CU_EQ(r.msix_changes, 1);
	raise_irq(&r, 0);
	CU_EQ(heard(q.fd[0]), 1);
	CU_EQ(rig_cfg_put(&r, CONTROL + 1, 1, 0), 0);
	CU_EQ(r.msix_on, 0);
	CU_EQ(rig_read(&r, 0, 20, 1), 0x42);
	CU_EQ(r.call_fd[0], -1);
	raise_irq(&r, 0);
	CU_EQ(heard(q.fd[0]), 0);
	/* The eventfds are still there when it comes back. */
	CU_EQ(rig_cfg_put(&r, CONTROL, 2, PCI_MSIX_FLAGS_ENABLE), 0);
	raise_irq(&r, 0);
	CU_EQ(heard(q.fd[0]), 1);
	irqs_free(&q);
	rig_down(&r);
}

static void toggling_leaks_no_descriptor(void)
{
	struct irqs q;
	struct rig r;
	unsigned before;

	rig_up(&r);
	irqs_new(&q);
	CU_EQ(set_all(&r, &q), 0);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 0, NULL), 0);
	before = fds_open();
	for (unsigned i = 0; i < 300; i++) {
		CU_EQ(set_all(&r, &q), 0);
		table_put(&r, MASK(i % RIG_VECTORS), 4, 1);
		CU_EQ(rig_cfg_put(&r, CONTROL, 2, i % 2 ? PCI_MSIX_FLAGS_ENABLE : 0), 0);
		table_put(&r, MASK(i % RIG_VECTORS), 4, 0);
		CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 0, NULL), 0);
	}
	CU_EQ(fds_open(), before);
	irqs_free(&q);
	rig_down(&r);
}

static void a_reset_keeps_configuration_and_eventfds_but_no_pending_interrupt(void)
{
	struct irqs q;
	struct rig r;

	rig_up(&r);
	irqs_new(&q);
	CU_EQ(set_all(&r, &q), 0);
	CU_EQ(rig_cfg_put(&r, PCI_COMMAND, 2, 7), 0);
	table_put(&r, MASK(1), 4, 1);
	raise_irq(&r, 1);
	fd_signal(r.call_fd[1]);
	CU_EQ(ioapi_reset(r.f), 0);
	CU_EQ(r.resets, 2);
	CU_EQ(rig_cfg(&r, PCI_COMMAND, 2), 7);
	CU_ASSERT_TRUE(msix_enabled(&r));
	CU_EQ(rig_read(&r, 1, PBA, 8), 0);
	table_put(&r, MASK(1), 4, 0);
	CU_EQ(heard(q.fd[1]), 0);
	raise_irq(&r, 1);
	CU_EQ(heard(q.fd[1]), 1);
	irqs_free(&q);
	rig_down(&r);
}

/* ---- INTx ---------------------------------------------------------------------------------- */

static int intx_on(struct rig *r)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	CU_EQ(ioapi_irq_set(r->f, IOAPI_IRQ_INTX, 0, 1, &fd), 0);
	return fd;
}

static bool status_bit(struct rig *r)
{
	return rig_cfg(r, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT;
}

static void the_line_signals_on_its_rise_and_shows_in_status(void)
{
	struct rig r;
	int fd;

	rig_up(&r);
	fd = intx_on(&r);
	CU_ASSERT_FALSE(status_bit(&r));
	drive_intx(&r, true);
	CU_ASSERT_TRUE(status_bit(&r));
	drive_intx(&r, true);
	CU_EQ(heard(fd), 1);
	CU_EQ(rig_cfg_put(&r, PCI_STATUS, 2, 0xffff), 0);
	CU_ASSERT_TRUE(status_bit(&r));
	drive_intx(&r, false);
	CU_ASSERT_FALSE(status_bit(&r));
	CU_EQ(heard(fd), 0);
	close(fd);
	rig_down(&r);
}

static void interrupt_disable_hides_the_line_but_not_the_status(void)
{
	struct rig r;
	int fd;

	rig_up(&r);
	fd = intx_on(&r);
	CU_EQ(rig_cfg_put(&r, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE), 0);
	drive_intx(&r, true);
	CU_ASSERT_TRUE(status_bit(&r));
	CU_EQ(heard(fd), 0);
	CU_EQ(rig_cfg_put(&r, PCI_COMMAND, 2, 0), 0);
	CU_EQ(heard(fd), 1);
	close(fd);
	rig_down(&r);
}

static void msix_silences_the_line(void)
{
	struct irqs q;
	struct rig r;
	int fd;

	rig_up(&r);
	irqs_new(&q);
	fd = intx_on(&r);
	CU_EQ(set_all(&r, &q), 0);
	drive_intx(&r, true);
	CU_EQ(heard(fd), 0);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 0, NULL), 0);
	CU_EQ(heard(fd), 1);
	close(fd);
	irqs_free(&q);
	rig_down(&r);
}

static void who_comes_late_still_hears_an_asserted_line(void)
{
	int none = -1, fd;
	struct rig r;

	rig_up(&r);
	drive_intx(&r, true);
	fd = intx_on(&r);
	CU_EQ(heard(fd), 1);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_INTX, 0, 1, &none), 0);
	drive_intx(&r, false);
	drive_intx(&r, true);
	CU_EQ(heard(fd), 0);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_REQ, 0, 1, &fd), 0);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_REQ, 0, 0, NULL), 0);
	close(fd);
	rig_down(&r);
	CU_EQ(fd_kept_count(), 0);
}

CU_MAIN("bus/msix",
	T(setting_eventfds_turns_msix_on_and_taking_them_turns_it_off),
	T(vectors_deliver_without_the_driver_touching_the_table),
	T(the_fds_stay_the_callers),
	T(one_vector_is_replaced_and_taken_away_alone),
	T(wrong_ranges_and_descriptors_change_nothing),
	T(counts_are_those_of_vfio),
	T(running_out_of_descriptors_anywhere_changes_nothing),
	T(a_masked_vector_is_pending_and_fires_once_when_unmasked),
	T(unmasking_without_an_event_is_silent),
	TC("A-MX-12", the_function_mask_holds_all_vectors),
	T(a_late_signal_on_the_private_eventfd_arrives_all_the_same),
	T(the_private_eventfd_is_made_only_when_needed),
	TC("A-MX-13", the_table_keeps_what_is_written_in_whole_dwords),
	T(pending_bits_of_many_vectors_lie_where_they_should),
	TC("A-MX-13", table_sweep_of_every_width_and_offset_is_safe),
	T(the_enable_bit_in_config_space_moves_the_layout),
	T(toggling_leaks_no_descriptor),
	T(a_reset_keeps_configuration_and_eventfds_but_no_pending_interrupt),
	T(the_line_signals_on_its_rise_and_shows_in_status),
	T(interrupt_disable_hides_the_line_but_not_the_status),
	T(msix_silences_the_line),
	T(who_comes_late_still_hears_an_asserted_line))
