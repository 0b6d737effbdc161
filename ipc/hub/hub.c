/*
 * The calls of a hub: connections join and leave it, and a message is sent to all of them. How its bytes are made once is ipc/wire/cast.c's
 * business, how they leave is the connection's.
 *
 * A send has three steps. It looks whether all members could take the message at all; WAIT also waits here until all have room. It makes the
 * bytes. Then it gives them to each member, which calls nobody back and can't fail as a whole.
 */
#include "ipc/hub/hub.h"

#include <errno.h>
#include <stdlib.h>

#include "ipc/conn/life.h"
#include "ipc/conn/output.h"
#include "ipc/conn/send.h"
#include "ipc/conn/share.h"
#include "ipc/conn/wait.h"
#include "ipc/loop/here.h"
#include "ipc/loop/wait.h"
#include "ipc/os/sized.h"
#include "ipc/own/board.h"

static int fail(int error)
{
	errno = error;
	return -1;
}

static int check(const struct aiohub *h)
{
	return h->epoch == ipc_epoch() ? 0 : fail(ECHILD);
}

static void release(struct aiohub *h)
{
	if (--h->holds == 0)
		free(h);
}

static size_t size_for(const struct ipc_hub_member *m, size_t len)
{
	return ipc_cast_size(&m->form->cast, len);
}

/* The first member but @but that has no room for a message of @len bytes, and why: EAGAIN, ENOMEM. NULL: all have room. */
static struct ipc_hub_member *without_room(struct aiohub *h, size_t len, const struct aioconn *but, bool look,
					   int *error)
{
	for (size_t i = h->n; i-- > 0;) {
		struct ipc_hub_member *m = h->members[i];

		if (m->conn == but || ipc_conn_is_ready(m->conn, size_for(m, len)) ||
		    ipc_conn_make_room(m->conn, size_for(m, len), look) == 0)
			continue;
		*error = errno;
		if (*error != EPIPE) /* else it has left */
			return m;
	}
	return NULL;
}

static void rest(struct aiohub *h)
{
	for (struct ipc_hub_form *f = h->forms; f; f = f->next)
		ipc_cast_rest(&f->cast);
}

/* The end of a turn, or room came. The callback may free the hub. */
static void on_turn(short what, void *arg)
{
	struct aiohub *h = arg;
	struct ipc_hub_member *m;
	int error;

	(void)what;
	h->turn_asked = false;
	ipc_hub_tell_row(h);
	rest(h);
	if (!h->refused)
		return;
	m = without_room(h, h->refused_len, NULL, false, &error);
	if (m) {
		m->need = size_for(m, h->refused_len);
		return;
	}
	h->refused = false;
	if (h->o.on_writable)
		h->o.on_writable(h, h->o.arg);
}

static int check_options(const struct aiohub_options *o)
{
	if (!o->base)
		return ipc_refuse("a hub needs a base: that of its connections");
	if (o->slow < AIOHUB_SKIP || o->slow > AIOHUB_WAIT)
		return ipc_refuse(
			"%d is no policy for slow members: AIOHUB_SKIP, AIOHUB_CLOSE or AIOHUB_WAIT",
			o->slow);
	if (o->wait < 0)
		return ipc_refuse("a hub can't wait %lld milliseconds: 0 is for ever", (long long)o->wait);
	return 0;
}

struct aiohub *aiohub_new(const struct aiohub_options *given)
{
	struct aiohub_options o;
	struct aiohub *h;

	if (ipc_sized_take(&o, sizeof o, given) < 0 || check_options(&o) < 0)
		return NULL;
	h = calloc(1, sizeof *h);
	if (!h)
		return NULL;
	h->epoch = ipc_epoch();
	h->o = o;
	h->holds = 1;
	h->limit = SIZE_MAX;
	ipc_waiters_init(&h->waiters);
	h->turn = ipc_watch_new(o.base, -1, on_turn, h);
	if (!h->turn) {
		free(h);
		return NULL;
	}
	h->row = ipc_board_take(IPC_ROW_HUB, "%s",
				o.slow == AIOHUB_SKIP    ? "skips the slow"
				: o.slow == AIOHUB_CLOSE ? "cuts the slow off"
							 : "waits for the slow");
	return h;
}

int aiohub_join(struct aiohub *h, struct aioconn *c)
{
	int r;

	if (check(h) < 0)
		return -1;
	if (c->base != h->o.base)
		return ipc_refuse("the connection is not on the base of the hub");
	if (ipc_conn_enter(c) < 0)
		return -1;
	r = ipc_hub_find(h, c) ? fail(EALREADY) : ipc_conn_join_in(c);
	if (r == 0 && !ipc_hub_add(h, c))
		r = fail(ENOMEM);
	ipc_hub_tell_row(h);
	ipc_conn_leave(c);
	return r;
}

int aiohub_leave(struct aiohub *h, struct aioconn *c)
{
	struct ipc_hub_member *m;

	if (check(h) < 0)
		return -1;
	m = ipc_hub_find(h, c);
	if (!m)
		return fail(ENOENT);
	ipc_hub_remove(m);
	return 0;
}

/* Could every member take it, if there were room? */
static int check_message(struct aiohub *h, const struct aiomsg *m)
{
	size_t limit = SIZE_MAX;

	if (m->fds && aiomsg_fds(m))
		return fail(EOPNOTSUPP);
	if (m->role == IPC_ANSWER || m->role == IPC_REFUSAL)
		return ipc_refuse("an answer goes to who called: use aioconn_send_msg()");
	for (const struct ipc_hub_form *f = h->forms; f; f = f->next)
		if (ipc_cast_check(&f->cast, m) < 0)
			return -1;
	if (m->len <= h->limit)
		return 0;
	for (size_t i = 0; i < h->n; i++)
		if (ipc_conn_most(h->members[i]->conn) < limit)
			limit = ipc_conn_most(h->members[i]->conn);
	h->limit = limit;
	return m->len <= limit ? 0 : fail(EMSGSIZE);
}

/* A task that waits. This is on its stack. */
struct waiting {
	struct ipc_task_end end; /* first */
	struct aiohub *hub;
};

/* The base was freed while the task waited. Gives back what its call holds. */
static void waiter_died(struct ipc_task_end *end, bool died)
{
	(void)died;
	release(((struct waiting *)end)->hub);
}

static int wait_in_task(struct aiohub *h, int64_t deadline)
{
	struct waiting w = {.end.cb = waiter_died, .hub = h};
	int r;

	ipc_task_on_end(aiotask_self(), &w.end);
	r = ipc_task_wait(&h->waiters, deadline);
	ipc_task_not_on_end(&w.end);
	return r;
}

/* Outside the loop: the connection that has no room moves, and nothing else. */
static int wait_polling(struct aioconn *c, int64_t deadline)
{
	int r;

	if (ipc_conn_enter(c) < 0)
		return -1;
	r = ipc_conn_wait(c, IPC_FOR_ROOM, deadline);
	if (r < 0 && (errno == EINTR || errno == EPIPE))
		r = 0;
	ipc_conn_leave(c);
	return r;
}

/* Waits until @m may have room, or has left. */
static int wait_for(struct aiohub *h, struct ipc_hub_member *m, size_t len, int64_t deadline)
{
	int r;

	if (m->conn->calling || ipc_in_callback(h->o.base))
		return fail(EAGAIN);
	if (!m->need || m->need > size_for(m, len))
		m->need = size_for(m, len);
	h->holds++;
	r = ipc_task_on(h->o.base) ? wait_in_task(h, deadline) : wait_polling(m->conn, deadline);
	if (h->freed)
		r = fail(EPIPE);
	release(h);
	return r;
}

/* on_writable is due when all have room for it. */
static int refuse(struct aiohub *h, struct ipc_hub_member *m, size_t len)
{
	int error = errno;

	m->slow = true;
	m->need = size_for(m, len);
	h->refused = true;
	h->refused_len = len;
	return fail(error);
}

/* At the deadline it looks once more. */
static int await_room(struct aiohub *h, const struct aiomsg *msg, const struct aioconn *but)
{
	int64_t deadline = h->o.wait ? aioipc_after(h->o.wait) : AIOIPC_FOREVER;
	struct ipc_hub_member *m;
	bool late = false;
	int error;

	while ((m = without_room(h, msg->len, but, late, &error))) {
		if (error == ENOMEM)
			return fail(ENOMEM);
		if (late)
			return errno = ETIMEDOUT, refuse(h, m, msg->len);
		m->slow = true;
		if (wait_for(h, m, msg->len, deadline) < 0) {
			late = errno == ETIMEDOUT;
			if (errno == EAGAIN)
				return refuse(h, m, msg->len);
			if (!late)
				return -1;
		}
		if (check_message(h, msg) < 0) /* others may have joined */
			return -1;
	}
	return 0;
}

/* So much must fit. A member that was skipped comes back when half of its queue is free. */
static size_t size_needed(const struct aiohub *h, const struct ipc_hub_member *m)
{
	size_t size = m->form->cast.size, half = m->conn->outbox_limit / 2;

	return h->o.slow == AIOHUB_SKIP && m->slow && size < half ? half : size;
}

static void skip(struct aiohub *h, struct ipc_hub_member *m)
{
	m->slow = true;
	m->skipped++;
	h->skipped++;
	ipc_conn_not_shared(m->conn, size_needed(h, m));
}

static void cut(struct aiohub *h, struct ipc_hub_member *m)
{
	h->closed++;
	ipc_conn_cut(m->conn, "too slow: its queue is full, and the hub does not wait");
}

/* One member's part of a send. True when the message is in its queue. The member may have left then. */
static bool give(struct aiohub *h, struct ipc_hub_member *m, bool look)
{
	bool sparse = m->last + 1 != h->messages;

	if (!m->slow && ipc_conn_share_behind(m->conn, &m->form->cast)) {
		m->last = h->messages;
		return true;
	}
	if (ipc_conn_make_room(m->conn, size_needed(h, m), look) == 0) {
		m->last = h->messages;
		m->slow = false;
		return ipc_conn_share(m->conn, &m->form->cast, sparse) == 0;
	}
	if (errno == EAGAIN && h->o.slow == AIOHUB_CLOSE)
		cut(h, m);
	else if (errno != EPIPE)
		skip(h, m);
	return false;
}

static ssize_t give_all(struct aiohub *h, const struct aioconn *but)
{
	/* Before a member is cut off, and where no loop does, it is looked whether the kernel has room again. */
	bool look = h->o.slow == AIOHUB_CLOSE || (!ipc_in_callback(h->o.base) && !ipc_task_on(h->o.base));
	size_t sent = 0;

	h->messages++;
	for (size_t i = h->n;
	     i-- > 0;) /* the one that is given to may leave, and the last one takes its place */
		if (h->members[i]->conn != but)
			sent += give(h, h->members[i], look);
	h->sent += sent;
	return (ssize_t)sent;
}

static int make_bytes(struct aiohub *h, const struct aiomsg *m)
{
	for (struct ipc_hub_form *f = h->forms; f; f = f->next)
		if (ipc_cast_make(&f->cast, m) < 0)
			return -1;
	return 0;
}

ssize_t aiohub_send_others(struct aiohub *h, const struct aioconn *but, const struct aiomsg *m)
{
	if (check(h) < 0 || check_message(h, m) < 0)
		return -1;
	if (h->o.slow == AIOHUB_WAIT && await_room(h, m, but) < 0)
		return -1;
	if (make_bytes(h, m) < 0)
		return -1;
	ipc_hub_soon(h);
	return give_all(h, but);
}

ssize_t aiohub_send(struct aiohub *h, const struct aiomsg *m)
{
	return aiohub_send_others(h, NULL, m);
}

uint64_t aiohub_skipped(const struct aiohub *h, const struct aioconn *c)
{
	const struct ipc_hub_member *m = ipc_hub_find(h, c);

	return m ? m->skipped : 0;
}

int aiohub_stats(const struct aiohub *h, struct aiohub_stats *stats)
{
	struct aiohub_stats s = {
		.messages = h->messages,
		.sent = h->sent,
		.skipped = h->skipped,
		.closed = h->closed,
		.members = (unsigned)h->n,
		.slow = ipc_hub_count_slow(h),
	};

	return ipc_sized_give(stats, &s, sizeof s);
}

void aiohub_free(struct aiohub *h)
{
	if (!h)
		return;
	ipc_board_give_back(h->row);
	h->row = NULL;
	while (h->n)
		ipc_hub_remove(h->members[h->n - 1]);
	free(h->members);
	ipc_watch_free(h->turn);
	h->turn = NULL;
	h->freed = true;
	h->refused = false;
	ipc_hub_stir(h);
	release(h);
}
