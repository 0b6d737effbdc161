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
	struct ipc_resp_out *o = &s->two.out;
	struct ipc_stream_keeper *k = &s->keep;
	int64_t before = tries_before(s, &k->list[0]);
	size_t n = choose(s, before);
	char text[IPC_ENTRY_ID];

	ipc_wire_begin(&s->two);
	ipc_resp_begin(o, 8 + n + (before >= 0 ? 2 : 0));
	ipc_resp_str(o, "XCLAIM");
	ipc_resp_str(o, s->o.stream);
	ipc_resp_str(o, s->o.group);
	ipc_resp_str(o, s->o.member);
	ipc_resp_str(o, "0");
	for (size_t i = 0; i < n; i++) {
		ipc_entry_id_write(text, k->list[i].id);
		ipc_resp_str(o, text);
	}
	ipc_resp_str(o, "IDLE");
	ipc_resp_int(o, s->o.lease / IPC_STREAM_MS + 1);
	if (before >= 0) {
		ipc_resp_str(o, "RETRYCOUNT");
		ipc_resp_int(o, before);
	}
	ipc_resp_str(o, "JUSTID");
	ipc_wire_expect(&s->two, on_given_back, 1, s->o.reply_limit);
	ipc_wire_send(&s->two);
}

/* Those that are not given back yet stay in the list. */
static void on_list(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_stream_keeper *k = &s->keep;
	struct ipc_resp_walk again = *walk;
	struct ipc_stream_pending p;
	struct ipc_resp_item i;
	int64_t n;

	ipc_resp_get(walk, &i);
	if (ipc_refusal_is(&i, "NOGROUP")) {
		k->empty = 2;
		return;
	}
	if (i.type == '-') {
		ipc_stream_refused(s, w, &k->pause, &i);
		return;
	}
	k->n = 0;
	if (!ipc_resp_array(&again, &n) || n > IPC_STREAM_LIST) {
		ipc_wire_confused(w);
		return;
	}
	k->more = n == IPC_STREAM_LIST;
	while (n-- > 0) {
		if (!ipc_pending_read(&again, &p)) {
			ipc_wire_confused(w);
			return;
		}
		k->cursor = p.id;
		if (p.idle <= s->o.lease / IPC_STREAM_MS)
			k->list[k->n++] = p;
	}
	if (k->n == 0 && !k->more)
		k->empty++;
	if (k->n > 0 || !k->more)
		k->cursor = (struct ipc_entry_id){0, 0};
	if (k->n > 0)
		k->empty = 0;
}

static void list(struct aiostream *s)
{
	char from[IPC_ENTRY_ID + 1] = "-";

	if (s->keep.cursor.ms || s->keep.cursor.seq) {
		ipc_entry_id_write(from + 1, s->keep.cursor);
		from[0] = '(';
	}
	ipc_wire_begin(&s->two);
	ipc_resp_command(&s->two.out, "XPENDING", s->o.stream, s->o.group, from, "+", "64", s->o.member,
			 NULL);
	ipc_wire_expect(&s->two, on_list, 1, s->o.reply_limit);
	ipc_wire_send(&s->two);
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
		list(s);
	}
	return true;
}
