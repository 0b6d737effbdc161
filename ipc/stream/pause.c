/* Pauses after what the server refused, and the one timer of a stream. */

#include "ipc/stream/stream.h"

void ipc_stream_by(struct aiostream *s, int64_t when)
{
	int64_t left;

	if (s->timer_at && s->timer_at <= when)
		return;
	s->timer_at = when;
	left = when - ipc_os_now();
	ipc_course_after(&s->course, left > 0 ? left : 0);
}

void ipc_stream_pause(struct aiostream *s, struct ipc_stream_pause *p, int error, const char *why)
{
	p->delay = p->delay ? 2 * p->delay : s->o.first;
	if (p->delay > s->o.most_pause)
		p->delay = s->o.most_pause;
	p->until = ipc_os_now() + p->delay;
	p->error = error;
	p->refusals++;
	ipc_status_note(&s->status, error, why);
	ipc_stream_by(s, p->until);
}

void ipc_stream_refused(struct aiostream *s, struct ipc_wire *w, struct ipc_stream_pause *p,
			const struct ipc_resp_item *i)
{
	struct ipc_refusal is = ipc_refusal_of(i);
	char why[128];

	if (is.cure == IPC_REFUSAL_LEAVE || is.cure == IPC_REFUSAL_MOVE) {
		ipc_wire_refused(w, i);
		return;
	}
	ipc_wire_quote(why, sizeof why, i);
	ipc_stream_pause(s, p, is.error, why);
}

void ipc_stream_passed(struct aiostream *s, struct ipc_stream_pause *p)
{
	if (p->error)
		ipc_status_note(&s->status, 0, "");
	*p = (struct ipc_stream_pause){.delay = 0};
	ipc_course_was_good(&s->course);
}

bool ipc_stream_is_paused(struct aiostream *s, const struct ipc_stream_pause *p)
{
	if (p->until == 0 || ipc_os_now() >= p->until)
		return false;
	ipc_stream_by(s, p->until);
	return true;
}
