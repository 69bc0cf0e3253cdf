/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - one line to stderr per event, "podpci: net0: link up", never to stdout.
 *
 * Safe in a trap: formats into the stack, one write(2), no allocation, errno kept. The level
 * comes from PODPCI_LOG=error|warn|info|debug (default warn), read once by log_init().
 */
#ifndef SIM_CORE_LOG_H
#define SIM_CORE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Reads the level from the text ("info"); NULL or nonsense keeps the default. */
void log_init(const char *level);
bool log_enabled(enum log_level level);
void log_line(enum log_level level, const char *who, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_error(who, ...)	log_line(LOG_ERROR, who, __VA_ARGS__)
#define log_warn(who, ...)	log_line(LOG_WARN, who, __VA_ARGS__)
#define log_info(who, ...)	log_line(LOG_INFO, who, __VA_ARGS__)
#define log_debug(who, ...) \
	do { if (log_enabled(LOG_DEBUG)) log_line(LOG_DEBUG, who, __VA_ARGS__); } while (0)

/* A budget for repeated complaints: `burst` at once, then one every `every_ms`. */
struct log_limit {
	unsigned burst, every_ms, used;
	uint64_t since_ms;
};

/* True if the caller may speak now. */
bool log_may(struct log_limit *l, uint64_t now_ms);

#endif
