// SPDX-License-Identifier: Apache-2.0
// grant.c - lets a pod's user write to the sockets of its directory, by POSIX access lists.
//
// The switch makes a socket for its own user and group and makes it anew when it restarts: a
// default list on the directory is what every socket born there gets, beside one on the socket
// that is there now. Lists are as acl(5) and linux/posix_acl_xattr.h have them.
#include <errno.h>
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cni-plugin/apply.h"
#include "sim/core/err.h"

#define USERS_MAX 16
#define ENTRIES_MAX (USERS_MAX + 4)

struct list {
	struct posix_acl_xattr_header head;
	struct posix_acl_xattr_entry  entry[ENTRIES_MAX];
};

static struct posix_acl_xattr_entry entry(uint16_t tag, uint16_t perm, uint32_t id)
{
	return (struct posix_acl_xattr_entry){ tag, perm, id };
}

/* Users of a list that is there, for they keep their right. */
static unsigned users_read(const char *path, const char *name, uint32_t *users)
{
	struct list l;
	ssize_t size = getxattr(path, name, &l, sizeof(l));
	unsigned n = 0, all;

	if (size < (ssize_t)sizeof(l.head) || l.head.a_version != POSIX_ACL_XATTR_VERSION)
		return 0;
	all = (unsigned)(((size_t)size - sizeof(l.head)) / sizeof(l.entry[0]));
	for (unsigned i = 0; i < all && n < USERS_MAX; i++)
		if (l.entry[i].e_tag == ACL_USER)
			users[n++] = l.entry[i].e_id;
	return n;
}

/* perm: what users get; entries of users must be in the order of their ids. */
static int list_write(const char *path, const char *name, uint32_t *users, unsigned n,
		      uint16_t perm)
{
	struct list l = { .head.a_version = POSIX_ACL_XATTR_VERSION };
	unsigned at = 0;

	for (unsigned i = 1; i < n; i++)
		for (unsigned k = i; k && users[k - 1] > users[k]; k--) {
			uint32_t swap = users[k];

			users[k] = users[k - 1];
			users[k - 1] = swap;
		}
	l.entry[at++] = entry(ACL_USER_OBJ, perm, (uint32_t)ACL_UNDEFINED_ID);
	for (unsigned i = 0; i < n; i++)
		l.entry[at++] = entry(ACL_USER, perm, users[i]);
	l.entry[at++] = entry(ACL_GROUP_OBJ, perm, (uint32_t)ACL_UNDEFINED_ID);
	l.entry[at++] = entry(ACL_MASK, perm, (uint32_t)ACL_UNDEFINED_ID);
	l.entry[at++] = entry(ACL_OTHER, 0, (uint32_t)ACL_UNDEFINED_ID);
	return setxattr(path, name, &l, sizeof(l.head) + at * sizeof(l.entry[0]), 0) ? -errno : 0;
}

static int add(const char *path, const char *name, uid_t uid, uint16_t perm)
{
	uint32_t users[USERS_MAX];
	unsigned n = users_read(path, name, users);

	for (unsigned i = 0; i < n; i++)
		if (users[i] == uid)
			return 0;
	if (n == USERS_MAX)
		return -ENOSPC;
	users[n++] = uid;
	return list_write(path, name, users, n, perm);
}

int grant_sockets(int dirfd, uid_t uid, struct err *e)
{
	int fd = openat(dirfd, "vhost.sock", O_PATH | O_NOFOLLOW | O_CLOEXEC), rc = 0;
	char dir[40], socket[40];
	struct stat st;

	if (!uid)
		goto out;	/* the owner already */
	snprintf(dir, sizeof(dir), "/proc/self/fd/%d", dirfd);
	snprintf(socket, sizeof(socket), "/proc/self/fd/%d", fd);
	rc = add(dir, "system.posix_acl_default", uid, ACL_READ | ACL_WRITE);
	if (!rc && fd >= 0 && !fstat(fd, &st) && S_ISSOCK(st.st_mode) && !st.st_uid)
		rc = add(socket, "system.posix_acl_access", uid, ACL_READ | ACL_WRITE);
	if (rc)
		err_set(e, rc, "sockets for user %u: %s", uid, rc == -ENOSPC ?
			"too many users of one device" : strerror(-rc));
out:
	if (fd >= 0)
		close(fd);
	return rc;
}
