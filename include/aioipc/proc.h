/*
 * aioproc: a child process, started by fork or exec with the ends that move to it. The parent joins it with a deadline, or
 * watches it from an event base. The library waits only for this pid and installs no signal handler.
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
 * Forks a child. The child runs @body(@arg) and exits with the value that @body returns. It takes the ends that this thread
 * has detached. In the child all caught signals have their default action, no signal is blocked, and the stack is a normal
 * one. Before the fork, stdout and stderr are flushed, unless another thread uses them at that moment. The child drops what
 * it inherited in these two buffers, and flushes what it printed itself when @body returns. Other streams are left alone.
 * The call waits for no stream. Errno: as fork(2). Since 0.1.
 */
AIOIPC_API struct aioproc *aioproc_start(int (*body)(void *arg), void *arg);

/*
 * The same, but exactly the @n ends of @ends move, detached or not. Use it for pools and in programs with threads.
 * Errno: as fork(2), EBADF (an end moved already), EBUSY (another thread detached an end). Since 0.1.
 */
AIOIPC_API struct aioproc *aioproc_start_with(int (*body)(void *arg), void *arg, struct aioend *const *ends,
					      size_t n);

/* How a child starts. NULL, or zero for every member but size, means: as the parent. */
struct aioproc_options {
	size_t size;     /* sizeof(struct aioproc_options) */
	const char *cwd; /* the child changes to this folder first */
	bool set_ids;    /* become this user and group, without supplementary groups */
	uid_t uid;
	gid_t gid;
	bool new_session;     /* setsid(2) */
	bool die_with_parent; /* the kernel kills the child when the thread that started it ends */
	char unused[2];       /* was padding in 0.1, and programs of 0.1 leave anything there */
	bool new_group; /* a process group of its own: Ctrl-C at the terminal does not reach it. Since 0.2. */
	bool only_ends; /* closes all descriptors but 0, 1, 2 and the ends that move; an executed program never has others. Since 0.2. */
};

/*
 * As aioproc_start_with(), but the child first becomes what @o says, and then runs @body. The parent waits for that. When a
 * step fails, there is no child, the ends have not moved, and the call fails with the child's errno. After only_ends the
 * child can neither use nor free an event base of the parent: opening something on it fails with ECHILD.
 * Errno: also as setsid(2), setuid(2), chdir(2); ECANCELED (die_with_parent, and the parent is ending), EMFILE, ENFILE,
 * EINVAL (@o->size is larger than this library knows). Since 0.2.
 */
AIOIPC_API struct aioproc *aioproc_start_opts(int (*body)(void *arg), void *arg, struct aioend *const *ends,
					      size_t n, const struct aioproc_options *o);

/*
 * Starts the program @path; PATH is not searched. The program has 0, 1, 2, the ends that this thread has detached, and no
 * other descriptor. Where 0, 1 or 2 is closed or close-on-exec here, it is /dev/null there. @envp NULL means the environment
 * of this process. The program finds the ends by name, or as standard descriptors: aioend_set_name(), aioend_set_stdio().
 * It works in a program with threads, too.
 * Errno: as fork(2), chdir(2), setuid(2), execve(2); EINVAL (a detached end has neither a name nor a standard descriptor, two
 * ends share one, more than 64 ends have names, or @o->size is larger than this library knows). Since 0.1.
 */
AIOIPC_API struct aioproc *aioproc_exec(const char *path, char *const argv[], char *const envp[],
					const struct aioproc_options *o);

/* The process id. It stays known after the child was joined. Since 0.1. */
AIOIPC_API pid_t aioproc_pid(const struct aioproc *p);

/* Sends the child a signal. Errno: ESRCH (it has ended, or was joined), EINVAL, EPERM. Since 0.1. */
AIOIPC_API int aioproc_kill(struct aioproc *p, int sig);

/*
 * Waits until the child ends. *@status is as from waitpid(2), and later calls give it again; @status may be NULL. @p stays
 * the caller's.
 * Errno: ETIMEDOUT, EINTR (a signal handler ran), EINVAL (not a deadline), EDEADLK (AIOIPC_FOREVER in a callback of
 * on_exit's base), EMFILE (the wait needs a descriptor), ECHILD (someone else has waited for the child), EPIPE (another
 * task freed @p meanwhile). Since 0.1.
 */
AIOIPC_API int aioproc_join(struct aioproc *p, int *status, int64_t deadline);

/*
 * Calls @cb once, from the loop of @base, when the child ends. @status is as above, or -1 when someone else has waited for
 * the child. @p stays the caller's, who may free it in the callback. NULL for @cb removes the callback.
 * Errno: EBUSY (it has a callback on another base), EMFILE. Since 0.1.
 */
typedef void aioproc_exit_cb(struct aioproc *p, int status, void *arg);
AIOIPC_API int aioproc_on_exit(struct aioproc *p, struct event_base *base, aioproc_exit_cb *cb, void *arg);

/* Frees the handle. A child that still runs goes on; a thread reaps it when it ends. @p may be NULL. Since 0.1. */
AIOIPC_API void aioproc_free(struct aioproc *p);

#ifdef __cplusplus
}
#endif

#endif
