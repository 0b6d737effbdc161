/*
 * The calls of a queue: they put and get messages, and wait. Two lists hold the waiters. Two rules hold whenever the lock is free: while a
 * getter waits, the queue is empty; while a putter waits, the first putter's message does not fit. settle() restores both
 * rules after each change: it hands messages over in order. So each waiter is woken once, and its call is done by then.
 */
#include "ipc/flow/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/msg.h>
#include <aioipc/queue.h>
#include <aioipc/task.h>

#include "ipc/own/own.h"
#include "ipc/loop/wait.h"
#include "ipc/flow/store.h"
#include "ipc/flow/watchers.h"
#include "ipc/os/sleep.h"
#include "ipc/msg/msg.h"

#define RELAX 8 /* so often between two looks: half a microsecond or less */

/* A call that puts or gets messages, and may have to wait. */
struct call {
	struct ipc_wait_entry entry; /* first: each waiter is a call */
	struct aioqueue *q;
	struct aiomsg **got;
	struct aiomsg *const *put;
	size_t n, done;
	bool lends, hands_over;
	int error;
	const struct ipc_crew *crew; /* of the caller */
};

static _Thread_local struct ipc_crew *own_crew;

static struct call *first_of(const struct ipc_waitlist *l)
{
	return (struct call *)l->first;
}

/* True when the call is done: it has put all, or failed. */
static bool put_some(struct aioqueue *q, struct call *c)
{
	for (; c->done < c->n; c->done++) {
		if (!ipc_store_has_room(q, ipc_store_charge(c->put[c->done])))
			return false;
		if (ipc_store_push(q, c->put[c->done]) == -1) {
			c->error = ENOMEM;
			return true;
		}
		if (!c->hands_over)
			aiomsg_ref(c->put[c->done]);
	}
	return true;
}

/* True when the call is done: it has got at least one. */
static bool get_some(struct aioqueue *q, struct call *c)
{
	while (c->done < c->n && ipc_store_count(q) > 0)
		c->got[c->done++] = ipc_store_pop(q);
	if (c->lends)
		q->lent += c->done;
	return c->done > 0;
}

static bool serve(struct aioqueue *q, struct ipc_waitlist *l, struct call *c)
{
	return l == &q->getters ? get_some(q, c) : put_some(q, c);
}

static void serve_list(struct aioqueue *q, struct ipc_waitlist *l, struct ipc_waitlist *woken)
{
	struct call *c;

	while ((c = first_of(l)) && serve(q, l, c))
		ipc_waitlist_wake_first(l, woken);
}

/* Serves all waiters that can be served now, in order. Returns those to be woken when the lock is free. */
static struct ipc_waitlist settle(struct aioqueue *q)
{
	struct ipc_waitlist woken = {NULL, NULL};

	do {
		if (ipc_store_count(q) > 0)
			serve_list(q, &q->getters, &woken);
		serve_list(q, &q->putters, &woken);
	} while (q->getters.first && ipc_store_count(q) > 0);
	return woken;
}

static void wake(struct ipc_waitlist *woken)
{
	if (!woken->first)
		return;
	ipc_spin_wakes();
	ipc_waitlist_wake_threads(woken);
}

static inline void settle_and(struct aioqueue *q, void (*unlock)(struct aioqueue *q))
{
	struct ipc_waitlist woken = {NULL, NULL};

	if (q->getters.first || q->putters.first)
		woken = settle(q);
	if (q->watches)
		ipc_flow_watches_tell(q);
	unlock(q);
	wake(&woken);
}

static void settle_and_unlock(struct aioqueue *q)
{
	settle_and(q, ipc_queue_unlock);
}

static struct aiotask *dead_in(const struct ipc_waitlist *l)
{
	return l->first ? ipc_waitlist_dead(l) : NULL;
}

/* A task at the front that never runs again has to leave before it is handed a message. */
static void lock_among_the_living(struct aioqueue *q)
{
	struct aiotask *dead;

	ipc_queue_lock(q);
	while ((dead = dead_in(&q->getters)) || (dead = dead_in(&q->putters))) {
		ipc_queue_unlock(q);
		ipc_task_notice(dead);
		ipc_queue_lock(q);
	}
}

/* The caller holds the lock. True when there is nothing to wait for: it is done, or was refused. */
static bool attempt(struct aioqueue *q, struct ipc_waitlist *l, struct call *c)
{
	if (l == &q->putters && ipc_queue_is_closed(q)) {
		c->error = EPIPE;
		return true;
	}
	if (!l->first && serve(q, l, c))
		return true;
	return ipc_queue_is_closed(q);
}

/* Spins until something changes, @ns at most. Returns how long it was. */
static int64_t spin(const struct aioqueue *q, size_t count, int64_t ns)
{
	int64_t start = ipc_os_now(), took;

	do {
		for (int i = 0; i < RELAX; i++)
			ipc_os_relax();
		took = ipc_os_now() - start;
	} while (ipc_store_count(q) == count && !ipc_queue_is_closed(q) && took < ns);
	return took;
}

static int64_t longest_spin(int64_t deadline)
{
	int64_t left = ipc_deadline_left(deadline);

	return left == -1 || left > IPC_SPIN_NS ? IPC_SPIN_NS : left;
}

/*
 * The call has to wait: it spins first, and spins again as long as something changes. It is no waiter meanwhile; if there are
 * waiters, they come first. The caller holds the lock, which is free during a spin. Returns what attempt() does. Tasks do not spin: others
 * want to run.
 */
static bool spin_for(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	struct ipc_spin *hope = l == &q->getters ? &q->get_spin : &q->put_spin;
	bool through = false, moved = true;
	int64_t took, most;
	size_t done, count;

	while (!through && moved && !l->first && (most = longest_spin(deadline)) > 0 && ipc_spin_pays(hope)) {
		done = c->done;
		count = ipc_store_count(q);
		settle_and_unlock(q);
		took = spin(q, count, most);
		ipc_queue_lock(q);
		through = attempt(q, l, c);
		moved = through || c->done > done;
		ipc_spin_took(hope, took, moved);
	}
	return through;
}

/* Its wait failed with @error. If somebody has served the call by now, that counts. */
static void give_up(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int error)
{
	ipc_queue_lock(q);
	if (c->entry.in_list) {
		ipc_waitlist_leave(l, &c->entry);
		c->error = error;
		settle_and_unlock(q);
		return;
	}
	ipc_queue_unlock(q);
	while (ipc_wait_entry_wait(&c->entry, &q->lock, AIOIPC_FOREVER) == -1)
		;
	if (error == ECANCELED)
		c->error = error;
}

static void wait_to_be_served(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	while (ipc_wait_entry_wait(&c->entry, &q->lock, deadline) == -1) {
		if (errno == EINTR && l == &q->putters)
			continue;
		give_up(q, l, c, errno);
		return;
	}
}

/* A task never runs again: the messages that it was handed go back. */
static void caller_died(struct ipc_wait_entry *p)
{
	struct call *c = (struct call *)p;
	struct aioqueue *q = c->q;

	if (c->got) {
		ipc_queue_unget(q, c->got, c->done);
		while (c->done > 0)
			aiomsg_free(c->got[--c->done]);
	}
	ipc_queue_lock(q);
	settle_and_unlock(q);
	ipc_queue_lock(q);
	q->parked--;
	ipc_queue_unlock_or_destroy(q);
}

static bool is_barred(const struct aioqueue *q, const struct ipc_waitlist *l)
{
	return own_crew && l == &q->putters && atomic_load(&own_crew->barred) == q;
}

/* The call has to wait: it joins the waiters. False: it may not. For a task, places are kept for what it gets. The caller holds the lock. */
static bool join_waiters(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	if (is_barred(q, l)) {
		c->error = EPIPE;
		return false;
	}
	if (deadline != AIOIPC_NOW && ipc_wait_entry_init(&c->entry) == 0) {
		c->q = q;
		c->crew = own_crew;
		c->entry.died = caller_died;
		c->lends = c->entry.task;
		ipc_waitlist_join(l, &c->entry);
		return true;
	}
	c->error = deadline == AIOIPC_NOW ? ETIMEDOUT : errno;
	if (l == &q->putters)
		ipc_flow_watches_refused(q, ipc_store_charge(c->put[c->done]));
	return false;
}

/* A call that waits keeps the queue's memory: others may free the queue meanwhile. */
static void end_wait(struct aioqueue *q, const struct call *c)
{
	ipc_queue_lock(q);
	if (c->lends && c->got)
		q->lent -= c->done;
	q->parked--;
	ipc_queue_unlock_or_destroy(q);
}

/* The call was not done at once. The caller holds the lock; this unlocks. */
static void wait_for_others(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	q->parked++;
	if ((aiotask_self() || !spin_for(q, l, c, deadline)) && join_waiters(q, l, c, deadline)) {
		settle_and_unlock(q);
		wait_to_be_served(q, l, c, deadline);
		end_wait(q, c);
		return;
	}
	q->parked--;
	settle_and(q, ipc_queue_unlock_or_destroy);
}

/* Each call that puts or gets does this: it tries, spins, and waits. */
static void carry_out(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	lock_among_the_living(q);
	if (attempt(q, l, c)) {
		settle_and_unlock(q);
	} else if (deadline == AIOIPC_NOW) {
		join_waiters(q, l, c, deadline);
		settle_and_unlock(q);
	} else {
		wait_for_others(q, l, c, deadline);
	}
}

static ssize_t run(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	if (ipc_queue_check(q) == -1 || ipc_deadline_check(deadline) == -1)
		return -1;
	if (c->n > 0)
		carry_out(q, l, c, deadline);
	/* if a cancel comes together with messages, the next wait reports it */
	if (c->done > 0 && c->error == ECANCELED)
		aiotask_cancel(c->entry.task);
	if (c->done > 0 || !c->error)
		return (ssize_t)c->done;
	errno = c->error;
	return -1;
}

struct aioqueue *aioqueue_new(size_t most, size_t most_bytes)
{
	struct aioqueue *q;

	if (most == 0 && most_bytes == 0) {
		errno = EINVAL;
		return NULL;
	}
	q = aligned_alloc(IPC_CACHE_LINE, sizeof *q);
	if (!q)
		return NULL;
	memset(q, 0, sizeof *q);
	q->refs = 1;
	q->epoch = ipc_epoch();
	q->most = most;
	q->most_bytes = most_bytes;
	pthread_mutex_init(&q->lock, NULL);
	ipc_spin_init(&q->get_spin);
	ipc_spin_init(&q->put_spin);
	return q;
}

int aioqueue_put(struct aioqueue *q, struct aiomsg *m, int64_t deadline)
{
	struct call c = {.put = &m, .n = 1};

	return run(q, &q->putters, &c, deadline) == -1 ? -1 : 0;
}

ssize_t aioqueue_put_all(struct aioqueue *q, struct aiomsg *const *m, size_t n, int64_t deadline)
{
	struct call c = {.put = m, .n = n};

	return run(q, &q->putters, &c, deadline);
}

int aioqueue_get(struct aioqueue *q, struct aiomsg **m, int64_t deadline)
{
	struct call c = {.got = m, .n = 1};

	return (int)run(q, &q->getters, &c, deadline);
}

ssize_t aioqueue_get_all(struct aioqueue *q, struct aiomsg **m, size_t n, int64_t deadline)
{
	struct call c = {.got = m, .n = n};

	return run(q, &q->getters, &c, deadline);
}

ssize_t ipc_queue_hand_over(struct aioqueue *q, struct aiomsg *const *m, size_t n)
{
	struct call c = {.put = m, .n = n, .hands_over = true};

	return run(q, &q->putters, &c, AIOIPC_NOW);
}

ssize_t ipc_queue_lend(struct aioqueue *q, struct aiomsg **m, size_t n)
{
	struct call c = {.got = m, .n = n, .lends = true};

	return run(q, &q->getters, &c, AIOIPC_NOW);
}

void ipc_queue_unget(struct aioqueue *q, struct aiomsg *const *m, size_t n)
{
	if (n == 0 || ipc_queue_check(q) == -1)
		return;
	lock_among_the_living(q);
	q->lent -= n;
	if (!q->discarded) {
		while (n > 0)
			ipc_store_push_first(q, m[--n]);
		ipc_flow_watches_not_ended(q);
	}
	settle_and_unlock(q);
}

void ipc_queue_gone(struct aioqueue *q, size_t n)
{
	if (ipc_queue_check(q) == -1)
		return;
	ipc_queue_lock(q);
	q->lent -= n;
	ipc_queue_unlock(q);
}

size_t aioqueue_count(const struct aioqueue *q)
{
	return ipc_store_count(q);
}

/* Wakes all, with @error. Without one, getters return 0: the end. */
static void dismiss(struct ipc_waitlist *l, int error, struct ipc_waitlist *woken)
{
	struct call *c;

	while ((c = first_of(l))) {
		c->error = error;
		ipc_waitlist_wake_first(l, woken);
	}
}

void ipc_crew_enlist(struct ipc_crew *crew)
{
	own_crew = crew;
}

void ipc_crew_bar(struct ipc_crew *crew, struct aioqueue *q)
{
	struct ipc_waitlist woken = {NULL, NULL};
	struct call *c, *next;

	if (!q || ipc_queue_check(q) == -1)
		return;
	lock_among_the_living(q);
	atomic_store(&crew->barred, q);
	for (c = first_of(&q->putters); c; c = next) {
		next = (struct call *)c->entry.next;
		if (c->crew != crew)
			continue;
		c->error = EPIPE;
		ipc_waitlist_wake(&q->putters, &c->entry, &woken);
	}
	settle_and_unlock(q);
	ipc_waitlist_wake_threads(&woken);
}

static void close_queue(struct aioqueue *q, bool drop)
{
	struct ipc_waitlist woken = {NULL, NULL};
	bool news;

	if (!q || ipc_queue_check(q) == -1)
		return;
	lock_among_the_living(q);
	news = !ipc_queue_is_closed(q) || (drop && ipc_store_count(q) > 0);
	atomic_store_explicit(&q->closed, true, memory_order_relaxed);
	if (drop) {
		q->discarded = true;
		ipc_store_drop_all(q);
	}
	dismiss(&q->getters, 0, &woken);
	dismiss(&q->putters, EPIPE, &woken);
	if (news)
		ipc_flow_watches_end(q);
	ipc_queue_unlock(q);
	ipc_waitlist_wake_threads(&woken);
}

void aioqueue_close(struct aioqueue *q)
{
	close_queue(q, false);
}

void aioqueue_discard(struct aioqueue *q)
{
	close_queue(q, true);
}

struct aioqueue *aioqueue_ref(struct aioqueue *q)
{
	ipc_queue_lock(q);
	q->refs++;
	ipc_queue_unlock(q);
	return q;
}

/* In a forked child: a thread of the parent may hold the lock. */
static void free_inherited(struct aioqueue *q)
{
	if (--q->refs > 0)
		return;
	ipc_store_drop_all(q);
	ipc_flow_watches_drop(q);
	free(q->ring);
	free(q);
}

void ipc_queue_unref_and_unlock(struct aioqueue *q)
{
	struct ipc_waitlist woken = {NULL, NULL};

	if (--q->refs == 0) {
		atomic_store_explicit(&q->closed, true, memory_order_relaxed);
		q->discarded = true;
		ipc_store_drop_all(q);
		dismiss(&q->getters, 0, &woken);
		dismiss(&q->putters, EPIPE, &woken);
		ipc_flow_watches_drop(q);
	}
	ipc_queue_unlock_or_destroy(q);
	ipc_waitlist_wake_threads(&woken);
}

void aioqueue_free(struct aioqueue *q)
{
	if (!q)
		return;
	if (q->epoch != ipc_epoch()) {
		free_inherited(q);
		return;
	}
	lock_among_the_living(q);
	ipc_queue_unref_and_unlock(q);
}
