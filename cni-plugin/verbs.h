/* SPDX-License-Identifier: Apache-2.0 */
/* verbs.h - the commands of the CNI specification, each with what it needs, as rows. */
#ifndef CNI_PLUGIN_VERBS_H
#define CNI_PLUGIN_VERBS_H

#include "cni-plugin/run.h"

struct call {
	struct node    node;
	struct netconf conf;
	struct request request;
	struct run     run;
	bool           dry;
	bool           bad_conf;	/* DEL with a configuration that cannot be used */
};

struct verb {
	const char *name, *since;	/* the cniVersion it came with; NULL: always */
	unsigned    needs;		/* enum request_need */
	bool        lenient;		/* goes on with a configuration that is wrong */
	int       (*act)(struct call *c, struct err *e);
};

/* NULL: there is none. */
const struct verb *verb_find(const char *name);

#endif
