/*
 * The life of a connection: holds, hooks, and the changes of state that any file of this folder may cause. Each changes the
 * state, wakes the tasks that wait for it, and returns. None reads, writes or waits. Only ipc_conn_finalize() calls back.
 */
#include "ipc/conn/life.h"

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "ipc/loop/knock.h"
#include "ipc/own/board.h"

void ipc_conn_hold(struct aioconn *c)
{
	c->holds++;
}

void ipc_conn_release(struct aioconn *c)
{
	if (--c->holds)
		return;
	ipc_flight_free(c->flight);
	free(c->bell);
	free(c->fds);
	free(c);
}

void ipc_conn_hook(struct aioconn *c, struct ipc_conn_hook *h)
{
	h->next = c->hooks;
	c->hooks = h;
}

void ipc_conn_unhook(struct aioconn *c, struct ipc_conn_hook *h)
{
	struct ipc_conn_hook **at = &c->hooks;

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
}

void ipc_conn_tell_and_leave(struct aioconn *c)
{
	ipc_conn_fill_row(c);
	ipc_conn_leave_quietly(c);
}

int ipc_conn_claim(struct aioconn *c)
{
	uint64_t me = ipc_thread_serial(), holder = 0;

	if (atomic_compare_exchange_strong(&c->caller, &holder, me) || holder == me)
		return 0;
	errno = EBUSY;
	return -1;
}

void ipc_conn_wake(struct aioconn *c, unsigned what)
{
	if (c->waits & what)
		ipc_task_wake_all(&c->waiters);
}

void ipc_conn_soon(struct aioconn *c)
{
	struct ipc_watch *w = ipc_conn_turn_watch(c);

	if (w)
		ipc_watch_soon(w);
}

void ipc_conn_tell_muted(struct aioconn *c)
{
	for (struct ipc_conn_hook *h = c->hooks, *next; h; h = next) {
		next = h->next;
		if (h->calls->muted)
			h->calls->muted(h);
	}
}

void ipc_conn_drop_output(struct aioconn *c)
{
	bool could_send = c->way_out < IPC_OUT_GOODBYE;

	ipc_conn_wake(c, ~0u);
	if (c->out.bytes > c->goodbye_len)
		c->lost_output = true;
	if (c->way_out < IPC_OUT_LOST)
		c->way_out = IPC_OUT_LOST;
	c->blocked = false;
	c->retry = 0;
	ipc_out_free(&c->out);
	if (could_send)
		ipc_conn_tell_muted(c);
}

/* Neither way goes on. The owner still has to be told. */
static void hang_up(struct aioconn *c)
{
	ipc_conn_drop_output(c);
	ipc_watch_blind(c->read_watch);
	ipc_watch_blind(c->write_watch);
	c->carrier.how->close(&c->carrier);
}

void ipc_conn_end(struct aioconn *c, enum aioconn_cause cause, int error, const char *why)
{
	if (c->way_in >= IPC_IN_ENDED)
		return;
	c->way_in = IPC_IN_ENDED;
	c->cause = cause;
	c->end_error = error;
	c->why = why;
	ipc_conn_wake(c, ~0u);
	if (c->flight)
		ipc_flight_end_all(c->flight, cause == AIOCONN_CLEAN ? EPIPE : error);
	if (cause == AIOCONN_CLEAN)
		return;
	ipc_desk_strand(c->desk);
	hang_up(c);
}

void ipc_conn_cut(struct aioconn *c, const char *why)
{
	if (c->way_in < IPC_IN_ENDED)
		ipc_conn_end(c, AIOCONN_LOCAL, ECONNABORTED, why);
	else
		hang_up(c);
	if (!*c->why)
		c->why = why;
	ipc_conn_soon(c);
}

int ipc_conn_send_error(const struct aioconn *c)
{
	return ipc_blame_send_error(c->out_fault.error ? &c->out_fault : &c->in_fault);
}

void ipc_conn_lose_peer(struct aioconn *c, const struct ipc_blame *why)
{
	c->out_fault = *why;
	if (!*c->why)
		c->why = why->why;
	ipc_conn_drop_output(c);
	if (c->flight)
		ipc_flight_end_unsent(c->flight, c->bytes_out + c->bytes_refused, ipc_conn_send_error(c));
	if (!c->reads)
		ipc_conn_end(c, why->cause, why->error, why->why);
	else if (c->by_hand)
		c->carrier.how->shut_read(&c->carrier);
	ipc_conn_soon(c);
}

/* This process ends in order with the connection still open. If all has left, it has said everything: no reset. */
static void in_order(struct ipc_own *own)
{
	struct aioconn *c = (struct aioconn *)(void *)((char *)own - offsetof(struct aioconn, carrier.own));

	if (c->out.count == 0)
		c->carrier.how->set_reset(&c->carrier, false);
}

void ipc_conn_set_reset(struct aioconn *c, bool on)
{
	if (on == !!c->carrier.own.in_order || !c->writes)
		return;
	if (c->carrier.how->set_reset(&c->carrier, on) == 0)
		c->carrier.own.in_order = on ? in_order : NULL;
}

void ipc_conn_tell_calls(struct aioconn *c)
{
	bool calling = c->calling;
	struct aiocall *call;

	while (c->flight && (call = ipc_flight_take_due(c->flight))) {
		aiocall_cb *cb = call->cb;

		call->cb = NULL;
		c->calling = true;
		if (cb)
			cb(call->answer, call->error, call->arg);
		c->calling = calling;
		ipc_call_free(call);
	}
}

void ipc_conn_end_calls(struct aioconn *c)
{
	if (!c->flight)
		return;
	ipc_flight_end_all(c->flight, EPIPE);
	if (ipc_own_check(&c->carrier.own) == 0)
		ipc_conn_tell_calls(c);
}

/* No call comes or goes any more. Who still has a message of one frees it as it likes. */
static void close_desk(struct aioconn *c)
{
	struct ipc_desk *d = c->desk;
	struct ipc_knock *knock;

	c->desk = NULL;
	if (!d)
		return;
	knock = ipc_desk_knock(d);
	ipc_desk_set_knock(d, NULL);
	ipc_desk_set_bell(d, NULL);
	ipc_desk_close(d);
	ipc_knock_free(knock);
	if (c->bell)
		ipc_own_close(c->bell);
}

/* Frees what waits, both ways. */
static void drop_all(struct aioconn *c)
{
	unsigned i;

	if (c->why == c->in.why)
		c->why = "";
	ipc_in_free(&c->in);
	aiomsg_free(c->unsorted);
	c->unsorted = NULL;
	ipc_inbox_free(&c->inbox);
	ipc_out_free(&c->out);
	for (i = 0; c->fds && i < c->fds->n; i++)
		close(c->fds->fd[i]);
	if (c->fds)
		c->fds->n = 0;
}

/* A clean end was told, and all has left. So closing it, in whatever way, loses nothing. */
static bool is_over(const struct aioconn *c)
{
	return c->way_in == IPC_IN_TOLD && c->cause == AIOCONN_CLEAN && !c->by_hand && !c->out.count;
}

void ipc_conn_finalize(struct aioconn *c, enum aioconn_cause cause)
{
	struct ipc_conn_hook *h;
	bool over = is_over(c);

	if (c->life == IPC_LIFE_OVER)
		return;
	c->life = IPC_LIFE_OVER;
	ipc_board_give_back(c->row);
	c->row = NULL;
	ipc_conn_wake(c, ~0u);
	ipc_conn_end_calls(c);
	if (c->way_in != IPC_IN_TOLD && c->on_close && ipc_own_check(&c->carrier.own) == 0)
		c->on_close(c, cause, c->arg);
	if (c->flight)
		ipc_flight_stop(c->flight);
	ipc_watch_free(c->awake);
	ipc_watch_free(c->read_watch);
	ipc_watch_free(c->write_watch);
	c->awake = c->read_watch = c->write_watch = NULL;
	if (over)
		ipc_conn_set_reset(c, false);
	c->carrier.how->close(&c->carrier);
	close_desk(c);
	drop_all(c);
	ipc_conn_put_on(c, NULL);
	while ((h = c->hooks)) {
		c->hooks = h->next;
		h->calls->gone(h);
	}
	ipc_conn_release(c);
}
