// SPDX-License-Identifier: Apache-2.0
// bus_lspci.c - an outside opinion: the real lspci reads our configuration bytes.
#include <stdio.h>
#include <unistd.h>

#include "tests/unit/bus_rig.h"

static char dump[64] = "/tmp/podpci-lspci-XXXXXX";

/* In the format of `lspci -xxx`, which `lspci -F` reads. */
static void render(struct rig *r)
{
	int fd = mkstemp(dump);
	FILE *f = fdopen(fd, "w");
	uint8_t bytes[256];

	pci_func_config(r->f, bytes);
	fprintf(f, "00:04.0 x\n");
	for (unsigned line = 0; line < 256; line += 16) {
		fprintf(f, "%02x:", line);
		for (unsigned i = 0; i < 16; i++)
			fprintf(f, " %02x", bytes[line + i]);
		fprintf(f, "\n");
	}
	fclose(f);
}

/* What lspci says, its complaints included (but for a machine without a modules directory). */
static void ask(char *said, size_t len)
{
	char command[128];
	size_t got = 0;
	FILE *p;

	snprintf(command, sizeof(command), "lspci -F %s -vvv 2>&1 | grep -v 'load libkmod'", dump);
	p = popen(command, "r");
	if (p)
		got = fread(said, 1, len - 1, p);
	said[got] = '\0';
	if (p)
		CU_EQ(pclose(p), 0);
	unlink(dump);
}

static void lspci_understands_every_byte_of_an_open_function(void)
{
	static const char *const facts[] = {
		"00:04.0 Ethernet controller: ",
		"(rev 01)",
		"Control: I/O+ Mem+ BusMaster+ SpecCycle- ",
		"DisINTx-",
		"Status: Cap+ ",
		">TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-",
		"Interrupt: pin A ",
		"Region 0: I/O ports at ",
		"Region 1: Memory at ",
		"(32-bit, non-prefetchable)",
		"Region 4: Memory at ",
		"(64-bit, non-prefetchable)",
		"Capabilities: [40] Vendor Specific Information: VirtIO: CommonCfg",
		"Capabilities: [50] MSI-X: Enable- Count=5 Masked-",
		"Vector table: BAR=1 offset=00000000",
		"PBA: BAR=1 offset=00000800",
	};
	static const char *const complaints[] = {
		"disabled", "virtual", "unassigned", "Unknown", "unknown", "!!!", "<chain",
		"access denied", "lspci:", "pcilib:", "invalid", "looped", "broken",
	};
	char said[8192];
	struct rig r;

	rig_up(&r);
	CU_EQ(rig_cfg_put(&r, PCI_COMMAND, 2, 7), 0);
	render(&r);
	ask(said, sizeof(said));
	for (unsigned i = 0; i < ARRAY_SIZE(facts); i++) {
		CU_ASSERT_PTR_NOT_NULL(strstr(said, facts[i]));
		if (!strstr(said, facts[i]))
			fprintf(stderr, "\n    missing: %s in\n%s", facts[i], said);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(complaints); i++) {
		CU_ASSERT_PTR_NULL(strstr(said, complaints[i]));
		if (strstr(said, complaints[i]))
			fprintf(stderr, "\n    complaint: %s in\n%s", complaints[i], said);
	}
	rig_down(&r);
}

CU_MAIN_IF("bus/lspci", system("command -v lspci >/dev/null") == 0, "no lspci here",
	T(lspci_understands_every_byte_of_an_open_function))
