/*
 * aioservice: threads that take messages from one queue, handle them, and put what comes of it into another. Chained by
 * queues and links they make a program.
 *
 * The end of the stream runs through a chain: when `in` was closed and all of it is handled, the threads end, and with the
 * last of them the service closes `out`, where no other service or link that was made puts into it, too: the last one of those does. Back-pressure runs the other way: a handler that puts into a full queue waits.
 *
 * Any thread may make any call at any time, but start, close and abort are for one at a time, and nothing comes after close
 * or abort. In a task, calls that wait let the others run. In a callback they would stop the whole loop: use AIOIPC_NOW there,
 * and aioqueue_watch() on `out`, whose end is that of the service.
 *
 * Calls that wait: EINVAL (not a deadline), ETIMEDOUT, EDEADLK (in a handler of the same service) and, in a task, ECANCELED,
 * EMFILE, ENFILE (no descriptor to wake the task by). ECHILD as in <aioipc/base.h>: a service does not cross a fork, closing
 * it there is safe.
 */
#ifndef AIOIPC_SERVICE_H
#define AIOIPC_SERVICE_H

#include <stddef.h>
#include <stdint.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aiomsg;
struct aioqueue;
struct aioservice;

/*
 * Handles one message, in a thread of the service, which has all signals blocked. The message is the service's:
 * aiomsg_ref() keeps it. What comes of it goes into @out: nothing, one message or many. A generator, which has no `in`, is
 * called again and again with NULL for @m.
 * Returns 0: go on. 1: the service is done, it wants no more. -1 and errno: it went wrong, on_error is asked; an errno of 0
 * counts as EIO, and ECANCELED is no error when the service is to stop anyway: see aioservice_sleep().
 */
typedef int aioservice_handle(struct aiomsg *m, struct aioqueue *out, void *arg);

/*
 * The handler failed on @m with @error; this is the same thread. Returns 0: go on with the next message. Else the service
 * stops. It may do what a handler may.
 */
typedef int aioservice_error_cb(struct aioservice *s, struct aiomsg *m, int error, void *arg);

/* Zeroes are the defaults; there must be a handler. */
struct aioservice_options {
	size_t size;                   /* sizeof(struct aioservice_options) */
	struct aioqueue *in;           /* NULL: a generator. The service takes references of its own */
	struct aioqueue *out;          /* NULL: a sink */
	unsigned workers;              /* threads, at most 1024; 1. Only one handles messages in order */
	aioservice_handle *handle;     /* called by each of them */
	aioservice_error_cb *on_error; /* NULL: any error stops the service */
	void *arg;                     /* of both */
};

/*
 * A service that does nothing yet. Errno: EINVAL (size, no handler, too many workers, or `out` is `in`; which, goes to the
 * log). Since 0.1.
 */
AIOIPC_API struct aioservice *aioservice_new(const struct aioservice_options *o);

/*
 * Starts the threads: all of them, or none when it fails; then it may be tried again. Errno: EALREADY (it was started before),
 * EAGAIN (no more threads). Since 0.1.
 */
AIOIPC_API int aioservice_start(struct aioservice *s);

/*
 * Asks it to end, without waiting for that. Closes `in`, and what is there is still handled; a generator is not called again.
 * Also for handlers. NULL is fine. Since 0.1.
 */
AIOIPC_API void aioservice_stop(struct aioservice *s);

/*
 * Waits until it has ended: the last handler has returned, and `out` is closed. Any number may wait, before the start too.
 * Returns 0 however it ended. Errno: EINTR (a signal handler ran). Since 0.1.
 */
AIOIPC_API int aioservice_join(struct aioservice *s, int64_t deadline);

/*
 * The error that stopped it, an errno; 0 for none so far. A service that an error stopped, or a handler that returned 1,
 * closes `in` and leaves there what it had not taken. Since 0.1.
 */
AIOIPC_API int aioservice_error(const struct aioservice *s);

/*
 * Stops it, waits until it has ended, and frees it; its threads are gone then. When it fails, nothing is freed, as handlers
 * still run: call it again, or abort. Goes on after signals. One that was not started ends without handling anything, and
 * closes `out` too. In a forked child it frees, and is -1/ECHILD. NULL is fine. Since 0.1.
 */
AIOIPC_API int aioservice_close(struct aioservice *s, int64_t deadline);

/*
 * Drops what is in `in`; closes both queues, so that a put into a full `out` fails with EPIPE (where others put there too, it stays open, and only
 * its own handlers' puts fail); waits for the handlers that run, because they use memory that the caller is about to free; and frees. In a handler of its own it does not wait: it is
 * freed when the last of them has returned. NULL is fine. Since 0.1.
 */
AIOIPC_API void aioservice_abort(struct aioservice *s);

/*
 * In a handler: waits until @deadline, AIOIPC_NOW only looks. -1/ECANCELED at once when the service is to stop: a generator
 * was stopped, another thread failed or was done, it was aborted. A service with `in` that was stopped still handles
 * what is there, and sleeps on. Errno: EPERM (not in a handler). Since 0.1.
 */
AIOIPC_API int aioservice_sleep(int64_t deadline);

#ifdef __cplusplus
}
#endif

#endif
