/* Entries of an answer become messages, and go into the queue. What finds no room there waits here, and nothing more is asked for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/msg.h>
#include <aioipc/queue.h>

#include "ipc/flow/queue.h"
#include "ipc/msg/msg.h"
#include "ipc/os/log.h"
#include "ipc/stream/stream.h"

/* What a message is made of. */
struct body {
	struct ipc_resp_item m, k;
	bool removed; /* from the stream, by somebody else */
};

/* The fields of an entry: an array of pairs, or nil. False: confused. */
static bool read_body(struct ipc_resp_walk *walk, struct body *b)
{
	struct ipc_resp_item fields, name, value;

	*b = (struct body){.removed = false};
	if (!ipc_resp_get(walk, &fields) || (fields.type != '*' && !(fields.type == '$' && !fields.s)))
		return false;
	b->removed = fields.type == '$' || fields.n < 0;
	for (int64_t k = 0; !b->removed && k < fields.n; k += 2) {
		if (!ipc_resp_string(walk, &name) || !ipc_resp_string(walk, &value))
			return false;
		if (ipc_resp_is(&name, "m"))
			b->m = value;
		if (ipc_resp_is(&name, "k"))
			b->k = value;
	}
	return true;
}

/* NULL: EBADMSG, which is logged (it is no message of ours); ENOMEM. */
static struct aiomsg *make(struct aiostream *s, const struct body *b, struct ipc_entry_id id)
{
	bool typed = b->k.s && ipc_resp_is(&b->k, "tpl");
	struct aiomsg *m;
	char why[128] = "it has no field m", text[IPC_ENTRY_ID];

	errno = EBADMSG;
	m = b->m.s ? ipc_msg_alloc(typed ? IPC_KIND_TPL : IPC_KIND_BYTES, b->m.len) : NULL;
	if (m && b->m.len > 0)
		memcpy(m->data, b->m.s, b->m.len);
	if (m && ipc_msg_seal(m, why, sizeof why) == 0)
		return m;
	aiomsg_free(m);
	if (errno == EBADMSG) {
		ipc_entry_id_write(text, id);
		ipc_log("stream %s: the entry %s is no message: %s", s->o.stream, text, why);
		errno = EBADMSG;
	}
	return NULL;
}

/* An entry that nobody can take: as if it had been tried for the last time. Where there is no room, its lease runs out. */
static void is_bad(struct aiostream *s, struct ipc_entry_id id)
{
	if (!ipc_stream_is_member(s) || s->keep.bads == IPC_STREAM_LIST)
		return;
	s->keep.bad[s->keep.bads++] = id;
	s->keep.tick = s->keep.wish = 1; /* at once */
}

static int append(struct aiostream *s, struct aiomsg *m)
{
	size_t room = s->read.room ? 2 * s->read.room : 64;
	struct aiomsg **larger;

	if (s->read.n == s->read.room) {
		larger = reallocarray(s->read.arrived, room, sizeof(struct aiomsg *));
		if (!larger)
			return -1;
		s->read.arrived = larger;
		s->read.room = room;
	}
	s->read.arrived[s->read.n++] = m;
	return 0;
}

/* What there is no memory for is had again when its lease is over. */
static void take(struct aiostream *s, const struct body *b, struct ipc_entry_id id, unsigned tries,
		 int64_t now)
{
	struct aiomsg *m = make(s, b, id);
	int r;

	if (!m) {
		if (errno == EBADMSG)
			is_bad(s, id);
		return;
	}
	if (append(s, m) == -1) {
		aiomsg_free(m);
		return;
	}
	r = ipc_stream_is_member(s) ? ipc_work_enter(s->work, m, id, tries, now)
				    : ipc_work_show(s->work, m, id);
	if (r == 0) {
		ipc_counter_add(&s->again, tries > 1);
		return;
	}
	s->read.n--;
	aiomsg_free(m);
}

static bool next_entry(struct ipc_resp_walk *walk, struct ipc_entry_id *id, struct body *b)
{
	struct ipc_resp_item text;
	int64_t two;

	return ipc_resp_array(walk, &two) && two == 2 && ipc_resp_string(walk, &text) &&
	       ipc_entry_id_read(id, text.s, text.len) == 0 && read_body(walk, b);
}

/* Servers before 7.0 show a removed entry that is claimed as nil. */
static bool is_nil(struct ipc_resp_walk *walk)
{
	struct ipc_resp_walk ahead = *walk;
	struct ipc_resp_item i;
	bool nil = ipc_resp_get(&ahead, &i) && (i.type == '$' || i.type == '*') && !i.s && i.n < 0;

	if (nil)
		*walk = ahead;
	return nil;
}

int64_t ipc_arrive_entries(struct aiostream *s, struct ipc_resp_walk *walk, size_t most,
			   ipc_arrive_tries *tries)
{
	int64_t n, k, now = ipc_os_now();
	struct ipc_entry_id id;
	struct body b;

	if (!ipc_resp_array(walk, &n) || (uint64_t)n > most)
		return -1;
	for (k = 0; k < n; k++) {
		if (is_nil(walk))
			continue;
		if (!next_entry(walk, &id, &b))
			return -1;
		if (!b.removed && !(ipc_stream_is_member(s) && ipc_work_find(s->work, id)))
			take(s, &b, id, tries ? tries(s, id) : 1, now);
		s->read.last = id;
	}
	return n;
}

/* Into the queue. */

/* The user had none of these: they are given back as if they had not been given. */
static void drop(struct aiostream *s, struct aiomsg *m)
{
	struct ipc_entry *e = ipc_work_of(s->work, m);

	if (e)
		e->untouched = true;
	aiomsg_free(m);
}

static void drop_arrived(struct aiostream *s)
{
	while (s->read.head < s->read.n)
		drop(s, s->read.arrived[s->read.head++]);
}

bool ipc_arrive_deliver(struct aiostream *s)
{
	struct ipc_stream_reader *r = &s->read;

	while (r->head < r->n) {
		ssize_t n = ipc_queue_hand_over(s->queue, r->arrived + r->head, r->n - r->head);

		if (n == -1 && errno == EPIPE)
			drop_arrived(s);
		if (n == -1)
			break;
		r->head += (size_t)n;
		ipc_counter_add(&s->received, (uint64_t)n);
	}
	if (r->head < r->n)
		return false;
	r->head = r->n = 0;
	return true;
}

/* What is in the queue, and of this stream, leaves it. */
static void take_back(struct aiostream *s)
{
	size_t n = aioqueue_count(s->queue), others = 0;
	struct aiomsg **m = calloc(n ? n : 1, sizeof(struct aiomsg *));
	ssize_t got = m && n ? ipc_queue_lend(s->queue, m, n) : 0;

	for (ssize_t i = 0; i < got; i++) {
		const struct ipc_entry *e = ipc_work_of(s->work, m[i]);

		if (!e || e->shown) {
			m[others++] = m[i];
			continue;
		}
		drop(s, m[i]);
		ipc_queue_gone(s->queue, 1);
	}
	ipc_queue_unget(s->queue, m, others);
	while (others > 0)
		aiomsg_free(m[--others]);
	free(m);
}

void ipc_arrive_drop(struct aiostream *s)
{
	drop_arrived(s);
	s->read.head = s->read.n = 0;
	take_back(s);
}

size_t ipc_arrive_room(struct aiostream *s)
{
	unsigned in_work;

	if (!ipc_stream_is_member(s))
		return s->o.prefetch;
	in_work = ipc_work_count(s->work);
	if (in_work >= s->o.prefetch || s->work->count > 2 * (size_t)s->o.prefetch + IPC_STREAM_TOLD)
		return 0;
	return s->o.prefetch - in_work;
}
