// SPDX-License-Identifier: Apache-2.0
// app_dev.c - the control socket of a process with devices, asked as `podpci dev` asks.
// pkg-config: json-c
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>	/* pthread_create() is the loop's: this test runs under TSan too */
#include <string.h>
#include <sys/stat.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "include/ctlapi.h"
#include "include/ioapi.h"
#include "sim/app/sim.h"
#include "sim/app/sysfs.h"
#include "sim/core/err.h"
#include "tests/unit/cu.h"

struct rig {
	char dir[32], socket[64], trace[48];
	struct ioapi_bus  *bus;
	struct ioapi_func *f;
	struct ctl *c;
	struct ctl_rows *rows;
	struct err e;
};

/* Two devices; the first one is opened. */
static void up(struct rig *r)
{
	char conf[64], text[512];
	FILE *f;

	memset(r, 0, sizeof(*r));
	strcpy(r->dir, "/tmp/app_dev.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(r->dir));
	snprintf(conf, sizeof(conf), "%s/conf", r->dir);
	snprintf(r->trace, sizeof(r->trace), "%s/trace", r->dir);
	snprintf(r->socket, sizeof(r->socket), "%s/%d.ctl", r->dir, getpid());
	snprintf(text, sizeof(text), "net socket=/none,wait=0,mac=52:54:00:00:00:01\n"
		 "net socket=/none,wait=0,queues=4,mode=legacy\noption ctl=%s\noption trace=%s\n",
		 r->dir, r->trace);
	f = fopen(conf, "w");
	fputs(text, f);
	fclose(f);
	CU_EQ_FATAL(ioapi_bus_open(&r->bus, conf, &r->e), 0);
	unlink(conf);
	CU_EQ(access(r->socket, F_OK), -1);	/* nobody drives anything yet */
	r->f = ioapi_bus_func(r->bus, 0);
	CU_EQ_FATAL(ioapi_open(r->f, &r->e), 0);
	CU_EQ_FATAL(ctl_open(&r->c, r->socket, 5000, &r->e), 0);
}

static void down(struct rig *r)
{
	ctl_rows_free(r->rows);
	ctl_close(r->c);
	ioapi_bus_close(r->bus);
	CU_EQ(access(r->socket, F_OK), -1);
	unlink(r->trace);
	CU_EQ(rmdir(r->dir), 0);
}

/* "dev list net0": the return code; rows are in r. */
static int ask(struct rig *r, const char *line)
{
	const char *words[16];
	char copy[128], *rest = NULL;
	unsigned n = 0;

	ctl_rows_free(r->rows);
	r->rows = NULL;
	strcpy(copy, line);
	for (char *w = strtok_r(copy, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
		words[n++] = w;
	return ctl_call(r->c, words, n, &r->rows, &r->e);
}

static const char *field(struct rig *r, size_t row, const char *name)
{
	static char buf[256];
	const char *s = ctl_rows_get(r->rows, row, name, buf, sizeof(buf));

	return s ? s : "";
}

static void the_socket_is_there_while_a_device_is_open(void)
{
	unsigned before = fds_open();
	struct stat st;
	struct rig r;

	up(&r);
	CU_EQ(stat(r.socket, &st), 0);
	CU_EQ(st.st_mode & 0777, 0600);
	ioapi_close(r.f);
	CU_EQ(access(r.socket, F_OK), -1);
	CU_EQ(ioapi_open(r.f, &r.e), 0);
	CU_EQ(access(r.socket, F_OK), 0);
	/* A process that just ends leaves none behind. */
	ioapi_bus_exit(r.bus);
	CU_EQ(access(r.socket, F_OK), -1);
	down(&r);
	CU_EQ(fds_open(), before);
}

static void devices_are_listed_and_shown(void)
{
	struct rig r;

	up(&r);
	CU_EQ(ask(&r, "dev list"), 0);
	CU_EQ(ctl_rows_count(r.rows), 2);
	CU_ASSERT_STRING_EQUAL(field(&r, 0, "name"), "net0");
	CU_ASSERT_STRING_EQUAL(field(&r, 0, "state"), "open");
	CU_ASSERT_STRING_EQUAL(field(&r, 0, "mac"), "52:54:00:00:00:01");
	CU_ASSERT_STRING_EQUAL(field(&r, 0, "link"), "down");
	CU_ASSERT_STRING_EQUAL(field(&r, 1, "mode"), "legacy");
	CU_ASSERT_STRING_EQUAL(field(&r, 1, "state"), "free");
	CU_EQ(ask(&r, "dev show net1"), 0);
	CU_EQ(ctl_rows_count(r.rows), 1);
	CU_ASSERT_STRING_EQUAL(field(&r, 0, "pairs_max"), "4");
	CU_EQ(ask(&r, "dev show 00:05.0"), 0);
	CU_ASSERT_STRING_EQUAL(field(&r, 0, "name"), "net1");
	CU_EQ(ask(&r, "dev show net7"), -ENOENT);
	CU_ASSERT_STRING_EQUAL(r.e.msg, "there is no device net7");
	CU_EQ(ask(&r, "port show"), -EOPNOTSUPP);
	down(&r);
}

/* Row of the list with this text in a field, or -1. */
static int row_with(struct rig *r, const char *name, const char *text)
{
	for (size_t i = 0; i < ctl_rows_count(r->rows); i++)
		if (!strcmp(field(r, i, name), text))
			return (int)i;
	return -1;
}

static void registers_are_told_by_name_and_not_disturbed(void)
{
	struct rig r;
	int at;

	up(&r);
	CU_EQ(ioapi_write(r.f, IOAPI_BAR4, 0x14, 1, 3), 0);
	CU_EQ(ask(&r, "dev regs net0"), 0);
	at = row_with(&r, "register", "virtio-pci.common.device_status");
	CU_ASSERT_FATAL(at >= 0);
	CU_ASSERT_STRING_EQUAL(field(&r, (size_t)at, "value"), "0x3");
	CU_ASSERT_STRING_EQUAL(field(&r, (size_t)at, "means"), "ACK|DRIVER");
	CU_ASSERT_STRING_EQUAL(field(&r, (size_t)at, "at"), "bar4+0x14");
	/* Reading the ISR would clear it. */
	at = row_with(&r, "register", "virtio-pci.isr.isr_status");
	CU_ASSERT_FATAL(at >= 0);
	CU_ASSERT_STRING_EQUAL(field(&r, (size_t)at, "value"), "-");
	CU_EQ(ask(&r, "dev regs net1"), 0);
	CU_ASSERT(row_with(&r, "register", "virtio-pci.legacy.queue_pfn") >= 0);
	down(&r);
}

static void counters_and_features_are_told(void)
{
	uint64_t val;
	struct rig r;

	up(&r);
	ioapi_read(r.f, IOAPI_CONFIG, 0, 4, &val);
	CU_EQ(ask(&r, "dev stats"), 0);
	CU_EQ(ctl_rows_count(r.rows), 2);
	CU_EQ(ask(&r, "dev features net0"), 0);
	CU_ASSERT(row_with(&r, "feature", "MRG_RXBUF") >= 0);
	CU_ASSERT(row_with(&r, "feature", "RING_PACKED") >= 0);
	down(&r);
}

static void accesses_are_followed_live_and_in_the_file(void)
{
	char line[256] = "", text[4096] = "", ask_next[64];
	struct rig r;
	uint64_t val;
	FILE *f;

	up(&r);
	CU_EQ(ask(&r, "dev trace net0"), 0);
	CU_ASSERT_PTR_NULL(ctl_rows_item(r.rows, 0, "line", 0, line, sizeof(line)));
	snprintf(ask_next, sizeof(ask_next), "dev trace name net0 after %s", field(&r, 0, "after"));
	ioapi_write(r.f, IOAPI_BAR4, 0x14, 1, 1);
	ioapi_read(r.f, IOAPI_BAR4, 0x12, 2, &val);
	ioapi_write(r.f, IOAPI_BAR4, 0x12, 2, 7);
	CU_EQ(ask(&r, ask_next), 0);
	CU_ASSERT_PTR_NOT_NULL(ctl_rows_item(r.rows, 0, "line", 0, line, sizeof(line)));
	CU_ASSERT_PTR_NOT_NULL(strstr(line, " net0 write bar4 0x14 1 0x1 "
				      "virtio-pci.common.device_status ACK"));
	ctl_rows_item(r.rows, 0, "line", 1, line, sizeof(line));
	CU_ASSERT_PTR_NOT_NULL(strstr(line, " net0 read bar4 0x12 2 0x3 "
				      "virtio-pci.common.num_queues"));
	ctl_rows_item(r.rows, 0, "line", 3, line, sizeof(line));
	CU_ASSERT_PTR_NOT_NULL(strstr(line, " net0 refused bar4 0x12 2 0x7 "
				      "virtio-pci.common.num_queues refused -1"));
	f = fopen(r.trace, "r");
	CU_ASSERT_FATAL(f && fread(text, 1, sizeof(text) - 1, f) > 0);
	fclose(f);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, " net0 open\n"));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, " net0 read bar4 0x12 2 0x3 "));
	down(&r);
}

static void devices_are_plugged_in_and_out(void)
{
	struct ioapi_func *f;
	uint64_t val;
	struct rig r;
	int req;

	up(&r);
	CU_EQ(ask(&r, "dev add net9 socket /tmp/x queues 2 queue-size 512"), 0);
	f = ioapi_bus_find(r.bus, "0000:00:06.0");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_EQ(ask(&r, "dev show net9"), 0);
	CU_ASSERT_STRING_EQUAL(field(&r, 0, "pairs_max"), "2");
	CU_EQ(ask(&r, "dev add net9 socket /tmp/y"), -EEXIST);
	CU_EQ(ask(&r, "dev add net8 socket y"), -EINVAL);
	CU_EQ(ask(&r, "dev add net8 socket /y queue-size 77"), -EINVAL);
	CU_EQ(ask(&r, "dev del net9"), 0);
	CU_ASSERT_PTR_NULL(ioapi_bus_find(r.bus, "0000:00:06.0"));
	CU_EQ(ioapi_open(f, &r.e), -ENODEV);
	/* Its address is free again. */
	CU_EQ(ask(&r, "dev add net9 socket /tmp/x"), 0);
	CU_ASSERT(ioapi_bus_find(r.bus, "0000:00:06.0") != f);
	/* A driver is asked first, and may take its time. */
	req = eventfd(0, EFD_NONBLOCK);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_REQ, 0, 1, &req), 0);
	CU_EQ(ask(&r, "dev del net0"), 0);
	CU_EQ(read(req, &val, sizeof(val)), sizeof(val));
	CU_EQ(ask(&r, "dev list net0"), 0);
	CU_ASSERT_STRING_EQUAL(field(&r, 0, "state"), "leaving");
	CU_EQ(ioapi_read(r.f, IOAPI_BAR4, 0x14, 1, &val), 0);
	CU_EQ(ask(&r, "dev del net0 force on"), 0);
	CU_EQ(ioapi_read(r.f, IOAPI_BAR4, 0x14, 1, &val), -ENODEV);
	CU_EQ(val, UINT64_MAX);
	CU_ASSERT_PTR_NULL(ioapi_bus_find(r.bus, "0000:00:04.0"));
	ioapi_close(r.f);
	close(req);
	down(&r);
}

/* ---- devices that processes share by their sysfs ------------------------------------------- */

struct shared {
	char dir[32], conf[64];
	struct ioapi_bus *one, *other;
	struct err e;
};

/* Two buses of one tree, as two processes of a container have them. */
static void shared_up(struct shared *s)
{
	struct ioapi_bus *bus = NULL;
	struct config c;
	int fd;

	memset(s, 0, sizeof(*s));
	strcpy(s->dir, "/tmp/app_dev.XXXXXX");
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(s->dir));
	snprintf(s->conf, sizeof(s->conf), "%s/bus/pci/podpci.conf", s->dir);
	config_init(&c);
	CU_EQ(config_add_net(&c, "socket=/a", NULL), 0);
	CU_EQ(config_option(&c, "coalesce=off", NULL), 0);
	CU_EQ(config_finish(&c, NULL), 0);
	CU_EQ(sim_new(&bus, &c, NULL), 0);
	fd = open(s->dir, O_RDONLY | O_DIRECTORY);
	CU_EQ(sysfs_render(bus, &c, fd, (uid_t)-1, &s->e), 0);
	close(fd);
	ioapi_bus_close(bus);
	CU_EQ_FATAL(ioapi_bus_open(&s->one, s->conf, &s->e), 0);
	CU_EQ_FATAL(ioapi_bus_open(&s->other, s->conf, &s->e), 0);
}

static void shared_down(struct shared *s)
{
	char cmd[64];

	ioapi_bus_close(s->one);
	ioapi_bus_close(s->other);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", s->dir);
	CU_EQ(system(cmd), 0);
}

static unsigned files(const struct shared *s)
{
	char cmd[96];
	unsigned n = 0;
	FILE *f;

	snprintf(cmd, sizeof(cmd), "find %s | wc -l", s->dir);
	f = popen(cmd, "r");
	CU_EQ(fscanf(f, "%u", &n), 1);
	pclose(f);
	return n;
}

static bool shown(const struct shared *s, const char *file)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", s->dir, file);
	return !access(path, F_OK);
}

static void what_is_plugged_in_is_in_sysfs_until_it_goes(void)
{
	unsigned before, fds = fds_open();
	struct ioapi_func *f;
	struct shared s;

	shared_up(&s);
	before = files(&s);
	for (unsigned i = 0; i < 70; i++) {	/* more often than there are numbers */
		CU_EQ_FATAL(ioapi_bus_add(s.one, "id=n,socket=/n,bdf=0000:00:09.0", &f, &s.e), 0);
		CU_ASSERT(shown(&s, "bus/pci/devices/0000:00:09.0/iommu_group/type"));
		CU_ASSERT(shown(&s, "bus/pci/drivers/vfio-pci/0000:00:09.0/vendor"));
		CU_EQ(ioapi_bus_del(f, false, &s.e), 0);
	}
	CU_EQ(files(&s), before);
	/* Its driver finds all of it until it lets go. */
	CU_EQ(ioapi_bus_add(s.one, "id=n,socket=/n,bdf=0000:00:09.0,wait=0", &f, &s.e), 0);
	CU_EQ(ioapi_open(f, &s.e), 0);
	CU_EQ(ioapi_bus_del(f, false, &s.e), 0);
	CU_ASSERT(shown(&s, "bus/pci/devices/0000:00:09.0/iommu_group/type"));
	ioapi_close(f);
	CU_EQ(files(&s), before);
	shared_down(&s);
	CU_EQ(fds_open(), fds);
}

static void other_processes_follow(void)
{
	struct ioapi_ident one, other;
	struct ioapi_bus *late = NULL;
	struct ioapi_func *f, *g;
	struct shared s;

	shared_up(&s);
	CU_EQ(ioapi_bus_add(s.one, "id=n,socket=/n,queues=2", &f, &s.e), 0);
	ioapi_ident(f, &one);
	CU_ASSERT_PTR_NULL(ioapi_bus_find(s.other, one.bdf));
	ioapi_bus_scan(s.other);
	g = ioapi_bus_find(s.other, one.bdf);
	CU_ASSERT_PTR_NOT_NULL_FATAL(g);
	ioapi_ident(g, &other);
	CU_EQ(memcmp(&one, &other, sizeof(one)), 0);
	CU_EQ(ioapi_bus_flag(s.other, "coalesce"), 0);	/* theirs stay theirs */
	/* One that comes later, and one that adds: places are taken. */
	CU_EQ(ioapi_bus_open(&late, s.conf, &s.e), 0);
	CU_ASSERT_PTR_NOT_NULL(ioapi_bus_find(late, one.bdf));
	CU_EQ(ioapi_bus_add(late, "id=n,socket=/m", &f, &s.e), -EEXIST);
	CU_EQ(ioapi_bus_add(late, "id=m,socket=/m", &f, &s.e), 0);
	ioapi_ident(f, &other);
	CU_ASSERT_STRING_EQUAL(other.bdf, "0000:00:06.0");
	CU_EQ(other.number, one.number + 1);
	/* Whoever takes one off: it is gone for all, a configured one too. */
	CU_EQ(ioapi_bus_del(g, false, &s.e), 0);
	CU_EQ(ioapi_bus_del(ioapi_bus_func(s.other, 0), false, &s.e), 0);
	ioapi_bus_scan(s.one);
	CU_ASSERT_PTR_NULL(ioapi_bus_find(s.one, one.bdf));
	CU_ASSERT_PTR_NULL(ioapi_bus_find(s.one, "0000:00:04.0"));
	CU_ASSERT_PTR_NOT_NULL(ioapi_bus_find(s.one, other.bdf));
	ioapi_bus_close(late);
	shared_down(&s);
}

static void a_device_nobody_vouches_for_is_none(void)
{
	static const char *const bad[] = {
		"", "net socket=/x,bdf=0000:00:07.0\n", "# number 0 uio 0\nnet socket=/x\n",
		"# number 65 uio 0\nnet socket=/x,bdf=0000:00:07.0\n",
		"# number 1 uio 0\nnet socket=/x,bdf=0000:00:07.0\n",	/* another's number */
		"# number 9 uio 0\nnet socket=/x,bdf=0000:00:08.0\n",	/* another's place */
		"# number 9 uio 0\nnet socket=/x,id=net0,bdf=0000:00:07.0\n",
		"# number 9 uio 0\noption coalesce=on\n", "# number 9 uio 0\nnet mtu=1\n",
	};
	char path[128];
	struct shared s;
	FILE *f;

	shared_up(&s);
	snprintf(path, sizeof(path), "%s/bus/pci/devices/0000:00:07.0", s.dir);
	CU_EQ(mkdir(path, 0755), 0);
	ioapi_bus_scan(s.one);
	strcat(path, "/podpci.net");
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		f = fopen(path, "w");
		fputs(bad[i], f);
		fclose(f);
		ioapi_bus_scan(s.one);
		CU_ASSERT_PTR_NULL(ioapi_bus_func(s.one, 1));
		CU_EQ(ioapi_bus_flag(s.one, "coalesce"), 0);
	}
	f = fopen(path, "w");
	fputs("# number 9 uio 0\nnet socket=/x,bdf=0000:00:07.0\n", f);
	fclose(f);
	if (!getuid()) {	/* of a stranger */
		CU_EQ(chown(path, 12345, 12345), 0);
		ioapi_bus_scan(s.one);
		CU_ASSERT_PTR_NULL(ioapi_bus_func(s.one, 1));
		CU_EQ(chown(path, 0, 0), 0);
	}
	ioapi_bus_scan(s.one);
	CU_ASSERT_PTR_NOT_NULL(ioapi_bus_func(s.one, 1));
	shared_down(&s);
}

static void a_child_leaves_the_socket_to_its_parent(void)
{
	int status = 1;
	struct rig r;
	pid_t pid;

	up(&r);
	pid = fork();
	if (!pid) {
		ioapi_bus_orphan(r.bus);
		ioapi_bus_close(r.bus);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	CU_EQ(status, 0);
	CU_EQ(access(r.socket, F_OK), 0);
	CU_EQ(ask(&r, "dev list"), 0);
	down(&r);
}

CU_MAIN("app/dev",
	T(the_socket_is_there_while_a_device_is_open),
	T(devices_are_listed_and_shown),
	T(registers_are_told_by_name_and_not_disturbed),
	T(counters_and_features_are_told),
	T(accesses_are_followed_live_and_in_the_file),
	T(devices_are_plugged_in_and_out),
	T(what_is_plugged_in_is_in_sysfs_until_it_goes),
	T(other_processes_follow),
	T(a_device_nobody_vouches_for_is_none),
	T(a_child_leaves_the_socket_to_its_parent))
