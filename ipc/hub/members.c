/* The members of a hub: who belongs to it, and what their connections tell it through their hooks. */
#include "ipc/hub/hub.h"

#include <errno.h>
#include <stdlib.h>

#include "ipc/conn/life.h"
#include "ipc/conn/output.h"
#include "ipc/conn/send.h"
#include "ipc/own/board.h"

#define FIRST_ROOM 8

void ipc_hub_soon(struct aiohub *h)
{
	if (h->turn_asked)
		return;
	h->turn_asked = true;
	ipc_watch_soon(h->turn);
}

void ipc_hub_stir(struct aiohub *h)
{
	if (h->epoch != ipc_epoch())
		return;
	ipc_task_wake_all(&h->waiters);
	if (h->refused)
		ipc_hub_soon(h);
}

static struct ipc_hub_member *member_of(struct ipc_conn_hook *hook)
{
	return (struct ipc_hub_member *)(void *)hook;
}

/* The connection is over, or can send no more. */
static void on_end(struct ipc_conn_hook *hook)
{
	ipc_hub_remove(member_of(hook));
}

static void on_wrote(struct ipc_conn_hook *hook)
{
	struct ipc_hub_member *m = member_of(hook);

	if (!m->need || !ipc_conn_has_room(m->conn, m->need))
		return;
	m->need = 0;
	ipc_hub_stir(m->hub);
}

static const struct ipc_conn_hook_calls hook_calls = {.gone = on_end, .muted = on_end, .wrote = on_wrote};

static struct ipc_hub_form *form_of(struct aiohub *h, const struct aioconn *c)
{
	struct ipc_hub_form *f = h->forms;

	while (f && !ipc_cast_fits(&f->cast, &c->in))
		f = f->next;
	if (f)
		return f;
	f = calloc(1, sizeof *f);
	if (!f)
		return NULL;
	ipc_cast_init(&f->cast, &c->in);
	f->next = h->forms;
	h->forms = f;
	return f;
}

/* Nobody has this form any more. */
static void drop_form(struct aiohub *h, struct ipc_hub_form *f)
{
	struct ipc_hub_form **at = &h->forms;

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	ipc_cast_free(&f->cast);
	free(f);
}

static int make_place(struct aiohub *h)
{
	size_t room = h->room ? 2 * h->room : FIRST_ROOM;
	struct ipc_hub_member **more;

	if (h->n < h->room)
		return 0;
	more = realloc(h->members, room * sizeof(struct ipc_hub_member *));
	if (!more)
		return -1;
	h->members = more;
	h->room = room;
	return 0;
}

struct ipc_hub_member *ipc_hub_find(const struct aiohub *h, const struct aioconn *c)
{
	for (struct ipc_conn_hook *hook = c->hooks; hook; hook = hook->next)
		if (hook->calls == &hook_calls && member_of(hook)->hub == h)
			return member_of(hook);
	return NULL;
}

struct ipc_hub_member *ipc_hub_add(struct aiohub *h, struct aioconn *c)
{
	struct ipc_hub_member *m;
	struct ipc_hub_form *f;

	if (make_place(h) < 0 || !(m = calloc(1, sizeof *m)))
		return NULL;
	f = form_of(h, c);
	if (!f) {
		free(m);
		return NULL;
	}
	f->members++;
	*m = (struct ipc_hub_member){.hub = h, .conn = c, .form = f, .place = h->n, .last = h->messages};
	m->hook.calls = &hook_calls;
	ipc_conn_hook(c, &m->hook);
	h->members[h->n++] = m;
	if (h->limit > ipc_conn_most(c))
		h->limit = ipc_conn_most(c);
	return m;
}

static bool is_slow(const struct ipc_hub_member *m)
{
	return m->slow && m->conn->out.bytes > m->conn->outbox_limit / 2;
}

unsigned ipc_hub_count_slow(const struct aiohub *h)
{
	unsigned n = 0;

	for (size_t i = 0; i < h->n; i++)
		n += is_slow(h->members[i]);
	return n;
}

void ipc_hub_tell_row(struct aiohub *h)
{
	if (!h->row || !ipc_board_has(h->row))
		return;
	ipc_row_set(h->row, IPC_HUB_ROW_MEMBERS, h->n);
	ipc_row_set(h->row, IPC_HUB_ROW_SLOW, ipc_hub_count_slow(h));
	ipc_row_set(h->row, IPC_HUB_ROW_MESSAGES, h->messages);
	ipc_row_set(h->row, IPC_HUB_ROW_SENT, h->sent);
	ipc_row_set(h->row, IPC_HUB_ROW_SKIPPED, h->skipped);
	ipc_row_set(h->row, IPC_HUB_ROW_CLOSED, h->closed);
}

/* A connection that is over has let go of its hook already. */
static void unhook(struct ipc_hub_member *m)
{
	for (struct ipc_conn_hook *hook = m->conn->hooks; hook; hook = hook->next)
		if (hook == &m->hook) {
			ipc_conn_unhook(m->conn, hook);
			return;
		}
}

void ipc_hub_remove(struct ipc_hub_member *m)
{
	struct aiohub *h = m->hub;

	unhook(m);
	h->n--;
	h->members[m->place] = h->members[h->n];
	h->members[m->place]->place = m->place;
	if (--m->form->members == 0)
		drop_form(h, m->form);
	if (m->need)
		ipc_hub_stir(h);
	ipc_hub_tell_row(h);
	free(m);
}
