/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user_wire.h - the vhost-user protocol as bytes, for both ends of the wire.
 *
 * Numbers and layouts from the vhost-user specification (QEMU, docs/interop/vhost-user.rst).
 * All fields are in the byte order of the machine; both ends are on the same one.
 */
#ifndef PODPCI_VHOST_USER_WIRE_H
#define PODPCI_VHOST_USER_WIRE_H

#include <assert.h>
#include <stdint.h>

/* ---- header --------------------------------------------------------------------------------- */

struct vu_header {
	uint32_t request;
	uint32_t flags;
	uint32_t size;			/* of the payload */
};

#define VU_VERSION      1u		/* flags bits 0-1 */
#define VU_VERSION_MASK 3u
#define VU_REPLY        (1u << 2)
#define VU_NEED_REPLY   (1u << 3)

/* ---- requests of the front-end -------------------------------------------------------------- */

enum vu_request {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES = 2,
	VU_SET_OWNER = 3,
	VU_RESET_OWNER = 4,
	VU_SET_MEM_TABLE = 5,
	VU_SET_LOG_BASE = 6,
	VU_SET_LOG_FD = 7,
	VU_SET_VRING_NUM = 8,
	VU_SET_VRING_ADDR = 9,
	VU_SET_VRING_BASE = 10,
	VU_GET_VRING_BASE = 11,
	VU_SET_VRING_KICK = 12,
	VU_SET_VRING_CALL = 13,
	VU_SET_VRING_ERR = 14,
	VU_GET_PROTOCOL_FEATURES = 15,
	VU_SET_PROTOCOL_FEATURES = 16,
	VU_GET_QUEUE_NUM = 17,
	VU_SET_VRING_ENABLE = 18,
	VU_SEND_RARP = 19,
	VU_NET_SET_MTU = 20,
	VU_SET_BACKEND_REQ_FD = 21,
	VU_IOTLB_MSG = 22,
	VU_SET_VRING_ENDIAN = 23,
	VU_GET_CONFIG = 24,
	VU_SET_CONFIG = 25,
	VU_CREATE_CRYPTO_SESSION = 26,
	VU_CLOSE_CRYPTO_SESSION = 27,
	VU_POSTCOPY_ADVISE = 28,
	VU_POSTCOPY_LISTEN = 29,
	VU_POSTCOPY_END = 30,
	VU_GET_INFLIGHT_FD = 31,
	VU_SET_INFLIGHT_FD = 32,
	VU_GPU_SET_SOCKET = 33,
	VU_RESET_DEVICE = 34,
	VU_VRING_KICK = 35,
	VU_GET_MAX_MEM_SLOTS = 36,
	VU_ADD_MEM_REG = 37,
	VU_REM_MEM_REG = 38,
	VU_SET_STATUS = 39,
	VU_GET_STATUS = 40,
	VU_GET_SHARED_OBJECT = 41,
	VU_SET_DEVICE_STATE_FD = 42,
	VU_CHECK_DEVICE_STATE = 43,
	VU_GET_SHMEM_CONFIG = 44,
	VU_GET_VRING_BASE_SKIP_DRAIN = 45,
	VU_REQUESTS,			/* one more than the last */
};

/* ---- requests of the back-end --------------------------------------------------------------- */

enum vu_backend_request {
	VU_BACKEND_IOTLB_MSG = 1,
	VU_BACKEND_CONFIG_CHANGE = 2,
	VU_BACKEND_VRING_HOST_NOTIFIER = 3,
	VU_BACKEND_VRING_CALL = 4,
	VU_BACKEND_VRING_ERR = 5,
	VU_BACKEND_SHARED_OBJECT_ADD = 6,
	VU_BACKEND_SHARED_OBJECT_REMOVE = 7,
	VU_BACKEND_SHARED_OBJECT_LOOKUP = 8,
	VU_BACKEND_SHMEM_MAP = 9,
	VU_BACKEND_SHMEM_UNMAP = 10,
	VU_BACKEND_REQUESTS,
};

/* ---- features ------------------------------------------------------------------------------- */

/* Bits among the virtio features that belong to the protocol and are never shown to a guest. */
#define VU_F_LOG_ALL           26
#define VU_F_PROTOCOL_FEATURES 30

enum vu_protocol_feature {
	VU_PROTOCOL_MQ = 0,
	VU_PROTOCOL_LOG_SHMFD = 1,
	VU_PROTOCOL_RARP = 2,
	VU_PROTOCOL_REPLY_ACK = 3,
	VU_PROTOCOL_MTU = 4,
	VU_PROTOCOL_BACKEND_REQ = 5,
	VU_PROTOCOL_CROSS_ENDIAN = 6,
	VU_PROTOCOL_CRYPTO_SESSION = 7,
	VU_PROTOCOL_PAGEFAULT = 8,
	VU_PROTOCOL_CONFIG = 9,
	VU_PROTOCOL_BACKEND_SEND_FD = 10,
	VU_PROTOCOL_HOST_NOTIFIER = 11,
	VU_PROTOCOL_INFLIGHT_SHMFD = 12,
	VU_PROTOCOL_RESET_DEVICE = 13,
	VU_PROTOCOL_INBAND_NOTIFICATIONS = 14,
	VU_PROTOCOL_CONFIGURE_MEM_SLOTS = 15,
	VU_PROTOCOL_STATUS = 16,
	VU_PROTOCOL_XEN_MMAP = 17,
	VU_PROTOCOL_SHARED_OBJECT = 18,
	VU_PROTOCOL_DEVICE_STATE = 19,
	VU_PROTOCOL_GET_VRING_BASE_INFLIGHT = 20,
	VU_PROTOCOL_GPA_ADDRESSES = 21,
};

/* ---- payloads ------------------------------------------------------------------------------- */

#define VU_REGIONS_MAX 8		/* in one SET_MEM_TABLE */
#define VU_FDS_MAX     VU_REGIONS_MAX	/* with one message */

struct vu_state {			/* SET_VRING_NUM/BASE/ENABLE, GET_VRING_BASE */
	uint32_t index, num;
};

#define VU_ADDR_LOG 1u			/* flags: writes to the used ring are logged */

struct vu_addr {
	uint32_t index, flags;
	uint64_t desc, used, avail;	/* addresses in the front-end's process */
	uint64_t log;
};

struct vu_region {
	uint64_t guest_addr, size, user_addr;
	uint64_t mmap_offset;		/* of the region in its fd */
};

struct vu_memory {
	uint32_t regions, padding;
	struct vu_region region[VU_REGIONS_MAX];
};

#define VU_MEMORY_SIZE(n) (8u + (uint32_t)(n) * (uint32_t)sizeof(struct vu_region))

struct vu_single_region {		/* ADD_MEM_REG, REM_MEM_REG */
	uint64_t padding;
	struct vu_region region;
};

/* The u64 of SET_VRING_KICK, CALL and ERR. */
#define VU_RING_INDEX 0xffu
#define VU_RING_NOFD  (1u << 8)

#define VU_CONFIG_MAX 256		/* bytes of virtio configuration space */

struct vu_config {
	uint32_t offset, size, flags;	/* flags 0: the driver writes; 1: migration */
	uint8_t  bytes[VU_CONFIG_MAX];
};

#define VU_CONFIG_SIZE(n) (12u + (uint32_t)(n))

/* SET_LOG_BASE. A bit for each page of guest memory, from guest address 0 on. */
#define VU_LOG_PAGE 4096u

struct vu_log {
	uint64_t size, offset;
};

struct vu_inflight {
	uint64_t size, offset;
	uint16_t queues, queue_size;
};

struct vu_notifier {			/* VU_BACKEND_VRING_HOST_NOTIFIER */
	uint64_t index, size, offset;
};

union vu_payload {
	uint64_t                u64;
	struct vu_state         state;
	struct vu_addr          addr;
	struct vu_memory        memory;
	struct vu_single_region single;
	struct vu_config        config;
	struct vu_log           log;
	struct vu_inflight      inflight;
	struct vu_notifier      notifier;
};

static_assert(sizeof(struct vu_header) == 12, "three words");
static_assert(sizeof(struct vu_state) == 8, "vring state");
static_assert(sizeof(struct vu_addr) == 40, "vring address");
static_assert(sizeof(struct vu_region) == 32, "memory region");
static_assert(sizeof(struct vu_memory) == VU_MEMORY_SIZE(VU_REGIONS_MAX), "memory table");
static_assert(sizeof(struct vu_single_region) == 40, "single region");
static_assert(sizeof(struct vu_config) == VU_CONFIG_SIZE(VU_CONFIG_MAX), "configuration");
static_assert(sizeof(struct vu_log) == 16, "log");
static_assert(sizeof(struct vu_inflight) == 24, "with the tail padding that peers send");

#endif
