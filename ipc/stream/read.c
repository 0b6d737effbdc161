/*
 * What is new. A member of a group asks for so many entries as it may have more; a broadcast for those behind the last one. So many that
 * the answer is not too large: COUNT knows no bytes, so it begins with one, doubles while answers are small, and halves where they are large.
 */
#include <errno.h>

#include "ipc/os/log.h"
#include "ipc/stream/stream.h"

#define FEW_NS (20 * IPC_STREAM_MS)

/* The group, or the place of a broadcast. */

static void on_group(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type == '-' && !ipc_refusal_is(&i, "BUSYGROUP")) {
		ipc_wire_refused(w, &i);
		return;
	}
	if (i.type != '-' && i.type != '+') {
		ipc_wire_confused(w);
		return;
	}
	s->read.lost_group = false;
	s->knows_place = true;
}

/* One that was lost begins with all that is there: some of it may come again. */
static void make_group(struct aiostream *s)
{
	const char *from = s->o.from_start || s->read.lost_group ? "0" : "$";

	ipc_wire_begin(&s->one);
	ipc_resp_command(&s->one.out, "XGROUP", "CREATE", s->o.stream, s->o.group, from, "MKSTREAM", NULL);
	ipc_wire_expect(&s->one, on_group, 1, s->o.reply_limit);
	ipc_wire_send(&s->one);
}

static void mind_gap(struct aiostream *s, struct ipc_entry_id first)
{
	char text[IPC_ENTRY_ID];

	if (!ipc_entry_id_less(s->read.last, first))
		return;
	ipc_entry_id_write(text, first);
	ipc_log("stream %s: what came before %s was removed, some of it perhaps unread", s->o.stream, text);
	ipc_counter_add(&s->vanished, 1);
}

/* XINFO STREAM: names and values. */
static bool read_place(struct aiostream *s, struct ipc_resp_walk *walk)
{
	struct ipc_entry_id id, last = {0, 0}, first = {0, 0};
	struct ipc_resp_item name, value;
	int64_t n;

	if (!ipc_resp_array(walk, &n))
		return false;
	for (int64_t k = 0; k < n; k += 2) {
		struct ipc_resp_walk at;

		if (!ipc_resp_string(walk, &name))
			return false;
		at = *walk;
		ipc_resp_skip(walk);
		if (!ipc_resp_string(&at, &value) || ipc_entry_id_read(&id, value.s, value.len) == -1)
			continue;
		if (ipc_resp_is(&name, "last-generated-id"))
			last = id;
		if (ipc_resp_is(&name, "recorded-first-entry-id"))
			first = id;
	}
	if (s->read.has_place)
		mind_gap(s, first);
	else
		s->read.last = s->o.from_start ? s->read.last : last;
	return true;
}

static void on_place(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_walk again = *walk;
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type == '-' && !ipc_refusal_is(&i, "ERR no such key")) {
		ipc_wire_refused(w, &i);
		return;
	}
	if (i.type != '-' && !read_place(s, &again)) {
		ipc_wire_confused(w);
		return;
	}
	s->read.has_place = s->knows_place = true;
}

void ipc_read_begin(struct aiostream *s)
{
	if (ipc_stream_is_member(s)) {
		make_group(s);
		return;
	}
	ipc_wire_begin(&s->one);
	ipc_resp_command(&s->one.out, "XINFO", "STREAM", s->o.stream, NULL);
	ipc_wire_expect(&s->one, on_place, 1, s->o.reply_limit);
	ipc_wire_send(&s->one);
}

/* Entries. */

static void mind_size(struct aiostream *s, size_t bytes, int64_t n)
{
	struct ipc_stream_reader *r = &s->read;

	if (bytes > IPC_STREAM_BYTES)
		r->count = r->count > 1 ? r->count / 2 : 1;
	else if (2 * n >= (int64_t)r->count && r->count < s->o.prefetch)
		r->count *= 2;
}

/* [[name, entries]] */
static bool read_streams(struct aiostream *s, struct ipc_resp_walk *walk, size_t bytes)
{
	struct ipc_resp_item name;
	int64_t one, two, n;

	if (!ipc_resp_array(walk, &one) || one > 1)
		return false;
	if (one == 0)
		return true;
	if (!ipc_resp_array(walk, &two) || two != 2 || !ipc_resp_string(walk, &name))
		return false;
	n = ipc_arrive_entries(s, walk, s->read.asked, NULL);
	if (n < 0)
		return false;
	mind_size(s, bytes, n);
	return true;
}

static void on_entries(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_walk again = *walk;
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type == '-') {
		s->read.lost_group = ipc_refusal_of(&i).cure == IPC_REFUSAL_GROUP;
		ipc_stream_refused(s, w, &s->read.pause, &i);
		return;
	}
	if (!read_streams(s, &again, (size_t)(again.end - again.at))) {
		ipc_wire_confused(w);
		return;
	}
	ipc_stream_passed(s, &s->read.pause);
	ipc_arrive_deliver(s);
}

static void ask(struct aiostream *s, size_t room)
{
	struct ipc_resp_out *o = &s->one.out;
	bool member = ipc_stream_is_member(s);
	char last[IPC_ENTRY_ID];

	s->read.asked = s->read.count < room ? s->read.count : (unsigned)room;
	ipc_wire_begin(&s->one);
	ipc_resp_begin(o, member ? 11 : 8);
	ipc_resp_str(o, member ? "XREADGROUP" : "XREAD");
	if (member) {
		ipc_resp_str(o, "GROUP");
		ipc_resp_str(o, s->o.group);
		ipc_resp_str(o, s->o.member);
	}
	ipc_resp_str(o, "COUNT");
	ipc_resp_int(o, s->read.asked);
	ipc_resp_str(o, "BLOCK");
	ipc_resp_int(o, IPC_STREAM_BLOCK_MS);
	ipc_resp_str(o, "STREAMS");
	ipc_resp_str(o, s->o.stream);
	ipc_entry_id_write(last, s->read.last);
	ipc_resp_str(o, member ? ">" : last);
	ipc_wire_expect(&s->one, on_entries, 1, s->o.reply_limit + IPC_STREAM_BLOCK_MS * IPC_STREAM_MS);
	ipc_wire_send(&s->one);
}

/* It is cheaper to ask for many than often: where there is room for few, more are answered soon. But its user may wait for more before that. */
static bool is_worth_it(struct aiostream *s, size_t room)
{
	int64_t now;

	if (4 * room >= s->o.prefetch) {
		s->read.few_until = 0;
		return true;
	}
	now = ipc_os_now();
	if (!s->read.few_until)
		s->read.few_until = now + FEW_NS;
	if (now >= s->read.few_until) {
		s->read.few_until = 0;
		return true;
	}
	ipc_stream_by(s, s->read.few_until);
	return false;
}

void ipc_read_pump(struct aiostream *s)
{
	bool member = ipc_stream_is_member(s);
	size_t room;

	if (!s->knows_place || s->leaving || !ipc_wire_is_idle(&s->one) ||
	    ipc_stream_is_paused(s, &s->read.pause) || !ipc_arrive_deliver(s))
		return;
	if (member && s->read.lost_group)
		make_group(s);
	if (member && (s->read.lost_group || !s->keep.recovered || s->keep.old_first))
		return;
	room = ipc_arrive_room(s);
	if (room > 0 && is_worth_it(s, room))
		ask(s, room);
}

void ipc_read_lost(struct aiostream *s, int error)
{
	if (error == EMSGSIZE)
		s->read.count = 1;
	s->read.pause = (struct ipc_stream_pause){.delay = 0};
}
