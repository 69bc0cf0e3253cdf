# SPDX-License-Identifier: Apache-2.0
# podpci: `make help` lists what there is to do.

B       ?= build
CC      ?= gcc
V       ?= 0
Q       := $(if $(filter 1,$(V)),,@)

WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
	   -Wpointer-arith -Wwrite-strings -Wno-unused-parameter -Werror
CFLAGS  ?= -O2 -g
ALL_CFLAGS := -std=gnu11 -I. -D_GNU_SOURCE -fPIC -fvisibility=hidden -fno-strict-aliasing \
	   -fstack-protector-strong $(WARN) $(CFLAGS) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer)
LDFLAGS += $(if $(SAN),-fsanitize=$(SAN))

.DEFAULT_GOAL := all
