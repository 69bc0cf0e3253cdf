// SPDX-License-Identifier: Apache-2.0
// vfio.c - containers and groups, each a table of ioctls; see linux/vfio.h.
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "include/ioapi.h"
#include "pmd-shim/dma.h"
#include "pmd-shim/func.h"
#include "pmd-shim/ioctl.h"
#include "pmd-shim/paths.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/trap.h"
#include "pmd-shim/vfio.h"
#include "pmd-shim/vfio_device.h"
#include "sim/core/guard.h"
#include "sim/core/sys.h"

#define NAME_MAX_BYTES 128	/* "BDF vf_token=UUID" */
#define PAGE UINT64_C(4096)

/* No IOMMU yet (domain NULL), or set and shared by its groups. */
struct container {
	struct ours          o;
	bool                 taken;
	struct ioapi_domain *domain;
	unsigned             groups;
	bool                 anothers;	/* a guest's: the domain is the holder's */
};

/* Belongs to its container until neither it nor its device has a descriptor left. */
struct group {
	struct ours       o;
	struct vfio_device dev;
	struct container *c;
	bool              opened;
	bool              anothers;	/* a guest's, in its holder's container */
};

static struct container containers[VFIO_CONTAINERS_MAX];
static struct group groups[VFIO_GROUPS_MAX];

/* ---- container ----------------------------------------------------------------------------- */

static long get_api_version(struct ours *o, void *arg)
{
	return VFIO_API_VERSION;
}

static bool is_type1(uintptr_t type)
{
	return type == VFIO_TYPE1_IOMMU || type == VFIO_TYPE1v2_IOMMU;
}

static long check_extension(struct ours *o, void *arg)
{
	return is_type1((uintptr_t)arg) || (uintptr_t)arg == VFIO_DMA_CC_IOMMU;
}

static long set_iommu(struct ours *o, void *arg)
{
	struct container *c = (struct container *)o;

	if (!c->groups || c->domain || c->anothers)
		return -EINVAL;
	if (!is_type1((uintptr_t)arg))
		return -ENODEV;
	return ioapi_domain_new(shim_bus_open(), &c->domain);
}

static long iommu_info(struct ours *o, void *arg)
{
	struct vfio_iommu_type1_info *info = arg;

	if (!((struct container *)o)->domain)
		return -EINVAL;
	info->flags = VFIO_IOMMU_INFO_PGSIZES;
	info->iova_pgsizes = ~(PAGE - 1);
	return 0;
}

#define MAP_FLAGS (VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)

static long iommu_map(struct ours *o, void *arg)
{
	struct container *c = (struct container *)o;
	const struct vfio_iommu_type1_dma_map *m = arg;

	if (!c->domain || !(m->flags & MAP_FLAGS) || (m->flags & ~MAP_FLAGS) || !m->size ||
	    (m->vaddr | m->iova | m->size) % PAGE)
		return -EINVAL;
	return dma_map(c->domain, m->vaddr, m->iova, m->size);
}

static long iommu_unmap(struct ours *o, void *arg)
{
	struct container *c = (struct container *)o;
	struct vfio_iommu_type1_dma_unmap *m = arg;
	uint64_t done = 0;
	int rc;

	if (!c->domain || m->flags || !m->size || (m->iova | m->size) % PAGE)
		return -EINVAL;
	rc = ioapi_dma_unmap(c->domain, m->iova, m->size, &done);
	m->size = done;
	return rc;
}

static const struct ioctl_row container_calls[] = {
	{ VFIO_GET_API_VERSION, 0, get_api_version },
	{ VFIO_CHECK_EXTENSION, 0, check_extension },
	{ VFIO_SET_IOMMU, 0, set_iommu },
	{ VFIO_IOMMU_GET_INFO, offsetof(struct vfio_iommu_type1_info, cap_offset), iommu_info },
	{ VFIO_IOMMU_MAP_DMA, sizeof(struct vfio_iommu_type1_dma_map), iommu_map },
	{ VFIO_IOMMU_UNMAP_DMA, offsetof(struct vfio_iommu_type1_dma_unmap, data), iommu_unmap },
};

static long container_ioctl(struct ours *o, unsigned long req, void *arg)
{
	return IOCTL_DISPATCH(container_calls, o, req, arg);
}

/* Groups hold their container: without any, only the descriptor did. */
static void container_put(struct container *c)
{
	if (!c->groups && c->domain) {
		ioapi_domain_free(c->domain);
		c->domain = NULL;
	}
	if (!c->groups && !c->o.refs)
		c->taken = false;
}

static void container_released(struct ours *o)
{
	lock_take(&shim_lock);
	container_put((struct container *)o);
	lock_drop(&shim_lock);
}

static const struct ours_ops container_ops = {
	.name = "podpci:container",
	.ioctl = container_ioctl,
	.pread = ours_no_pread,
	.pwrite = ours_no_pwrite,
	.mmap = ours_no_mmap,
	.released = container_released,
};

static int open_container_locked(void)
{
	int fd;

	for (unsigned i = 0; i < VFIO_CONTAINERS_MAX; i++) {
		if (containers[i].taken)
			continue;
		containers[i] = (struct container){ .o.ops = &container_ops, .taken = true };
		fd = fdtab_open(&containers[i].o);
		if (fd < 0)
			containers[i].taken = false;
		return fd;
	}
	return -EMFILE;
}

int vfio_open_container(const struct named *n, int flags)
{
	int rc;

	if (!shim_bus())
		return PATHS_FOREIGN;
	/* Arguments are copied with guard_copy(), which needs the handlers. */
	rc = trap_install();
	if (rc < 0)
		return rc;
	lock_take(&shim_lock);
	rc = open_container_locked();
	lock_drop(&shim_lock);
	return rc;
}

/* ---- group --------------------------------------------------------------------------------- */

static struct group *group_of(struct ours *o)
{
	return (struct group *)o;
}

static void group_leave(struct group *g)
{
	struct container *c = g->c;

	if (!c)
		return;
	g->c = NULL;
	c->groups--;
	container_put(c);
}

/* Its last user in this process is gone: free for the next, here or in another process. */
static void group_put(struct group *g)
{
	if (g->opened || vfio_device_is_open(&g->dev))
		return;
	group_leave(g);
	func_unclaim(g->dev.f);
}

static long group_status(struct ours *o, void *arg)
{
	struct vfio_group_status *s = arg;

	s->flags = VFIO_GROUP_FLAGS_VIABLE;
	if (group_of(o)->c || group_of(o)->anothers)
		s->flags |= VFIO_GROUP_FLAGS_CONTAINER_SET;
	return 0;
}

static long group_set_container(struct ours *o, void *arg)
{
	struct group *g = group_of(o);
	struct ours *c;
	int fd;

	if (guard_copy(&fd, arg, sizeof(fd)))
		return -EFAULT;
	c = fdtab_get(fd);
	if (!c)
		return sys_call(SYS_fcntl, fd, F_GETFD) < 0 ? -EBADF : -EINVAL;
	if (g->c || g->anothers || c->ops != &container_ops)
		return -EINVAL;
	g->c = (struct container *)c;
	g->c->groups++;
	return 0;
}

static long group_unset_container(struct ours *o, void *arg)
{
	struct group *g = group_of(o);

	if (!g->c)
		return -EINVAL;
	if (vfio_device_is_open(&g->dev))
		return -EBUSY;
	group_leave(g);
	return 0;
}

/* The name ends at a space: what follows are options of the kernel's driver (vf_token=). */
static int copy_name(char name[NAME_MAX_BYTES], const char *from)
{
	for (unsigned i = 0; i < NAME_MAX_BYTES; i++) {
		if (guard_copy(&name[i], from + i, 1))
			return -EFAULT;
		if (name[i] == ' ')
			name[i] = '\0';
		if (!name[i])
			return 0;
	}
	return -EINVAL;
}

static long group_device_fd(struct ours *o, void *arg)
{
	struct group *g = group_of(o);
	struct ioapi_ident ident;
	char name[NAME_MAX_BYTES];
	int rc = copy_name(name, arg);

	if (rc < 0)
		return rc;
	if (!g->anothers && (!g->c || !g->c->domain))
		return -EINVAL;
	ioapi_ident(g->dev.f, &ident);
	if (strcmp(name, ident.bdf))
		return -ENODEV;
	return vfio_device_open(&g->dev, g->anothers ? NULL : g->c->domain);
}

static const struct ioctl_row group_calls[] = {
	{ VFIO_GROUP_GET_STATUS,      sizeof(struct vfio_group_status), group_status },
	{ VFIO_GROUP_SET_CONTAINER,   0,                                group_set_container },
	{ VFIO_GROUP_UNSET_CONTAINER, 0,                                group_unset_container },
	{ VFIO_GROUP_GET_DEVICE_FD,   0,                                group_device_fd },
};

static long group_ioctl(struct ours *o, unsigned long req, void *arg)
{
	return IOCTL_DISPATCH(group_calls, o, req, arg);
}

static void group_released(struct ours *o)
{
	lock_take(&shim_lock);
	group_of(o)->opened = false;
	group_put(group_of(o));
	lock_drop(&shim_lock);
}

static const struct ours_ops group_ops = {
	.name = "podpci:group",
	.ioctl = group_ioctl,
	.pread = ours_no_pread,
	.pwrite = ours_no_pwrite,
	.mmap = ours_no_mmap,
	.released = group_released,
};

void vfio_device_gone(struct vfio_device *dev)
{
	group_put((struct group *)(void *)((char *)dev - offsetof(struct group, dev)));
}

static struct ioapi_func *func_of(unsigned num)
{
	struct ioapi_func *f = num <= VFIO_GROUPS_MAX ? func_numbered(num) : NULL;

	return f && func_door(f) == IOAPI_DOOR_VFIO ? f : NULL;
}

bool vfio_group_exists(const struct named *n)
{
	return func_of(n->num) != NULL;
}

static int open_group_locked(struct group *g, unsigned num, struct ioapi_func *f)
{
	int fd, rc;

	if (g->opened || vfio_device_is_open(&g->dev))
		return -EBUSY;
	*g = (struct group){ .o.ops = &group_ops };
	vfio_device_init(&g->dev, f);
	rc = func_claim(f);
	if (rc < 0)
		return rc;
	fd = fdtab_open_numbered(&g->o, num);
	if (fd < 0)
		func_unclaim(f);
	else
		g->opened = true;
	return fd;
}

int vfio_open_group(const struct named *n, int flags)
{
	struct ioapi_func *f = func_of(n->num);
	int rc;

	if (!shim_bus_open())
		return PATHS_FOREIGN;
	if (!f)
		return -ENOENT;
	rc = trap_install();
	if (rc < 0)
		return rc;
	lock_take(&shim_lock);
	rc = open_group_locked(&groups[n->num - 1], n->num, f);
	lock_drop(&shim_lock);
	return rc;
}

bool vfio_in_use(void)
{
	for (unsigned i = 0; i < VFIO_CONTAINERS_MAX; i++)
		if (containers[i].taken)
			return true;
	for (unsigned i = 0; i < VFIO_GROUPS_MAX; i++)
		if (groups[i].opened || vfio_device_is_open(&groups[i].dev))
			return true;
	return false;
}

/* ---- descriptors of another process -------------------------------------------------------- */

static int adopt_container(int fd)
{
	for (unsigned i = 0; i < VFIO_CONTAINERS_MAX; i++) {
		struct container *c = &containers[i];
		int rc;

		if (c->taken)
			continue;
		*c = (struct container){ .o.ops = &container_ops, .taken = true, .anothers = true };
		rc = fdtab_adopt_fd(&c->o, fd);
		c->taken = !rc;
		return rc;
	}
	return -EMFILE;
}

/* The group as its holder has it; a second descriptor of it finds it here already. */
static int adopt_group_of(struct group *g, struct ioapi_func *f)
{
	int rc;

	if (g->opened || vfio_device_is_open(&g->dev))
		return g->anothers ? 0 : -EBUSY;
	rc = func_join(f);
	if (rc < 0)
		return rc;
	*g = (struct group){ .o.ops = &group_ops, .anothers = true };
	vfio_device_init(&g->dev, f);
	return 0;
}

static int adopt_group(unsigned num, int fd)
{
	struct ioapi_func *f = func_of(num);
	int rc = f ? adopt_group_of(&groups[num - 1], f) : -ENOENT;

	if (rc < 0)
		return rc;
	rc = fdtab_adopt_fd(&groups[num - 1].o, fd);
	if (!rc)
		groups[num - 1].opened = true;
	else
		group_put(&groups[num - 1]);
	return rc;
}

static int adopt_device(unsigned num, int fd)
{
	struct ioapi_func *f = func_of(num);
	struct group *g = &groups[num - 1];
	int rc = f ? adopt_group_of(g, f) : -ENOENT;

	if (rc < 0)
		return rc;
	rc = vfio_device_adopt(&g->dev, fd);
	if (rc < 0)
		group_put(g);
	return rc;
}

static const struct kind {
	const char *prefix;		/* of the placeholder's name */
	bool        numbered;
} kinds[] = {
	{ "/memfd:podpci:container", false },
	{ "/memfd:podpci:group:",    true },
	{ "/memfd:podpci:device:",   true },
};

static int adopt_locked(unsigned kind, unsigned num, int fd)
{
	if (kind == 0)
		return adopt_container(fd);
	if (!num || num > VFIO_GROUPS_MAX)
		return -ENOENT;
	return kind == 1 ? adopt_group(num, fd) : adopt_device(num, fd);
}

/* "NUM (deleted)", as the kernel prints a memfd. */
static unsigned number_at(const char *text)
{
	unsigned num = 0;

	for (unsigned i = 0; i < 3 && text[i] >= '0' && text[i] <= '9'; i++)
		num = num * 10 + (unsigned)(text[i] - '0');
	return num;
}

void vfio_adopt(int fd)
{
	char link[40], name[64];
	long n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = sys_call(SYS_readlink, link, name, sizeof(name) - 1);
	if (n <= 0 || fdtab_get(fd))
		return;
	name[n] = '\0';
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].prefix);

		if (strncmp(name, kinds[i].prefix, len) || !shim_bus() || trap_install() < 0)
			continue;
		lock_take(&shim_lock);
		adopt_locked(i, kinds[i].numbered ? number_at(name + len) : 0, fd);
		lock_drop(&shim_lock);
	}
}
