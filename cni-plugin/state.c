// SPDX-License-Identifier: Apache-2.0
// state.c - see state.h.
// pkg-config: json-c
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cni-plugin/js.h"
#include "cni-plugin/names.h"
#include "cni-plugin/state.h"
#include "sim/core/err.h"

#define LOCK_PAUSE_MS 5
#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* Each directory above is made if need be, as mkdir -p does; the last is ours alone. */
static int make_path(const char *path, struct err *e)
{
	char part[128];
	size_t n = strlen(path);

	if (n >= sizeof(part))
		return err_set(e, -ENAMETOOLONG, "%s: too long", path);
	for (size_t i = 1; i <= n; i++) {
		if (path[i] && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, path[i] ? 0755 : 0700) && errno != EEXIST)
			return err_set(e, -errno, "%s: %s", part, strerror(errno));
	}
	return 0;
}

int state_open(int *out, const char *path, bool make, struct err *e)
{
	int fd = open(path, DIR_FLAGS), rc;
	struct stat st;

	if (fd < 0 && errno == ENOENT && make) {
		rc = make_path(path, e);
		if (rc)
			return rc;
		fd = open(path, DIR_FLAGS);
	}
	if (fd < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) || st.st_uid != geteuid() || st.st_mode & 077) {
		close(fd);
		return err_set(e, -EPERM, "%s: owner %u and mode %o, must be user %u's alone: "
			       "chown %u, chmod 700", path, st.st_uid, st.st_mode & 07777,
			       geteuid(), geteuid());
	}
	*out = fd;
	return 0;
}

/* ---- locks --------------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int take(int fd, unsigned wait_ms)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000 };
	int64_t deadline = now_ms() + wait_ms;

	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (now_ms() >= deadline)
			return -EBUSY;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* Whoever held the lock before may have removed the directory: is it the one of that name? */
static bool still_there(int fd, int state, const char *name)
{
	struct stat a, b;

	return !fstat(fd, &a) && !fstatat(state, name, &b, AT_SYMLINK_NOFOLLOW) &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

int state_lock(int *out, int state, const char *name, bool make, unsigned wait_ms, struct err *e)
{
	int64_t deadline = now_ms() + wait_ms;

	do {
		int fd, rc;

		if (make && mkdirat(state, name, 0700) && errno != EEXIST)
			return err_set(e, -errno, "state: mkdir %s: %s", name, strerror(errno));
		fd = openat(state, name, DIR_FLAGS);
		if (fd < 0 && errno == ENOENT && make)
			continue;
		if (fd < 0)
			return err_set(e, -errno, "state: %s: %s", name, strerror(errno));
		rc = take(fd, wait_ms);
		if (!rc && still_there(fd, state, name)) {
			*out = fd;
			return 0;
		}
		close(fd);
		if (rc)
			return err_set(e, rc, rc == -EBUSY ? "state: another run for this "
				       "container is still busy" : "state: lock: %s",
				       strerror(-rc));
		if (!make)
			return err_set(e, -ENOENT, "state: %s: gone", name);
	} while (now_ms() < deadline);
	return err_set(e, -EBUSY, "state: another run for this container is still busy");
}

void state_unlock(int *fd, int state, const char *name)
{
	if (*fd < 0)
		return;
	/* Still under the lock; fails with ENOTEMPTY if there is anything in it. */
	unlinkat(state, name, AT_REMOVEDIR);
	/* Not by closing alone: what an address plugin may have left running has it as well. */
	flock(*fd, LOCK_UN);
	close(*fd);
	*fd = -1;
}

/* ---- records ------------------------------------------------------------------------------- */

static void file_name(char to[48], const char *digest, const char *end)
{
	snprintf(to, 48, "%.32s%s", digest, end);
}

int state_load(int dir, const char *digest, struct json_object **record, struct err *e)
{
	char name[48];
	int rc;

	file_name(name, digest, ".json");
	rc = js_load(dir, name, record, e);
	if (rc == -EINVAL || rc == -ELOOP || rc == -EFBIG)
		rc = -EBADMSG;
	return rc;
}

int state_store(int dir, const char *digest, struct json_object *record, struct err *e)
{
	const char *text = json_object_to_json_string_ext(record, JSON_C_TO_STRING_NOSLASHESCAPE);
	char name[48], fresh[48];
	size_t len, done = 0;
	int fd, rc = 0;

	file_name(name, digest, ".json");
	file_name(fresh, digest, ".new");
	if (!text)
		return err_set(e, -ENOMEM, "record: out of memory");
	len = strlen(text);
	if (unlinkat(dir, fresh, 0) && errno != ENOENT)	/* of a run that was killed */
		return err_set(e, -errno, "record: %s: %s", fresh, strerror(errno));
	fd = openat(dir, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, -errno, "record: %s: %s", fresh, strerror(errno));
	while (!rc && done < len) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0 && errno != EINTR)
			rc = -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	if (!rc && fsync(fd))
		rc = -errno;
	close(fd);
	if (!rc && renameat(dir, fresh, dir, name))
		rc = -errno;
	if (!rc)
		return 0;
	unlinkat(dir, fresh, 0);
	return err_set(e, rc, "record: cannot be written: %s", strerror(-rc));
}

int state_remove(int dir, const char *digest, struct err *e)
{
	char name[48];

	file_name(name, digest, ".new");
	unlinkat(dir, name, 0);
	file_name(name, digest, ".json");
	if (unlinkat(dir, name, 0) && errno != ENOENT)
		return err_set(e, -errno, "record: %s: %s", name, strerror(errno));
	return 0;
}

/* ---- lists --------------------------------------------------------------------------------- */

static bool is_digest(const char *name, const char *end)
{
	return strspn(name, "0123456789abcdef") == NAMES_DIGEST - 1 &&
	       !strcmp(name + NAMES_DIGEST - 1, end);
}

void state_sweep(int dir)
{
	int fd = openat(dir, ".", DIR_FLAGS);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!d && fd >= 0)
		close(fd);
	while (d && (entry = readdir(d)))
		if (is_digest(entry->d_name, ".new"))
			unlinkat(dir, entry->d_name, 0);
	if (d)
		closedir(d);
}

int state_list(int dir, bool records, unsigned max, struct state_names *names, struct err *e)
{
	int fd = openat(dir, ".", DIR_FLAGS), rc = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	unsigned room = 0;

	*names = (struct state_names){ 0 };
	if (!d) {
		rc = err_set(e, -errno, "state: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (!rc && (entry = readdir(d))) {
		if (!is_digest(entry->d_name, records ? ".json" : ""))
			continue;
		if (names->n == room && room < max) {
			unsigned want = room ? room * 4 : 16;
			void *more = realloc(names->name, want * sizeof(*names->name));

			rc = more ? 0 : err_set(e, -ENOMEM, "state: out of memory");
			names->name = more ? more : names->name;
			room = more ? want : room;
		}
		if (names->n == max)
			rc = err_set(e, -E2BIG, "state: more than %u entries", max);
		else if (!rc)
			snprintf(names->name[names->n++], NAMES_DIGEST, "%.32s", entry->d_name);
	}
	closedir(d);
	if (rc)
		state_names_free(names);
	return rc;
}

void state_names_free(struct state_names *names)
{
	free(names->name);
	*names = (struct state_names){ 0 };
}

void state_boot(char text[64])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, 63);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
}
