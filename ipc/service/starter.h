/*
 * What starts and kills the processes of a service: a fork server, or execve. It tells when one is gone. A fork server is a
 * child that aioservice_new() forks, and that does nothing but fork workers: it has one thread, so they are safe.
 */
#ifndef IPC_SERVICE_STARTER_H
#define IPC_SERVICE_STARTER_H

#include <stdbool.h>

#include <aioipc/service.h>

struct aioconn;
struct aioend;
struct aioproc;
struct event_base;
struct ipc_process;

struct ipc_starter {
	const struct aioservice_options *o;
	struct event_base *base;
	struct ipc_process *workers; /* all of them, by index */
	/* @status as of waitpid(2), or -1 with @error: it could not be started. */
	void (*gone)(struct ipc_process *w, int status, int error);
	void (*lost)(void *arg); /* the fork server is gone, and with it all workers */
	void *arg;

	struct aioproc *server;
	struct aioend *end;   /* to the server, until the base is there */
	struct aioconn *conn; /* then */
};

/* Makes the fork server where there is one. -1: as aioproc_start_opts(). */
int ipc_starter_new(struct ipc_starter *st);

/* From now on it works on its base. -1: ENOMEM. */
int ipc_starter_equip(struct ipc_starter *st);

/* Starts worker @w, which gets @end. The end is freed. -1: it is not started, and gone is not called. */
int ipc_starter_start(struct ipc_starter *st, struct ipc_process *w, struct aioend *end);

/* If the fork server can't be talked to any more, it is lost. */
void ipc_starter_check(struct ipc_starter *st);

/* -1: ENOMEM, or it is gone. */
int ipc_starter_kill(struct ipc_starter *st, struct ipc_process *w);

/* Ends the fork server, and with it all its workers that still run; waits for them. */
void ipc_starter_free(struct ipc_starter *st);

#endif
