/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctlapi.h - a client of a control socket: podpci-switch's, or that of a process with devices.
 *
 * A call takes the words of a command line, as after `podpci switch` (and "dev ..." as after
 * `podpci`), and gives rows of named fields. One call at a time per connection; a connection is
 * one thread's.
 */
#ifndef PODPCI_CTLAPI_H
#define PODPCI_CTLAPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define CTL_SOCKET "/run/podpci/switch.ctl"
#define CTL_ROWS_MAX (1u << 20)		/* rows one answer may have */

struct ctl;
struct ctl_rows;
struct err;

/* timeout_ms bounds each call. -ENOENT, -ECONNREFUSED: nobody there. */
int  ctl_open(struct ctl **c, const char *path, unsigned timeout_ms, struct err *e);
void ctl_close(struct ctl *c);
/* The socket, to ask who is at its other end. */
int  ctl_fd(const struct ctl *c);

/*
 * Sends one command and waits for its answer. A refusal is returned as its -errno
 * with its sentence in e. *rows (may be NULL) is the caller's to free.
 */
int  ctl_call(struct ctl *c, const char *const *words, unsigned n, struct ctl_rows **rows,
	      struct err *e);

/* Appends the rows of `from`, which is freed either way. -ENOMEM, -E2BIG. */
int  ctl_rows_join(struct ctl_rows *to, struct ctl_rows *from);

size_t ctl_rows_count(const struct ctl_rows *r);
/* A field or a counter of a row as text in buf; NULL if the row has none of that name. */
const char *ctl_rows_get(const struct ctl_rows *r, size_t row, const char *field, char *buf,
			 size_t size);
/* The i-th value of a repeated field; NULL past the last. */
const char *ctl_rows_item(const struct ctl_rows *r, size_t row, const char *field, size_t i,
			  char *buf, size_t size);
/* All rows, one a line, or as a JSON array. -EIO if it cannot be written. */
int  ctl_rows_print(const struct ctl_rows *r, FILE *to, bool json);
void ctl_rows_free(struct ctl_rows *r);

/* Commands with their help, in order: NULL past the last. `args` is a synopsis, may be "". */
const char *ctl_verb(unsigned i, const char **args, const char **help);

#endif
