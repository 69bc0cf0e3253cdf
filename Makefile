# SPDX-License-Identifier: Apache-2.0
# podpci: `make help` lists what there is to do.
#
# One file, no recursion but for `check`, which builds several times. Each folder of sim/ becomes
# an archive and a test links only the archives its folder may include: a call that climbs over
# the layers does not link.

B       ?= build
V       ?= 0
T       ?=
PREFIX  ?= /usr/local
ifeq ($(origin CC),default)
CC      := gcc
endif
Q       := $(if $(filter 1,$(V)),,@)
say      = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' $(1) $(2))

VERSION := 0.1.0
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
	   -Wpointer-arith -Wwrite-strings -Wno-unused-parameter -Werror
# Programs with a sanitizer are many and large: tests want them soon rather than fast, and gold
# links them in a third of the time.
CFLAGS  ?= $(if $(SAN),-O1 -g1,-O2 -g)
# ThreadSanitizer does not model fences; what hangs on one alone is for other tests.
SANFLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer) \
	   $(if $(findstring undefined,$(SAN)),-fno-sanitize-recover=undefined) \
	   $(if $(findstring thread,$(SAN)),$(if $(findstring clang,$(CC)),,-Wno-tsan))
ALL_CFLAGS := -std=gnu11 -I. -isystem $(B)/gen -D_GNU_SOURCE -DPODPCI_VERSION='"$(VERSION)"' -fPIC \
	   -fvisibility=hidden -fno-strict-aliasing -fstack-protector-strong \
	   -ftls-model=initial-exec $(WARN) $(CFLAGS) $(SANFLAGS)
GOLD    := $(if $(SAN),$(if $(findstring clang,$(CC)),,-fuse-ld=gold))
ALL_LDFLAGS := -Wl,-z,relro,-z,now -Wl,--as-needed $(GOLD) $(SANFLAGS) $(LDFLAGS)
LIBS    := -pthread -ldl

comma   := ,

# ---- what is there (a folder that is not there yet is empty) ---------------------------------

FOLDERS := $(sort core mem ring bus vhost virtio app $(notdir $(patsubst %/,%,$(dir \
	   $(wildcard sim/*/*.c)))))
MAINS   := $(wildcard sim/app/podpci*.c)
sources  = $(filter-out $(MAINS),$(wildcard sim/$(1)/*.c))
objects  = $(patsubst %.c,$(B)/obj/%.o,$(1))
archives = $(foreach f,$(1),$(B)/lib/lib$(f).a)

SHIM_SRC := $(wildcard pmd-shim/*.c)
# Programs of container engines: cni-plugin/main.c is podpci-cni, the others go by their names.
CNI_MAINS := $(wildcard $(addprefix cni-plugin/,main.c hook.c runtime.c cdi.c))
CNI_SRC := $(filter-out $(CNI_MAINS),$(wildcard cni-plugin/*.c))
cni_name = $(B)/bin/podpci-$(patsubst main,cni,$(basename $(notdir $(1))))
TEST_SRC := $(wildcard tests/*.c tests/wire/backend*.c)
FAKE_SRC := $(wildcard tests/fakes/*.c)	# instead of the real thing, in tests of virtio
DPDK_SRC := $(wildcard tests/dpdk/*.c)
programs = $(patsubst %.c,$(B)/%,$(filter-out $(TEST_SRC),$(wildcard tests/$(1)/*.c)))
UNIT    := $(call programs,unit)
WIRE    := $(call programs,wire)
SHIM    := $(call programs,shim)
E2E     := $(call programs,e2e)
BENCH   := $(call programs,bench)
FUZZ    := $(call programs,fuzz)
WORLD   := $(B)/tests/world/world
SHIM_SH := $(filter-out %/lib.sh,$(wildcard tests/shim/*.sh))
E2E_SH  := $(filter-out tests/e2e/lib%,$(wildcard tests/e2e/*.sh))
# The test application with DPDK linked in, where DPDK's archives are.
ARCHIVES := $(shell pkg-config --variable=libdir libdpdk 2>/dev/null)
STATIC  := $(if $(wildcard $(ARCHIVES)/librte_eal.a),$(B)/tests/e2e/frames_static)
# Tests that start threads: these also run under ThreadSanitizer.
THREADED := $(WIRE) $(sort $(patsubst %.c,$(B)/%, \
	   $(shell grep -lE 'pthread_create|loop_start' tests/unit/*.c 2>/dev/null)))
ALL_SRC := $(foreach f,$(FOLDERS),$(call sources,$(f))) $(MAINS) $(SHIM_SRC) \
	   $(CNI_MAINS) $(CNI_SRC) $(wildcard tests/*.c tests/*/*.c)

# sim/app/podpci_switch.c becomes bin/podpci-switch.
BINS    := $(foreach m,$(MAINS),$(B)/bin/$(subst _,-,$(basename $(notdir $(m)))))
CNI_BINS := $(foreach m,$(CNI_MAINS),$(call cni_name,$(m)))
OUT     := $(BINS) $(CNI_BINS) $(if $(SHIM_SRC),$(B)/lib/libpodpci.so)

# What a folder may call: the table of tests/check/layers.txt, as archives.
may_core   := core
may_mem    := mem core
may_ring   := ring mem core
may_bus    := bus mem core
may_vhost  := vhost ring mem core
may_virtio := virtio vhost bus ring mem core
may_backend := backend ring mem core
may_live   := live virtio vhost ring mem core
may_ctl    := ctl proto core
may_app    := app $(filter-out app backend,$(FOLDERS)) proto
may_cli    := $(may_app)
may_host   := app $(filter-out app,$(FOLDERS)) proto
may_cni    := cni $(may_app) ctl proto
may_shim   := shim $(may_app)
may_wire   := backend vhost ring mem core

# ---- targets ----------------------------------------------------------------------------------

.DEFAULT_GOAL := all
.PHONY: all soak check unit wire shim foreign matrix e2e engines bench demo install \
	uninstall cover tidy layers setup help clean conformance fuzz fuzzers syntax \
	programs shim-programs tests threaded bench-programs list-programs list-threaded
.DELETE_ON_ERROR:
.SECONDARY:

all: $(OUT)				## build podpci and libpodpci.so into $(B)/
programs: $(UNIT) $(WIRE) $(WORLD)
shim-programs: $(SHIM)
tests: $(UNIT) $(WIRE) $(WORLD) $(SHIM) $(E2E) $(STATIC)
threaded: $(THREADED)
bench-programs: all $(BENCH)
list-programs: ; @echo $(WIRE) $(UNIT) $(WORLD)
list-threaded: ; @echo $(THREADED)

check:					## everything CI runs; installs what is missing first
	$(Q)B='$(B)' MAKE='$(MAKE)' exec tests/check/check.sh

unit: $(if $(T),$(B)/tests/unit/$(T),$(UNIT))	## unit tests; T=name picks one
	$(Q)tests/check/run-tests.sh $^

wire: $(if $(T),$(B)/tests/wire/$(T),$(WIRE))	## front-end against scripted back-ends
	$(Q)tests/check/run-tests.sh $^

.PHONY: world
world: $(WORLD)				## driver to back-end in one thread: SEED=n, N=count
	$(Q)$(WORLD) $(ARGS) $(or $(SEED),1) $(or $(N),1)

shim: all $(SHIM)			## programs and scripts under the preload library
	$(Q)B='$(B)' exec tests/check/run-tests.sh $(or $(SHIM_SH),$(SHIM))

foreign: all				## the same in older glibcs, which are fetched (slow)
	$(Q)B='$(B)' exec tests/shim/foreign.sh old

matrix: all $(E2E)			## each of the 60 combinations of digest 0.4
	$(Q)B='$(B)' MATRIX_ALL=1 exec tests/check/run-tests.sh tests/e2e/matrix.sh

e2e: all $(E2E) $(STATIC)		## lspci, DPDK, containers; T=name picks one
	$(Q)B='$(B)' exec tests/check/run-tests.sh -j $(or $(AT_ONCE),1) \
		$(or $(wildcard tests/e2e/$(T).sh), \
		$(filter-out tests/e2e/lib%,$(wildcard tests/e2e/*.sh)))

# These, like check, begin on a bare machine: set up first, then build.
soak:					## long runs; TIME=seconds (60), T=name picks one
	$(Q)deploy/setup.sh
	$(Q)$(MAKE) --no-print-directory B='$(B)' all tests
	$(Q)B='$(B)' TIME='$(or $(TIME),60)' TEST_TIMEOUT=3600 exec tests/check/run-tests.sh \
		$(or $(wildcard tests/soak/$(T).sh),$(wildcard tests/soak/*.sh))

engines:				## container engines, OVS, OVN, end to end; T=name picks one
	$(Q)deploy/setup.sh --engines
	$(Q)$(MAKE) --no-print-directory B='$(B)' all tests
	$(Q)B='$(B)' exec tests/check/run-tests.sh $(or $(wildcard tests/engines/$(T).sh), \
		$(filter-out tests/engines/lib%,$(wildcard tests/engines/*.sh)))

bench:					## speed beside the peers' (ARGS=--help)
ifeq ($(findstring --help,$(ARGS)),)
	$(Q)deploy/setup.sh --bench
	$(Q)$(MAKE) --no-print-directory B='$(B)' bench-programs
endif
	$(Q)B='$(B)' exec tests/bench/run.sh $(ARGS)

conformance:				## rows of the checklists by tests; ARGS='-v C'
	$(Q)deploy/setup.sh
	$(Q)$(MAKE) --no-print-directory B='$(B)' all tests
	$(Q)B='$(B)' exec tests/conformance/conformance.sh $(ARGS)

.PHONY: deb
deb: all				## a Debian package in $(B)/
	$(Q)B='$(abspath $(B))' MAKE='$(MAKE)' deploy/deb.sh $(VERSION) \
		$(abspath $(B))/podpci_$(VERSION)_$$(dpkg --print-architecture).deb

demo:					## two containers on podpci's switch; or BACKEND=dpdk
	$(Q)deploy/setup.sh
	$(Q)$(MAKE) --no-print-directory B='$(B)' all
	$(Q)B='$(B)' BACKEND='$(BACKEND)' exec deploy/demo.sh $(ARGS)

bench-cni: all $(B)/tests/bench/cni_spawn	## what attaching costs, beside the plugin `bridge'
	$(Q)B='$(B)' exec tests/bench/cni.sh

setup:					## packages and hugepages for check, bench and demo (root)
	$(Q)deploy/setup.sh

syntax: $(patsubst %.c,$(B)/syntax/%.ok,$(ALL_SRC))

layers:					## nothing includes what is above it
	$(Q)tests/check/layers.sh

fuzzers: $(FUZZ)

fuzz:					## fuzzers, TIME=seconds each (10); T=name picks one
	$(Q)$(MAKE) B=$(B)/fuzz CC=clang SAN=fuzzer-no-link,address,undefined fuzzers
	$(Q)B='$(B)/fuzz' exec tests/fuzz/run.sh -t $(or $(TIME),10) $(T)

tidy:					## house style
	$(Q)tests/check/tidy.sh

cover:					## line coverage by unit, wire and shim tests
	$(Q)B='$(B)' MAKE='$(MAKE)' exec tests/check/cover.sh

install: all				## to $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib \
		$(DESTDIR)$(PREFIX)/share/doc/podpci $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/man/man8
	install -m 755 $(BINS) $(CNI_BINS) $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(B)/lib/libpodpci.so $(DESTDIR)$(PREFIX)/lib/
	install -m 644 LICENSE $(wildcard README.md) $(DESTDIR)$(PREFIX)/share/doc/podpci/
	install -m 644 deploy/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 deploy/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8/

uninstall:				## the reverse
	rm -f $(patsubst $(B)/%,$(DESTDIR)$(PREFIX)/%,$(OUT))
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/man/man1/,$(notdir $(wildcard deploy/man/*.1)))
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/share/man/man8/,$(notdir $(wildcard deploy/man/*.8)))
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/podpci

clean:					## remove $(B)/
	rm -rf $(B)

help:					## this list
	$(Q)echo 'make TARGET [V=1] [CC=gcc|clang] [SAN=address,undefined|thread] [B=builddir]'
	$(Q)sed -n 's/^\([a-z0-9-]*\):[^#]*##/\1/p' Makefile | awk '{ n = $$1; $$1 = ""; \
		printf "  %-12s%s\n", n, $$0 }'

# ---- rules ------------------------------------------------------------------------------------

# Objects are made anew when compiler or flags change.
STAMP := $(B)/flags
ifneq ($(file <$(STAMP)),$(CC) $(ALL_CFLAGS))
$(shell mkdir -p $(B))
$(file >$(STAMP),$(CC) $(ALL_CFLAGS))
endif

# proto/x.proto becomes <x.pb-c.h>, never in the tree.
GEN     := $(patsubst proto/%.proto,$(B)/gen/%.pb-c,$(wildcard proto/*.proto))
$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: proto/%.proto
	$(call say,PROTO,$<)
	$(Q)mkdir -p $(B)/gen
	$(Q)protoc-c -Iproto --c_out=$(B)/gen $<

$(B)/obj/gen/%.o: $(B)/gen/%.c $(STAMP) | $(GEN:=.h)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -w -c -o $@ $<

$(B)/obj/%.o: %.c $(STAMP) | $(GEN:=.h)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(call pkg,$<,--cflags) -MD -MP -c -o $@ $<

$(B)/syntax/%.ok: %.c | $(GEN:=.h)
	$(call say,CHECK,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(call pkg,$<,--cflags) -MD -MP -MT $@ -MF $(@:.ok=.d) \
		-fsyntax-only $<
	$(Q)touch $@

# A source that needs a library says so in a comment: "pkg-config: libdpdk".
pkg = $(shell p=$$(sed -n 's,.*pkg-config: *\([a-z0-9 ._-]*[a-z0-9]\).*,\1,p' $(1) | sort -u); \
	test -z "$$p" || pkg-config $(2) $$p | sed 's/-I/-isystem /g')
# The libraries of a program ($(1)) and of the folders it links ($(2)).
pkg_libs = $(call pkg,$(1) $(foreach f,$(2),$(call sources,$(f))),--libs) \
	   $(if $(filter proto,$(2)),-lprotobuf-c)

define archive
$(B)/lib/lib$(1).a: $(call objects,$(2))
	$(call say,AR,$$@)
	$(Q)mkdir -p $$(@D)
	$(Q)rm -f $$@ && $(AR) rcs $$@ $$^
endef
$(foreach f,$(FOLDERS),$(eval $(call archive,$(f),$(call sources,$(f)))))
$(eval $(call archive,shim,$(filter-out pmd-shim/preload.c,$(SHIM_SRC))))
$(eval $(call archive,cni,$(CNI_SRC)))
$(eval $(call archive,test,$(TEST_SRC)))
$(B)/lib/libproto.a: $(GEN:$(B)/%=$(B)/obj/%.o)
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $^
$(eval $(call archive,testdpdk,$(DPDK_SRC)))

# The shim brings everything it needs but libc, and shows only what the map names. It is not linked
# with any libc either: whichever the program has (glibc of any age, musl) answers, by names that
# pmd-shim/libc.syms lists. The run-time of a sanitizer or of coverage wants the ordinary way.
MAP := $(wildcard pmd-shim/preload.map)
RUNTIME := $(SAN)$(findstring --coverage,$(LDFLAGS))
LIBC_FREE := $(if $(RUNTIME),-static-libgcc -Wl$(comma)-z$(comma)defs,-nostdlib)
comma := ,
$(B)/lib/libpodpci.so: $(call objects,$(SHIM_SRC)) $(call archives,$(may_app)) $(MAP) \
		pmd-shim/libc.syms
	$(call say,LD,$@)
	$(Q)$(CC) -shared -Wl,-soname,libpodpci.so $(MAP:%=-Wl,--version-script=%) \
		$(LIBC_FREE) -Wl,--exclude-libs,ALL $(ALL_LDFLAGS) -o $@ \
		$(call objects,$(SHIM_SRC)) -Wl,--start-group $(call archives,$(may_app)) \
		-l:libprotobuf-c.a -Wl,--end-group $(if $(RUNTIME),$(LIBS),-lgcc)
	$(Q)$(if $(RUNTIME),:,tests/check/libc-syms.sh $@)

# $(1): source, $(2): archives. Only the host's daemons contain back-ends.
define main_program
$(B)/bin/$(subst _,-,$(basename $(notdir $(1)))): $(call objects,$(1)) $(call archives,$(2))
	$(call say,LD,$$@)
	$(Q)mkdir -p $$(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $$@ $$< -Wl,--start-group $(call archives,$(2)) \
		-Wl,--end-group $$(call pkg_libs,$(1),$(2)) $(LIBS)
endef
$(foreach m,$(MAINS),$(eval $(call main_program,$(m),$(may_$(if $(findstring \
	podpci.c,$(m)),cli,host)))))

# What a container engine runs for each container starts in a fraction of a millisecond: linked
# statically (but not with a sanitizer).
define cni_program
$(call cni_name,$(1)): $(call objects,$(1)) $(call archives,$(may_cni))
	$(call say,LD,$$@)
	$(Q)mkdir -p $$(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) $(if $(SAN),,-static) -o $$@ $$< -Wl,--start-group \
		$(call archives,$(may_cni)) -Wl,--end-group \
		$$(call pkg_libs,$(1) $(CNI_SRC),$(may_cni)) $(LIBS)
endef
$(foreach m,$(CNI_MAINS),$(eval $(call cni_program,$(m))))

# $(1): program, $(2): archives, $(3): libraries, $(4): objects that win over the archives
define test_program
$(B)/$(1): $(B)/obj/$(1).o $(4) $(call archives,$(2))
	$(call say,LD,$$@)
	$(Q)mkdir -p $$(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $$@ $$< $(4) -Wl,--start-group $(call archives,$(2)) \
		-Wl,--end-group $$(call pkg_libs,$(1).c,$(2)) $(3) $(LIBS)
endef
folder_of = $(firstword $(subst _, ,$(notdir $(1))))
$(foreach p,$(UNIT),$(eval $(call test_program,$(p:$(B)/%=%),test \
	$(may_$(call folder_of,$(p))),-lcunit, \
	$(if $(filter virtio,$(call folder_of,$(p))),$(call objects,$(FAKE_SRC))))))
# Calls of libc that some tests refuse, one after the other.
REFUSED := $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc strdup socket accept4 eventfd \
	   epoll_create1 memfd_create pipe2 timerfd_create mmap pthread_create open openat \
	   aligned_alloc ftruncate epoll_ctl recvmsg)
# Tests of the whole switch have all of the daemon.
$(foreach p,$(WIRE),$(eval $(call test_program,$(p:$(B)/%=%),test \
	$(if $(filter switch,$(call folder_of,$(p))),$(may_host),$(may_wire)), \
	-lcunit $(if $(filter %/switch_faults %/switch_refused,$(p)),$(REFUSED)) \
	$(if $(filter %/switch_uplink,$(p)),-Wl$(comma)--wrap=io_uring_submit_and_wait))))
$(eval $(call test_program,tests/world/world,$(may_app),, \
	$(call objects,$(filter-out %/world.c,$(wildcard tests/world/*.c)))))
$(foreach p,$(SHIM),$(eval $(call test_program,$(p:$(B)/%=%),test $(may_app),)))
$(foreach p,$(FUZZ),$(eval $(call test_program,$(p:$(B)/%=%),test \
	$(if $(filter cni,$(call folder_of,$(p))),$(may_cni),$(may_host)) \
	$(if $(filter insn,$(notdir $(p))),shim),-fsanitize=fuzzer, \
	$(if $(filter virtio,$(call folder_of,$(p))),$(call objects,$(FAKE_SRC))))))
# A bench of the switch links the back-end; the others are DPDK programs.
$(foreach p,$(E2E) $(BENCH),$(eval $(call test_program,$(p:$(B)/%=%),testdpdk test \
	$(if $(filter switch,$(call folder_of,$(p))),$(may_backend)),)))

# What a poll-mode driver needs and no more. The last two have no development package here.
RTE := bus_pci bus_vdev mempool_ring net_virtio ethdev mbuf mempool ring rcu net meter pci kvargs \
       telemetry eal
$(B)/tests/e2e/frames_static: $(B)/obj/tests/e2e/frames.o $(B)/lib/libtestdpdk.a
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -L$(ARCHIVES) -Wl,--whole-archive \
		$(RTE:%=-l:librte_%.a) -Wl,--no-whole-archive -l:libbsd.so.0 -l:libnuma.so.1 -lm \
		$(LIBS)

-include $(shell find $(B)/obj $(B)/syntax -name '*.d' 2>/dev/null)
