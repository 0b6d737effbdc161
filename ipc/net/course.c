/* Attempts, pauses that grow, giving up, the end. See course.h. */
#include "ipc/net/course.h"

#include <errno.h>

#include "ipc/loop/watch.h"
#include "ipc/os/os.h"
#include "ipc/own/own.h"

static int64_t first_pause(const struct ipc_course *c)
{
	return atomic_load_explicit(&c->first, memory_order_relaxed);
}

static int64_t longest_pause(const struct ipc_course *c)
{
	return atomic_load_explicit(&c->most, memory_order_relaxed);
}

static bool can_go_on(const struct ipc_course *c)
{
	return !ipc_course_is_last(c) && c->owner->can_retry(c);
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* The time to give up; INT64_MAX: never. */
static int64_t patience_ends(const struct ipc_course *c)
{
	return c->give_up_after ? c->tries_since + c->give_up_after : INT64_MAX;
}

static bool has_had_enough(const struct ipc_course *c)
{
	return ipc_os_now() >= patience_ends(c);
}

void ipc_course_tell(struct ipc_course *c, enum aiolink_state state)
{
	bool again = c->told == state;

	c->told = state;
	ipc_status_enter(c->status, state, c->owner->is_up(c), ipc_course_is_last(c));
	if (!again)
		c->owner->tell(c, state);
}

void ipc_course_soon(struct ipc_course *c)
{
	ipc_watch_soon(c->turn);
}

void ipc_course_after(struct ipc_course *c, int64_t ns)
{
	if (ipc_watch_after(c->timer, ns) == 0)
		return;
	c->late = true;
	ipc_watch_soon(c->turn);
}

void ipc_course_will(struct ipc_course *c, enum ipc_course_ending ending)
{
	if (c->ending < ending)
		c->ending = ending;
}

void ipc_course_end(struct ipc_course *c)
{
	c->life = IPC_COURSE_OVER;
	c->owner->end(c);
	ipc_course_tell(c, AIOLINK_ENDED);
}

void ipc_course_finish(struct ipc_course *c)
{
	c->life = IPC_COURSE_DRAINS;
	if (c->owner->deliver(c))
		ipc_course_end(c);
	else
		ipc_course_tell(c, AIOLINK_CLOSING);
}

static void begin_active(struct ipc_course *c)
{
	int64_t limit = c->attempt_limit ? ipc_os_now() + c->attempt_limit : INT64_MAX;

	limit = least(limit, patience_ends(c));
	c->until = limit == INT64_MAX ? 0 : limit;
	ipc_course_soon(c);
}

static void begin_passive(struct ipc_course *c)
{
	int64_t left = patience_ends(c) - ipc_os_now();

	c->looked = false;
	if (c->give_up_after)
		ipc_course_after(c, left > 0 ? left : 0);
}

static void attempt(struct ipc_course *c)
{
	c->life = IPC_COURSE_TRIES;
	c->owner->attempt(c);
	if (c->passive)
		begin_passive(c);
	else
		begin_active(c);
	ipc_course_tell(c, AIOLINK_CONNECTING);
}

/* Takes off up to a fifth. Otherwise all who lost the same peer would come back at the same moment. */
static int64_t shortened(int64_t ns)
{
	uint64_t x = (uint64_t)ipc_os_now();

	x ^= x >> 12;
	x *= UINT64_C(2685821657736338717);
	return ns - ns / 5 / 1024 * (int64_t)(x >> 54);
}

static void pause_for_a_while(struct ipc_course *c)
{
	int64_t now = ipc_os_now(), most = longest_pause(c);

	c->life = IPC_COURSE_PAUSES;
	c->until = least(now + shortened(c->delay), patience_ends(c));
	c->delay = c->delay < most / 2 ? 2 * c->delay : most;
	ipc_course_after(c, c->until > now ? c->until - now : 0);
	ipc_course_tell(c, AIOLINK_WAITING);
}

static void go_on(struct ipc_course *c)
{
	bool sent = c->ending >= IPC_COURSE_CLOSES && c->owner->all_sent(c);

	if (!can_go_on(c) || sent || has_had_enough(c))
		ipc_course_finish(c);
	else if (c->passive)
		attempt(c);
	else
		pause_for_a_while(c);
}

void ipc_course_succeeded(struct ipc_course *c)
{
	c->life = IPC_COURSE_UP;
}

void ipc_course_failed(struct ipc_course *c)
{
	go_on(c);
}

void ipc_course_over(struct ipc_course *c)
{
	c->tries_since = ipc_os_now();
	go_on(c);
}

void ipc_course_was_good(struct ipc_course *c)
{
	c->delay = first_pause(c);
}

/* No peer came in time. One may wait in the kernel: one more turn shows it. */
static void tire_of_waiting(struct ipc_course *c)
{
	int64_t left = patience_ends(c) - ipc_os_now();

	if (left > 0 || !c->looked) {
		c->looked = left <= 0;
		ipc_course_after(c, left > 0 ? left : 0);
		return;
	}
	ipc_status_note(c->status, ETIMEDOUT, "nobody came within the limit");
	ipc_course_finish(c);
}

static void go_on_trying(struct ipc_course *c)
{
	if (!c->passive)
		c->owner->go_on(c);
	else if (c->give_up_after)
		tire_of_waiting(c);
}

static void end_of_pause(struct ipc_course *c)
{
	int64_t left = c->until - ipc_os_now();

	if (left > 0)
		ipc_course_after(c, left);
	else if (has_had_enough(c))
		ipc_course_finish(c);
	else
		attempt(c);
}

void ipc_course_pace(struct ipc_course *c)
{
	int64_t now = ipc_os_now();

	c->delay = first_pause(c);
	if (c->life != IPC_COURSE_PAUSES)
		return;
	if (ipc_course_is_last(c)) {
		ipc_course_finish(c);
	} else if (c->until > now + c->delay) {
		c->until = now + shortened(c->delay);
		ipc_course_after(c, c->until - now);
	}
}

void ipc_course_step(struct ipc_course *c)
{
	switch (c->life) {
	case IPC_COURSE_BEGINS:
		attempt(c);
		break;
	case IPC_COURSE_TRIES:
		go_on_trying(c);
		break;
	case IPC_COURSE_PAUSES:
		end_of_pause(c);
		break;
	case IPC_COURSE_DRAINS:
		if (c->owner->deliver(c))
			ipc_course_end(c);
		break;
	default:
		break;
	}
}

/* Its watches. They stay until it ends. */

static void on_timer(short what, void *arg)
{
	struct ipc_course *c = arg;

	(void)what;
	c->late = false;
	if (c->life == IPC_COURSE_UP) {
		c->owner->timer(c);
		return;
	}
	c->owner->deliver(c);
	ipc_course_step(c);
}

static void on_turn(short what, void *arg)
{
	struct ipc_course *c = arg;

	atomic_store_explicit(&c->status->thread, ipc_thread_serial(), memory_order_relaxed);
	if (c->life == IPC_COURSE_UP)
		c->owner->turn(c);
	if (c->life != IPC_COURSE_UP || c->late)
		on_timer(what, c);
}

int ipc_course_equip(struct ipc_course *c)
{
	c->turn = ipc_watch_new(c->status->base, -1, on_turn, c);
	c->timer = ipc_watch_new(c->status->base, -1, on_timer, c);
	return c->turn && c->timer ? 0 : -1;
}

void ipc_course_unequip(struct ipc_course *c)
{
	ipc_watch_free(c->turn);
	ipc_watch_free(c->timer);
	c->turn = c->timer = NULL;
}

void ipc_course_begin(struct ipc_course *c)
{
	c->life = IPC_COURSE_BEGINS;
	c->delay = first_pause(c);
	c->tries_since = ipc_os_now();
	pthread_mutex_lock(&c->status->lock);
	c->status->started = true;
	c->status->state = AIOLINK_CONNECTING;
	pthread_mutex_unlock(&c->status->lock);
	ipc_course_soon(c);
}
