// SPDX-License-Identifier: Apache-2.0
// peer.c - see peer.h.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cni-plugin/netconf.h"
#include "cni-plugin/peer.h"
#include "include/ctlapi.h"
#include "sim/core/err.h"

int peer_judge(int fd, const char *path, struct err *e)
{
	struct ucred who = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(who);
	char dir[NETCONF_PATH_MAX];
	struct stat st;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len))
		return err_set(e, -errno, "%s: whose it is: %s", path, strerror(errno));
	if (!who.uid || who.uid == geteuid())
		return 0;
	snprintf(dir, sizeof(dir), "%s", path);
	if (strrchr(dir, '/'))
		strrchr(dir, '/')[1] = '\0';
	if (!stat(dir, &st) && st.st_uid == who.uid)
		return 0;
	return err_set(e, -EACCES, "%s: who listens there is user %u (process %d), neither root "
		       "nor the owner of %s: nothing is said to it; stop it, or chown the "
		       "directory if it is the right one", path, who.uid, (int)who.pid, dir);
}

int peer_switch(struct ctl **c, const char *path, unsigned timeout_ms, struct err *e)
{
	int rc = ctl_open(c, path, timeout_ms, e);

	if (!rc)
		rc = peer_judge(ctl_fd(*c), path, e);
	if (!rc)
		return 0;
	ctl_close(*c);
	*c = NULL;
	return rc;
}
