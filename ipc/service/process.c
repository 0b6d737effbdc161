/* A worker process as its service sees it: see process.h. */
#include "ipc/service/process.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <aioipc/end.h>
#include <aioipc/msg.h>

#include "ipc/conn/conn.h"
#include "ipc/conn/turn.h"
#include "ipc/msg/msg.h"
#include "ipc/os/log.h"
#include "ipc/os/os.h"

void ipc_process_cut(struct ipc_process *w)
{
	struct aioconn *c = w->conn;

	w->conn = NULL;
	aioconn_abort(c);
}

/* It can't be heard any more: what it said is no answer, or there is no memory for it. */
static void give_up(struct ipc_process *w, int error)
{
	if (!w->error)
		w->error = error;
	ipc_process_cut(w);
	w->owner->ended(w, false);
}

/* The first job is over. */
static void finish(struct ipc_process *w)
{
	struct ipc_job *j = ipc_job_pop(&w->jobs);

	w->answering = false;
	w->has_worked = true;
	if (w->answer.result < 0)
		ipc_jobs_drop_results(w->all, j);
	w->owner->answered(w, j, &w->answer);
}

static void take_answer(struct ipc_process *w, const struct aiomsg *m)
{
	bool again = w->answering;
	struct ipc_answer a;

	if (m->len != sizeof a || memcmp(m->data, &(uint32_t){IPC_TALK_MAGIC}, sizeof(uint32_t)) != 0) {
		give_up(w, EPROTO);
		return;
	}
	memcpy(&a, m->data, sizeof a);
	if (!w->met) {
		w->met = true;
		w->owner->ready(w, a.result < 0 ? a.error : 0);
		return;
	}
	if (!w->jobs.first || (again && (a.again || a.results > 0))) {
		give_up(w, EPROTO);
		return;
	}
	w->answer = a;
	w->answering = a.again || a.results > 0;
	if (!w->answering)
		finish(w);
}

static void take_result(struct ipc_process *w, struct aiomsg *m)
{
	if (ipc_jobs_add(w->all, w->jobs.first, m) == -1)
		give_up(w, ENOMEM);
	else if (--w->answer.results == 0 && !w->answer.again)
		finish(w);
}

static void on_msg(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct ipc_process *w = arg;

	(void)c;
	if (w->answering && w->answer.results > 0)
		take_result(w, m);
	else
		take_answer(w, m);
}

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	struct ipc_process *w = arg;

	if (w->conn != c)
		return;
	ipc_process_cut(w);
	w->owner->ended(w, cause == AIOCONN_CLEAN);
}

static int begin(struct ipc_process *w, bool generates)
{
	const struct aioconn_limits limits = {.size = sizeof limits, .message = IPC_MESSAGE_MOST};
	const struct ipc_greeting g = {.magic = IPC_TALK_MAGIC, .generates = generates};

	if (aioconn_set_limits(w->conn, &limits) == -1 || aioconn_allow_fds(w->conn, IPC_FDS_MOST) == -1 ||
	    aioconn_set_send_wait(w->conn, 0) == -1 ||
	    aioconn_set_callbacks(w->conn, on_msg, NULL, on_close, w) == -1)
		return -1;
	return aioconn_send_bytes(w->conn, &g, sizeof g);
}

int ipc_process_open(struct ipc_process *w, struct aioend *end, struct event_base *base, bool generates)
{
	int error;

	w->conn = aioend_open(end, base);
	if (!w->conn) {
		error = errno;
		aioend_free(end);
		errno = error;
		return -1;
	}
	if (begin(w, generates) == 0)
		return 0;
	error = errno;
	ipc_process_cut(w);
	errno = error;
	return -1;
}

int ipc_process_give(struct ipc_process *w, struct ipc_job *j)
{
	int r;

	if (!w->conn) {
		errno = EPIPE;
		return -1;
	}
	r = j->m ? aioconn_send_msg(w->conn, j->m) : aioconn_send_bytes(w->conn, "", 0);
	if (r == -1)
		return -1;
	ipc_job_append(&w->jobs, j);
	w->given++;
	return 0;
}

void ipc_process_cork(struct ipc_process *w, bool on)
{
	if (w->conn)
		aioconn_cork(w->conn, on);
}

int ipc_process_dismiss(struct ipc_process *w)
{
	if (w->conn && aioconn_write_eof(w->conn) == -1 && errno == ENOMEM)
		return -1;
	w->state = IPC_PROCESS_LEAVES;
	if (w->conn)
		aioconn_flush(w->conn, AIOIPC_NOW);
	return 0;
}

void ipc_process_check(struct ipc_process *w)
{
	if (!w->conn || w->is_deaf || w->conn->way_out < IPC_OUT_LOST)
		return;
	w->is_deaf = true;
	w->owner->ended(w, false);
}

void ipc_process_doze(struct ipc_process *w, bool on)
{
	if (w->conn)
		ipc_conn_doze(w->conn, on);
}

void ipc_process_hear(struct ipc_process *w)
{
	if (w->conn)
		ipc_conn_hear(w->conn);
}

void ipc_process_look(struct ipc_process *w)
{
	struct aiomsg *m;

	while (w->conn && aioconn_recv(w->conn, &m, AIOIPC_NOW) == 1) {
		on_msg(w->conn, m, w);
		aiomsg_free(m);
	}
}
