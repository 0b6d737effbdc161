/* How a connection is ended from here: goodbye for one direction, close, finish, abort. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "ipc/conn/conn.h"
#include "ipc/loop/wait.h"
#include "ipc/wire/frame.h"

#define LATE_LOOKS                                                                                           \
	16 /* after the deadline, for what has come by then: a peer that never stops sending is not waited for */

int ipc_conn_say_goodbye(struct aioconn *c)
{
	static const struct ipc_frame goodbye = {.kind = IPC_KIND_GOODBYE};
	size_t preface = c->prefaced ? 0 : IPC_PREFACE_LEN;
	unsigned char *at;

	if (!c->writes || c->said_goodbye || c->peer_gone)
		return 0;
	if (c->in.framing == AIOCONN_MESSAGES) {
		at = ipc_out_reserve(&c->out, preface + IPC_FRAME_LEN);
		if (!at)
			return -1;
		memcpy(at, ipc_preface, preface);
		ipc_frame_write(at + preface, &goodbye);
		c->goodbye_len = preface + IPC_FRAME_LEN;
		ipc_out_commit(&c->out, c->goodbye_len, NULL);
		if (c->trace)
			ipc_trace(c, ">", "goodbye", 0, 0);
	}
	c->used = c->prefaced = c->said_goodbye = true;
	return 0;
}

/* A process that ends in order, though it has not closed this, said all that it had to say: no reset where all has left. */
static void in_order(struct ipc_own *own)
{
	struct aioconn *c = (struct aioconn *)(void *)((char *)own - offsetof(struct aioconn, own));

	if (c->out.count == 0)
		ipc_os_set_reset(own->w.fd, false);
}

void ipc_conn_set_reset(struct aioconn *c, bool on)
{
	if (on == !!c->own.in_order || !c->writes || c->own.w.kind != IPC_FD_SOCKET)
		return;
	if (ipc_os_set_reset(c->own.w.fd, on) == 0)
		c->own.in_order = on ? in_order : NULL;
}

void ipc_conn_shut_written(struct aioconn *c)
{
	if (!c->said_goodbye || c->write_closed || c->out.count)
		return;
	c->write_closed = true;
	ipc_conn_set_reset(c, false);
	ipc_watch_free(c->write_watch);
	c->write_watch = NULL;
	ipc_own_close_write(&c->own);
}

/* Frees all that waits in either direction. */
static void drop_all(struct aioconn *c)
{
	unsigned i;

	ipc_in_free(&c->in);
	ipc_inbox_free(&c->inbox);
	ipc_out_free(&c->out);
	for (i = 0; c->fds && i < c->fds->n; i++)
		close(c->fds->fd[i]);
	if (c->fds)
		c->fds->n = 0;
}

/* A clean end that was told, and all has left: to be closed in whatever way. */
static bool is_over(const struct aioconn *c)
{
	return c->told && c->cause == AIOCONN_CLEAN && c->ended && !c->by_hand && !c->out.count;
}

void ipc_conn_finalize(struct aioconn *c, enum aioconn_cause cause)
{
	struct ipc_conn_hook *h;
	bool over = is_over(c);

	if (c->gone)
		return;
	c->gone = true;
	ipc_conn_wake(c, ~0u);
	if (!c->told && c->on_close && ipc_own_check(&c->own) == 0)
		c->on_close(c, cause, c->arg);
	c->told = true;
	ipc_watch_free(c->awake);
	ipc_watch_free(c->turn);
	ipc_watch_free(c->read_watch);
	ipc_watch_free(c->write_watch);
	c->awake = c->turn = c->read_watch = c->write_watch = NULL;
	if (over)
		ipc_conn_set_reset(c, false);
	ipc_own_close(&c->own);
	drop_all(c);
	ipc_conn_put_on(c, NULL);
	while ((h = c->hooks)) {
		c->hooks = h->next;
		h->gone(h);
	}
	ipc_conn_release(c);
}

void aioconn_abort(struct aioconn *c)
{
	int error = errno;

	if (c)
		ipc_conn_finalize(c, AIOCONN_LOCAL);
	errno = error;
}

/* Is there a reason not to close the descriptors yet? TCP throws away what was sent if input is left, so it is read until EOF. */
static bool undelivered(const struct aioconn *c)
{
	if (c->peer_gone)
		return false;
	if (c->out.count)
		return true;
	return c->own.r.kind == IPC_FD_SOCKET && c->reads && c->writes && !c->in.eof && !c->ended;
}

/* The time is up, and only the peer's end is missing: its system has all that was sent, and closing takes nothing away. */
static bool arrived_all_the_same(const struct aioconn *c)
{
	return c->out.count == 0 && c->write_closed && c->own.r.kind == IPC_FD_SOCKET &&
	       ipc_os_all_arrived(c->own.r.fd);
}

static int begin_close(struct aioconn *c)
{
	c->corked = false;
	c->closing = true;
	ipc_in_drop(&c->in);
	if (ipc_conn_say_goodbye(c) < 0)
		return -1;
	ipc_conn_flush(c);
	return 0;
}

/* Waiting failed. */
static int close_late(const struct aioconn *c)
{
	int error = errno;

	if (error == ETIMEDOUT && arrived_all_the_same(c))
		return 0;
	errno = error;
	return -1;
}

static int close_waiting(struct aioconn *c, int64_t deadline)
{
	unsigned looks = LATE_LOOKS;

	if (begin_close(c) < 0)
		return -1;
	if (undelivered(c) && ipc_conn_wait_allowed(c, deadline) < 0)
		return -1;
	while (undelivered(c)) {
		bool late = ipc_deadline_left(deadline) == 0;

		if (ipc_conn_wait(c, IPC_FOR_CLOSE, deadline) < 0 && errno != EINTR)
			return close_late(c);
		if (late && looks-- == 0) {
			errno = ETIMEDOUT;
			return close_late(c);
		}
	}
	if (c->lost_output) {
		errno = ipc_conn_send_error(c);
		return -1;
	}
	return 0;
}

/* 0, or -1 when there is nothing to end: a wrong deadline, or the parent's connection, which is only freed. */
static int may_end(struct aioconn *c, int64_t deadline)
{
	if (ipc_deadline_check(deadline) < 0)
		return -1;
	if (ipc_own_check(&c->own) == 0)
		return 0;
	aioconn_abort(c);
	return -1;
}

int aioconn_close(struct aioconn *c, int64_t deadline)
{
	int r, error;

	if (!c)
		return 0;
	if (may_end(c, deadline) < 0)
		return -1;
	if (c->gone)
		return 0;
	if (ipc_conn_enter(c) < 0)
		return -1;
	r = close_waiting(c, deadline);
	error = errno;
	ipc_conn_finalize(c, AIOCONN_LOCAL);
	ipc_conn_leave(c);
	errno = error;
	return r;
}

static enum aioconn_cause lost_by(const struct aioconn *c)
{
	return c->out_fault.error ? c->out_fault.cause : AIOCONN_LOST;
}

/* The same behind a last try to write, and to read what there is. */
static bool still_undelivered(struct aioconn *c)
{
	const int reads_most = 64;

	c->retry = 0;
	ipc_conn_flush(c);
	for (int i = 0; i < reads_most && ipc_conn_fill(c) > 0; i++)
		;
	return undelivered(c);
}

void ipc_conn_finish_turn(struct aioconn *c)
{
	int64_t left = ipc_deadline_left(c->deadline);

	if (!undelivered(c) || (left == 0 && (!still_undelivered(c) || arrived_all_the_same(c)))) {
		ipc_conn_finalize(c, c->lost_output ? lost_by(c) : AIOCONN_LOCAL);
	} else if (left == 0) {
		c->why = "the deadline passed before everything had left";
		ipc_conn_finalize(c, AIOCONN_LOST);
	} else if (left > 0) {
		ipc_watch_after(c->turn, left);
	}
}

int aioconn_finish(struct aioconn *c, int64_t deadline)
{
	if (!c)
		return 0;
	if (may_end(c, deadline) < 0)
		return -1;
	if (!c->base) {
		errno = EINVAL;
		return -1;
	}
	if (c->gone)
		return 0;
	if (begin_close(c) < 0) {
		aioconn_abort(c);
		errno = ENOMEM;
		return -1;
	}
	c->finishing = true;
	c->deadline = deadline;
	ipc_conn_interest(c);
	ipc_conn_soon(c);
	return 0;
}
