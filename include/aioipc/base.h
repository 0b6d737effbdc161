/*
 * What every other header of aioipc stands on: deadlines, the log, and event bases across fork.
 *
 * Conventions of every call: int functions return 0, or -1 with errno set; pointer functions NULL
 * with errno set; receiving functions 1 (got one), 0 (ended cleanly) or -1. A failed call has
 * changed nothing and its outputs are untouched. ENOMEM is possible wherever something is made or
 * sent and is not repeated below, nor is ECHILD: the object belongs to the process that forked this one.
 */
#ifndef AIOIPC_BASE_H
#define AIOIPC_BASE_H

#include <stdint.h>

#if defined(__GNUC__) && __GNUC__ >= 4
#define AIOIPC_API __attribute__((visibility("default")))
#else
#define AIOIPC_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct event_base;

#define AIOIPC_VERSION "0.2.0"

/* The version of the library that is loaded, such as "0.2.0"; compare AIOIPC_VERSION. Since 0.1. */
AIOIPC_API const char *aioipc_version(void);

/*
 * Deadlines are absolute and monotonic: AIOIPC_NOW (do not wait), AIOIPC_FOREVER, or what
 * aioipc_after() returned. Any other number, say a plain 5000, is EINVAL to every call that waits.
 */
#define AIOIPC_NOW INT64_C(0)
#define AIOIPC_FOREVER INT64_C(-1)

/* The deadline @ms milliseconds from now; AIOIPC_NOW when @ms is 0 or less. Since 0.1. */
AIOIPC_API int64_t aioipc_after(int64_t ms);

/*
 * Lets the library say what it has no other way to tell, one line of text without a newline at a
 * time, from whichever thread it happens in. NULL, the default, is silence. Since 0.1.
 */
typedef void aioipc_log_cb(const char *text, void *arg);
AIOIPC_API void aioipc_set_log(aioipc_log_cb *cb, void *arg);

/*
 * In a forked child: makes an event base that was made before the fork the child's own. Does what
 * event_reinit() needs, in the right order, and drops the watches of the parent's connections.
 * Call it on every inherited base before threads start and before event_base_free(). On a base
 * of this process it does no harm. Errno: as event_reinit(), EIO when that does not say. Since 0.1.
 */
AIOIPC_API int aioipc_base_reinit(struct event_base *base);

#ifdef __cplusplus
}
#endif

#endif
