/*
 * aioproc: a child process. Started by fork or exec with the ends that are to move, joined with a
 * deadline, or watched from an event base. Only its own pid is ever waited for; no signal handler.
 */
#ifndef AIOIPC_PROC_H
#define AIOIPC_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <aioipc/base.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aioend;
struct aioproc;

/*
 * Forks a child that runs @body(@arg) and ends with its value as exit status. The child has caught signals back at their
 * defaults, an empty mask and a normal stack, and takes this thread's detached ends along. What is buffered in stdout and
 * stderr is written before, unless another thread uses the stream; the child forgets what it inherits in these two, and writes
 * what it has printed there when @body returns. Other streams are left alone. No stream is waited for. Errno: as fork(2). Since 0.1.
 */
AIOIPC_API struct aioproc *aioproc_start(int (*body)(void *arg), void *arg);

/*
 * The same, but moves exactly these @n ends, detached or not: the form for pools and threaded
 * programs. Errno: as fork(2), EBADF (one moved already), EBUSY (another thread detached one). Since 0.1.
 */
AIOIPC_API struct aioproc *aioproc_start_with(int (*body)(void *arg), void *arg, struct aioend *const *ends,
					      size_t n);

/* How children start. NULL, or zeroes but for the size, mean: as the parent. */
struct aioproc_options {
	size_t size;     /* sizeof(struct aioproc_options) */
	const char *cwd; /* change to this folder first */
	bool set_ids;    /* become this user and group, without supplementary groups */
	uid_t uid;
	gid_t gid;
	bool new_session;     /* setsid(2) */
	bool die_with_parent; /* killed when the thread that started it ends */
	char unused[2];       /* padding in 0.1, whose programs leave anything there */
	bool new_group; /* a process group of its own: Ctrl-C at the terminal does not reach it. Since 0.2. */
	bool only_ends; /* closes all descriptors but 0, 1, 2 and the ends that move; a program that is executed has no others anyway. Since 0.2. */
};

/*
 * As aioproc_start_with(), of a child that becomes what @o says before it runs @body. Waits until it has: when something fails,
 * there is no child, the ends are where they were, and this is NULL with the child's errno. After only_ends an event base of the parent's can
 * be neither used nor freed in the child: what opens something on it fails with ECHILD. Errno: besides, as setsid(2), setuid(2), chdir(2); ECANCELED (die_with_parent, and the parent ends),
 * EMFILE, ENFILE, EINVAL (o->size is larger than any that is known). Since 0.2.
 */
AIOIPC_API struct aioproc *aioproc_start_opts(int (*body)(void *arg), void *arg, struct aioend *const *ends,
					      size_t n, const struct aioproc_options *o);

/*
 * Starts the program @path (no search in PATH) with 0, 1 and 2, this thread's detached ends and
 * no other descriptor; of 0, 1 and 2, what is closed or close-on-exec here is /dev/null there. @envp NULL means this process's environment. The ends are found by name or are
 * standard descriptors: aioend_set_name(), aioend_set_stdio(). Works in a threaded program.
 * Errno: as fork(2), chdir(2), setuid(2), execve(2); EINVAL (a detached end has neither name nor
 * place, two share one, more than 64 have names, or o->size is larger than any that is known). Since 0.1.
 */
AIOIPC_API struct aioproc *aioproc_exec(const char *path, char *const argv[], char *const envp[],
					const struct aioproc_options *o);

/* Its process id, also after it was joined. Since 0.1. */
AIOIPC_API pid_t aioproc_pid(const struct aioproc *p);

/* Sends it a signal. Errno: ESRCH (it was joined, or ended), EINVAL, EPERM. Since 0.1. */
AIOIPC_API int aioproc_kill(struct aioproc *p, int sig);

/*
 * Waits until it ends; *@status (may be NULL) is as from waitpid(2), and is given again by later
 * calls. @p stays the caller's. Errno: ETIMEDOUT, EINTR (a signal handler ran), EINVAL (deadline), EDEADLK
 * (FOREVER in a callback of on_exit's base), EMFILE (to wait takes a descriptor), ECHILD (someone else has
 * waited for it), EPIPE (another task freed @p meanwhile). Since 0.1.
 */
AIOIPC_API int aioproc_join(struct aioproc *p, int *status, int64_t deadline);

/*
 * Calls @cb once from @base's loop when it ends; @status as above, or -1 when someone else has waited for it. @p
 * stays the caller's, who may free it in the callback. NULL takes the callback back. Errno: EBUSY (it has
 * one on another base), EMFILE. Since 0.1.
 */
typedef void aioproc_exit_cb(struct aioproc *p, int status, void *arg);
AIOIPC_API int aioproc_on_exit(struct aioproc *p, struct event_base *base, aioproc_exit_cb *cb, void *arg);

/* Frees the handle; a child that still runs runs on, and is reaped by a thread when it ends. NULL is fine. Since 0.1. */
AIOIPC_API void aioproc_free(struct aioproc *p);

#ifdef __cplusplus
}
#endif

#endif
