/*
 * What all other headers of aioipc need: deadlines, the log, and event bases across fork.
 *
 * Conventions of every call. Functions of type int return 0, or -1 and set errno. Functions that return a pointer return
 * NULL and set errno. Calls that receive return 1 (they got something), 0 (the stream ended cleanly) or -1. A call that
 * failed has changed nothing, and has not written to its output arguments. Two errors are possible almost everywhere and
 * are not repeated below: ENOMEM, and ECHILD (the object belongs to the process that forked this one).
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

/* The version of the library that is loaded, such as "0.2.0". AIOIPC_VERSION is the version of the headers. Since 0.1. */
AIOIPC_API const char *aioipc_version(void);

/*
 * A deadline is a point in time of the monotonic clock. It is AIOIPC_NOW (do not wait), AIOIPC_FOREVER (no limit), or a
 * value that aioipc_after() returned. Every call that waits fails with EINVAL on any other number, such as a plain 5000.
 */
#define AIOIPC_NOW INT64_C(0)
#define AIOIPC_FOREVER INT64_C(-1)

/* The deadline @ms milliseconds from now; AIOIPC_NOW when @ms is 0 or less. Since 0.1. */
AIOIPC_API int64_t aioipc_after(int64_t ms);

/*
 * Sets the log: the library calls @cb with what no return value and no other callback can tell. @text is one line, without a newline,
 * and is valid only during the call. @cb may be called in any thread, in several at once, and in the middle of a call: it must not use
 * the object of that call. It may make other calls; one that fails may call it again. NULL, the default, switches the log off,
 * unless AIOIPC_LOG=1 is in the environment: then the lines go to stderr. Since 0.1; which argument of a call that fails with
 * EINVAL is wrong, and AIOIPC_LOG: since 0.2.
 */
typedef void aioipc_log_cb(const char *text, void *arg);
AIOIPC_API void aioipc_set_log(aioipc_log_cb *cb, void *arg);

/*
 * Writes a line to this log, for libraries above this one such as libaioipc-tls. @text is cut to 511 bytes; characters that a terminal would obey are
 * "?". Keeps errno. Since 0.2.
 */
AIOIPC_API void aioipc_log(const char *text);

/*
 * For a forked child: makes @base, which was made before the fork, the child's own. It does what event_reinit() needs, in
 * the right order, and takes the parent's connections out of the child's base. Call it for every inherited base, before threads
 * start and before event_base_free(). But do nothing with a base that another thread was running during the fork. On a base that
 * this process made it does no harm. Errno: as event_reinit(); EIO when that fails without an errno; ECHILD (the child has closed the
 * descriptors of the base). Since 0.1.
 */
AIOIPC_API int aioipc_base_reinit(struct event_base *base);

#ifdef __cplusplus
}
#endif

#endif
