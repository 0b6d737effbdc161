/*
 * The second connection of a member: it tells the server what was answered, and in between looks after leases. One question at a time. The
 * first of all is what this member had before, on another connection or in another life: that comes before anything new.
 */
#include "ipc/stream/stream.h"

#define ROUND_NS (INT64_C(1000) * IPC_STREAM_MS) /* from one look at the leases to the next */
#define FULL_NS (100 * IPC_STREAM_MS)
#define LEAST_NS (20 * IPC_STREAM_MS)

/* Answers. */

/* Of those that were answered, each one to its list. */
static void collect(struct aiostream *s)
{
	struct ipc_entry_list l = ipc_work_answers(s->work);
	struct ipc_entry *e;

	while ((e = ipc_entry_pop(&l)))
		ipc_entry_append(e->state == IPC_ENTRY_ACKED ? &s->keep.acks : &s->keep.backs, e);
}

/* They are to be told once more: in front of the others. */
static void not_told(struct ipc_entry_list *told, struct ipc_entry_list *to)
{
	for (struct ipc_entry *e = told->first; e; e = e->next)
		e->asked = true;
	if (!told->first)
		return;
	told->last->next = to->first;
	if (!to->first)
		to->last = told->last;
	to->first = told->first;
	*told = (struct ipc_entry_list){NULL, NULL};
}

/* How many of these were not asked about before; all leave the table. */
static uint64_t done(struct aiostream *s, struct ipc_entry_list *told, uint64_t *first_time)
{
	struct ipc_entry *e;
	uint64_t n = 0;

	*first_time = 0;
	while ((e = ipc_entry_pop(told))) {
		*first_time += !e->asked;
		n++;
		ipc_work_done(s->work, e);
	}
	return n;
}

static void on_acked(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_item i;
	uint64_t n, first_time, missing;

	ipc_resp_get(walk, &i);
	if (i.type == '-') {
		not_told(&s->keep.told_acks, &s->keep.acks);
		ipc_stream_refused(s, w, &s->keep.pause, &i);
		return;
	}
	if (i.type != ':') {
		ipc_wire_confused(w);
		return;
	}
	n = done(s, &s->keep.told_acks, &first_time);
	missing = i.n >= 0 && (uint64_t)i.n < n ? n - (uint64_t)i.n : 0;
	missing = missing < first_time ? missing : first_time;
	ipc_counter_add(&s->acked, n - missing);
	ipc_counter_add(&s->late, missing);
	ipc_stream_passed(s, &s->keep.pause);
}

static void on_given_back(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_item i;
	uint64_t first_time;

	ipc_resp_get(walk, &i);
	if (i.type == '-') {
		not_told(&s->keep.told_backs, &s->keep.backs);
		ipc_stream_refused(s, w, &s->keep.pause, &i);
		return;
	}
	ipc_counter_add(&s->nacked, done(s, &s->keep.told_backs, &first_time));
	ipc_stream_passed(s, &s->keep.pause);
}

static void tell_acks(struct aiostream *s)
{
	struct ipc_resp_out *o = &s->two.out;
	struct ipc_entry *e;
	size_t n = 0;

	for (; n < IPC_STREAM_TOLD && (e = ipc_entry_pop(&s->keep.acks)); n++)
		ipc_entry_append(&s->keep.told_acks, e);
	ipc_wire_begin(&s->two);
	ipc_resp_begin(o, 3 + n);
	ipc_resp_str(o, "XACK");
	ipc_resp_str(o, s->o.stream);
	ipc_resp_str(o, s->o.group);
	for (e = s->keep.told_acks.first; e; e = e->next)
		ipc_resp_str(o, e->text);
	ipc_wire_expect(&s->two, on_acked, 1, s->o.reply_limit);
}

/* For how long it should look as if it had lain there, so that it is free after e->after. */
static int64_t idle_ms(const struct aiostream *s, const struct ipc_entry *e)
{
	int64_t idle = s->o.lease / IPC_STREAM_MS + 1 - e->after;

	return idle > 0 ? idle : 0;
}

/* What its user never had counts as not given. */
static bool goes_with(const struct aiostream *s, const struct ipc_entry *e, const struct ipc_entry *first)
{
	return idle_ms(s, e) == idle_ms(s, first) && e->untouched == first->untouched &&
	       (!e->untouched || e->tries == first->tries);
}

/* Some that can be given back in one command. */
static size_t choose_backs(struct aiostream *s)
{
	struct ipc_entry_list others = {NULL, NULL};
	struct ipc_entry *e, *first = s->keep.backs.first;
	size_t n = 0;

	while ((e = ipc_entry_pop(&s->keep.backs))) {
		bool now = n < IPC_STREAM_TOLD && goes_with(s, e, first);

		ipc_entry_append(now ? &s->keep.told_backs : &others, e);
		n += now;
	}
	s->keep.backs = others;
	return n;
}

static void tell_backs(struct aiostream *s)
{
	size_t n = choose_backs(s);
	const struct ipc_entry *first = s->keep.told_backs.first;
	int64_t tries = -1;

	if (first->untouched)
		tries = first->tries > 0 ? (int64_t)first->tries - 1 : 0;
	ipc_give_back_begin(s, n, tries);
	for (const struct ipc_entry *e = first; e; e = e->next)
		ipc_resp_str(&s->two.out, e->text);
	ipc_give_back_end(s, idle_ms(s, first), tries);
	ipc_wire_expect(&s->two, on_given_back, 1, s->o.reply_limit);
}

/* What was given back here may be had again here: look when it is free. */
static void look_after(struct aiostream *s)
{
	struct ipc_stream_keeper *k = &s->keep;
	int64_t now = ipc_os_now();

	for (const struct ipc_entry *e = k->told_backs.first; e; e = e->next) {
		int64_t free_at = now + e->after * IPC_STREAM_MS + LEAST_NS;

		if (!k->wish || k->wish > free_at)
			k->wish = free_at;
	}
	if (k->wish && k->tick > k->wish)
		k->tick = k->wish;
}

static bool tell_answers(struct aiostream *s)
{
	collect(s);
	if (!s->keep.acks.first && !s->keep.backs.first)
		return false;
	if (s->keep.acks.first)
		tell_acks(s);
	if (s->keep.backs.first)
		tell_backs(s);
	look_after(s);
	ipc_wire_send(&s->two);
	return true;
}

/* Leases. */

static void on_renewed(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type == '-')
		ipc_stream_refused(s, w, &s->keep.pause, &i);
}

static bool is_due(const struct aiostream *s, const struct ipc_entry *e, int64_t now)
{
	if (e->state != IPC_ENTRY_HAD || now - e->since < s->o.lease / 3)
		return false;
	return s->o.handle_limit == 0 || now - e->given < s->o.handle_limit;
}

/* The ids of those whose lease is to be renewed, as far as there is room; how many. */
static size_t list_due(struct aiostream *s, struct ipc_entry_id *id, size_t room)
{
	int64_t now = ipc_os_now();
	size_t n = 0;

	pthread_mutex_lock(&s->work->lock);
	for (size_t i = 0; i < s->work->places; i++)
		for (struct ipc_entry *e = s->work->table[i]; e && n < room; e = e->chain)
			if (is_due(s, e, now)) {
				e->since = now;
				id[n++] = e->id;
			}
	pthread_mutex_unlock(&s->work->lock);
	return n;
}

static bool renew(struct aiostream *s)
{
	struct ipc_entry_id id[IPC_STREAM_TOLD];
	size_t n = s->work->count ? list_due(s, id, IPC_STREAM_TOLD) : 0;

	if (n == 0)
		return false;
	ipc_claim_begin(s, 0, n + 1);
	for (size_t i = 0; i < n; i++)
		ipc_claim_id(s, id[i]);
	ipc_resp_str(&s->two.out, "JUSTID");
	ipc_wire_expect(&s->two, on_renewed, 1, s->o.reply_limit);
	ipc_wire_send(&s->two);
	return true;
}

/* Rounds. */

static void end_round(struct aiostream *s)
{
	int64_t next = s->o.lease / 3 < ROUND_NS ? s->o.lease / 3 : ROUND_NS;

	if (s->keep.pause.error && s->keep.pause.refusals == s->keep.refusals)
		ipc_stream_passed(s, &s->keep.pause);

	if (s->keep.old_first)
		next = FULL_NS; /* there was no room for all */
	s->keep.stage = IPC_KEEP_TICK;
	s->keep.tick = ipc_os_now() + next;
	if (s->keep.wish && s->keep.wish < s->keep.tick)
		s->keep.tick = s->keep.wish;
	ipc_stream_by(s, s->keep.tick);
}

static void list_others(struct aiostream *s)
{
	s->keep.own = false;
	s->keep.idle = s->o.lease / IPC_STREAM_MS;
	s->keep.cursor = (struct ipc_entry_id){0, 0};
	s->keep.at = s->keep.n = 0;
	s->keep.more = true;
}

static bool begins_round(struct aiostream *s)
{
	if (ipc_os_now() < s->keep.tick) {
		ipc_stream_by(s, s->keep.tick);
		return false;
	}
	if (s->keep.wish && ipc_os_now() >= s->keep.wish)
		s->keep.wish = 0;
	s->keep.stage = IPC_KEEP_RENEW;
	s->keep.refusals = s->keep.pause.refusals;
	list_others(s);
	if (s->keep.own_again && ipc_os_now() >= s->keep.own_again) {
		s->keep.own = true;
		s->keep.idle = s->o.reply_limit / IPC_STREAM_MS;
		s->keep.own_again = 0;
	}
	return true;
}

/* One page of overdue ones after the other, as far as there is room. */
static bool take_over(struct aiostream *s)
{
	struct ipc_stream_keeper *k = &s->keep;

	if (ipc_bury_bad(s) || ipc_recover_claim(s))
		return true;
	if (k->at == k->n && !k->more && k->own)
		list_others(s);
	if (k->at < k->n || !k->more) {
		k->old_first = k->at < k->n;
		return false;
	}
	ipc_recover_list(s);
	return true;
}

/* True: a question was asked. */
static bool go_round(struct aiostream *s)
{
	struct ipc_stream_keeper *k = &s->keep;

	if (k->stage == IPC_KEEP_TICK && !begins_round(s))
		return false;
	if (k->stage == IPC_KEEP_RENEW && renew(s))
		return true;
	if (k->stage == IPC_KEEP_RENEW)
		k->stage = IPC_KEEP_CLAIM;
	if (k->stage == IPC_KEEP_CLAIM && take_over(s))
		return true;
	k->stage = IPC_KEEP_TRIM;
	if (!s->o.keep && ipc_trim(s))
		return true;
	end_round(s);
	return false;
}

/* What it had before: page by page, as far as there is room. */
static bool recover(struct aiostream *s)
{
	struct ipc_stream_keeper *k = &s->keep;

	if (k->at < k->n)
		return ipc_recover_claim(s);
	if (k->more) {
		ipc_recover_list(s);
		return true;
	}
	k->recovered = true;
	k->stage = IPC_KEEP_TICK;
	k->tick = ipc_os_now();
	return false;
}

bool ipc_keep_is_done(const struct aiostream *s)
{
	const struct ipc_stream_keeper *k = &s->keep;

	return s->leaving && k->empty >= 2 && !k->acks.first && !k->backs.first && !k->told_acks.first &&
	       !k->told_backs.first;
}

void ipc_keep_begin(struct aiostream *s)
{
	struct ipc_stream_keeper *k = &s->keep;

	k->recovered = k->old_first = false;
	list_others(s);
	k->own = true;
	k->idle = 0;
	k->own_again = ipc_os_now() + s->o.reply_limit + ROUND_NS;
	k->claimed = 0;
	k->empty = 0;
	k->leaves = false;
}

void ipc_keep_pump(struct aiostream *s)
{
	if (!s->knows_place || !ipc_wire_is_idle(&s->two) || ipc_stream_is_paused(s, &s->keep.pause))
		return;
	if (tell_answers(s))
		return;
	if (s->leaving) {
		if (!renew(s) && !ipc_leave(s))
			ipc_stream_by(s, ipc_os_now() + s->o.lease / 6);
		return;
	}
	if (!s->keep.recovered && recover(s))
		return;
	if (s->keep.recovered)
		go_round(s);
}

void ipc_keep_lost(struct aiostream *s)
{
	not_told(&s->keep.told_acks, &s->keep.acks);
	not_told(&s->keep.told_backs, &s->keep.backs);
	ipc_trim_forget(s);
	s->keep.recovered = false;
	s->keep.bads = 0;
	s->keep.pause = (struct ipc_stream_pause){.delay = 0};
}
