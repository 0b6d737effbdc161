/*
 * What a member takes over: first what it had itself on an earlier connection, then, round by round, what others had whose leases have run out. The
 * server may read the last question of an earlier connection late, so what it has itself is listed once more after a while.
 * XPENDING lists it, with how often each was given; what was given too often is buried; XCLAIM gets the rest, a few at a time.
 */
#include <stdint.h>

#include "ipc/stream/stream.h"

static bool is_not_here(struct aiostream *s, const struct ipc_stream_pending *p)
{
	return !ipc_work_find(s->work, p->id);
}

static void on_list(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_stream_keeper *k = &s->keep;
	struct ipc_resp_walk again = *walk;
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type == '-') {
		s->read.lost_group |= ipc_refusal_of(&i).cure == IPC_REFUSAL_GROUP;
		ipc_stream_refused(s, w, &k->pause, &i);
		return;
	}
	if (!ipc_pending_take(s, &again, is_not_here)) {
		ipc_wire_confused(w);
		return;
	}
	k->old_first = k->old_first || (k->recovered && !k->own && k->n > 0);
}

void ipc_recover_list(struct aiostream *s)
{
	ipc_pending_list(s, s->keep.idle, s->keep.own, on_list);
}

static unsigned tries_of(struct aiostream *s, struct ipc_entry_id id)
{
	const struct ipc_stream_keeper *k = &s->keep;

	for (size_t i = k->at; i < k->at + k->claimed; i++)
		if (k->list[i].id.ms == id.ms && k->list[i].id.seq == id.seq)
			return k->list[i].tries < UINT16_MAX ? (unsigned)k->list[i].tries + 1 : UINT16_MAX;
	return 2;
}

static void on_claimed(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_stream_keeper *k = &s->keep;
	struct ipc_resp_walk again = *walk;
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type == '-') {
		k->at = k->n; /* the next round lists them again */
		ipc_stream_refused(s, w, &k->pause, &i);
		return;
	}
	if (ipc_arrive_entries(s, &again, k->claimed, tries_of) < 0) {
		ipc_wire_confused(w);
		return;
	}
	k->at += k->claimed;
	k->claimed = 0;
	ipc_stream_passed(s, &k->pause);
	ipc_arrive_deliver(s);
}

/* So many of those that come next, and were not given too often, go into one claim. */
static size_t choose(struct aiostream *s)
{
	const struct ipc_stream_keeper *k = &s->keep;
	size_t most = ipc_arrive_room(s), n = 0;

	if (most > s->read.count)
		most = s->read.count;
	while (n < most && k->at + n < k->n && k->list[k->at + n].tries < s->o.tries)
		n++;
	return n;
}

static void claim(struct aiostream *s)
{
	const struct ipc_stream_keeper *k = &s->keep;

	ipc_claim_begin(s, k->idle, k->claimed);
	for (size_t i = 0; i < k->claimed; i++)
		ipc_claim_id(s, k->list[k->at + i].id);
	ipc_wire_expect(&s->two, on_claimed, 1, s->o.reply_limit);
	ipc_wire_send(&s->two);
}

bool ipc_recover_claim(struct aiostream *s)
{
	struct ipc_stream_keeper *k = &s->keep;

	if (k->at == k->n)
		return false;
	if (k->list[k->at].tries >= s->o.tries) {
		ipc_bury(s, &k->list[k->at++], k->idle);
		return true;
	}
	k->claimed = ipc_arrive_deliver(s) ? choose(s) : 0;
	if (k->claimed == 0)
		return false;
	claim(s);
	return true;
}
