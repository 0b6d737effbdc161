/* What starts and kills the processes of a service: see starter.h. The fork server itself is in forkserver.c. */
#include "ipc/service/starter.h"

#include <errno.h>
#include <signal.h>

#include <aioipc/conn.h>
#include <aioipc/end.h>
#include <aioipc/msg.h>
#include <aioipc/proc.h>

#include "ipc/conn/conn.h"
#include "ipc/end/end.h"
#include "ipc/os/log.h"
#include "ipc/service/forkserver.h"
#include "ipc/service/process.h"

static void on_news(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct ipc_starter *st = arg;
	int32_t what, value;
	uint32_t index, serial;

	(void)c;
	if (aiomsg_unpack(m, IPC_NEWS, &what, &index, &serial, &value) == -1 || index >= st->o->workers ||
	    serial != st->workers[index].serial)
		return;
	if (what == IPC_NEWS_GONE)
		st->gone(&st->workers[index], value, 0);
	else
		st->gone(&st->workers[index], -1, value);
}

static void on_server_gone(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct ipc_starter *st = arg;

	if (st->conn != c || cause == AIOCONN_LOCAL)
		return;
	st->conn = NULL;
	aioconn_abort(c);
	st->lost(st->arg);
}

void ipc_starter_check(struct ipc_starter *st)
{
	if (st->conn && st->conn->way_out >= IPC_OUT_LOST)
		on_server_gone(st->conn, AIOCONN_LOST, st);
}

int ipc_starter_new(struct ipc_starter *st)
{
	const struct aioproc_options how = {
		.size = sizeof how,
		.new_group = !st->o->with_terminal,
		.only_ends = st->o->only_ends,
	};
	struct ipc_forkserver f = {.o = st->o};

	if (st->o->kind != AIOSERVICE_FORKED)
		return 0;
	if (aiosockpair(&st->end, &f.end) == -1)
		return -1;
	st->server = aioproc_start_opts(ipc_forkserver_run, &f, &f.end, 1, &how);
	aioend_free(f.end);
	if (st->server)
		return 0;
	aioend_free(st->end);
	st->end = NULL;
	return -1;
}

int ipc_starter_equip(struct ipc_starter *st)
{
	if (!st->server)
		return 0;
	st->conn = aioend_open(st->end, st->base);
	if (!st->conn)
		return -1;
	st->end = NULL;
	return aioconn_set_callbacks(st->conn, on_news, NULL, on_server_gone, st);
}

static int ask(struct ipc_starter *st, struct ipc_process *w, struct aioend *end)
{
	enum ipc_wish wish = end->ring ? IPC_WISH_START_RING : IPC_WISH_START;

	if (!st->conn) {
		errno = EOWNERDEAD;
		return -1;
	}
	return aioconn_send_fd(st->conn, end->own.r.fd, IPC_WISH, (int32_t)wish, w->index, ++w->serial);
}

static void on_exit_of(struct aioproc *p, int status, void *arg)
{
	struct ipc_process *w = arg;
	struct ipc_starter *st = w->starter;

	w->proc = NULL;
	aioproc_free(p);
	st->gone(w, status, 0);
}

static int execute(struct ipc_starter *st, struct ipc_process *w, struct aioend *end)
{
	const struct aioproc_options how = {
		.size = sizeof how,
		.new_group = !st->o->with_terminal,
		.die_with_parent = true,
	};

	if (aioend_set_name(end, IPC_TALK_NAME) == -1 || aioend_detach(end) == -1)
		return -1;
	w->proc = aioproc_exec(st->o->path, st->o->argv, st->o->envp, &how);
	if (!w->proc)
		return -1;
	if (aioproc_on_exit(w->proc, st->base, on_exit_of, w) == 0)
		return 0;
	aioproc_kill(w->proc, SIGKILL);
	aioproc_free(w->proc);
	w->proc = NULL;
	return -1;
}

int ipc_starter_start(struct ipc_starter *st, struct ipc_process *w, struct aioend *end)
{
	int r, error;

	w->starter = st;
	r = st->o->kind == AIOSERVICE_FORKED ? ask(st, w, end) : execute(st, w, end);
	error = errno;
	aioend_free(end);
	errno = error;
	return r;
}

int ipc_starter_kill(struct ipc_starter *st, struct ipc_process *w)
{
	if (w->proc)
		return aioproc_kill(w->proc, SIGKILL);
	if (st->conn)
		return aioconn_send(st->conn, IPC_WISH, (int32_t)IPC_WISH_KILL, w->index, w->serial);
	errno = ESRCH;
	return -1;
}

/* A server that was stopped goes on, so that it ends. */
void ipc_starter_free(struct ipc_starter *st)
{
	struct aioconn *c = st->conn;

	st->conn = NULL;
	aioconn_abort(c);
	aioend_free(st->end);
	st->end = NULL;
	if (!st->server)
		return;
	aioproc_kill(st->server, SIGCONT);
	while (aioproc_join(st->server, NULL, AIOIPC_FOREVER) == -1 && errno == EINTR)
		continue;
	aioproc_free(st->server);
	st->server = NULL;
}
