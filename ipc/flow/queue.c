/*
 * The calls of a queue: they put and get messages, and wait. Two lists hold the waiters. Two rules hold whenever the lock is free: while a
 * getter waits, the queue is empty; while a putter waits, the first putter's message does not fit. settle() restores both
 * rules after each change: it hands messages over in order. So each waiter is woken once, and its call is done by then.
 * While nobody waits, a call needs the lock of its own end only, and there is nothing to settle.
 */
#include "ipc/flow/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/msg.h>
#include <aioipc/queue.h>
#include <aioipc/task.h>

#include "ipc/os/log.h"
#include "ipc/own/board.h"
#include "ipc/own/own.h"
#include "ipc/loop/wait.h"
#include "ipc/flow/store.h"
#include "ipc/flow/watchers.h"
#include "ipc/os/sleep.h"
#include "ipc/msg/msg.h"

#define RELAX_MOST 64 /* times between two looks */

/* A call that puts or gets messages, and may have to wait. */
struct call {
	struct ipc_wait_entry entry; /* first: each waiter is a call */
	struct aioqueue *q;
	struct aiomsg **got;
	struct aiomsg *const *put;
	size_t n, done;
	size_t most, bytes; /* got: no more than so many, 0 no limit; and so many were */
	uint64_t seen;      /* where the other end of the queue stood when the call could not go on */
	bool behind;        /* others wait already */
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

/* May it have the first message, too? */
static bool is_within(const struct aioqueue *q, const struct call *c)
{
	const struct aiomsg *m = *ipc_store_place(q, q->get.at);

	return c->most == 0 || c->done == 0 || (c->bytes <= c->most && m->len <= c->most - c->bytes);
}

/* True when the call is done: it has got at least one. */
static bool get_some(struct aioqueue *q, struct call *c)
{
	while (c->done < c->n && ipc_store_count(q) > 0 && is_within(q, c)) {
		c->got[c->done] = ipc_store_pop(q);
		c->bytes += c->got[c->done++]->len;
	}
	if (c->lends)
		q->lent += c->done;
	return c->done > 0;
}

static bool serve(struct aioqueue *q, struct ipc_waitlist *l, struct call *c)
{
	return l == &q->getters ? get_some(q, c) : put_some(q, c);
}

/* True when the call is done, and needed no lock but its own end's. */
static bool serve_plain(struct aioqueue *q, struct ipc_waitlist *l, struct call *c)
{
	if (c->lends || c->most)
		return false;
	if (l == &q->getters)
		return (c->done = ipc_store_get_plain(q, c->got, c->n, &c->seen)) > 0;
	c->done += ipc_store_put_plain(q, c->put + c->done, c->n - c->done, !c->hands_over, &c->seen);
	return c->done == c->n;
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

static void settle_and_unlock(struct aioqueue *q)
{
	struct ipc_waitlist woken = {NULL, NULL};

	if (q->getters.first || q->putters.first)
		woken = settle(q);
	if (q->watches)
		ipc_flow_watches_tell(q);
	ipc_queue_unlock(q);
	wake(&woken);
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
	c->behind = l->first;
	if (!c->behind && serve(q, l, c))
		return true;
	c->seen = l == &q->getters ? q->put.at : q->get.at;
	return ipc_queue_is_closed(q);
}

/* Spins until the other end has moved, @ns at most. Each look takes a cache line from it, so there is more and more time between them. */
static int64_t spin(const struct aioqueue *q, const struct ipc_queue_end *other, uint64_t seen, int64_t ns)
{
	int64_t start = ipc_os_now(), took;
	int relax = 1;

	do {
		for (int i = 0; i < relax; i++)
			ipc_os_relax();
		relax = relax < RELAX_MOST ? 2 * relax : RELAX_MOST;
		took = ipc_os_now() - start;
	} while (atomic_load_explicit(&other->told, memory_order_relaxed) == seen &&
		 !ipc_queue_is_closed(q) && took < ns);
	return took;
}

static int64_t longest_spin(int64_t deadline)
{
	int64_t left = ipc_deadline_left(deadline);

	return left == -1 || left > IPC_SPIN_NS ? IPC_SPIN_NS : left;
}

/* Tries without waiting. True as attempt(). */
static bool try_once(struct aioqueue *q, struct ipc_waitlist *l, struct call *c)
{
	bool through = serve_plain(q, l, c);

	if (through || (l == &q->getters && ipc_store_is_plain(q)))
		return through;
	lock_among_the_living(q);
	through = attempt(q, l, c);
	settle_and_unlock(q);
	return through;
}

/*
 * The call has to wait: it spins first, and spins again as long as something changes. It is no waiter meanwhile; if there are
 * waiters, they come first. Returns what attempt() does. Tasks do not spin: others want to run.
 */
static bool spin_for(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	const struct ipc_queue_end *other = l == &q->getters ? &q->put : &q->get;
	struct ipc_spin *hope = l == &q->getters ? &q->get_spin : &q->put_spin;
	bool through = false, moved = true;
	int64_t took, most;
	size_t done;

	while (!through && moved && !c->behind && (most = longest_spin(deadline)) > 0 &&
	       ipc_spin_pays(hope)) {
		done = c->done;
		took = spin(q, other, c->seen, most);
		through = try_once(q, l, c);
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
	while (ipc_wait_entry_wait(&c->entry, &q->put.lock, AIOIPC_FOREVER) == -1)
		;
	if (error == ECANCELED)
		c->error = error;
}

static void wait_to_be_served(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	while (ipc_wait_entry_wait(&c->entry, &q->put.lock, deadline) == -1) {
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
	ipc_queue_drop(q);
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

static void wait_in_turn(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	bool waits;

	lock_among_the_living(q);
	waits = !attempt(q, l, c) && join_waiters(q, l, c, deadline);
	settle_and_unlock(q);
	if (!waits)
		return;
	wait_to_be_served(q, l, c, deadline);
	if (c->lends && c->got)
		ipc_queue_gone(q, c->done);
}

/* Each call that puts or gets does this: it tries, spins, and waits. A call that waits keeps the queue's memory: others may free the queue. */
static void carry_out(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	if (serve_plain(q, l, c))
		return;
	if (deadline == AIOIPC_NOW) {
		wait_in_turn(q, l, c, deadline);
		return;
	}
	ipc_queue_hold(q);
	if (aiotask_self() || !(try_once(q, l, c) || spin_for(q, l, c, deadline)))
		wait_in_turn(q, l, c, deadline);
	ipc_queue_drop(q);
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
		ipc_refuse("aioqueue_new: most and most_bytes are both 0: one must bound the queue");
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
	q->plain = true;
	q->holds = 1;
	pthread_mutex_init(&q->put.lock, NULL);
	pthread_mutex_init(&q->get.lock, NULL);
	ipc_spin_init(&q->get_spin);
	ipc_spin_init(&q->put_spin);
	q->row = ipc_board_take(IPC_ROW_QUEUE, "%s", "");
	if (q->row) {
		ipc_row_set(q->row, IPC_QUEUE_ROW_MOST, most);
		ipc_row_set(q->row, IPC_QUEUE_ROW_MOST_BYTES, most_bytes);
	}
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

ssize_t aioqueue_get_some(struct aioqueue *q, struct aiomsg **m, size_t n, size_t bytes, int64_t deadline)
{
	struct call c = {.got = m, .n = n, .most = bytes};

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
	uint64_t got = atomic_load_explicit(&q->get.told, memory_order_acquire);
	uint64_t put = atomic_load_explicit(&q->put.told, memory_order_relaxed);

	return put > got ? (size_t)(put - got) : 0;
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
	bool last = --q->refs == 0;

	if (last) {
		atomic_store_explicit(&q->closed, true, memory_order_relaxed);
		q->discarded = true;
		ipc_store_drop_all(q);
		dismiss(&q->getters, 0, &woken);
		dismiss(&q->putters, EPIPE, &woken);
		ipc_flow_watches_drop(q);
	}
	ipc_queue_unlock(q);
	ipc_waitlist_wake_threads(&woken);
	if (last)
		ipc_queue_drop(q);
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
