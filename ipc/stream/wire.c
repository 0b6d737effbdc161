/* One connection to a server: see wire.h. */
#include "ipc/stream/wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <aioipc/conn.h>
#include <aioipc/msg.h>

#include "ipc/os/os.h"
#include "ipc/os/text.h"
#include "ipc/stream/server.h"

void ipc_wire_quote(char *to, size_t size, const struct ipc_resp_item *i)
{
	snprintf(to, size, "%.*s", (int)(i->len < size ? i->len : size), i->s ? i->s : "");
	ipc_text_tame(to);
}

void ipc_wire_fail(struct ipc_wire *w, int error, const char *why)
{
	if (w->state == IPC_WIRE_BROKEN)
		return;
	w->state = IPC_WIRE_BROKEN;
	w->error = error;
	w->until = 0;
	snprintf(w->why, sizeof w->why, "%s", why ? why : strerror(error));
	w->wake(w);
}

void ipc_wire_refused(struct ipc_wire *w, const struct ipc_resp_item *i)
{
	struct ipc_refusal is = ipc_refusal_of(i);
	char text[sizeof w->why];

	w->moved = is.cure == IPC_REFUSAL_MOVE && ipc_refusal_where(i, w->where, sizeof w->where) == 0;
	w->moved_asks = w->moved && ipc_refusal_is(i, "ASK");
	ipc_wire_quote(text, sizeof text, i);
	ipc_wire_fail(w, is.error, text);
}

void ipc_wire_confused(struct ipc_wire *w)
{
	ipc_wire_fail(w, EPROTO, "an answer that does not fit the question");
}

/* Asking. */

void ipc_wire_expect(struct ipc_wire *w, ipc_wire_answer *answer, size_t n, int64_t limit)
{
	if (w->count == IPC_WIRE_DUE) {
		ipc_wire_fail(w, EPROTO, "more questions than are answered");
		return;
	}
	if (w->count == 0)
		w->until = ipc_os_now() + limit;
	w->due[(w->first + w->count++) % IPC_WIRE_DUE] = (struct ipc_wire_due){answer, n, limit};
}

static void ignore(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	(void)w;
	(void)walk;
}

void ipc_wire_begin(struct ipc_wire *w)
{
	if (!w->asks)
		return;
	ipc_resp_command(&w->out, "ASKING", NULL);
	ipc_wire_expect(w, ignore, 1, w->limit);
}

void ipc_wire_send(struct ipc_wire *w)
{
	bool bad = w->out.failed;

	if (w->state == IPC_WIRE_BROKEN)
		return;
	if (bad)
		errno = ENOMEM;
	if (bad || aioconn_send_bytes(w->conn, w->out.buf, w->out.len) == -1)
		ipc_wire_fail(w, errno == EPIPE ? ECONNRESET : errno,
			      errno == EPIPE ? "the server has closed the connection" : NULL);
	ipc_resp_sent(&w->out);
}

/* What came is given to who waits for it. */
static void answer(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct ipc_wire_due *d = &w->due[w->first];
	ipc_wire_answer *to;

	if (w->count == 0) {
		ipc_wire_fail(w, EPROTO, "the server says something that it was not asked");
		return;
	}
	to = d->answer;
	if (--d->n == 0) {
		w->first = (w->first + 1) % IPC_WIRE_DUE;
		w->count--;
		w->looked = false;
		w->until = w->count ? ipc_os_now() + w->due[w->first].limit : 0;
	}
	to(w, walk);
}

static void on_bytes(struct aioconn *c, struct aiomsg *m, void *arg)
{
	struct ipc_wire *w = arg;
	struct ipc_resp_walk walk;
	const void *p;
	size_t len;
	char *to;
	int r = 1;

	(void)c;
	if (w->state == IPC_WIRE_BROKEN)
		return;
	p = aiomsg_bytes(m, &len);
	to = ipc_resp_room(&w->in, len);
	if (!to) {
		ipc_wire_fail(w, ENOMEM, NULL);
		return;
	}
	memcpy(to, p, len);
	ipc_resp_filled(&w->in, len);
	while (w->state != IPC_WIRE_BROKEN && (r = ipc_resp_next(&w->in, &walk)) == 1)
		answer(w, &walk);
	if (r == -1)
		ipc_wire_fail(w, errno, w->in.check.why);
	else if (ipc_wire_is_idle(w))
		w->wake(w);
}

static void on_close(struct aioconn *c, enum aioconn_cause cause, void *arg)
{
	const char *why = aioconn_why(c);

	if (cause == AIOCONN_CLEAN || !*why)
		why = "the server has closed the connection";
	ipc_wire_fail(arg, cause == AIOCONN_FAILED ? EIO : ECONNRESET, why);
}

/* The greeting. */

static void on_greeted(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type == '-') {
		ipc_wire_refused(w, &i);
	} else if (i.type != '+') {
		ipc_wire_confused(w);
	} else if (w->count == 0) {
		w->state = IPC_WIRE_READY;
		w->wake(w);
	}
}

static void greet(struct ipc_wire *w)
{
	const struct ipc_server *s = w->server;
	size_t n = 0;

	if (s->password && s->user)
		ipc_resp_command(&w->out, "AUTH", s->user, s->password, NULL);
	else if (s->password)
		ipc_resp_command(&w->out, "AUTH", s->password, NULL);
	n += s->password != NULL;
	if (s->database) {
		ipc_resp_begin(&w->out, 2);
		ipc_resp_str(&w->out, "SELECT");
		ipc_resp_int(&w->out, s->database);
		n++;
	}
	w->state = n ? IPC_WIRE_GREETS : IPC_WIRE_READY;
	if (n) {
		ipc_wire_expect(w, on_greeted, n, w->limit);
		ipc_wire_send(w);
	} else {
		w->wake(w);
	}
}

static int set_up(struct ipc_wire *w)
{
	struct aioconn_limits l = {
		.size = sizeof l, .message = IPC_WIRE_MOST + ((size_t)1 << 20), .outbox = (size_t)4 << 20};

	if (aioconn_set_framing(w->conn, AIOCONN_BYTES, NULL) == -1 ||
	    aioconn_set_limits(w->conn, &l) == -1 || aioconn_set_send_wait(w->conn, 0) == -1)
		return -1;
	return aioconn_set_callbacks(w->conn, on_bytes, NULL, on_close, w);
}

/* Dialling. */

static void on_ready(short what, void *arg)
{
	struct ipc_wire *w = arg;

	(void)what;
	w->wake(w);
}

int ipc_wire_dial(struct ipc_wire *w, const char *address)
{
	ipc_wire_hang_up(w);
	ipc_resp_init(&w->in, IPC_WIRE_MOST);
	w->first = w->count = 0;
	w->looked = w->moved = false;
	w->dial = ipc_dial_new_tls(address, w->tls);
	if (!w->dial)
		return -1;
	w->state = IPC_WIRE_DIALS;
	return 0;
}

static int watch_dial(struct ipc_wire *w, const struct ipc_dial_wait *d)
{
	w->until = d->ns < 0 ? 0 : ipc_os_now() + d->ns;
	return ipc_dial_watch(w->watch, d, w->base, on_ready, w);
}

void ipc_wire_step(struct ipc_wire *w, int64_t until)
{
	struct ipc_dial_wait d;
	int r;

	ipc_dial_unwatch(w->watch);
	ipc_dial_until(w->dial, until);
	r = ipc_dial_step(w->dial, &d);
	if (r == 0 && until && ipc_os_now() >= until) {
		ipc_wire_fail(w, ETIMEDOUT, "no connection within the limit");
		return;
	}
	if (r == 0 && watch_dial(w, &d) == 0)
		return;
	if (r == 1)
		w->conn = ipc_dial_open(w->dial, w->base);
	if (!w->conn || set_up(w) == -1) {
		ipc_wire_fail(w, errno, r == -1 ? ipc_dial_why(w->dial) : NULL);
		return;
	}
	ipc_dial_free(w->dial);
	w->dial = NULL;
	w->until = 0;
	greet(w);
}

/* What came by now is read first: the process may have been stopped for long. */
void ipc_wire_look(struct ipc_wire *w)
{
	if (w->state < IPC_WIRE_GREETS || w->count == 0)
		return;
	if (w->looked)
		ipc_wire_fail(w, ETIMEDOUT, "the server does not answer");
	w->looked = true;
}

void ipc_wire_hang_up(struct ipc_wire *w)
{
	struct aioconn *c = w->conn;

	ipc_dial_unwatch(w->watch);
	ipc_dial_free(w->dial);
	w->dial = NULL;
	w->conn = NULL;
	w->state = IPC_WIRE_BROKEN; /* on_close changes nothing now */
	aioconn_abort(c);
	w->state = IPC_WIRE_NONE;
	w->until = 0;
	w->count = 0;
	ipc_resp_free(&w->in);
	ipc_resp_sent(&w->out);
}
