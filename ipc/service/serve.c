/*
 * What a worker process does: it takes jobs from its connection, one after the other, calls the handler, and sends an answer and the results.
 * The answer has left before the next job is begun: so the first job without an answer is the one that a worker which died was at.
 */
#include "ipc/service/serve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/end.h>
#include <aioipc/msg.h>
#include <aioipc/queue.h>

#include "ipc/conn/conn.h"
#include "ipc/conn/recv.h"
#include "ipc/conn/split.h"
#include "ipc/conn/wait.h"
#include "ipc/end/end.h"
#include "ipc/os/log.h"
#include "ipc/os/os.h"
#include "ipc/os/sized.h"
#include "ipc/own/own.h"
#include "ipc/service/talk.h"

#define BATCH 64 /* results */

struct serving {
	const struct aioservice_options *o;
	struct aioconn *conn;
	struct aioqueue *out; /* of the handler */
	uint32_t epoch;
	bool generates;
	bool done; /* the handler wants no more */
};

static _Thread_local struct serving *serving;

bool ipc_serve_is_here(void)
{
	return serving && serving->epoch == ipc_epoch();
}

/* Does the service want to stop? It says goodbye while a handler runs only then. What came before stays for later. */
static int look_for_end(struct serving *s)
{
	if (ipc_conn_stow(s->conn) == -1)
		return -1;
	if (s->conn->way_in == IPC_IN_OPEN)
		return 0;
	errno = ECANCELED;
	return -1;
}

static int sleep_on(struct serving *s, int64_t deadline)
{
	while (look_for_end(s) == 0)
		if (ipc_conn_wait(s->conn, IPC_FOR_INPUT, deadline) == -1 && errno != EINTR)
			return errno == ETIMEDOUT ? look_for_end(s) : -1;
	return -1;
}

int ipc_serve_sleep(int64_t deadline)
{
	struct aioconn *c = serving->conn;
	int r;

	if (ipc_conn_begin_receive(c, deadline) == -1)
		return -1;
	r = sleep_on(serving, deadline);
	ipc_conn_end_receive(c);
	return r;
}

static int send_answer(struct serving *s, struct ipc_answer *a)
{
	a->magic = IPC_TALK_MAGIC;
	return aioconn_send_bytes(s->conn, a, sizeof *a);
}

/* Something that can't be sent: an empty message takes its place, and the job has failed. */
static int send_result(struct serving *s, struct aiomsg *m, struct ipc_answer *a)
{
	if (aioconn_send_msg(s->conn, m) == 0)
		return 0;
	if (errno == EPIPE || errno == ECONNRESET)
		return -1;
	a->result = -1;
	a->error = errno;
	return aioconn_send_bytes(s->conn, "", 0);
}

/* Takes over the references. */
static int send_all(struct serving *s, struct aiomsg *const *m, size_t n, struct ipc_answer *a)
{
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		if (r == 0)
			r = send_result(s, m[i], a);
		aiomsg_free(m[i]);
	}
	return r;
}

static int send_more(struct serving *s, size_t left, struct ipc_answer *a)
{
	struct aiomsg *m[BATCH];

	while (left > 0) {
		ssize_t n = aioqueue_get_all(s->out, m, left < BATCH ? left : BATCH, AIOIPC_NOW);

		if (n <= 0 || send_all(s, m, (size_t)n, a) == -1)
			return -1;
		left -= (size_t)n;
	}
	return 0;
}

static bool may_be_refused(const struct aiomsg *m)
{
	return m->fds || m->len > IPC_MESSAGE_MOST;
}

static void drop_results(struct aioqueue *out)
{
	struct aiomsg *m;

	while (aioqueue_get(out, &m, AIOIPC_NOW) == 1)
		aiomsg_free(m);
}

/* All of it leaves in one system call where it is small. Where a result may be refused, another answer follows. */
static int answer(struct serving *s, struct ipc_answer *a)
{
	struct aiomsg *m[BATCH];
	size_t all, n = 0;
	bool again;

	if (a->result < 0)
		drop_results(s->out);
	all = aioqueue_count(s->out);
	if (all > 0)
		n = (size_t)aioqueue_get_all(s->out, m, BATCH, AIOIPC_NOW);
	a->results = (uint32_t)all;
	a->again = all > n;
	for (size_t i = 0; i < n; i++)
		a->again |= may_be_refused(m[i]);
	aioconn_cork(s->conn, true);
	if (send_answer(s, a) == -1 || send_all(s, m, n, a) == -1 || send_more(s, all - n, a) == -1)
		return -1;
	again = a->again;
	a->results = a->again = 0;
	if (again && send_answer(s, a) == -1)
		return -1;
	aioconn_cork(s->conn, false);
	return aioconn_flush(s->conn, AIOIPC_FOREVER);
}

/* -1/ECHILD in a child that the handler forked, where it returned too. */
static int work(struct serving *s, struct aiomsg *m)
{
	struct ipc_answer a = {.result = 0};
	int64_t began = ipc_os_now(), took;

	errno = 0;
	a.result = s->o->handle(s->generates ? NULL : m, s->out, s->o->arg);
	a.error = errno ? errno : EIO;
	if (s->epoch != ipc_epoch()) {
		errno = ECHILD;
		return -1;
	}
	s->done = a.result > 0;
	took = ipc_os_now() - began;
	a.took = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
	return answer(s, &a);
}

static int next(struct serving *s, struct aiomsg **m)
{
	int got;

	while ((got = aioconn_recv(s->conn, m, AIOIPC_FOREVER)) == -1 && errno == EINTR)
		continue;
	return got;
}

static int meet(struct serving *s)
{
	struct ipc_greeting g = {.magic = 0};
	struct aiomsg *m;
	size_t len;
	int got = next(s, &m);

	if (got != 1)
		return got;
	if (aiomsg_bytes(m, &len) && len == sizeof g)
		memcpy(&g, aiomsg_bytes(m, NULL), sizeof g);
	aiomsg_free(m);
	s->generates = g.generates;
	if (g.magic == IPC_TALK_MAGIC)
		return 1;
	errno = EPROTO;
	return -1;
}

static int init(struct serving *s)
{
	struct ipc_answer a = {.result = 0};

	errno = 0;
	if (s->o->init)
		a.result = s->o->init(s->o->arg);
	a.error = errno ? errno : EIO;
	if (s->epoch != ipc_epoch())
		a = (struct ipc_answer){.result = -1, .error = ECHILD};
	else if (send_answer(s, &a) == -1)
		return -1;
	errno = a.error;
	return a.result < 0 ? -1 : 0;
}

static int serve(struct serving *s)
{
	struct aiomsg *m;
	int got = meet(s), r = 0;

	if (got != 1)
		return got;
	if (init(s) == -1)
		return -1;
	while (r == 0 && (got = next(s, &m)) == 1) {
		if (!s->done)
			r = work(s, m);
		aiomsg_free(m);
	}
	if (r == -1)
		return -1;
	if (got == 0 && s->o->fini)
		s->o->fini(s->o->arg);
	return got;
}

/* A handler that sleeps reads what comes, to find the goodbye. The service bounds it: it gives few jobs ahead. */
static int equip(struct serving *s, struct aioend *end)
{
	const struct aioconn_limits limits = {
		.size = sizeof limits, .message = IPC_MESSAGE_MOST, .inbox = SIZE_MAX / 2};

	s->out = aioqueue_new(SIZE_MAX, 0);
	s->conn = s->out ? aioend_open(end, NULL) : NULL;
	if (!s->conn) {
		aioend_free(end);
		return -1;
	}
	return aioconn_set_limits(s->conn, &limits) == -1 ? -1 : aioconn_allow_fds(s->conn, IPC_FDS_MOST);
}

int ipc_serve(const struct aioservice_options *o, struct aioend *end)
{
	struct serving s = {.o = o, .epoch = ipc_epoch()}, *outer = serving;
	int r = equip(&s, end), error;

	serving = &s;
	if (r == 0)
		r = serve(&s);
	serving = outer;
	error = errno;
	if (s.epoch == ipc_epoch() && r == 0)
		aioconn_close(s.conn, AIOIPC_FOREVER);
	else
		aioconn_abort(s.conn);
	aioqueue_free(s.out);
	errno = error;
	return r;
}

int aioservice_worker(const struct aioservice_options *given)
{
	struct aioservice_options o;
	struct aioend *end;

	if (ipc_sized_take(&o, sizeof o, given) == -1)
		return -1;
	if (!o.handle)
		return ipc_refuse("service: a worker needs a handler");
	end = aioend_inherited(IPC_TALK_NAME);
	return end ? ipc_serve(&o, end) : -1;
}
