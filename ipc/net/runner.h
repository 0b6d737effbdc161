/*
 * A thread of its own for something that is kept up (a link, a stream). It has a base and runs its loop. Other threads ring its bell to ask for
 * something. The thread ends when the course is over.
 */
#ifndef IPC_NET_RUNNER_H
#define IPC_NET_RUNNER_H

struct ipc_course;
struct ipc_runner;

/*
 * Starts the thread and with it the course, whose owner equips itself. *@to is set before the thread runs. -1 with errno: nothing is left of it, and *@to is
 * NULL. The caller holds the owner.
 */
int ipc_runner_start(struct ipc_runner **to, struct ipc_course *c);

/* Any thread: the owner of @c heeds these bits, in the thread; at once, if that is the caller's, or @r is NULL. After its end, nobody does. */
void ipc_runner_ask(struct ipc_runner *r, struct ipc_course *c, unsigned what);

/* Joins the thread; called in its own callback, detaches it. */
void ipc_runner_leave(struct ipc_runner *r);

/* Frees its memory, when the thread is over. NULL is fine. */
void ipc_runner_free(struct ipc_runner *r);

#endif
