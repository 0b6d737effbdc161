/* The scheduler: see sched.h. A turn runs the tasks that are ready, in the order in which they became ready; then the loop goes on. */
#include "ipc/task/sched.h"

#include <errno.h>
#include <stdlib.h>

#include "ipc/loop/wait.h"
#include "ipc/task/stack.h"

#define TURN_SWITCHES 256 /* then the loop looks at its other events */
#define FAR (INT64_C(1000) * 86400 * 1000000000)

static struct ipc_sched *scheds; /* under the registry's mutex */
_Thread_local struct aiotask *ipc_task_current;

struct aiotask *aiotask_self(void)
{
	return ipc_task_self();
}

bool ipc_task_on(struct event_base *base)
{
	struct aiotask *t = ipc_task_self();

	return t && (!base || t->sched->waits.base == base);
}

/*
 * The queue. Functions that lead to a switch are inline: after a switch, the processor mispredicts the return of each.
 */

static inline void push(struct ipc_sched *s, struct aiotask *t)
{
	if (!s->first && !s->turning && !ipc_watch_base_freed(s->turn))
		ipc_watch_soon(s->turn);
	t->state = IPC_TASK_READY;
	t->next = NULL;
	*s->last = t;
	s->last = &t->next;
}

static inline struct aiotask *pop(struct ipc_sched *s)
{
	struct aiotask *t = s->first;

	if (!t || s->budget == 0)
		return NULL;
	s->budget--;
	s->first = t->next;
	if (!s->first)
		s->last = &s->first;
	return t;
}

void ipc_sched_ready(struct aiotask *t, int outcome)
{
	t->outcome = outcome;
	push(t->sched, t);
}

/* Beginning, switching, ending. */

/* Frees a task that has ended: that was not possible on its own stack. */
static inline void bury(struct ipc_sched *s)
{
	struct aiotask *t = s->corpse;

	if (!t)
		return;
	s->corpse = NULL;
	ipc_stack_put(t->stack);
	t->stack = NULL;
	if (!t->handled && !t->joined)
		free(t);
}

static void leave_list(struct aiotask *t)
{
	if (t->younger)
		t->younger->older = t->older;
	else
		t->sched->youngest = t->older;
	if (t->older)
		t->older->younger = t->younger;
}

static void tell_end(struct aiotask *t, bool died)
{
	while (t->ends.next != &t->ends) {
		struct ipc_task_end *e = t->ends.next;

		ipc_task_not_on_end(e);
		e->cb(e, died);
	}
}

static void run_to_the_end(void *arg);

/* A task that has forked ends in the child too. There it returns to the loop, as a callback does. */
__attribute__((noreturn)) static void end(struct aiotask *t)
{
	struct ipc_sched *s = t->sched;
	struct aiotask *next = NULL;

	if (t->epoch == ipc_epoch()) {
		tell_end(t, false);
		ipc_task_wake_all(&t->joiners);
		if (s->door)
			s->door->withdraw(s->door, t);
		ipc_watch_free(t->timer);
		leave_list(t);
		t->timer = NULL;
		t->sched = NULL;
		t->state = IPC_TASK_ENDED;
		s->corpse = t;
		next = pop(s);
	} else {
		ipc_switch_forked();
	}
	if (!next)
		ipc_switch_last(&t->context, &s->loop);
	ipc_task_current = next;
	next->state = IPC_TASK_RUNS;
	if (next->begun)
		ipc_switch_last(&t->context, &next->context);
	next->begun = true;
	ipc_switch_last_new(&t->context, &next->context, next->stack, run_to_the_end, next);
}

static void run_to_the_end(void *arg)
{
	struct aiotask *t = arg;

	bury(t->sched);
	t->fn(t->arg);
	end(t);
}

static inline void switch_to(struct ipc_context *from, struct aiotask *t)
{
	struct ipc_sched *s = t->sched;

	ipc_task_current = t;
	t->state = IPC_TASK_RUNS;
	if (t->begun) {
		ipc_switch(from, &t->context);
	} else {
		t->begun = true;
		ipc_switch_new(from, &t->context, t->stack, run_to_the_end, t);
	}
	bury(s);
}

/* The running task is parked or in the queue: the next one runs. */
static inline void give_way(struct aiotask *t)
{
	struct ipc_sched *s = t->sched;
	struct aiotask *next = pop(s);

	if (next == t) {
		t->state = IPC_TASK_RUNS;
	} else if (next) {
		switch_to(&t->context, next);
	} else {
		ipc_switch(&t->context, &s->loop);
		bury(s);
	}
}

/* Runs tasks until none is ready or the turn's budget is spent. Both variables are restored: this loop may run inside another one's task. */
static inline void run_tasks(struct ipc_sched *s)
{
	const struct ipc_waits *outer_waits = ipc_here.waits;
	struct aiotask *outer = ipc_task_current, *t = pop(s);

	if (!t)
		return;
	ipc_here.waits = &s->waits;
	switch_to(&s->loop, t);
	ipc_task_current = outer;
	ipc_here.waits = outer_waits;
}

static void release(struct ipc_sched *s);

static void on_turn(short what, void *arg)
{
	struct ipc_sched *s = arg;

	(void)what;
	if (ipc_watch_base_freed(s->turn)) /* it was not freed: the timer has fired */
		ipc_watch_after(s->turn, FAR);
	atomic_store_explicit(&s->thread, ipc_thread_serial(), memory_order_relaxed);
	s->turning = true;
	s->budget = TURN_SWITCHES;
	run_tasks(s);
	if (s->waits.epoch != ipc_epoch()) {
		if (s->errand)
			ipc_task_leave(s->errand, s->errand_arg);
		return;
	}
	s->turning = false;
	if (!s->youngest) {
		release(s);
	} else if (s->first) {
		ipc_watch_after(s->turn, 0);
	}
}

void ipc_task_leave(void (*fn)(void *), void *arg)
{
	struct aiotask *t = ipc_task_current;

	if (t) {
		ipc_switch_forked();
		t->sched->errand = fn;
		t->sched->errand_arg = arg;
		ipc_switch(&t->context, &t->sched->loop); /* @arg may lie on this stack: it is kept */
	}
	fn(arg);
	__builtin_unreachable();
}

/* Parking. */

/*
 * After a stop of the process, or a long callback, the loop may call this before it has looked at descriptors. So it runs one more turn and sees
 * what came in time, before the task is told that its deadline has passed.
 */
static void on_timer(short what, void *arg)
{
	struct aiotask *t = arg;
	int64_t left;

	(void)what;
	t->timer_at = 0;
	if ((t->state != IPC_TASK_PARKED && t->state != IPC_TASK_AWAITS) || t->deadline == AIOIPC_FOREVER)
		return;
	left = ipc_deadline_left(t->deadline);
	if ((left > 0 || !t->looked) && ipc_watch_after(t->timer, left) == 0) {
		t->timer_at = t->deadline;
		t->looked = left == 0;
	} else {
		ipc_sched_ready(t, ETIMEDOUT);
	}
}

/* A timer that is set for an earlier moment stays: it finds out how much time is left then. */
static int set_timer(struct aiotask *t, int64_t left)
{
	if (t->deadline == AIOIPC_FOREVER || (t->timer_at && t->timer_at <= t->deadline))
		return 0;
	if (!t->timer && !(t->timer = ipc_watch_new(t->sched->waits.base, -1, on_timer, t)))
		return -1;
	if (ipc_watch_after(t->timer, left) == -1)
		return -1;
	t->timer_at = t->deadline;
	return 0;
}

static inline int outcome(struct aiotask *t)
{
	if (t->outcome == 0)
		return 0;
	errno = t->outcome;
	return -1;
}

/* The task was cancelled before this wait, which fails therefore. */
static inline bool is_cancelled(struct aiotask *t)
{
	if (!t->cancelled)
		return false;
	t->cancelled = false;
	t->outcome = ECANCELED;
	return true;
}

int ipc_sched_park(enum ipc_task_state how, int64_t deadline)
{
	struct aiotask *t = ipc_task_current;
	int64_t left = ipc_deadline_left(deadline);

	if (is_cancelled(t))
		return outcome(t);
	if (left == 0) {
		errno = ETIMEDOUT;
		return -1;
	}
	t->deadline = deadline;
	t->looked = false;
	if (set_timer(t, left) == -1)
		return -1;
	t->state = how;
	give_way(t);
	return outcome(t);
}

int ipc_sched_yield(void)
{
	struct aiotask *t = ipc_task_current;

	ipc_sched_ready(t, 0);
	give_way(t);
	return is_cancelled(t) ? outcome(t) : 0;
}

int ipc_task_park(int64_t deadline)
{
	return ipc_sched_park(IPC_TASK_PARKED, deadline);
}

void ipc_task_wake(struct aiotask *t)
{
	if (t->state == IPC_TASK_PARKED)
		ipc_sched_ready(t, 0);
}

/* Lists of those who wait. */

static void unlink_waiter(struct ipc_waiters *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	ipc_waiters_init(link);
}

int ipc_task_wait(struct ipc_waiters *list, int64_t deadline)
{
	struct ipc_waiter w = {.link = {.next = list, .prev = list->prev}, .task = ipc_task_current};
	int r;

	w.link.prev->next = w.link.next->prev = &w.link;
	w.task->waiter = &w;
	r = ipc_task_park(deadline);
	w.task->waiter = NULL;
	unlink_waiter(&w.link);
	return r;
}

void ipc_task_wake_all(struct ipc_waiters *list)
{
	while (list->next != list) {
		struct ipc_waiter *w = (struct ipc_waiter *)list->next;

		unlink_waiter(&w->link);
		ipc_task_wake(w->task);
	}
}

void ipc_task_on_end(struct aiotask *t, struct ipc_task_end *e)
{
	e->prev = t->ends.prev;
	e->next = &t->ends;
	e->prev->next = e->next->prev = e;
}

void ipc_task_not_on_end(struct ipc_task_end *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	e->next = e->prev = e;
}

/* Making and freeing schedulers. */

static struct ipc_sched *find(struct event_base *base)
{
	struct ipc_sched *s = scheds;

	while (s && (s->waits.base != base || s->waits.epoch != ipc_epoch()))
		s = s->next;
	return s;
}

static struct ipc_sched *new_sched(struct event_base *base, ipc_task_poll_fn *poll)
{
	struct ipc_sched *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->waits = (struct ipc_waits){base, ipc_epoch(), poll};
	s->last = &s->first;
	atomic_init(&s->thread, ipc_thread_serial());
	s->turn = ipc_watch_new(base, -1, on_turn, s);
	if (!s->turn || ipc_watch_after(s->turn, FAR) == -1 || ipc_own_hold() == -1) {
		int error = errno;

		ipc_watch_free(s->turn);
		free(s);
		errno = error;
		return NULL;
	}
	s->next = scheds;
	scheds = s;
	ipc_own_let_go();
	return s;
}

static void unlist(struct ipc_sched *s)
{
	struct ipc_sched **at = &scheds;

	if (ipc_own_hold() == -1)
		return;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	ipc_own_let_go();
}

/* No task is left. */
static void release(struct ipc_sched *s)
{
	unlist(s);
	if (s->door)
		s->door->close(s->door, false);
	ipc_watch_free(s->turn);
	free(s);
}

/* Its base was freed while it was parked. What only its stack knew is lost; what others know of it is put in order. */
static void die(struct aiotask *t)
{
	if (t->waiter)
		unlink_waiter(&t->waiter->link);
	tell_end(t, true);
	ipc_watch_forget(t->timer);
	ipc_stack_put(t->stack);
	t->timer = NULL;
	t->stack = NULL;
	t->sched = NULL;
	if (!t->handled)
		free(t);
}

static void die_all(struct ipc_sched *s)
{
	struct aiotask *t, *older;

	for (t = s->youngest; t; t = t->older)
		t->state = IPC_TASK_DEAD; /* nobody wakes it any more */
	for (t = s->youngest; t; t = older) {
		older = t->older;
		die(t);
	}
	unlist(s);
	if (s->door)
		s->door->close(s->door, true);
	ipc_watch_forget(s->turn);
	free(s);
}

static bool is_this_thread_s(const struct ipc_sched *s)
{
	return atomic_load_explicit(&s->thread, memory_order_relaxed) == ipc_thread_serial();
}

static int check_thread(const struct ipc_sched *s)
{
	if (is_this_thread_s(s))
		return 0;
	errno = EBUSY;
	return -1;
}

/* Was its base freed? False while its tasks run: they are still needed. */
static bool is_dead(const struct ipc_sched *s)
{
	return s->waits.epoch == ipc_epoch() && is_this_thread_s(s) && !s->turning &&
	       ipc_watch_base_freed(s->turn);
}

static struct ipc_sched *find_dead(void)
{
	struct ipc_sched *s;

	if (ipc_own_hold() == -1)
		return NULL;
	for (s = scheds; s && !is_dead(s); s = s->next)
		;
	ipc_own_let_go();
	return s;
}

struct ipc_sched *ipc_sched_of(struct event_base *base, ipc_task_poll_fn *poll)
{
	struct ipc_sched *s;

	if (ipc_own_hold() == -1)
		return NULL;
	s = find(base);
	ipc_own_let_go();
	if (s && ipc_watch_base_freed(s->turn)) {
		die_all(s);
		s = NULL;
	}
	if (s)
		return check_thread(s) == 0 ? s : NULL;
	while ((s = find_dead())) /* a good moment to notice */
		die_all(s);
	return new_sched(base, poll);
}

int ipc_task_check(struct aiotask *t)
{
	if (t->epoch != ipc_epoch()) {
		errno = ECHILD;
		return -1;
	}
	if (!t->sched)
		return 0;
	if (check_thread(t->sched) == -1)
		return -1;
	if (ipc_watch_base_freed(t->sched->turn))
		die_all(t->sched);
	return 0;
}

bool ipc_task_is_dead(const struct aiotask *t)
{
	return t->sched && is_dead(t->sched);
}

void ipc_task_notice(struct aiotask *t)
{
	if (ipc_task_is_dead(t))
		die_all(t->sched);
}

void ipc_sched_start(struct ipc_sched *s, struct aiotask *t)
{
	t->sched = s;
	t->epoch = s->waits.epoch;
	ipc_waiters_init(&t->joiners);
	t->ends.next = t->ends.prev = &t->ends;
	t->older = s->youngest;
	if (t->older)
		t->older->younger = t;
	s->youngest = t;
	push(s, t);
}

void ipc_task_unhandle(struct aiotask *t)
{
	t->handled = false;
	if (!t->sched && !t->stack && !t->joined)
		free(t);
}
