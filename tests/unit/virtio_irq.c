// SPDX-License-Identifier: Apache-2.0
// virtio_irq.c - ISR, INTx, MSI-X and configuration changes (checklist A5, A11's link rows).
#include <string.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>

#include "tests/rig.h"
#include "tests/unit/cu.h"

#define B(n) (1ull << (n))
#define V1 B(VIRTIO_F_VERSION_1)
#define MQ B(VIRTIO_NET_F_MQ)
#define CTRL B(VIRTIO_NET_F_CTRL_VQ)
#define STATUS B(VIRTIO_NET_F_STATUS)
#define ISR_QUEUE  1u
#define ISR_CONFIG 2u

static struct rig r;
static int fds[16];

static void up(const struct rig_opts *o)
{
	CU_EQ_FATAL(rig_up(&r, o), 0);
	memset(fds, -1, sizeof(fds));
}

static void down(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	rig_down(&r);
}

static uint64_t isr(void)
{
	return rig_read(&r, IOAPI_BAR4, r.isr, 1);
}

static bool status_bit(void)
{
	return rig_read(&r, IOAPI_CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT;
}

/* What a back-end does. */
static void call(unsigned ring)
{
	static const uint64_t one = 1;

	CU_EQ(write(r.vhost->ring[ring].call_fd, &one, sizeof(one)), sizeof(one));
}

static void vectors(unsigned q, unsigned v)
{
	cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2, v);
}

static void intx_of_a_queue(void)
{
	up(&(struct rig_opts){ 0 });
	rig_irqs(&r, IOAPI_IRQ_INTX, 1, fds);
	rig_run(&r, V1, NULL);
	CU_ASSERT(!status_bit());
	call(0);
	CU_EQ(rig_fired_soon(fds[0]), 1);
	CU_ASSERT(status_bit());
	CU_EQ(isr(), ISR_QUEUE);
	CU_ASSERT(!status_bit());
	CU_EQ(isr(), 0);
	call(1);
	CU_EQ(rig_fired_soon(fds[0]), 1);
	CU_EQ(isr(), ISR_QUEUE);
	down();
}

static void intx_of_the_configuration(void)
{
	up(&(struct rig_opts){ 0 });
	rig_irqs(&r, IOAPI_IRQ_INTX, 1, fds);
	rig_run(&r, V1 | STATUS, NULL);
	CU_EQ(dc(&r, offsetof(struct virtio_net_config, status), 2), 1);
	fake_link(r.vhost, false);
	CU_EQ(rig_fired(fds[0]), 1);
	CU_EQ(dc(&r, offsetof(struct virtio_net_config, status), 2), 0);
	CU_ASSERT(status_bit());
	CU_EQ(isr(), ISR_CONFIG);
	CU_ASSERT(!status_bit());
	fake_link(r.vhost, false);		/* no news */
	CU_EQ(rig_fired(fds[0]), 0);
	CU_EQ(isr(), 0);
	down();
}

static void a_masked_line_still_shows_its_state(void)
{
	up(&(struct rig_opts){ 0 });
	rig_irqs(&r, IOAPI_IRQ_INTX, 1, fds);
	rig_run(&r, V1, NULL);
	rig_write(&r, IOAPI_CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
	fake_link(r.vhost, false);
	CU_EQ(rig_fired(fds[0]), 0);
	CU_ASSERT(status_bit());
	rig_write(&r, IOAPI_CONFIG, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	CU_EQ(rig_fired(fds[0]), 1);
	down();
}

static void isr_is_one_byte_and_read_only(void)
{
	up(&(struct rig_opts){ 0 });
	rig_run(&r, V1, NULL);
	fake_link(r.vhost, false);
	rig_write(&r, IOAPI_BAR4, r.isr, 1, 0);
	CU_EQ(rig_read(&r, IOAPI_BAR4, r.isr, 4), UINT64_MAX);
	CU_EQ(isr(), ISR_CONFIG);
	down();
}

static void nothing_is_told_before_driver_ok(void)
{
	up(&(struct rig_opts){ 0 });
	rig_irqs(&r, IOAPI_IRQ_INTX, 1, fds);
	rig_negotiate(&r, V1 | STATUS);
	fake_link(r.vhost, false);
	CU_EQ(rig_fired(fds[0]), 0);
	CU_EQ(isr(), 0);
	CU_EQ(dc(&r, offsetof(struct virtio_net_config, status), 2), 0);
	rig_set_status(&r, 0);
	fake_link(r.vhost, true);
	CU_EQ(isr(), 0);
	down();
}

static void vector_counts(void)
{
	static const struct { unsigned pairs, want; } rows[] = { { 1, 4 }, { 2, 6 }, { 128, 258 } };

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		up(&(struct rig_opts){ .pairs = rows[i].pairs });
		CU_EQ(ioapi_irq_count(r.f, IOAPI_IRQ_MSIX), rows[i].want);
		CU_EQ((rig_read(&r, IOAPI_CONFIG, r.msix_cap + 2, 2) & 0x7ff) + 1, rows[i].want);
		down();
	}
}

static void any_event_maps_to_any_vector(void)
{
	up(&(struct rig_opts){ 0 });
	rig_irqs(&r, IOAPI_IRQ_MSIX, 4, fds);
	rig_run(&r, V1, NULL);
	for (unsigned v = 0; v < 4; v++) {
		for (unsigned q = 0; q < 2; q++) {
			vectors(q, v);
			CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2), v);
			call(q);
			for (unsigned k = 0; k < 4; k++)
				CU_EQ(rig_fired(fds[k]), k == v);
		}
		cc_set(&r, VIRTIO_PCI_COMMON_MSIX, 2, v);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_MSIX, 2), v);
		fake_link(r.vhost, v % 2);
		for (unsigned k = 0; k < 4; k++)
			CU_EQ(rig_fired(fds[k]), k == v);
		CU_EQ(isr(), ISR_CONFIG);	/* also under MSI-X */
	}
	CU_EQ(isr(), 0);
	down();
}

static void no_vector_no_interrupt(void)
{
	static const uint32_t beyond[] = { 4, 5, 0x7ff, 0x800, 0xfffe, 0xffff };

	up(&(struct rig_opts){ 0 });
	rig_irqs(&r, IOAPI_IRQ_MSIX, 4, fds);
	rig_run(&r, V1, NULL);
	CU_EQ(r.vhost->ring[0].call_fd, -1);
	for (unsigned i = 0; i < ARRAY_SIZE(beyond); i++) {
		vectors(0, 1);
		CU_ASSERT(r.vhost->ring[0].call_fd >= 0);
		vectors(0, beyond[i]);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
		CU_EQ(r.vhost->ring[0].call_fd, -1);
		cc_set(&r, VIRTIO_PCI_COMMON_MSIX, 2, beyond[i]);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
		fake_link(r.vhost, i % 2);
	}
	for (unsigned k = 0; k < 4; k++)
		CU_EQ(rig_fired(fds[k]), 0);
	down();
}

static void the_back_end_follows_every_change_of_listeners(void)
{
	unsigned before;

	up(&(struct rig_opts){ 0 });
	rig_run(&r, V1, NULL);
	vectors(0, 1);
	before = fake_count(r.vhost, "ring_call", 0);
	rig_irqs(&r, IOAPI_IRQ_MSIX, 4, fds);
	CU_ASSERT(fake_count(r.vhost, "ring_call", 0) > before);
	call(0);
	CU_EQ(rig_fired(fds[1]), 1);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 0, NULL), 0);
	rig_irqs(&r, IOAPI_IRQ_INTX, 1, fds + 8);
	call(0);
	CU_EQ(rig_fired_soon(fds[8]), 1);
	CU_EQ(isr(), ISR_QUEUE);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 4, fds), 0);
	call(0);
	CU_EQ(rig_fired(fds[1]), 1);
	CU_EQ(rig_fired(fds[8]), 0);
	down();
}

static void an_event_on_the_way_survives_the_switch_to_msix(void)
{
	unsigned told = 0;
	int old;

	up(&(struct rig_opts){ 0 });
	rig_run(&r, V1, NULL);
	vectors(0, 1);
	vectors(1, 2);
	for (unsigned i = 0; i < 200; i++) {
		rig_irqs(&r, IOAPI_IRQ_INTX, 1, fds + 8);
		old = r.vhost->ring[0].call_fd;
		call(i % 2);
		CU_EQ(rig_irqs(&r, IOAPI_IRQ_MSIX, 3, fds), 0);
		/* either way, and at most by the loop's next round */
		told = isr() & ISR_QUEUE ? 1 : rig_fired_soon(fds[1 + i % 2]);
		CU_ASSERT(told);
		CU_ASSERT(r.vhost->ring[0].call_fd != old);
		CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 0, NULL), 0);
		for (unsigned k = 0; k < 9; k++) {
			if (fds[k] >= 0)
				close(fds[k]);
			fds[k] = -1;
		}
		isr();
	}
	down();
}

static void intx_is_silent_under_msix(void)
{
	up(&(struct rig_opts){ 0 });
	rig_irqs(&r, IOAPI_IRQ_INTX, 1, fds + 8);
	rig_irqs(&r, IOAPI_IRQ_MSIX, 4, fds);
	rig_run(&r, V1, NULL);
	vectors(0, 1);
	cc_set(&r, VIRTIO_PCI_COMMON_MSIX, 2, 0);
	call(0);
	fake_link(r.vhost, false);
	CU_EQ(rig_fired(fds[8]), 0);
	CU_ASSERT(!status_bit());
	CU_EQ(rig_fired(fds[0]), 1);
	/* the ISR was not read: off again, the line shows it */
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 0, NULL), 0);
	CU_ASSERT(status_bit());
	CU_EQ(rig_fired(fds[8]), 1);
	CU_EQ(isr(), ISR_CONFIG);
	down();
}

static void a_masked_vector_fires_once_when_unmasked(void)
{
	up(&(struct rig_opts){ 0 });
	rig_irqs(&r, IOAPI_IRQ_MSIX, 4, fds);
	rig_run(&r, V1, NULL);
	cc_set(&r, VIRTIO_PCI_COMMON_MSIX, 2, 2);
	rig_write(&r, IOAPI_BAR1, 16 * 2 + 12, 4, 1);
	for (unsigned i = 0; i < 3; i++)
		fake_link(r.vhost, i % 2);
	CU_EQ(rig_fired(fds[2]), 0);
	rig_write(&r, IOAPI_BAR1, 16 * 2 + 12, 4, 0);
	CU_EQ(rig_fired_soon(fds[2]), 1);
	down();
}

static void toggling_msix_leaks_nothing(void)
{
	unsigned before;

	up(&(struct rig_opts){ .pairs = 2 });
	rig_run(&r, V1 | MQ | CTRL, NULL);
	for (unsigned q = 0; q < 4; q++)
		vectors(q, q + 1);
	rig_irqs(&r, IOAPI_IRQ_MSIX, 6, fds);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 0, NULL), 0);
	before = fds_open();
	for (unsigned i = 0; i < 1000; i++) {
		CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 6, fds), 0);
		call(i % 4);
		CU_ASSERT(rig_fired(fds[1 + i % 4]) > 0);
		CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 0, NULL), 0);
	}
	CU_EQ(fds_open(), before);
	down();
}

static void the_link_follows_the_back_end(void)
{
	up(&(struct rig_opts){ .no_backend = true });
	CU_EQ(dc(&r, offsetof(struct virtio_net_config, status), 2), 0);
	fake_link(r.vhost, true);
	CU_EQ(dc(&r, offsetof(struct virtio_net_config, status), 2), 1);
	rig_set_status(&r, 0);
	CU_EQ(dc(&r, offsetof(struct virtio_net_config, status), 2), 1);
	down();
}

CU_MAIN("virtio/irq",
	{ "A-IS-02,03,04 INTx of a queue", intx_of_a_queue },
	{ "A-IS-01 A-NC-15 INTx of the configuration", intx_of_the_configuration },
	{ "A-IS-05 a masked line still shows its state", a_masked_line_still_shows_its_state },
	{ "A-IS-06 the ISR is one byte and read-only", isr_is_one_byte_and_read_only },
	{ "A-ST-02,11 nothing is told before DRIVER_OK", nothing_is_told_before_driver_ok },
	{ "A-MX-01,02,03 vector counts", vector_counts },
	{ "A-MX-04,06,08 any event maps to any vector", any_event_maps_to_any_vector },
	{ "A-MX-05,09,10,11 no vector, no interrupt", no_vector_no_interrupt },
	{ "A-MX-16 the back-end follows every change of listeners",
	  the_back_end_follows_every_change_of_listeners },
	{ "A-MX-15 an event on the way survives the switch to MSI-X",
	  an_event_on_the_way_survives_the_switch_to_msix },
	{ "A-MX-14 INTx is silent under MSI-X", intx_is_silent_under_msix },
	{ "A-MX-12 a masked vector fires once when unmasked",
	  a_masked_vector_fires_once_when_unmasked },
	{ "A-MX-15 toggling MSI-X leaks nothing", toggling_msix_leaks_nothing },
	{ "A-NC-15 the link follows the back-end", the_link_follows_the_back_end })
