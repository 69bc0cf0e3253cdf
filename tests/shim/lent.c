// SPDX-License-Identifier: Apache-2.0
// lent.c - what a back-end is given of this process's memory; SHIM_SOCKET is where it is served.
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <sys/stat.h>

#include "tests/shim/rig.h"
#include "tests/wire/backend.h"

#define BIT(n) (UINT64_C(1) << (n))
#define MB   (1u << 20)
#define HALF (MB / 2)

static int map(int container, void *va, uint64_t size)
{
	struct vfio_iommu_type1_dma_map m = {
		.argsz = sizeof(m), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)va, .iova = (uintptr_t)va, .size = size,
	};

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
}

static uint8_t *file_of(int *fd, int flags)
{
	uint8_t *p;

	*fd = memfd_create("memory", 0);
	CHECK_EQ(ftruncate(*fd, 2 * MB), 0);
	p = mmap(NULL, 2 * MB, PROT_READ | PROT_WRITE, flags, *fd, 0);
	CHECK(p != MAP_FAILED);
	return p;
}

static void put32(volatile uint8_t *bar, unsigned off, uint32_t val)
{
	*(volatile uint32_t *)(bar + off) = val;
}

static void put16(volatile uint8_t *bar, unsigned off, uint16_t val)
{
	*(volatile uint16_t *)(bar + off) = val;
}

static void put64(volatile uint8_t *bar, unsigned off, uint64_t val)
{
	put32(bar, off, (uint32_t)val);
	put32(bar, off + 4, (uint32_t)(val >> 32));
}

/* Two rings in p, then DRIVER_OK. */
static void start(volatile uint8_t *bar, uint8_t *p)
{
	bar[VIRTIO_PCI_COMMON_STATUS] = 0;
	bar[VIRTIO_PCI_COMMON_STATUS] = 1;
	bar[VIRTIO_PCI_COMMON_STATUS] = 3;
	put32(bar, VIRTIO_PCI_COMMON_GFSELECT, 1);
	put32(bar, VIRTIO_PCI_COMMON_GF, 1);		/* VERSION_1 */
	bar[VIRTIO_PCI_COMMON_STATUS] = 11;
	CHECK_EQ(bar[VIRTIO_PCI_COMMON_STATUS], 11);
	for (uint16_t q = 0; q < 2; q++) {
		uint64_t at = (uintptr_t)p + q * 65536u;

		put16(bar, VIRTIO_PCI_COMMON_Q_SELECT, q);
		put16(bar, VIRTIO_PCI_COMMON_Q_SIZE, 64);
		put64(bar, VIRTIO_PCI_COMMON_Q_DESCLO, at);
		put64(bar, VIRTIO_PCI_COMMON_Q_AVAILLO, at + 16384);
		put64(bar, VIRTIO_PCI_COMMON_Q_USEDLO, at + 32768);
		put16(bar, VIRTIO_PCI_COMMON_Q_ENABLE, 1);
	}
	bar[VIRTIO_PCI_COMMON_STATUS] = 15;
	CHECK_EQ(bar[VIRTIO_PCI_COMMON_STATUS], 15);
}

static void region_is(const struct backend_msg *m, unsigned i, const void *va, uint64_t size,
		      uint64_t off, int fd)
{
	const struct vu_region *r = &m->payload.memory.region[i];
	struct stat st;

	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(r->guest_addr, (uintptr_t)va);
	CHECK_EQ(r->user_addr, (uintptr_t)va);
	CHECK_EQ(r->size, size);
	CHECK_EQ(r->mmap_offset, off);
	CHECK(m->files[i].ino == st.st_ino && m->files[i].dev == st.st_dev);
}

/* Nothing that is a memory file came but with the table. */
static void no_other_files(struct backend *b, dev_t dev)
{
	struct backend_msg m;

	for (int i = 0; backend_msg(b, 0, i, &m); i++)
		for (unsigned k = 0; k < m.fds_n && m.h.request != VU_SET_MEM_TABLE; k++)
			CHECK(m.files[k].dev != dev);
}

static void only_shared_files_mapped_for_dma_are_lent(void)
{
	const struct backend_config cfg = {
		.path = getenv("SHIM_SOCKET"), .pairs = 1,
		.features = BIT(VIRTIO_F_VERSION_1) | BIT(VU_F_PROTOCOL_FEATURES),
		.protocol = BIT(VU_PROTOCOL_MQ) | BIT(VU_PROTOCOL_REPLY_ACK),
	};
	uint8_t stack[3 * PAGE], *heap, *a, *b, *priv, *kept;
	int fd_a, fd_b, fd_priv, fd_kept;
	struct backend_msg m = { .fds_n = 0 };
	struct backend *peer = backend_start(&cfg);
	volatile uint8_t *bar;
	struct stat st;
	struct rig r;

	a = file_of(&fd_a, MAP_SHARED);
	b = file_of(&fd_b, MAP_SHARED);
	kept = file_of(&fd_kept, MAP_SHARED);		/* never mapped for DMA */
	priv = file_of(&fd_priv, MAP_PRIVATE);
	heap = aligned_alloc(PAGE, 4 * PAGE);
	memset(stack, 0, sizeof(stack));
	r = rig_up();
	CHECK_EQ(map(r.container, a, 2 * MB), 0);
	CHECK_EQ(map(r.container, b + MB, HALF), 0);
	CHECK_ERR(map(r.container, heap, 4 * PAGE), EFAULT);
	CHECK_ERR(map(r.container, (void *)(((uintptr_t)stack + PAGE) & ~(PAGE - 1ul)), PAGE),
		  EFAULT);
	CHECK_ERR(map(r.container, priv, 2 * MB), EFAULT);
	bar = rig_bar(&r);
	start(bar, a);
	CHECK(backend_wait(peer, VU_SET_VRING_KICK, 2, 2000));
	CHECK_EQ(backend_count(peer, VU_SET_MEM_TABLE), 1);
	CHECK(backend_msg(peer, VU_SET_MEM_TABLE, 0, &m));
	CHECK_EQ(m.payload.memory.regions, 2);
	CHECK_EQ(m.fds_n, 2);
	region_is(&m, a > b, a, 2 * MB, 0, fd_a);
	region_is(&m, a < b, b + MB, HALF, MB, fd_b);
	CHECK_EQ(fstat(fd_kept, &st), 0);
	no_other_files(peer, st.st_dev);
	munmap((void *)bar, PAGE);
	rig_down(&r);
	backend_stop(peer);
	munmap(a, 2 * MB);
	munmap(b, 2 * MB);
	munmap(kept, 2 * MB);
	munmap(priv, 2 * MB);
	free(heap);
	close(fd_a);
	close(fd_b);
	close(fd_kept);
	close(fd_priv);
}

MAIN({ "0.8 a back-end gets only shared files that were mapped for DMA, never heap or stack",
	only_shared_files_mapped_for_dma_are_lent })
