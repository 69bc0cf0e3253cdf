// SPDX-License-Identifier: Apache-2.0
// elf.c - dynamic symbol tables as the System V ABI and its GNU hash have them.
#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pmd-shim/elf.h"

#define CHAIN_MAX (1u << 20)	/* a table that goes round in a circle ends all the same */
#define HIDDEN    0x8000u	/* of a symbol's version: not the default one */

/* What a loaded object shows of itself. */
struct object {
	uintptr_t         base;
	const ElfW(Sym)  *syms;
	const char       *names;
	const uint16_t   *versions;	/* NULL: has none */
	const uint32_t   *gnu, *sysv;	/* hash tables; one will do */
};

struct search {
	const char *name;
	bool  passed;			/* our own object */
	void *after, *before;
};

/* Some loaders leave the addresses of a dynamic section relative, others do not. */
static const void *address(const struct object *o, uintptr_t at)
{
	return (const void *)(at < o->base ? o->base + at : at);
}

static void read_dynamic(struct object *o, const ElfW(Dyn) *d)
{
	for (; d->d_tag != DT_NULL; d++) {
		const void *p = address(o, d->d_un.d_ptr);

		if (d->d_tag == DT_SYMTAB)
			o->syms = p;
		else if (d->d_tag == DT_STRTAB)
			o->names = p;
		else if (d->d_tag == DT_VERSYM)
			o->versions = p;
		else if (d->d_tag == DT_GNU_HASH)
			o->gnu = p;
		else if (d->d_tag == DT_HASH)
			o->sysv = p;
	}
}

static bool is_it(const struct object *o, uint32_t idx, const char *name)
{
	const ElfW(Sym) *s = &o->syms[idx];
	unsigned type = ELF64_ST_TYPE(s->st_info), bind = ELF64_ST_BIND(s->st_info);

	return s->st_shndx != SHN_UNDEF && s->st_value &&
	       (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE) &&
	       (bind == STB_GLOBAL || bind == STB_WEAK) &&
	       !(o->versions && (o->versions[idx] & HIDDEN)) &&
	       !strcmp(o->names + s->st_name, name);
}

/* Header: buckets, first hashed symbol, words of the filter (64 bits each), its shift. */
static uint32_t find_gnu(const struct object *o, const char *name)
{
	const uint32_t *h = o->gnu, *buckets = h + 4 + 2 * h[2], *chain = buckets + h[0];
	uint32_t hash = 5381, idx;

	for (const char *c = name; *c; c++)
		hash = hash * 33 + (uint8_t)*c;
	idx = h[0] ? buckets[hash % h[0]] : 0;
	for (unsigned i = 0; idx >= h[1] && idx && i < CHAIN_MAX; i++, idx++) {
		uint32_t have = chain[idx - h[1]];

		if ((have | 1) == (hash | 1) && is_it(o, idx, name))
			return idx;
		if (have & 1)
			break;
	}
	return 0;
}

/* Header: buckets, symbols. */
static uint32_t find_sysv(const struct object *o, const char *name)
{
	const uint32_t *h = o->sysv, *buckets = h + 2, *chain = buckets + h[0];
	uint32_t hash = 0, idx;

	for (const char *c = name; *c; c++) {
		hash = (hash << 4) + (uint8_t)*c;
		hash = (hash ^ (hash >> 24 & 0xf0)) & 0x0fffffff;
	}
	idx = h[0] ? buckets[hash % h[0]] : 0;
	for (unsigned i = 0; idx && idx < h[1] && i < CHAIN_MAX; i++, idx = chain[idx])
		if (is_it(o, idx, name))
			return idx;
	return 0;
}

static void *find(const struct object *o, const char *name)
{
	uint32_t idx;
	uintptr_t at;

	if (!o->syms || !o->names || (!o->gnu && !o->sysv))
		return NULL;
	idx = o->gnu ? find_gnu(o, name) : find_sysv(o, name);
	if (!idx)
		return NULL;
	at = o->base + o->syms[idx].st_value;
	if (ELF64_ST_TYPE(o->syms[idx].st_info) == STT_GNU_IFUNC)
		at = ((uintptr_t (*)(void))at)();
	return (void *)at;
}

static bool holds(const struct dl_phdr_info *info, const void *addr)
{
	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_LOAD &&
		    (uintptr_t)addr - info->dlpi_addr - p->p_vaddr < p->p_memsz)
			return true;
	}
	return false;
}

static int look(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct object o = { .base = info->dlpi_addr };
	struct search *s = arg;

	if (!s->passed && holds(info, (const void *)(uintptr_t)look)) {
		s->passed = true;
		return 0;
	}
	if (!s->passed && s->before)
		return 0;
	for (unsigned i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			read_dynamic(&o, (const void *)(o.base + info->dlpi_phdr[i].p_vaddr));
	*(s->passed ? &s->after : &s->before) = find(&o, s->name);
	return s->after != NULL;
}

void *elf_next(const char *name)
{
	struct search s = { .name = name };

	dl_iterate_phdr(look, &s);
	return s.after ? s.after : s.before;
}
