// SPDX-License-Identifier: Apache-2.0
// confine.c - giving up what neither the plugin, nor the hook, nor an IPAM plugin needs.
//
// A list of what is forbidden, not of what is allowed: IPAM plugins inherit it and are programs of
// others. What is left out cannot be reached by a mistake of ours or theirs: other processes'
// memory, the kernel's code, clocks and keys. No Landlock: who is under it may mount nothing, and
// mounting is what we do.
// pkg-config: libseccomp
#include <errno.h>
#include <linux/prctl.h>
#include <seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>

#include "cni-plugin/run.h"
#include "sim/core/log.h"

static const int forbidden[] = {
	/* others' memory and descriptors */
	SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev),
	SCMP_SYS(pidfd_getfd), SCMP_SYS(kcmp), SCMP_SYS(userfaultfd), SCMP_SYS(perf_event_open),
	/* the kernel, its keys and its clocks */
	SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(bpf), SCMP_SYS(reboot),
	SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(keyctl), SCMP_SYS(syslog),
	SCMP_SYS(settimeofday), SCMP_SYS(clock_settime), SCMP_SYS(clock_adjtime),
	SCMP_SYS(adjtimex), SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(swapon),
	SCMP_SYS(swapoff), SCMP_SYS(acct), SCMP_SYS(quotactl), SCMP_SYS(sethostname),
	SCMP_SYS(setdomainname),
	/* files without a path, roots, rings that no filter sees into */
	SCMP_SYS(open_by_handle_at), SCMP_SYS(pivot_root), SCMP_SYS(io_uring_setup),
};

/* To a process that lacks the right it looks the same: EPERM. */
static int filter(void)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_ALLOW);
	int rc = c ? seccomp_attr_set(c, SCMP_FLTATR_CTL_NNP, 0) : -ENOMEM;

	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]) && !rc; i++)
		rc = seccomp_rule_add(c, SCMP_ACT_ERRNO(EPERM), forbidden[i], 0);
	if (!rc)
		rc = seccomp_load(c);
	if (c)
		seccomp_release(c);
	return rc;
}

void run_confine(void)
{
	int rc;

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	rc = filter();
	/* A kernel without filters, or one that lets nobody have more: no reason not to serve. */
	if (rc)
		log_debug(NULL, "seccomp: %s; going on without", strerror(-rc));
}
