/*
 * Dead letters: what was given too often, or is no message, goes to a stream of its own, with the id that it had and how often it was tried. In
 * one transaction with the acknowledgement, so it is neither lost nor there twice.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ipc/os/log.h"
#include "ipc/stream/stream.h"

/* In a cluster the names of one transaction must share a slot: {NAME}:dead has that of NAME. */
static bool move_name(struct aiostream *s, const struct ipc_resp_item *i)
{
	char *name = NULL;
	int n;

	if (s->keep.one_slot || !(ipc_refusal_is(i, "CROSSSLOT") || ipc_refusal_is(i, "MOVED")))
		return false;
	n = asprintf(&name, "{%s}:dead", s->o.stream);
	if (n == -1)
		return false;
	free(s->o.dead);
	s->o.dead = name;
	s->keep.one_slot = true;
	return true;
}

/* The answers to MULTI, XADD and XACK: the first error tells why. Without MULTI the other two are done all the same. */
static void on_queued(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type != '-' || s->keep.unburied)
		return;
	s->keep.unburied = true;
	if (!move_name(s, &i))
		ipc_stream_refused(s, w, &s->keep.pause, &i);
}

static void on_buried(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	char id[IPC_ENTRY_ID];
	struct ipc_resp_item i;

	ipc_resp_get(walk, &i);
	if (i.type == '*' && i.n == 2 && ipc_resp_get(walk, &i) && i.type != '-') {
		ipc_entry_id_write(id, s->keep.buried.id);
		ipc_log("stream %s: the entry %s is in %s now, after %lld tries", s->o.stream, id, s->o.dead,
			(long long)s->keep.buried.tries);
		ipc_counter_add(&s->dead, 1);
	} else if (i.type == '-' && !s->keep.unburied) {
		ipc_refusal_unwrap(&i);
		ipc_stream_refused(s, w, &s->keep.pause, &i);
	}
}

/* Its fields are copied as they are. */
static void copy_fields(struct aiostream *s, struct ipc_resp_walk *walk, int64_t n, const char *id)
{
	struct ipc_resp_out *o = &s->two.out;
	struct ipc_resp_item i;

	ipc_resp_begin(o, (size_t)n + 7);
	ipc_resp_str(o, "XADD");
	ipc_resp_str(o, s->o.dead);
	ipc_resp_str(o, "*");
	for (int64_t k = 0; k < n; k++) {
		ipc_resp_get(walk, &i);
		ipc_resp_arg(o, i.s ? i.s : "", i.s ? i.len : 0);
	}
	ipc_resp_str(o, "id");
	ipc_resp_str(o, id);
	ipc_resp_str(o, "tries");
	ipc_resp_int(o, s->keep.buried.tries);
}

static void move(struct aiostream *s, struct ipc_resp_walk *walk, int64_t fields)
{
	struct ipc_resp_out *o = &s->two.out;
	char id[IPC_ENTRY_ID];

	ipc_entry_id_write(id, s->keep.buried.id);
	s->keep.unburied = false;
	ipc_wire_begin(&s->two);
	ipc_resp_command(o, "MULTI", NULL);
	copy_fields(s, walk, fields, id);
	ipc_resp_command(o, "XACK", s->o.stream, s->o.group, id, NULL);
	ipc_resp_command(o, "EXEC", NULL);
	ipc_wire_expect(&s->two, on_queued, 3, s->o.reply_limit);
	ipc_wire_expect(&s->two, on_buried, 1, s->o.reply_limit);
	ipc_wire_send(&s->two);
}

/* [[id, fields]]; empty, when somebody else was faster. */
static void on_claimed(struct ipc_wire *w, struct ipc_resp_walk *walk)
{
	struct aiostream *s = ipc_stream_of(w);
	struct ipc_resp_walk again = *walk;
	struct ipc_resp_item i, id;
	int64_t n, two, fields;

	ipc_resp_get(walk, &i);
	if (i.type == '-') {
		ipc_stream_refused(s, w, &s->keep.pause, &i);
		return;
	}
	if (!ipc_resp_array(&again, &n) || n > 1) {
		ipc_wire_confused(w);
		return;
	}
	if (n == 0 || !ipc_resp_array(&again, &two))
		return;
	if (two != 2 || !ipc_resp_string(&again, &id) || !ipc_resp_array(&again, &fields)) {
		ipc_wire_confused(w);
		return;
	}
	if (fields > 0)
		move(s, &again, fields);
}

void ipc_bury(struct aiostream *s, const struct ipc_stream_pending *p, int64_t idle_ms)
{
	char id[IPC_ENTRY_ID], idle[24];

	s->keep.buried = *p;
	ipc_entry_id_write(id, p->id);
	snprintf(idle, sizeof idle, "%lld", (long long)idle_ms);
	ipc_wire_begin(&s->two);
	ipc_resp_command(&s->two.out, "XCLAIM", s->o.stream, s->o.group, s->o.member, idle, id, NULL);
	ipc_wire_expect(&s->two, on_claimed, 1, s->o.reply_limit);
	ipc_wire_send(&s->two);
}

bool ipc_bury_bad(struct aiostream *s)
{
	struct ipc_stream_pending p = {.tries = 1};

	if (s->keep.bads == 0)
		return false;
	p.id = s->keep.bad[--s->keep.bads];
	ipc_bury(s, &p, 0);
	return true;
}
