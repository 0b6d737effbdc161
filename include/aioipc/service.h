/*
 * aioservice: threads or processes that take messages from one queue, handle them, and put the results into another queue.
 * Services, queues and links in a chain make a program.
 *
 * The end of the stream runs down the chain. When `in` is closed and all messages are handled, the threads end, and the
 * service closes `out`. Where other services or links also put into `out`, the last of them closes it. Back-pressure runs up
 * the chain: a handler that puts into a full queue waits.
 *
 * Any thread may make any call at any time. But start, close and abort must not run at the same time as each other, and
 * nothing may follow close or abort. In a task, a call that waits lets the others run. In a callback it would stop the whole
 * loop: use AIOIPC_NOW there, and aioqueue_watch() on `out`, which ends with the service.
 *
 * Errno of calls that wait: EINVAL (not a deadline), ETIMEDOUT, EDEADLK (in a handler of the same service), and in a task
 * also ECANCELED, EMFILE and ENFILE (no descriptor to wake the task with). ECHILD as in <aioipc/base.h>: a service does not
 * cross a fork. A child may close a service of its parent.
 */
#ifndef AIOIPC_SERVICE_H
#define AIOIPC_SERVICE_H

#include <stdbool.h>
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
 * Handles one message, in a thread of the service. The thread has all signals blocked. The message belongs to the service;
 * aiomsg_ref() keeps it. The handler puts its results into @out: none, one or many. A generator is a service without `in`:
 * its handler is called again and again with NULL for @m.
 *
 * Returns 0: go on. 1: the service is done and wants no more messages. -1 with errno: it failed, and on_error is asked what
 * to do. An errno of 0 counts as EIO. ECANCELED is no error when the service has to stop anyway: see aioservice_sleep().
 *
 * A message of a stream is acknowledged when the handler has returned 0 or 1, and given back when it has failed; unless the handler
 * called aiomsg_hold(). See <aioipc/stream.h>. Since 0.2.
 */
typedef int aioservice_handle(struct aiomsg *m, struct aioqueue *out, void *arg);

/*
 * The handler failed on @m with @error. The same thread calls this. Returns 0: go on with the next message. Any other value
 * stops the service. It may do what a handler may do.
 */
typedef int aioservice_error_cb(struct aioservice *s, struct aiomsg *m, int error, void *arg);

/* What on_error returns to have the message handled again. Since 0.2. */
#define AIOSERVICE_RETRY 0x72657472

/*
 * init: each worker calls it first, in its own thread or process. 0, or -1 with errno: then the service stops with that error.
 * fini: each worker for which init returned 0 calls it last; not one that is killed. Since 0.2.
 */
typedef int aioservice_init(void *arg);
typedef void aioservice_fini(void *arg);

/*
 * What the workers are. Since 0.2.
 *
 * FORKED: aioservice_new() forks one process, the fork server, which forks the workers, also those that replace others. So the
 * workers see the memory as it was at aioservice_new(), and no other thread of the program matters: make the service
 * before the program has threads. EXECUTED: each worker is a new program, which calls aioservice_worker().
 *
 * A handler in a process gets a queue of its own as `out`. What it puts there comes to the service's `out` when it has returned 0 or 1:
 * all of it or, if it failed or its process died, nothing. Descriptors in messages travel both ways. `in`, the service and
 * all else that the program shares between threads is not there in a worker, and can't be called.
 */
enum aioservice_kind {
	AIOSERVICE_THREADS,
	AIOSERVICE_FORKED,
	AIOSERVICE_EXECUTED,
};

/* 0 and NULL are the defaults. A handler is needed. */
struct aioservice_options {
	size_t size;               /* sizeof(struct aioservice_options) */
	struct aioqueue *in;       /* NULL: a generator. The service takes references to both queues */
	struct aioqueue *out;      /* NULL: the service has no results */
	unsigned workers;          /* at most 1024; 0 means 1. Messages are handled in order only with 1 */
	aioservice_handle *handle; /* every worker calls it. A service of EXECUTED has none */
	aioservice_error_cb *on_error; /* NULL: any error stops the service */
	void *arg;                     /* for all callbacks */

	/* Since 0.2. */
	enum aioservice_kind kind;
	/* So often a message whose worker died is handled again before on_error is asked. Processes only. */
	unsigned retries;
	/* Of EXECUTED: the program, its arguments and environment (NULL: that of this process). They must stay as long as the service. */
	const char *path;
	char *const *argv;
	char *const *envp;
	int64_t limit; /* ms for one message, for init and for fini: then the worker is killed. 0: none. Processes only */
	/* A worker handles so many messages, and is then replaced. 0: no limit. Processes only. */
	uint64_t jobs_each;
	aioservice_init *init; /* NULL: none */
	aioservice_fini *fini; /* NULL: none */
	bool in_order;         /* results come in the order of the messages. Processes only */
	bool with_terminal; /* the workers stay in the process group of the program: Ctrl-C kills them too. Processes only */
	bool only_ends; /* FORKED: the workers have none of the program's descriptors but 0, 1 and 2 */
	char unused[5];
};

/*
 * Makes a service that does not run yet. Errno: EINVAL (size, no handler, too many workers, or `out` is `in`, options that do
 * not go together; the log says which); of FORKED also as fork(2), EMFILE, ENFILE. Since 0.1.
 */
AIOIPC_API struct aioservice *aioservice_new(const struct aioservice_options *o);

/*
 * Starts all threads. When it fails, none runs, and the caller may try again.
 * Processes start in the background: a program that can't be executed stops the service with the errno of execve(2).
 * Errno: EALREADY (it was started before), EAGAIN (the system has no more threads); with processes also EMFILE, ENFILE.
 * Since 0.1.
 */
AIOIPC_API int aioservice_start(struct aioservice *s);

/*
 * Asks the service to end, and does not wait. It closes `in`; the messages that are in it are still handled. A generator is
 * not called again. Handlers may call it too. @s may be NULL. Since 0.1.
 */
AIOIPC_API void aioservice_stop(struct aioservice *s);

/*
 * Waits until the service has ended: the last handler has returned, and `out` is closed. Any number of callers may wait, also
 * before the start. Returns 0 however the service ended. Errno: EINTR (a signal handler ran). Since 0.1.
 */
AIOIPC_API int aioservice_join(struct aioservice *s, int64_t deadline);

/*
 * The errno that stopped the service, or 0 when no error has. When an error, or a handler that returned 1, stops the service,
 * it closes `in` and leaves there what it has not taken. Since 0.1.
 */
AIOIPC_API int aioservice_error(const struct aioservice *s);

/*
 * Stops the service, waits until it has ended, and frees it. All its threads are gone then. When the call fails, nothing is
 * freed, because handlers still run: call it again, or abort. A signal does not end the wait. A service that was not started
 * ends without handling anything, and closes `out` too. In a forked child the call frees the memory and returns -1/ECHILD.
 * @s may be NULL. Since 0.1.
 */
AIOIPC_API int aioservice_close(struct aioservice *s, int64_t deadline);

/*
 * Stops the service without handling the rest, and frees it. It drops what is in `in`, and closes both queues, so that a put
 * into a full `out` fails with EPIPE. Where others also put into `out`, that stays open, and only puts of its own handlers
 * fail. It waits for the handlers that run, because they use memory that the caller is about to free. In a handler of the
 * service itself it does not wait: the service is freed when its last handler has returned. @s may be NULL. Since 0.1.
 */
AIOIPC_API void aioservice_abort(struct aioservice *s);

/*
 * For on_error: how the worker ended that was at work on this message, as from waitpid(2); -1: the handler failed, and no
 * worker ended. on_error is told EOWNERDEAD when the worker ended by itself or was killed, and ETIMEDOUT when it took longer than `limit`.
 * Since 0.2.
 */
AIOIPC_API int aioservice_worker_status(const struct aioservice *s);

struct aioservice_stats {
	size_t size;       /* sizeof(struct aioservice_stats) */
	uint64_t jobs;     /* handlers that returned 0 or 1 */
	uint64_t failed;   /* handlers that returned -1 */
	uint64_t lost;     /* messages whose worker died at work on them, each time counted */
	uint64_t retried;  /* messages that were handled again */
	uint64_t starts;   /* workers that were started */
	uint64_t restarts; /* those of them that replaced one that died, or had handled jobs_each messages */
	uint64_t late;     /* workers that were killed because of `limit` */
	uint64_t busy_ns;  /* time that handlers took, of processes only */
	unsigned workers;  /* that run now */
	unsigned busy;     /* that are at work on a message now */
};

/* Fills as much of @stats as @stats->size says. Any thread. Errno: EINVAL (size). Since 0.2. */
AIOIPC_API int aioservice_stats(const struct aioservice *s, struct aioservice_stats *stats);

/*
 * For programs that a service of EXECUTED started: serves until the service wants no more, which is 0. Of @o it uses handle, init,
 * fini and arg. The program should end then. Call it before the program has threads or forks.
 * Errno: ENOENT (no service started this program), EINVAL (size, no handler), ECONNRESET or EPIPE (the service is gone), what init
 * failed with, ECHILD (the handler forked, and this is the child). Since 0.2.
 */
AIOIPC_API int aioservice_worker(const struct aioservice_options *o);

/*
 * For handlers: waits until @deadline; AIOIPC_NOW only looks. Returns -1/ECANCELED at once when the service has to stop: it
 * was aborted, a generator was stopped, or another thread failed or was done. A service with `in` that was stopped still
 * handles what is in `in`, so its handlers sleep on. Errno: EPERM (not in a handler). Since 0.1.
 */
AIOIPC_API int aioservice_sleep(int64_t deadline);

#ifdef __cplusplus
}
#endif

#endif
