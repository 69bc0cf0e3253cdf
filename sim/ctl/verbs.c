// SPDX-License-Identifier: Apache-2.0
// verbs.c - the commands for people: what each takes and does. Their grammar is the .proto's.
#include "include/ctlapi.h"

#define PORT_KEYS "[kind vhost|tap|pcap|null] [KEY VALUE]..."

static const struct {
	const char *verb, *args, *help;
} verbs[] = {
	{ "port add", "NAME " PORT_KEYS, "make a port" },
	{ "port del", "NAME", "remove a port; its peer is disconnected" },
	{ "port set", "NAME [KEY VALUE]...", "change a port while it runs" },
	{ "port show", "[NAME]", "ports, their peers and settings" },
	{ "fdb show", "[PORT] [vlan N]", "addresses and where they are" },
	{ "fdb add", "MAC port NAME [vlan N]", "fix an address at a port" },
	{ "fdb del", "MAC [vlan N]", "forget an address" },
	{ "fdb flush", "[NAME]", "forget what was learned, at one port or all" },
	{ "stats show", "[NAME]", "counters by port and cause" },
	{ "pool add", "PORT [accept MODES] [macs M,..] [vlans N,..]",
	  "make a port a VMDq pool: sorted to by address and VLAN" },
	{ "pool del", "PORT", "make it a learning port again" },
	{ "pool show", "[PORT]", "pools and what they own" },
	{ "pool default", "PORT|flood|drop", "who gets what no pool owns" },
	{ "mac add", "MAC pool PORT [vlan N]", "give a pool an address (all its VLANs)" },
	{ "mac del", "MAC pool PORT [vlan N]", "take it away" },
	{ "vlan add", "N pool PORT", "make a pool a member of a VLAN" },
	{ "vlan del", "N pool PORT", "end its membership" },
	{ "mode set", "POOL MODES", "accept modes: untagged,groups,unknown,broadcast,multicast,all;"
	  " +NAME and -NAME change one" },
	{ "loopback set", "on|off", "frames between pools stay inside, or go by the uplink" },
	{ "switch show", "", "the switch as a whole" },
	{ "switch set", "[mode poll|adaptive|event] [spin_us N]", "how workers wait" },
	{ "worker show", "", "threads and what they do" },
	{ "metrics show", "", "all counters as Prometheus text" },
	{ "dev list", "[NAME]", "devices, one a line" },
	{ "dev show", "[NAME]", "devices and their queues" },
	{ "dev regs", "[NAME]", "registers by name; reading them disturbs nobody" },
	{ "dev stats", "[NAME]",
	  "counters: accesses, kicks, interrupts, messages, losses by cause" },
	{ "dev features", "[NAME]", "feature bits: who serves them, offered, accepted" },
	{ "dev trace", "[NAME] [file PATH]", "follow register accesses and messages" },
	{ "dev add", "ID socket PATH [KEY VALUE]...",
	  "plug a device in (keys: podpci run --help)" },
	{ "dev del", "NAME [force on]",
	  "ask the driver to let go of a device, or take it away" },
};

const char *ctl_verb(unsigned i, const char **args, const char **help)
{
	if (i >= sizeof(verbs) / sizeof(verbs[0]))
		return NULL;
	*args = verbs[i].args;
	*help = verbs[i].help;
	return verbs[i].verb;
}
