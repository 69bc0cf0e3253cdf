/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h - what is to be done, as a list of steps. Pure: from a network's configuration, a
 * request and what is recorded to the steps; `--dry-run` prints them and tests compare them.
 *
 * The CNI plugin, the hook, the runtime wrapper and the CDI generator all go by these plans, so
 * they cannot disagree. A plan to attach is also the plan to detach: the same steps undone from
 * the last to the first, each of which is fine if there is nothing to undo; and the plan to
 * check.
 */
#ifndef CNI_PLUGIN_PLAN_H
#define CNI_PLUGIN_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cni-plugin/names.h"
#include "cni-plugin/netconf.h"
#include "cni-plugin/node.h"
#include "cni-plugin/request.h"

#define PLAN_STEPS_MAX  256
#define PLAN_ARGS_MAX   (ATTACH_MAX + 1)
#define PLAN_TEXT_MAX   (64u << 10)
#define SLOT_FIRST      4		/* 0000:00:04.0, as everywhere in podpci */
#define ATTACH_MAX      32		/* devices of one container */

/* Where things are in the container. */
#define POD_BUS     "/sys/bus/pci"
#define POD_LIBRARY POD_BUS "/podpci/libpodpci.so"
#define POD_NETWORK POD_BUS "/podpci/network.json"
#define POD_DEVICES "/dev/podpci"	/* ID/vhost.sock each */
#define POD_MEMORY  "/dev/hugepages"
#define POD_PRELOAD "/etc/ld.so.preload"

struct err;

/* ---- one attachment ------------------------------------------------------------------------ */

/* All that is made for one (network, container, interface), by name. */
struct attach {
	const struct node    *node;
	const struct netconf *conf;
	const struct request *request;
	char digest[NAMES_DIGEST], container_digest[NAMES_DIGEST];
	char id[32];			/* of the device, in the pod */
	char port[32];			/* of the switch */
	char dir[140];			/* on the host, absolute */
	char socket_dir[144];		/* of ours; unused for BACKEND_SOCKET */
	char memory_dir[144];
	char socket[NETCONF_PATH_MAX];	/* on the host */
	bool server;			/* the pod listens */
	uint8_t mac[6];
	char bdf[16];
	char iface_id[600];
};

/* What was settled at ADD and stays. */
struct settled {
	bool    have;
	uint8_t mac[6];
	char    bdf[16];
	char    id[32];
};

/*
 * Names everything. With s->have the settled values are taken over; else an address and a name
 * are chosen that none of the n others (of the same container) has. -EINVAL: the configuration
 * cannot be put into practice for this request. Keeps the three pointers.
 */
int attach_derive(struct attach *a, const struct node *node, const struct netconf *conf,
		  const struct request *request, const struct settled *s,
		  const struct settled *others, unsigned n, struct err *e);

/* ---- steps --------------------------------------------------------------------------------- */

enum op {
	/* on the host, for one attachment */
	OP_CLAIM,	/* DIR: the record, and a directory of its own */
	OP_IPAM,	/* TYPE: addresses from another plugin */
	OP_NETDEV,	/* NETNS NAME FRESH ALIAS MTU: an interface that shows addresses */
	OP_DIR,		/* PATH MODE */
	OP_TMPFS,	/* PATH OPTIONS */
	OP_HUGETLBFS,	/* PATH OPTIONS need|may */
	OP_SWITCH,	/* CONTROL WORD...: `port add NAME ...' */
	OP_OVS,		/* DB BRIDGE PORT SOCKET [KEY=VALUE...] */
	OP_SOCKET,	/* PATH: somebody else's, must be there */
	OP_DEVINFO,	/* PATH: device information for the runtime */
	OP_COMMIT,	/* the record says ready, the result is known */
	/* in a container that was created and not started */
	OP_GRANT,	/* PATH UID: its sockets, present and future, for that user */
	OP_STAGE,	/* OPTIONS: a tmpfs to build in */
	OP_RENDER,	/* OWNER LINE...: the bus, from lines of a configuration */
	OP_FILE,	/* TREE TEXT */
	OP_HOLD,	/* PATH: a file or directory of the host, opened before moving in */
	OP_ENTER,	/* into the container's mount namespace, the stage too */
	OP_BIND,	/* INDEX TREE dir|file ro|rw|rx: the INDEXth held, into the stage */
	OP_PLUGS,	/* TREE PLACE: to be written there, both in the stage */
	OP_SHOW,	/* TREE TARGET over|merge|make|maybe: covers it, keeps its other entries,
			   makes it if it is not there, or does it only if both are there */
	OP_MEMORY,	/* INDEX TARGET KIND: the INDEXth held, if it is what it should be */
	OP_PRELOAD,	/* LIBRARY TREE TARGET must|may: the loader's list and the library */
	OP_LEAVE,	/* the stage goes; what was shown of it stays */
	OPS
};

struct step {
	enum op     op;
	unsigned    n;
	const char *arg[PLAN_ARGS_MAX];
};

struct plan {
	struct step step[PLAN_STEPS_MAX];
	unsigned    n;
	size_t      used;		/* of text */
	int         rc;			/* -E2BIG sticks */
	char        text[PLAN_TEXT_MAX];
};

/* What a hook knows of its container. */
struct container {
	uint32_t uid;			/* of its first process, as the host sees it */
	bool     preloaded;		/* its environment names the library already */
	bool     has_memory;		/* it brings a hugetlbfs */
	char     mapped_dir[200];	/* where it wants POD_DEVICES too; "": nowhere */
};

/* The texts of files that tell it of its devices. */
struct told {
	const char *network;		/* POD_NETWORK */
	const char *userspace[ATTACH_MAX];	/* as userspace-cni has it, of each; may be NULL */
};

int  plan_attach(struct plan *p, const struct attach *a, struct err *e);
/* Keeps the texts' pointers. */
int  plan_inject(struct plan *p, const struct attach *a, unsigned n, const struct container *c,
		 const struct told *t, struct err *e);
void plan_print(const struct plan *p, FILE *to);
const char *plan_op_name(enum op op);

#endif
