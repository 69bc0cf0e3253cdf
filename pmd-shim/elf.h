/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elf.h - dlsym(RTLD_NEXT) without libdl: that is a library of its own in libcs before glibc
 * 2.34, and a program need not have it.
 */
#ifndef PMD_SHIM_ELF_H
#define PMD_SHIM_ELF_H

/*
 * The default version of a function in the objects that were loaded after this one (or, if there
 * is none, before it); NULL if nobody has it. Allocates nothing.
 */
void *elf_next(const char *name);

#endif
