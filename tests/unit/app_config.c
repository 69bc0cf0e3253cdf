// SPDX-License-Identifier: Apache-2.0
// app_config.c - the grammar of --net and of configuration files.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/app/config.h"
#include "sim/core/err.h"
#include "tests/unit/cu.h"

static struct config conf(void)
{
	struct config c;

	config_init(&c);
	return c;
}

#define EXPECT_TEXT(got, want) \
	do { \
		if (strcmp(got, want)) \
			fprintf(stderr, "\n    line %d: got  %s\n    want %s", __LINE__, got, \
				want); \
		CU_ASSERT_STRING_EQUAL(got, want); \
	} while (0)

static void wrong_nets_are_refused_with_the_law_they_break(void)
{
	static const struct { const char *text, *msg; int rc; } bad[] = {
		{ "socket", "socket: needs a value, socket=...: a path", -EINVAL },
		{ "socket=", "socket=: must be a path", -EINVAL },
		{ "socket= /x", "socket: must not begin or end with a blank", -EINVAL },
		{ "socket=/x\t", "socket: must not hold control characters", -EINVAL },
		{ "socket=/s,queue-size=300",
		  "queue-size=300: must be a power of two from 64 to 32768", -EINVAL },
		{ "socket=/s,queue-size=32",
		  "queue-size=32: must be a power of two from 64 to 32768", -EINVAL },
		{ "socket=/s,queue-size=65536",
		  "queue-size=65536: must be a power of two from 64 to 32768", -EINVAL },
		{ "socket=/s,queues=0", "queues=0: must be a number from 1 to 128", -EINVAL },
		{ "socket=/s,queues=129", "queues=129: must be a number from 1 to 128", -EINVAL },
		{ "socket=/s,queues=4294967297",
		  "queues=4294967297: must be a number from 1 to 128", -EINVAL },
		{ "socket=/s,queues=99999999999999999999",
		  "queues=99999999999999999999: must be a number from 1 to 128", -EINVAL },
		{ "socket=/s,queues=18446744073709551617",
		  "queues=18446744073709551617: must be a number from 1 to 128", -EINVAL },
		{ "socket=/s,queues=-1", "queues=-1: must be a number from 1 to 128", -EINVAL },
		{ "socket=/s,queues=1x", "queues=1x: must be a number from 1 to 128", -EINVAL },
		{ "socket=/s,queues=", "queues=: must be a number from 1 to 128", -EINVAL },
		{ "socket=/s,mtu=67", "mtu=67: must be a number from 68 to 65535", -EINVAL },
		{ "socket=/s,speed=0", "speed=0: must be a number from 1 to 2147483647", -EINVAL },
		{ "socket=/s,duplex=both", "duplex=both: must be full or half", -EINVAL },
		{ "socket=/s,mtu=65536", "mtu=65536: must be a number from 68 to 65535", -EINVAL },
		{ "socket=/s,timeout=5", "timeout=5: must be milliseconds from 10 to 60000",
		  -EINVAL },
		{ "socket=/s,mode=new", "mode=new: must be modern, transitional or legacy",
		  -EINVAL },
		{ "socket=/s,packed=yes", "packed=yes: must be on or off", -EINVAL },
		{ "socket=/s,id=a b",
		  "id=a b: must be 1 to 31 letters, digits, '_', '.' or '-'", -EINVAL },
		{ "socket=/s,id=abcdefghijklmnopqrstuvwxyz012345",
		  "id=abcdefghijklmnopqrstuvwxyz012345: must be 1 to 31 letters, digits, '_', '.' "
		  "or '-'", -EINVAL },
		{ "socket=/s,mac=52:54:00:12:34",
		  "mac=52:54:00:12:34: must be a unicast address such as 52:54:00:12:34:56",
		  -EINVAL },
		{ "socket=/s,mac=53:54:00:12:34:56",
		  "mac=53:54:00:12:34:56: must be a unicast address such as 52:54:00:12:34:56",
		  -EINVAL },
		{ "socket=/s,mac=00:00:00:00:00:00",
		  "mac=00:00:00:00:00:00: must be a unicast address such as 52:54:00:12:34:56",
		  -EINVAL },
		{ "socket=/s,mac=52:54:00:12:34:56:78",
		  "mac=52:54:00:12:34:56:78: must be a unicast address such as 52:54:00:12:34:56",
		  -EINVAL },
		{ "socket=/s,bdf=4", "bdf=4: must be a PCI address such as 0000:00:04.0", -EINVAL },
		{ "socket=/s,bdf=00:20.0",
		  "bdf=00:20.0: must be a PCI address such as 0000:00:04.0", -EINVAL },
		{ "socket=/s,bdf=00:04.8",
		  "bdf=00:04.8: must be a PCI address such as 0000:00:04.0", -EINVAL },
		{ "socket=/s,bdf=0000:00:04.0x",
		  "bdf=0000:00:04.0x: must be a PCI address such as 0000:00:04.0", -EINVAL },
		{ "socket=/s,Queues=2",
		  "Queues: unknown key; there are socket, tap, server, id, bdf, mac, "
		  "mac-fixed, queues, queue-size, mode, door, packed, mrg, mtu, speed, "
		  "duplex, filters, host-notifier, timeout, wait",
		  -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct config c = conf();
		struct err e = { 0 };

		CU_EQ(config_add_net(&c, bad[i].text, &e), bad[i].rc);
		CU_EQ(c.nets, 0);
		EXPECT_TEXT(e.msg, bad[i].msg);
	}
}

static void a_device_without_a_socket_is_whole_only_if_it_may_get_one_later(void)
{
	struct config c = conf();
	struct err e = { 0 };

	CU_EQ(config_add_net(&c, "queues=2", &e), 0);
	CU_EQ(config_add_net(&c, "", &e), 0);
	CU_EQ(config_finish(&c, &e), -EINVAL);
	EXPECT_TEXT(e.msg, "net0: socket=PATH is missing");
	c.sockets_later = true;
	CU_EQ(config_finish(&c, &e), 0);
	strcpy(c.net[0].socket, "/a");
	strcpy(c.net[1].socket, "/b");
	c.sockets_later = false;
	CU_EQ(config_finish(&c, &e), 0);
	CU_ASSERT(c.net[0].mac[0] && c.net[1].mac[0]);
	CU_ASSERT(memcmp(c.net[0].mac, c.net[1].mac, 6) != 0);
}

static void large_rings_are_packed_only_on_demand(void)
{
	static const struct { const char *text; bool packed; } rows[] = {
		{ "socket=/s,queue-size=1024", true }, { "socket=/s,queue-size=2048", false },
		{ "packed=on,socket=/s,queue-size=2048", true },
		{ "socket=/s,queue-size=2048,packed", true },
		{ "socket=/packed,queue-size=32768", false },
		{ "socket=/s,packed=off", false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config c = conf();

		CU_EQ(config_add_net(&c, rows[i].text, NULL), 0);
		CU_EQ(c.net[0].packed, rows[i].packed);
	}
}

static void a_socket_path_may_have_107_bytes_and_not_108(void)
{
	struct config c = conf();
	struct err e = { 0 };
	char text[200] = "socket=/";

	memset(text + 8, 'x', 106);
	CU_EQ(config_add_net(&c, text, &e), 0);
	CU_EQ(strlen(c.net[0].socket), 107);
	memset(text + 8, 'x', 107);
	CU_EQ(config_add_net(&c, text, &e), -ENAMETOOLONG);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.msg, "108 bytes long, the path of a socket may have 107"));
}

static void a_value_longer_than_any_is_refused(void)
{
	struct config c = conf();
	struct err e = { 0 };
	char text[1000] = "socket=/";

	memset(text + 8, 'x', 900);
	CU_EQ(config_add_net(&c, text, &e), -EINVAL);
	EXPECT_TEXT(e.msg, "socket: value of 901 bytes is too long");
}

static void one_device_too_many_is_refused(void)
{
	struct config c = conf();
	struct err e = { 0 };

	for (unsigned i = 0; i < CONFIG_NETS_MAX; i++)
		CU_EQ(config_add_net(&c, "socket=/s", &e), 0);
	CU_EQ(config_add_net(&c, "socket=/s", &e), -E2BIG);
	EXPECT_TEXT(e.msg, "more than 32 devices");
	CU_EQ(config_finish(&c, &e), 0);
	EXPECT_TEXT(c.net[27].bdf, "0000:00:1f.0");
	EXPECT_TEXT(c.net[28].bdf, "0000:01:00.0");
}

static void defaults_are_as_documented(void)
{
	struct config c = conf();
	char text[1024];

	CU_EQ(config_add_net(&c, "socket=/s,mac=52:54:00:00:00:01", NULL), 0);
	CU_EQ(config_finish(&c, NULL), 0);
	CU_ASSERT_TRUE(config_format(&c, text, sizeof(text)) < (int)sizeof(text));
	EXPECT_TEXT(text, "net socket=/s,server=off,id=net0,bdf=0000:00:04.0,mac=52:54:00:00:00:01,"
		    "mac-fixed=off,queues=1,queue-size=256,mode=modern,door=vfio,packed=on,mrg=on,"
		    "duplex=full,filters=off,host-notifier=off,timeout=2000,wait=1000\n"
		    "option coalesce=on\noption pagemap=on\n");
}

static void every_key_is_taken_and_later_ones_win(void)
{
	struct config c = conf();
	const struct net_config *n = &c.net[0];

	CU_EQ(config_add_net(&c, "socket=/a b,socket=/c,server,mac=52:54:00:AB:cd:ef,queues=127,"
			     "queue-size=1024,mode=legacy,packed=off,mrg=off,mtu=9000,bdf=1f:1d.7,"
			     "id=up-link_0.1,timeout=10,wait=0,door=igb_uio", NULL), 0);
	EXPECT_TEXT(n->socket, "/c");
	EXPECT_TEXT(n->bdf, "0000:1f:1d.7");
	EXPECT_TEXT(n->id, "up-link_0.1");
	CU_ASSERT_TRUE(n->server && !n->packed && !n->mrg_rxbuf);
	CU_EQ(n->pairs, 127);
	CU_EQ(n->queue_size, 1024);
	CU_EQ(n->mode, NET_LEGACY);
	CU_EQ(n->door, IOAPI_DOOR_IGB_UIO);
	CU_EQ(n->mtu, 9000);
	CU_EQ(n->timeout_ms, 10);
	CU_EQ(n->wait_ms, 0);
	CU_EQ(memcmp(n->mac, "\x52\x54\x00\xab\xcd\xef", 6), 0);
}

static void what_is_written_reads_back_the_same(void)
{
	struct config a = conf(), b = conf();
	char path[] = "/tmp/app_config.XXXXXX", first[4096], second[4096];
	struct err e = { 0 };
	int fd = mkstemp(path);

	CU_EQ(config_add_net(&a, "socket=/with blank#x,server,mtu=1500,mode=transitional", &e), 0);
	CU_EQ(config_add_net(&a, "socket=/s,queues=3,packed=off,wait=0", &e), 0);
	CU_EQ(config_option(&a, "coalesce=off", &e), 0);
	CU_EQ(config_finish(&a, &e), 0);
	CU_EQ(write(fd, first, (size_t)config_format(&a, first, sizeof(first))), strlen(first));
	close(fd);
	CU_EQ(config_load(&b, path, &e), 0);
	CU_EQ(config_finish(&b, &e), 0);
	config_format(&b, second, sizeof(second));
	EXPECT_TEXT(second, first);
	CU_EQ(config_flag(&b, "coalesce"), 0);
	CU_EQ(config_flag(&b, "pagemap"), 1);
	CU_EQ(config_flag(&b, "turbo"), -ENOENT);
	unlink(path);
}

static void format_tells_the_length_it_would_need(void)
{
	struct config c = conf();
	char text[1024], tiny[8];
	int len = config_format(&c, text, sizeof(text));

	CU_EQ(len, strlen(text));
	CU_EQ(config_format(&c, tiny, sizeof(tiny)), len);
	CU_EQ(strlen(tiny), sizeof(tiny) - 1);
	CU_EQ(config_format(&c, NULL, 0), len);
}

static void derived_macs_are_stable_local_and_distinct(void)
{
	struct config a = conf(), b = conf();

	for (unsigned i = 0; i < 3; i++)
		config_add_net(&a, "socket=/s", NULL);
	config_add_net(&b, "socket=/s", NULL);
	CU_EQ(config_finish(&a, NULL), 0);
	CU_EQ(config_finish(&b, NULL), 0);
	CU_EQ(memcmp(a.net[0].mac, b.net[0].mac, 6), 0);
	CU_EQ(a.net[0].mac[0], 2);
	CU_ASSERT_NOT_EQUAL(memcmp(a.net[0].mac, a.net[1].mac, 6), 0);
	CU_ASSERT_NOT_EQUAL(memcmp(a.net[1].mac, a.net[2].mac, 6), 0);
}

static void a_derived_mac_avoids_given_ones(void)
{
	struct config a = conf(), b = conf();
	char taken[64];
	const uint8_t *m = a.net[0].mac;

	config_add_net(&a, "socket=/s", NULL);
	CU_EQ(config_finish(&a, NULL), 0);
	snprintf(taken, sizeof(taken), "socket=/t,id=b,mac=%02x:%02x:%02x:%02x:%02x:%02x", m[0],
		 m[1], m[2], m[3], m[4], m[5]);
	config_add_net(&b, "socket=/s", NULL);
	config_add_net(&b, taken, NULL);
	CU_EQ(config_finish(&b, NULL), 0);
	CU_EQ(memcmp(b.net[1].mac, m, 6), 0);
	CU_ASSERT_NOT_EQUAL(memcmp(b.net[0].mac, m, 6), 0);
}

static void open_ids_and_addresses_avoid_taken_ones(void)
{
	struct config c = conf();

	config_add_net(&c, "socket=/s", NULL);
	config_add_net(&c, "socket=/s,id=net0,bdf=00:04.0", NULL);
	config_add_net(&c, "socket=/s", NULL);
	CU_EQ(config_finish(&c, NULL), 0);
	EXPECT_TEXT(c.net[0].id, "net1");
	EXPECT_TEXT(c.net[0].bdf, "0000:00:05.0");
	EXPECT_TEXT(c.net[2].id, "net2");
	EXPECT_TEXT(c.net[2].bdf, "0000:00:06.0");
}

static void devices_that_collide_are_refused(void)
{
	static const struct { const char *a, *b, *msg; } bad[] = {
		{ "socket=/a,id=x", "socket=/b,id=x", "id=x is given to two devices" },
		{ "socket=/a,bdf=00:07.0", "socket=/b,bdf=0000:00:07.0",
		  "net0 and net1 both ask for bdf=0000:00:07.0" },
		{ "socket=/a,mac=52:54:00:00:00:01", "socket=/b,mac=52:54:00:00:00:01",
		  "net0 and net1 both ask for mac=52:54:00:00:00:01" },
		{ "socket=/a,server", "socket=/a,server",
		  "net0 and net1 share socket=/a, where one is the server" },
		{ "socket=/a", "socket=/a,server",
		  "net0 and net1 share socket=/a, where one is the server" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct config c = conf();
		struct err e = { 0 };

		CU_EQ(config_add_net(&c, bad[i].a, &e), 0);
		CU_EQ(config_add_net(&c, bad[i].b, &e), 0);
		CU_EQ(config_finish(&c, &e), -EEXIST);
		EXPECT_TEXT(e.msg, bad[i].msg);
	}
}

static void two_clients_may_share_a_socket(void)
{
	struct config c = conf();

	config_add_net(&c, "socket=/a", NULL);
	config_add_net(&c, "socket=/a", NULL);
	CU_EQ(config_finish(&c, NULL), 0);
}

/* Writes text to a file, loads it and returns the message without the file's name. */
static const char *load(struct config *c, const char *text, size_t len, struct err *e)
{
	char path[] = "/tmp/app_config.XXXXXX";
	int fd = mkstemp(path);
	const char *colon;

	*c = conf();
	CU_EQ(write(fd, text, len), len);
	close(fd);
	config_load(c, path, e);
	unlink(path);
	colon = strstr(e->msg, path);
	return colon ? colon + strlen(path) : e->msg;
}

static void wrong_files_are_refused_with_the_line(void)
{
	static const struct { const char *text, *msg; } bad[] = {
		{ "# fine\n\nnet socket=/s\nnett socket=/t\n",
		  ":4: nett: unknown statement; there are net and option" },
		{ "net socket=/s,queues=0",
		  ":1: queues=0: must be a number from 1 to 128" },
		{ "option turbo=on\n",
		  ":1: turbo: unknown key; there are coalesce, pagemap, ctl, trace" },
		{ "option coalesce=maybe\n", ":1: coalesce=maybe: must be on or off" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = { 0 };
		struct config c;

		EXPECT_TEXT(load(&c, bad[i].text, strlen(bad[i].text), &e), bad[i].msg);
		CU_EQ(e.code, -EINVAL);
	}
}

static void blanks_comments_and_a_missing_last_newline_are_fine(void)
{
	static const char text[] = "  # indented\n\r\n\tnet   socket=/s,id=a  \t\r\nnet socket=/t";
	struct err e = { 0 };
	struct config c;

	EXPECT_TEXT(load(&c, text, strlen(text), &e), "");
	CU_EQ(c.nets, 2);
	EXPECT_TEXT(c.net[0].id, "a");
	EXPECT_TEXT(c.net[1].socket, "/t");
}

static void a_line_without_end_is_refused(void)
{
	char text[5000];
	struct err e = { 0 };
	struct config c;

	memset(text, 'x', sizeof(text));
	text[0] = '\n';
	EXPECT_TEXT(load(&c, text, sizeof(text), &e), ":2: line longer than 1023 bytes");
	CU_EQ(e.code, -E2BIG);
}

static void a_long_file_is_refused(void)
{
	static char text[8192];
	struct err e = { 0 };
	struct config c;

	memset(text, '\n', sizeof(text));
	EXPECT_TEXT(load(&c, text, sizeof(text), &e), ":4097: too many lines");
}

static void a_missing_file_and_a_directory_are_told(void)
{
	unsigned before = fds_open();
	struct config c = conf();
	struct err e = { 0 };

	CU_EQ(config_load(&c, "/nowhere/podpci.conf", &e), -ENOENT);
	EXPECT_TEXT(e.msg, "/nowhere/podpci.conf: cannot be read: No such file or directory");
	CU_EQ(config_load(&c, "/tmp", &e), -EISDIR);
	EXPECT_TEXT(e.msg, "/tmp: cannot be read: Is a directory");
	CU_EQ(fds_open(), before);
}

static void each_key_has_help(void)
{
	const char *key, *help;
	unsigned n = 0;

	for (; (help = config_help(n, &key)); n++)
		CU_ASSERT_TRUE(strlen(key) > 1 && strlen(help) > 10);
	CU_EQ(n, 20);
	for (n = 0; (help = config_option_help(n, &key)); n++)
		CU_ASSERT_TRUE(strlen(key) > 1 && strlen(help) > 10);
	CU_EQ(n, 4);
}

CU_MAIN("app/config",
	{ "B-RG-06 wrong nets are refused with the law they break",
	  wrong_nets_are_refused_with_the_law_they_break },
	T(a_device_without_a_socket_is_whole_only_if_it_may_get_one_later),
	T(large_rings_are_packed_only_on_demand),
	T(a_socket_path_may_have_107_bytes_and_not_108),
	T(a_value_longer_than_any_is_refused),
	T(one_device_too_many_is_refused),
	T(defaults_are_as_documented),
	T(every_key_is_taken_and_later_ones_win),
	T(what_is_written_reads_back_the_same),
	T(format_tells_the_length_it_would_need),
	T(derived_macs_are_stable_local_and_distinct),
	T(a_derived_mac_avoids_given_ones),
	T(open_ids_and_addresses_avoid_taken_ones),
	T(devices_that_collide_are_refused),
	T(two_clients_may_share_a_socket),
	T(wrong_files_are_refused_with_the_line),
	T(blanks_comments_and_a_missing_last_newline_are_fine),
	T(a_line_without_end_is_refused),
	T(a_long_file_is_refused),
	T(a_missing_file_and_a_directory_are_told),
	T(each_key_has_help))
