/*
 * A worker process as its service sees it: a connection, the jobs that it was given, and what it says. What to do then is the
 * owner's, dispatch.c, which registers functions for it.
 *
 *            started            init returned            goodbye
 *     NONE ----------> STARTS -----------------> READY ----------> LEAVES
 *      ^                 |                         |                 |
 *      +-----------------+--- the process is gone -+-----------------+
 */
#ifndef IPC_SERVICE_PROCESS_H
#define IPC_SERVICE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/service/job.h"
#include "ipc/service/talk.h"

struct aioconn;
struct aioend;
struct aioproc;
struct event_base;
struct ipc_process;
struct ipc_starter;

enum ipc_process_state {
	IPC_PROCESS_NONE,
	IPC_PROCESS_STARTS,
	IPC_PROCESS_READY,
	IPC_PROCESS_LEAVES,
};

struct ipc_process_owner {
	void (*ready)(struct ipc_process *w, int error); /* init has returned, or failed with @error */
	void (*answered)(struct ipc_process *w, struct ipc_job *j, const struct ipc_answer *a);
	void (*ended)(struct ipc_process *w, bool in_order); /* its connection; the process may live */
};

struct ipc_process {
	const struct ipc_process_owner *owner;
	void *arg; /* the owner's */
	struct ipc_jobs *all;
	uint32_t index, serial; /* serial: of the process that is started now */
	enum ipc_process_state state;
	struct aioconn *conn;     /* NULL when it has ended */
	struct ipc_job_list jobs; /* given to it; it is at work on the first */
	struct ipc_answer answer; /* of that one; answer.results are still to come */
	bool met;                 /* init has returned */
	bool answering;
	bool is_done; /* it begins with no more jobs: its handler returned 1, or init failed */
	struct ipc_starter *starter;
	struct aioproc *proc; /* of an executed one */
	int error;            /* why the service ended it; 0 */
	bool is_deaf;         /* something could not be written to it */
	bool kill_again;      /* there was no memory to have it killed */
	bool has_worked;
	bool is_next; /* it replaced another one */
	uint64_t given;
	int64_t since;      /* when it began with the first job, was started, or was told to leave */
	int64_t restart_at; /* NONE: 0 never */
	int64_t pause;      /* ns before that */
};

/* @end is the service's, and is freed. -1: nothing is open. */
int ipc_process_open(struct ipc_process *w, struct aioend *end, struct event_base *base, bool generates);

/* Sends it the message of a job, which is then in its list. -1: EAGAIN (it takes no more now), EPIPE (it is gone), or the message can't be sent. */
int ipc_process_give(struct ipc_process *w, struct ipc_job *j);

void ipc_process_cork(struct ipc_process *w, bool on);

/* Says goodbye behind what it was given. -1/ENOMEM: nothing has changed. */
int ipc_process_dismiss(struct ipc_process *w);

/* Takes what it has sent, as far as it has arrived. */
void ipc_process_look(struct ipc_process *w);

/* Dozing, it is heard when its owner asks: then what it says wakes nobody. */
void ipc_process_doze(struct ipc_process *w, bool on);
void ipc_process_hear(struct ipc_process *w);

/* If something could not be written to it, its owner is told that it ended. What it has sent can still be read. */
void ipc_process_check(struct ipc_process *w);

/* Closes the connection now. Its owner is not told. */
void ipc_process_cut(struct ipc_process *w);

#endif
