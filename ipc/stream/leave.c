/*
 * A member leaves: what it has is given back, as if the lease had run out, so that others have it at once. The server is asked what that is:
 * an answer may have been on its way to the reader when that hung up. So it is asked until it says twice that there is nothing.
 */
#include "ipc/stream/stream.h"

/* What it says of one entry: how often it was given, this time not included, or -1: its user had it. */
static int64_t tries_before(struct aiostream *s, const struct ipc_stream_pending *p)
{
	if (ipc_work_find(s->work, p->id))
		return -1;
	return p->tries > 0 ? p->tries - 1 : 0;
}

static void on_given_back(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type == '-')
		ipc_stream_refused(s, w, &s->keep.pause, &i);
	else
		ipc_stream_passed(s, &s->keep.pause);
}

/* Those of the list that can be told in one command with the first. */
static size_t choose(struct aiostream *s, int64_t before)
{
	struct ipc_stream_keeper *k = &s->keep;
	size_t n = 0;

	for (size_t i = 0; i < k->n; i++)
		if (tries_before(s, &k->list[i]) == before)
			k->list[n++] = k->list[i];
	return n;
}

static void give_back(struct aiostream *s)
{
	const struct ipc_stream_keeper *k = &s->keep;
	int64_t before = tries_before(s, &k->list[0]);
	size_t n = choose(s, before);

	ipc_give_back_begin(s, n, before);
	for (size_t i = 0; i < n; i++)
		ipc_claim_id(s, k->list[i].id);
	ipc_give_back_end(s, s->o.lease / IPC_STREAM_MS + 1, before);
	ipc_wire_expect(&s->two, on_given_back, 1, s->o.reply_limit);
	ipc_wire_send(&s->two);
}

static bool is_not_given_back(struct aiostream *s, const struct ipc_stream_pending *p)
{
	return p->idle <= s->o.lease / IPC_STREAM_MS;
}

static void on_list(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_stream_keeper *k = &s->keep;
	struct ipc_resp_walk again = *walk;
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (ipc_refusal_is(&i, "NOGROUP")) {
		k->empty = 2;
		return;
	}
	if (i.type == '-') {
		ipc_stream_refused(s, w, &k->pause, &i);
		return;
	}
	if (!ipc_pending_take(s, &again, is_not_given_back)) {
		ipc_wire_confused(w);
		return;
	}
	if (k->n == 0 && !k->more)
		k->empty++;
	if (k->n > 0 || !k->more)
		k->cursor = (struct ipc_entry_id){0, 0};
	if (k->n > 0)
		k->empty = 0;
}

bool ipc_leave(struct aiostream *s)
{
	struct ipc_stream_keeper *k = &s->keep;

	if (k->empty >= 2 || (s->leaving == IPC_STREAM_LEAVES && ipc_work_count(s->work) > 0))
		return false;
	if (!k->leaves) {
		k->leaves = true;
		k->n = 0;
		k->cursor = (struct ipc_entry_id){0, 0};
	}
	if (k->n > 0) {
		give_back(s);
		k->n = 0;
	} else {
		ipc_pending_list(s, 0, true, on_list);
	}
	return true;
}
