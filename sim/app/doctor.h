/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor.h - `podpci doctor`: why no packets flow, and what to do.
 *
 * A check is a row of a table; it looks, changes nothing, and says one finding or several. What
 * it reads may be a pod's, and a pod is hostile: files are read bounded and never followed out
 * of where they should be (doctor_look.c).
 */
#ifndef SIM_APP_DOCTOR_H
#define SIM_APP_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "sim/app/config.h"

#define DOCTOR_FINDINGS_MAX 512

enum verdict { GOOD, WARN, FAIL, VERDICTS };

struct finding {
	const char  *check;
	enum verdict verdict;
	char subject[64];		/* a device, a port, a file; "" */
	char why[256], fix[256];
};

struct doctor {
	long pid;			/* of the pod; 0: where we are */
	int  root;			/* its root directory */
	const char *check;		/* the one that is running */
	struct config config;		/* the pod's, once read */
	bool have_config;
	unsigned n;
	struct finding finding[DOCTOR_FINDINGS_MAX];
};

struct doctor_check {
	const char *name;
	void (*run)(struct doctor *d);
};

extern const struct doctor_check doctor_node[], doctor_pod[];	/* end with a NULL name */

/* What devices say of themselves; rows of doctor_pod[]. */
void doctor_devices(struct doctor *d);
void doctor_regions(struct doctor *d);
void doctor_kicks(struct doctor *d);
void doctor_packets(struct doctor *d);

/*
 * The traffic of the switch's port with this socket, as findings about `subject`. -ENOENT: it has
 * no such port, another -errno: it cannot be asked.
 */
int  doctor_traffic(struct doctor *d, const char *subject, const struct stat *socket);

/* One finding; fix may be NULL with GOOD. Past the most there may be, they are dropped. */
void doctor_say(struct doctor *d, enum verdict v, const char *subject, const char *fix,
		const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* ---- looking ------------------------------------------------------------------------------- */

/*
 * An absolute path below d->root, whatever links are in it: a descriptor, or -errno. Flags are
 * open(2)'s; the call never blocks.
 */
int  look_open(const struct doctor *d, const char *path, int flags);
int  look_stat(const struct doctor *d, const char *path, struct stat *st);
/* At most size - 1 bytes of a file as text; how many, or -errno. */
int  look_text(const struct doctor *d, const char *path, char *buf, size_t size);
/* The same for a file of /proc/PID, ours or the pod's. */
int  look_proc(const struct doctor *d, const char *name, char *buf, size_t size);
/* A number in a file of our own; -1: none. */
long long look_number(const char *path);
/* Names in a directory that end in `tail`, sorted; freed by the caller, with look_free(). */
struct names {
	char (*name)[256];
	unsigned n;
};
void look_names(const struct doctor *d, const char *dir, const char *tail, struct names *names);
void look_free(struct names *names);

#endif
