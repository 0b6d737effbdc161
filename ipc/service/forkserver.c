/*
 * The fork server: it forks the workers of one service when told, kills them when told, and tells when one has ended. When the service is
 * gone, in whatever way, it kills them all and ends. When it is killed itself, the kernel kills them.
 */
#include "ipc/service/forkserver.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <event2/event.h>

#include <aioipc/conn.h>
#include <aioipc/end.h>
#include <aioipc/msg.h>
#include <aioipc/proc.h>

#include "ipc/conn/conn.h"
#include "ipc/end/end.h"
#include "ipc/loop/fresh.h"
#include "ipc/service/serve.h"

struct server;

struct child {
	struct server *server;
	uint32_t index, serial;
	struct aioproc *proc; /* NULL: it does not run */
	struct aioend *end;   /* while it is forked */
};

struct server {
	const struct aioservice_options *o;
	struct event_base *base;
	struct aioconn *conn;
	bool over;
	struct child *children; /* o->workers */
};

static int work(void *arg)
{
	struct child *c = arg;

	return ipc_serve(c->server->o, c->end) == 0 ? 0 : 1;
}

static void end_child(struct child *c)
{
	if (!c->proc)
		return;
	aioproc_kill(c->proc, SIGKILL);
	aioproc_join(c->proc, NULL, AIOIPC_FOREVER);
	aioproc_free(c->proc);
	c->proc = NULL;
}

static void end(struct server *s)
{
	struct aioconn *c = s->conn;

	s->conn = NULL;
	s->over = true;
	aioconn_abort(c);
	for (uint32_t i = 0; i < s->o->workers; i++)
		end_child(&s->children[i]);
}

/* A service that waited for news that never come would wait for ever: rather it loses its fork server. */
static void tell(const struct child *c, enum ipc_news what, uint32_t serial, int value)
{
	struct server *s = c->server;

	if (s->conn && aioconn_send(s->conn, IPC_NEWS, (int32_t)what, c->index, serial, (int32_t)value) == -1)
		end(s);
}

static void on_exit_of(struct aioproc *p, int status, void *arg)
{
	struct child *c = arg;

	c->proc = NULL;
	aioproc_free(p);
	tell(c, IPC_NEWS_GONE, c->serial, status);
}

/* 0, or an error. */
static int start(struct child *c, int fd, enum ipc_end_ring ring)
{
	const struct aioproc_options how = {.size = sizeof how, .die_with_parent = true};
	int error = 0;

	c->end = aioend_from_fds(fd, fd);
	if (!c->end) {
		error = errno;
		close(fd);
		return error;
	}
	c->end->ring = ring;
	c->proc = aioproc_start_opts(work, c, &c->end, 1, &how);
	if (!c->proc)
		error = errno;
	aioend_free(c->end);
	if (c->proc && aioproc_on_exit(c->proc, c->server->base, on_exit_of, c) == -1) {
		error = errno;
		end_child(c);
	}
	return error;
}

static void on_wish(struct aioconn *conn, struct aiomsg *m, void *arg)
{
	struct server *s = arg;
	uint32_t index, serial;
	struct child *c;
	int32_t what;
	int error = ESRCH;

	(void)conn;
	if (aiomsg_unpack(m, IPC_WISH, &what, &index, &serial) == -1 || index >= s->o->workers)
		return;
	c = &s->children[index];
	if (what == IPC_WISH_START || what == IPC_WISH_START_RING) {
		c->serial = serial;
		error = start(c, aiomsg_take_fd(m),
			      what == IPC_WISH_START_RING ? IPC_RING_COMES : IPC_NO_RING);
	} else if (c->proc && c->serial == serial) {
		aioproc_kill(c->proc, SIGKILL);
		error = 0;
	}
	if (error)
		tell(c, IPC_NEWS_FAILED, serial, error);
}

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct server *s = arg;

	(void)cause;
	if (s->conn == c)
		end(s);
}

/* News that were sent behind others of a turn leave at its end. If they could not, no send has told that. */
static void check_news(struct server *s)
{
	if (s->conn && s->conn->way_out >= IPC_OUT_LOST)
		end(s);
}

int ipc_forkserver_run(void *arg)
{
	const struct ipc_forkserver *f = arg;
	struct server s = {.o = f->o, .base = ipc_base_new()};

	s.children = calloc(s.o->workers, sizeof *s.children);
	if (!s.base || !s.children)
		return 1;
	for (uint32_t i = 0; i < s.o->workers; i++)
		s.children[i] = (struct child){.server = &s, .index = i};
	s.conn = aioend_open(f->end, s.base);
	if (!s.conn || aioconn_allow_fds(s.conn, 64) == -1 ||
	    aioconn_set_callbacks(s.conn, on_wish, NULL, on_close, &s) == -1)
		return 1;
	while (!s.over) {
		event_base_loop(s.base, EVLOOP_ONCE);
		check_news(&s);
	}
	event_base_free(s.base);
	free(s.children);
	return 0;
}
