// SPDX-License-Identifier: Apache-2.0
// app_sim.c - a configuration file becomes a bus, and the bus becomes files.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/ioapi.h"
#include "sim/app/config.h"
#include "sim/app/sim.h"
#include "sim/app/sysfs.h"
#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "tests/unit/cu.h"

#define FAULTS_MAX 1000		/* of one open: ends a loop that would not */

/* Opens a bus from text through a file; the file is gone afterwards. */
static int open_text(struct ioapi_bus **bus, const char *text, struct err *e)
{
	char path[] = "/tmp/app_sim.XXXXXX";
	int fd = mkstemp(path), rc;

	CU_EQ(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	rc = ioapi_bus_open(bus, path, e);
	unlink(path);
	return rc;
}

static void devices_appear_in_address_order_as_configured(void)
{
	static const struct {
		const char *bdf, *id;
		unsigned device, subsys, revision;
		bool io, mem;			/* BAR0 and BAR4, the legacy and the modern door */
	} want[] = {
		{ "0000:00:04.0", "a", 0x1041, 0x1100, 1, false, true },
		{ "0000:00:05.0", "b", 0x1000, 0x0001, 0, true, false },
		{ "0000:00:06.0", "c", 0x1000, 0x0001, 0, true, true },
	};
	struct ioapi_region r;
	struct ioapi_bus *bus = NULL;
	struct err e = { 0 };

	CU_EQ(open_text(&bus, "net socket=/c,id=c,bdf=00:06.0,mode=transitional\n"
			"net socket=/a,id=a\nnet socket=/b,id=b,mode=legacy\n", &e), 0);
	for (unsigned i = 0; bus && i < ARRAY_SIZE(want); i++) {
		struct ioapi_ident id = { .bdf = "" };

		ioapi_ident(ioapi_bus_func(bus, i), &id);
		CU_ASSERT_STRING_EQUAL(id.bdf, want[i].bdf);
		CU_ASSERT_STRING_EQUAL(id.id, want[i].id);
		CU_EQ(id.vendor, 0x1af4);
		CU_EQ(id.device, want[i].device);
		CU_EQ(id.subsys_vendor, 0x1af4);
		CU_EQ(id.subsys_device, want[i].subsys);
		CU_EQ(id.revision, want[i].revision);
		CU_EQ(id.class, 0x020000);
		CU_EQ(ioapi_region(ioapi_bus_func(bus, i), IOAPI_BAR0, &r), 0);
		CU_EQ(r.size > 0, want[i].io);
		CU_EQ(ioapi_region(ioapi_bus_func(bus, i), IOAPI_BAR4, &r), 0);
		CU_EQ(r.size > 0, want[i].mem);
	}
	CU_ASSERT_PTR_NULL(ioapi_bus_func(bus, 3));
	ioapi_bus_close(bus);
}

static void flags_are_the_options_of_the_file(void)
{
	struct ioapi_bus *bus = NULL;

	CU_EQ(open_text(&bus, "option coalesce=off\n", NULL), 0);
	CU_EQ(ioapi_bus_flag(bus, "coalesce"), 0);
	CU_EQ(ioapi_bus_flag(bus, "pagemap"), 1);
	CU_EQ(ioapi_bus_flag(bus, "magic"), -ENOENT);
	ioapi_bus_close(bus);
}

static void a_wrong_file_gives_no_bus(void)
{
	struct ioapi_bus *bus = NULL;
	unsigned before = fds_open();
	struct err e = { 0 };

	CU_EQ(open_text(&bus, "net socket=/a,id=x\nnet socket=/b,id=x\n", &e), -EEXIST);
	CU_ASSERT_PTR_NULL(bus);
	CU_ASSERT_STRING_EQUAL(e.msg, "id=x is given to two devices");
	CU_EQ(ioapi_bus_open(&bus, "/nowhere", &e), -ENOENT);
	CU_ASSERT_PTR_NULL(bus);
	CU_EQ(fds_open(), before);
}

static void each_missing_resource_is_told_and_nothing_leaks(void)
{
	unsigned before = fds_open(), n = 1;

	for (; n < FAULTS_MAX; n++) {
		struct ioapi_bus *bus = NULL;
		struct err e = { 0 };
		int rc;

		fault_arm(n);
		rc = open_text(&bus, "net socket=/a\nnet socket=/b,queues=4,mode=transitional\n",
			       &e);
		if (fault_armed()) {
			fault_arm(0);
			CU_EQ(rc, 0);
			ioapi_bus_close(bus);
			break;
		}
		CU_ASSERT_TRUE(rc < 0);
		CU_EQ(e.code, rc);
		CU_ASSERT_TRUE(strlen(e.msg) > 5);
		CU_ASSERT_PTR_NULL(bus);
		CU_EQ(fds_open(), before);
	}
	CU_ASSERT_TRUE(n > 5 && n < FAULTS_MAX);
	CU_EQ(fds_open(), before);
}

struct tree {
	struct ioapi_bus *bus;
	struct config     c;
	char              path[32];
	int               dirfd;
};

static int tree_up(struct tree *t, const char *net)
{
	struct err e;

	*t = (struct tree){ .dirfd = -1, .path = "/tmp/app_sim.XXXXXX" };
	config_init(&t->c);
	CU_EQ(config_add_net(&t->c, net, NULL), 0);
	CU_EQ(config_finish(&t->c, NULL), 0);
	CU_EQ(sim_new(&t->bus, &t->c, NULL), 0);
	CU_ASSERT_PTR_NOT_NULL(mkdtemp(t->path));
	t->dirfd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return sysfs_render(t->bus, &t->c, t->dirfd, (uid_t)-1, &e);
}

static void tree_down(struct tree *t)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", t->path);
	CU_EQ(system(cmd), 0);
	close(t->dirfd);
	ioapi_bus_close(t->bus);
}

static const char *file_text(const struct tree *t, const char *name)
{
	static char text[4096];
	int fd = openat(t->dirfd, name, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	text[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static void the_resource_file_covers_what_the_regions_hold(void)
{
	unsigned long long start, end, flags;
	struct ioapi_region r;
	const char *line;
	struct tree t;
	unsigned i;

	CU_EQ(tree_up(&t, "socket=/a,queues=3,mode=transitional"), 0);
	line = file_text(&t, "bus/pci/devices/0000:00:04.0/resource");
	for (i = 0; line && *line; i++) {
		CU_EQ(sscanf(line, "0x%llx 0x%llx 0x%llx\n", &start, &end, &flags), 3);
		r.size = 0;
		if (i < IOAPI_ROM)
			CU_EQ(ioapi_region(ioapi_bus_func(t.bus, 0), i, &r), 0);
		CU_EQ(flags ? end - start + 1 : 0, r.size);
		CU_EQ(!!(flags & 0x100), !!(r.size && (r.flags & IOAPI_F_PIO)));
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	CU_EQ(i, 13);
	tree_down(&t);
}

static void the_config_file_is_what_a_driver_reads(void)
{
	uint8_t bytes[257];
	struct tree t;
	int fd;

	CU_EQ(tree_up(&t, "socket=/a"), 0);
	fd = openat(t.dirfd, "bus/pci/devices/0000:00:04.0/config", O_RDONLY);
	CU_EQ(read(fd, bytes, sizeof(bytes)), 256);
	close(fd);
	for (unsigned off = 0; off < 256; off++) {
		uint64_t val = 0;

		CU_EQ(ioapi_read(ioapi_bus_func(t.bus, 0), IOAPI_CONFIG, off, 1, &val), 0);
		CU_EQ(bytes[off], val);
	}
	tree_down(&t);
}

static void a_directory_in_use_is_refused(void)
{
	struct err e = { 0 };
	struct tree t;

	CU_EQ(tree_up(&t, "socket=/a"), 0);
	CU_EQ(sysfs_render(t.bus, &t.c, t.dirfd, (uid_t)-1, &e), -EEXIST);
	CU_ASSERT_STRING_EQUAL(e.msg, "mkdir bus: File exists");
	tree_down(&t);
}

static unsigned mounts_there(const char *net)
{
	const struct sysfs_mount *m;
	struct tree t;
	struct stat st;
	unsigned n = 0;

	CU_EQ(tree_up(&t, net), 0);
	for (unsigned i = 0; (m = sysfs_mount(i)); i++) {
		CU_EQ(strncmp(m->target, "/sys/", 5), 0);
		if (fstatat(t.dirfd, m->source, &st, 0)) {
			CU_ASSERT_TRUE(m->optional);
			continue;
		}
		CU_ASSERT_TRUE(S_ISDIR(st.st_mode));
		n++;
	}
	tree_down(&t);
	return n;
}

static void mounts_cover_bus_modules_groups_and_where_used_uio(void)
{
	CU_EQ(mounts_there("socket=/a"), 3);
	CU_EQ(mounts_there("socket=/a,door=sysfs"), 3);
	CU_EQ(mounts_there("socket=/a,door=uio"), 4);
}

CU_MAIN("app/sim",
	T(devices_appear_in_address_order_as_configured),
	T(flags_are_the_options_of_the_file),
	T(a_wrong_file_gives_no_bus),
	T(each_missing_resource_is_told_and_nothing_leaks),
	T(the_resource_file_covers_what_the_regions_hold),
	T(the_config_file_is_what_a_driver_reads),
	T(a_directory_in_use_is_refused),
	T(mounts_cover_bus_modules_groups_and_where_used_uio))
