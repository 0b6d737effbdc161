/*
 * Calls over a link whose callers are called back, and what the loop does for that: it tells of those that are over, asks again what was lost and
 * may be repeated, and looks at deadlines.
 */
#include <errno.h>
#include <stdlib.h>

#include <aioipc/call.h>

#include "ipc/link/asked.h"
#include "ipc/link/call.h"
#include "ipc/loop/wait.h"
#include "ipc/loop/watch.h"
#include "ipc/msg/ticket.h"
#include "ipc/os/log.h"
#include "ipc/os/os.h"

#define RETRY_NS (INT64_C(10) * 1000 * 1000) /* the outbox is full */

static int fail(int error)
{
	errno = error;
	return -1;
}

/* Calls back, if that was not done yet. The list's reference goes. */
static void tell_one(struct aiolink *l, struct ipc_link_call *k)
{
	struct aiomsg *answer;
	aiocall_cb *cb;
	int error;

	pthread_mutex_lock(&k->lock);
	cb = k->cb;
	k->cb = NULL;
	answer = k->answer;
	k->answer = NULL;
	error = k->error;
	pthread_mutex_unlock(&k->lock);
	if (!cb)
		return;
	ipc_asked_leave(l, k);
	cb(answer, error, k->arg);
	aiomsg_free(answer);
	ipc_asked_unref(k);
}

/* It was lost. While the outbox is full, it stays due, and a timer looks again. */
static void ask_again(struct aiolink *l, struct ipc_link_call *k)
{
	if (ipc_asked_put(l, k, k->m) == 0)
		return;
	if (errno != EAGAIN) {
		ipc_asked_end(k, NULL, errno);
		return;
	}
	pthread_mutex_lock(&k->lock);
	k->lost = true;
	ipc_asked_stay_due(k);
	pthread_mutex_unlock(&k->lock);
}

static bool is_lost(struct ipc_link_call *k)
{
	bool lost;

	pthread_mutex_lock(&k->lock);
	lost = k->lost && !k->over;
	pthread_mutex_unlock(&k->lock);
	return lost;
}

static size_t count_due(struct aiolink *l)
{
	size_t n = 0;

	pthread_mutex_lock(&l->status.lock);
	for (const struct ipc_link_call *k = l->due; k; k = k->next_due)
		n++;
	pthread_mutex_unlock(&l->status.lock);
	return n;
}

static struct ipc_link_call *take_due(struct aiolink *l)
{
	struct ipc_link_call *k;

	pthread_mutex_lock(&l->status.lock);
	k = l->due;
	if (k) {
		k->is_due = false;
		l->due = k->next_due;
		if (!l->due)
			l->last_due = &l->due;
	}
	pthread_mutex_unlock(&l->status.lock);
	return k;
}

/* A callback may cancel others, end the link, and fork: then the rest is the parent's business. */
void ipc_link_tell_calls(struct aiolink *l)
{
	struct ipc_link_call *k;

	for (size_t n = count_due(l); n > 0 && (k = take_due(l)); n--) {
		if (is_lost(k))
			ask_again(l, k);
		else if (!ipc_asked_is_wanted(k))
			tell_one(l, k);
		ipc_asked_unref(k);
		if (ipc_status_check(&l->status) == -1)
			return;
	}
}

/* Those whose deadline has passed, each with a reference; and when to look again. */
static struct ipc_link_call *take_late(struct aiolink *l, int64_t now)
{
	struct ipc_link_call *late = NULL;
	int64_t next = INT64_MAX;

	pthread_mutex_lock(&l->status.lock);
	for (struct ipc_link_call *k = l->calls; k; k = k->next) {
		bool is_late = k->owner && k->until <= now;
		int64_t at = is_late ? now + RETRY_NS : k->until;

		if (k->owner && at < next)
			next = at;
		if (!is_late)
			continue;
		ipc_asked_ref(k);
		k->next_ended = late;
		late = k;
	}
	l->call_at = next;
	pthread_mutex_unlock(&l->status.lock);
	return late;
}

/* Who is in flight is told by the connection, which looks once more whether the answer has come. */
static void end_late(struct aiolink *l, int64_t now)
{
	struct ipc_link_call *k, *late = take_late(l, now);
	bool flies_now;

	while ((k = late)) {
		late = k->next_ended;
		pthread_mutex_lock(&k->lock);
		flies_now = k->flying;
		pthread_mutex_unlock(&k->lock);
		if (!flies_now)
			ipc_asked_give_up(k, ETIMEDOUT);
		ipc_asked_unref(k);
	}
}

static int64_t next_deadline(struct aiolink *l)
{
	int64_t at;

	pthread_mutex_lock(&l->status.lock);
	at = l->call_at;
	pthread_mutex_unlock(&l->status.lock);
	return at;
}

/* What is still due waits for room in the outbox. */
static void look_later(struct aiolink *l, int64_t now)
{
	int64_t at = next_deadline(l), retry = now + RETRY_NS;

	if (count_due(l) > 0 && retry < at)
		at = retry;
	if (at != INT64_MAX)
		ipc_watch_later(l->call_watch, at > now ? at - now : 0);
}

static void on_calls(short what, void *arg)
{
	struct aiolink *l = arg;
	int64_t now = ipc_os_now();

	(void)what;
	ipc_status_hold(&l->status);
	if (next_deadline(l) <= now)
		end_late(l, now);
	ipc_link_tell_calls(l);
	if (ipc_status_check(&l->status) == 0 && l->call_watch)
		look_later(l, now);
	ipc_status_release(&l->status);
}

int ipc_link_equip_calls(struct aiolink *l)
{
	if (l->o.framing != AIOCONN_MESSAGES || !l->inbox || !l->outbox)
		return 0;
	l->call_watch = ipc_watch_new(l->status.base, -1, on_calls, l);
	return l->call_watch ? 0 : -1;
}

void ipc_link_forget_calls(struct aiolink *l)
{
	struct ipc_link_call *k, *next;

	for (k = l->calls; k; k = next) {
		next = k->next;
		if (!k->owner)
			continue;
		aiomsg_free(k->answer);
		aiomsg_free(k->m);
		free(k);
	}
	l->calls = NULL;
}

/* Cancelled, it is told at once; what had come by now counts. */
static int cancel(struct ipc_call_handle *h)
{
	struct ipc_link_call *k = (struct ipc_link_call *)h;
	struct aiolink *l = k->owner;

	if (ipc_status_check(&l->status) == -1)
		return -1;
	if (!ipc_status_is_here(&l->status))
		return fail(EBUSY);
	ipc_status_hold(&l->status);
	ipc_asked_ref(k);
	ipc_asked_give_up(k, ECANCELED);
	tell_one(l, k);
	ipc_asked_unref(k);
	ipc_status_release(&l->status);
	return 0;
}

static int check_later(struct aiolink *l, unsigned flags, aiocall_cb *cb, int64_t deadline)
{
	if (ipc_asked_check(l, flags, deadline) == -1)
		return -1;
	if (!cb)
		return ipc_refuse("aiolink_call_later: there is no callback");
	if (!l->status.base)
		return ipc_refuse("aiolink_call_later: the link was not started");
	if (!l->own && !ipc_status_is_here(&l->status))
		return fail(EBUSY);
	return l->own ? 0 : ipc_asked_listen(l);
}

static struct ipc_link_call *new_later(struct aiolink *l, const struct aiomsg *m, bool repeats,
				       int64_t deadline)
{
	struct ipc_link_call *k = ipc_asked_new(deadline, repeats);

	if (!k)
		return NULL;
	k->handle.cancel = cancel;
	k->owner = l;
	k->until = deadline == AIOIPC_FOREVER ? INT64_MAX : ipc_os_now() + ipc_deadline_left(deadline);
	if (!repeats || (k->m = ipc_msg_copy(m)))
		return k;
	ipc_asked_unref(k);
	return NULL;
}

/* The loop has to know of a deadline that is sooner than the others. */
static void mind_deadline(struct aiolink *l, const struct ipc_link_call *k)
{
	bool sooner;

	pthread_mutex_lock(&l->status.lock);
	sooner = k->until < l->call_at;
	if (sooner)
		l->call_at = k->until;
	pthread_mutex_unlock(&l->status.lock);
	if (sooner)
		ipc_asked_rouse(l);
}

/* False: its callback has been called by now, or is being called. */
static bool take_back(struct aiolink *l, struct ipc_link_call *k)
{
	bool untold;

	pthread_mutex_lock(&k->lock);
	untold = k->cb;
	k->cb = NULL;
	pthread_mutex_unlock(&k->lock);
	if (!untold)
		return false;
	ipc_asked_leave(l, k);
	ipc_asked_unref(k);
	return true;
}

/* From now on another thread may tell what became of it. */
static int begin(struct aiolink *l, struct ipc_link_call *k, const struct aiomsg *m)
{
	int error;

	if (ipc_asked_join(l, k) == -1) {
		ipc_asked_unref(k);
		return -1;
	}
	mind_deadline(l, k);
	if (ipc_asked_put(l, k, m) == 0)
		return 0;
	error = errno;
	if (!take_back(l, k))
		return 0;
	errno = error;
	return -1;
}

struct aiocall *aiolink_call_later(struct aiolink *l, const struct aiomsg *m, unsigned flags, aiocall_cb *cb,
				   void *arg, int64_t deadline)
{
	struct ipc_link_call *k;
	int r, error;

	if (check_later(l, flags, cb, deadline) == -1)
		return NULL;
	k = new_later(l, m, flags & AIOLINK_REPEAT, deadline);
	if (!k)
		return NULL;
	k->cb = cb;
	k->arg = arg;
	ipc_asked_ref(k);
	r = begin(l, k, m);
	error = errno;
	ipc_asked_unref(k);
	errno = error;
	return r == 0 ? (struct aiocall *)k : NULL;
}
