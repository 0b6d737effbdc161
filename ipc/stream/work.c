/* The entries that a member has: see work.h. */
#include "ipc/stream/work.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/loop/knock.h"
#include "ipc/own/epoch.h"
#include "ipc/stream/resp.h"

static bool is_ours(const struct ipc_work *w)
{
	return w->epoch == ipc_epoch();
}

static void unref_work(struct ipc_work *w)
{
	if (atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (is_ours(w))
		pthread_mutex_destroy(&w->lock);
	free(w->table);
	free(w);
}

static void unref(struct ipc_entry *e)
{
	struct ipc_work *w = e->work;

	if (atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(e);
	unref_work(w);
}

void ipc_entry_append(struct ipc_entry_list *l, struct ipc_entry *e)
{
	e->next = NULL;
	if (l->last)
		l->last->next = e;
	else
		l->first = e;
	l->last = e;
}

struct ipc_entry *ipc_entry_pop(struct ipc_entry_list *l)
{
	struct ipc_entry *e = l->first;

	if (!e)
		return NULL;
	l->first = e->next;
	if (!l->first)
		l->last = NULL;
	return e;
}

/* Answers, from any thread. */

/* 0, EALREADY, EPIPE. */
static int settle(struct ipc_entry *e, enum ipc_entry_state state, int64_t after)
{
	struct ipc_work *w = e->work;
	int error = 0;

	pthread_mutex_lock(&w->lock);
	if (e->state != IPC_ENTRY_HAD) {
		error = EALREADY;
	} else if (!w->knock) {
		error = EPIPE;
	} else {
		e->state = state;
		e->after = after;
		atomic_fetch_sub(&w->in_work, 1);
		if (!w->answered.first)
			ipc_knock(w->knock);
		ipc_entry_append(&w->answered, e);
	}
	pthread_mutex_unlock(&w->lock);
	return error;
}

static struct ipc_entry *entry_of(const struct ipc_receipt *r)
{
	return (struct ipc_entry *)(uintptr_t)r;
}

static int answer(struct ipc_receipt *r, bool done, int64_t after)
{
	struct ipc_entry *e = entry_of(r);
	int error = ECHILD;

	if (e->shown)
		return 0;
	if (is_ours(e->work))
		error = settle(e, done ? IPC_ENTRY_ACKED : IPC_ENTRY_NACKED, after);
	errno = error ? error : errno;
	return error ? -1 : 0;
}

static void on_freed(struct ipc_receipt *r, unsigned place)
{
	struct ipc_entry *e = entry_of(r);

	(void)place;
	/* Who answered it had it before: no lock is needed to see that. */
	if (!e->shown && e->state == IPC_ENTRY_HAD && is_ours(e->work))
		settle(e, IPC_ENTRY_FREED, 0);
	unref(e);
}

static void hold(struct ipc_receipt *r)
{
	atomic_store(&entry_of(r)->held, true);
}

static bool is_held(const struct ipc_receipt *r)
{
	return atomic_load(&entry_of(r)->held);
}

static const char *id_of(const struct ipc_receipt *r)
{
	return entry_of(r)->text;
}

static unsigned tries_of(const struct ipc_receipt *r)
{
	return entry_of(r)->tries;
}

static const struct ipc_delivery delivery = {
	.answer = answer,
	.hold = hold,
	.is_held = is_held,
	.id = id_of,
	.tries = tries_of,
};

/* Ids. */

static const char *read_number(const char *s, const char *end, uint64_t *n)
{
	uint64_t v = 0;

	if (s == end)
		return NULL;
	for (; s < end && *s >= '0' && *s <= '9'; s++) {
		if (v > (UINT64_MAX - (uint64_t)(*s - '0')) / 10)
			return NULL;
		v = 10 * v + (uint64_t)(*s - '0');
	}
	*n = v;
	return s;
}

int ipc_entry_id_read(struct ipc_entry_id *id, const char *s, size_t len)
{
	const char *end = s + len, *at = read_number(s, end, &id->ms);

	if (!at || at == s || at == end || *at != '-')
		return -1;
	return read_number(at + 1, end, &id->seq) == end ? 0 : -1;
}

void ipc_entry_id_write(char to[IPC_ENTRY_ID], struct ipc_entry_id id)
{
	to += ipc_resp_digits(to, id.ms);
	*to++ = '-';
	to += ipc_resp_digits(to, id.seq);
	*to = '\0';
}

/* The table. */

struct ipc_work *ipc_work_new(unsigned most)
{
	struct ipc_work *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	for (w->places = 64; w->places < most; w->places *= 2)
		continue;
	w->table = calloc(w->places, sizeof(struct ipc_entry *));
	if (!w->table) {
		free(w);
		return NULL;
	}
	atomic_init(&w->refs, 1);
	w->epoch = ipc_epoch();
	pthread_mutex_init(&w->lock, NULL);
	return w;
}

void ipc_work_knock_at(struct ipc_work *w, struct ipc_knock *knock)
{
	pthread_mutex_lock(&w->lock);
	w->knock = knock;
	pthread_mutex_unlock(&w->lock);
}

static struct ipc_entry **place_of(const struct ipc_work *w, struct ipc_entry_id id)
{
	uint64_t mixed = id.ms * UINT64_C(0x9E3779B97F4A7C15) + id.seq * UINT64_C(0xC2B2AE3D27D4EB4F);

	return &w->table[(mixed >> 32) & (w->places - 1)];
}

struct ipc_entry *ipc_work_find(const struct ipc_work *w, struct ipc_entry_id id)
{
	struct ipc_entry *e = *place_of(w, id);

	while (e && (e->id.ms != id.ms || e->id.seq != id.seq))
		e = e->chain;
	return e;
}

static struct ipc_entry *new_entry(struct ipc_work *w, struct aiomsg *m, struct ipc_entry_id id,
				   unsigned refs)
{
	struct ipc_entry *e = malloc(sizeof *e);

	if (!e)
		return NULL;
	*e = (struct ipc_entry){.receipt = {on_freed, &delivery}, .work = w, .id = id, .tries = 1};
	atomic_init(&e->refs, refs);
	ipc_entry_id_write(e->text, id);
	atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
	m->receipt = &e->receipt;
	return e;
}

int ipc_work_enter(struct ipc_work *w, struct aiomsg *m, struct ipc_entry_id id, unsigned tries, int64_t now)
{
	struct ipc_entry **place = place_of(w, id), *e = new_entry(w, m, id, 2);

	if (!e)
		return -1;
	e->tries = tries;
	e->since = e->given = now;
	e->chain = *place;
	*place = e;
	w->count++;
	atomic_fetch_add(&w->in_work, 1);
	return 0;
}

int ipc_work_show(struct ipc_work *w, struct aiomsg *m, struct ipc_entry_id id)
{
	struct ipc_entry *e = new_entry(w, m, id, 1);

	if (!e)
		return -1;
	e->shown = true;
	return 0;
}

struct ipc_entry *ipc_work_of(const struct ipc_work *w, const struct aiomsg *m)
{
	struct ipc_entry *e = m->receipt && m->receipt->delivery == &delivery ? entry_of(m->receipt) : NULL;

	return e && e->work == w ? e : NULL;
}

struct ipc_entry_list ipc_work_answers(struct ipc_work *w)
{
	struct ipc_entry_list l;

	pthread_mutex_lock(&w->lock);
	l = w->answered;
	w->answered = (struct ipc_entry_list){NULL, NULL};
	pthread_mutex_unlock(&w->lock);
	return l;
}

void ipc_work_done(struct ipc_work *w, struct ipc_entry *e)
{
	struct ipc_entry **at = place_of(w, e->id);

	while (*at != e)
		at = &(*at)->chain;
	*at = e->chain;
	w->count--;
	unref(e);
}

unsigned ipc_work_count(const struct ipc_work *w)
{
	return atomic_load(&w->in_work);
}

static void empty(struct ipc_work *w)
{
	for (size_t i = 0; i < w->places; i++)
		while (w->table[i]) {
			struct ipc_entry *e = w->table[i];

			w->table[i] = e->chain;
			unref(e);
		}
}

void ipc_work_leave(struct ipc_work *w)
{
	if (!w)
		return;
	if (is_ours(w))
		ipc_work_knock_at(w, NULL);
	empty(w);
	unref_work(w);
}
