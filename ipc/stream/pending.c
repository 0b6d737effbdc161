/* What is pending at the server, how it is had, and how it is given back: XPENDING and XCLAIM, on the second connection of a member. */
#include "ipc/stream/stream.h"

void ipc_pending_list(struct aiostream *s, int64_t idle_ms, bool own, ipc_wire_answer *answer)
{
	struct ipc_resp_out *o = &s->two.out;
	const struct ipc_stream_keeper *k = &s->keep;
	char from[IPC_ENTRY_ID + 1] = "-";

	if (k->cursor.ms || k->cursor.seq) {
		ipc_entry_id_write(from + 1, k->cursor);
		from[0] = '(';
	}
	ipc_wire_begin(&s->two);
	ipc_resp_begin(o, 6U + (idle_ms ? 2U : 0U) + (own ? 1U : 0U));
	ipc_resp_str(o, "XPENDING");
	ipc_resp_str(o, s->o.stream);
	ipc_resp_str(o, s->o.group);
	if (idle_ms) {
		ipc_resp_str(o, "IDLE");
		ipc_resp_int(o, idle_ms);
	}
	ipc_resp_str(o, from);
	ipc_resp_str(o, "+");
	ipc_resp_int(o, IPC_STREAM_LIST);
	if (own)
		ipc_resp_str(o, s->o.member);
	ipc_wire_expect(&s->two, answer, 1, s->o.reply_limit);
	ipc_wire_send(&s->two);
}

/* "[id, member, idle, tries]" */
static bool read_one(struct ipc_resp_walk *walk, struct ipc_stream_pending *p)
{
	struct ipc_resp_item id, member;
	int64_t four;

	return ipc_resp_array(walk, &four) && four == 4 && ipc_resp_string(walk, &id) &&
	       ipc_entry_id_read(&p->id, id.s, id.len) == 0 && ipc_resp_string(walk, &member) &&
	       ipc_resp_number(walk, &p->idle) && ipc_resp_number(walk, &p->tries) && p->tries >= 0;
}

bool ipc_pending_take(struct aiostream *s, struct ipc_resp_walk *walk, ipc_pending_wanted *wanted)
{
	struct ipc_stream_keeper *k = &s->keep;
	struct ipc_stream_pending p;
	int64_t n;

	k->at = k->n = 0;
	if (!ipc_resp_array(walk, &n) || n > IPC_STREAM_LIST)
		return false;
	k->more = n == IPC_STREAM_LIST;
	while (n-- > 0) {
		if (!read_one(walk, &p))
			return false;
		k->cursor = p.id;
		if (wanted(s, &p))
			k->list[k->n++] = p;
	}
	return true;
}

void ipc_claim_begin(struct aiostream *s, int64_t idle_ms, size_t words)
{
	struct ipc_resp_out *o = &s->two.out;

	ipc_wire_begin(&s->two);
	ipc_resp_begin(o, 5 + words);
	ipc_resp_str(o, "XCLAIM");
	ipc_resp_str(o, s->o.stream);
	ipc_resp_str(o, s->o.group);
	ipc_resp_str(o, s->o.member);
	ipc_resp_int(o, idle_ms);
}

void ipc_claim_id(struct aiostream *s, struct ipc_entry_id id)
{
	char text[IPC_ENTRY_ID];

	ipc_entry_id_write(text, id);
	ipc_resp_str(&s->two.out, text);
}

void ipc_give_back_begin(struct aiostream *s, size_t n, int64_t tries)
{
	ipc_claim_begin(s, 0, n + (tries >= 0 ? 5 : 3));
}

void ipc_give_back_end(struct aiostream *s, int64_t idle_ms, int64_t tries)
{
	struct ipc_resp_out *o = &s->two.out;

	ipc_resp_str(o, "IDLE");
	ipc_resp_int(o, idle_ms);
	if (tries >= 0) {
		ipc_resp_str(o, "RETRYCOUNT");
		ipc_resp_int(o, tries);
	}
	ipc_resp_str(o, "JUSTID");
}
