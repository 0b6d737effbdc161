/*
 * The queue: a ring of messages under one lock, and two lines of those who wait. What keeps it right: while somebody
 * waits to get, the ring is empty; while somebody waits to put, the first of them does not fit. settle() restores
 * that after every change, by handing over in order, so that each is woken once, with what it waited for in its hands.
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
#include "ipc/flow/watch.h"
#include "ipc/os/sleep.h"
#include "ipc/msg/msg.h"

#define OVERHEAD 64 /* bytes that a message counts beside its own */
#define SMALLEST 16 /* places in a ring */
#define LOCK_SPINS 200
#define RELAX 8 /* times between two looks: half a microsecond or less */

/* A call that puts or gets messages, and may come to wait. */
struct call {
	struct ipc_wait_entry entry; /* first: who stands in line is a call */
	struct aioqueue *q;
	struct aiomsg **got;
	struct aiomsg *const *put;
	size_t n, done;
	bool lends, hands_over;
	int error;
	const struct ipc_crew *crew; /* of who waits in line */
};

static _Thread_local struct ipc_crew *own_crew;

static struct call *first_of(const struct ipc_waitlist *l)
{
	return (struct call *)l->first;
}

/* What is done under the lock is over before the kernel could put anybody to sleep and wake it. */
void ipc_queue_lock(struct aioqueue *q)
{
	for (int i = 0; i < LOCK_SPINS; i++) {
		if (pthread_mutex_trylock(&q->lock) == 0)
			return;
		ipc_os_relax();
	}
	pthread_mutex_lock(&q->lock);
}

void ipc_queue_unlock(struct aioqueue *q)
{
	pthread_mutex_unlock(&q->lock);
}

int ipc_queue_check(const struct aioqueue *q)
{
	if (q->epoch == ipc_epoch())
		return 0;
	errno = ECHILD;
	return -1;
}

/* Only who holds the lock changes it: no need for an atomic addition. */
static size_t count_of(const struct aioqueue *q)
{
	return atomic_load_explicit(&q->count, memory_order_relaxed);
}

static void set_count(struct aioqueue *q, size_t count)
{
	atomic_store_explicit(&q->count, count, memory_order_relaxed);
}

bool ipc_queue_is_closed(const struct aioqueue *q)
{
	return atomic_load_explicit(&q->closed, memory_order_relaxed);
}

static size_t charge(const struct aiomsg *m)
{
	return m->len + OVERHEAD;
}

bool ipc_queue_has_items(const struct aioqueue *q)
{
	return count_of(q) > 0;
}

static inline bool has_room(const struct aioqueue *q, size_t bytes)
{
	size_t count = count_of(q);

	if (count == 0)
		return true;
	if (q->most && count >= q->most)
		return false;
	return !q->most_bytes || (q->bytes < q->most_bytes && bytes <= q->most_bytes - q->bytes);
}

bool ipc_queue_has_room(const struct aioqueue *q, size_t bytes)
{
	return has_room(q, bytes);
}

bool ipc_queue_is_half_empty(const struct aioqueue *q)
{
	return count_of(q) == 0 || ((!q->most || count_of(q) <= q->most / 2) &&
				    (!q->most_bytes || q->bytes <= q->most_bytes / 2));
}

static int grow(struct aioqueue *q)
{
	uint32_t places = q->places ? 2 * q->places : SMALLEST;
	struct aiomsg **ring = places ? reallocarray(NULL, places, sizeof *ring) : NULL;

	if (!ring)
		return -1;
	for (size_t i = 0; i < count_of(q); i++)
		ring[i] = q->ring[(q->head + i) & (q->places - 1)];
	free(q->ring);
	q->ring = ring;
	q->places = places;
	q->head = 0;
	return 0;
}

static int push(struct aioqueue *q, struct aiomsg *m)
{
	size_t count = count_of(q);

	if (count + q->lent == q->places && grow(q) == -1)
		return -1;
	q->ring[(q->head + count) & (q->places - 1)] = m;
	q->bytes += charge(m);
	set_count(q, count + 1);
	return 0;
}

static inline struct aiomsg *pop(struct aioqueue *q)
{
	struct aiomsg *m = q->ring[q->head];

	q->head = (q->head + 1) & (q->places - 1);
	q->bytes -= charge(m);
	set_count(q, count_of(q) - 1);
	return m;
}

static void push_first(struct aioqueue *q, struct aiomsg *m)
{
	q->head = (q->head - 1) & (q->places - 1);
	q->ring[q->head] = aiomsg_ref(m);
	q->bytes += charge(m);
	set_count(q, count_of(q) + 1);
}

/* Is the call through: has it put all, or failed? */
static bool put_some(struct aioqueue *q, struct call *c)
{
	for (; c->done < c->n; c->done++) {
		if (!has_room(q, charge(c->put[c->done])))
			return false;
		if (push(q, c->put[c->done]) == -1) {
			c->error = ENOMEM;
			return true;
		}
		if (!c->hands_over)
			aiomsg_ref(c->put[c->done]);
	}
	return true;
}

/* Is the call through: has it got any? */
static bool get_some(struct aioqueue *q, struct call *c)
{
	while (c->done < c->n && count_of(q) > 0)
		c->got[c->done++] = pop(q);
	if (c->lends)
		q->lent += c->done;
	return c->done > 0;
}

static bool serve(struct aioqueue *q, struct ipc_waitlist *l, struct call *c)
{
	return l == &q->getters ? get_some(q, c) : put_some(q, c);
}

static void serve_line(struct aioqueue *q, struct ipc_waitlist *l, struct ipc_waitlist *woken)
{
	struct call *c;

	while ((c = first_of(l)) && serve(q, l, c))
		ipc_waitlist_wake_first(l, woken);
}

/* Serves all who can be served now, in order. Who is through has to be woken, once the lock is free. */
static struct ipc_waitlist settle(struct aioqueue *q)
{
	struct ipc_waitlist woken = {NULL, NULL};

	do {
		if (count_of(q) > 0)
			serve_line(q, &q->getters, &woken);
		serve_line(q, &q->putters, &woken);
	} while (q->getters.first && count_of(q) > 0);
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

/* Who stands first in line and will never run again leaves, before anything is handed to it. */
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

/* Under the lock. True when there is nothing to wait for: all done, or refused. */
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

/* Until something has moved, @ns at most. How long was it? */
static int64_t look(const struct aioqueue *q, size_t count, int64_t ns)
{
	int64_t start = ipc_os_now(), took;

	do {
		for (int i = 0; i < RELAX; i++)
			ipc_os_relax();
		took = ipc_os_now() - start;
	} while (count_of(q) == count && !ipc_queue_is_closed(q) && took < ns);
	return took;
}

static int64_t longest_look(int64_t deadline)
{
	int64_t left = ipc_deadline_left(deadline);

	return left == -1 || left > IPC_SPIN_NS ? IPC_SPIN_NS : left;
}

/*
 * Under the lock. It would have to wait: looks for a while, again as long as something moves, without standing in line; where others
 * do, they come first. True as attempt(). A task has others to let run.
 */
static bool look_around(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	struct ipc_spin *hope = l == &q->getters ? &q->get_spin : &q->put_spin;
	bool through = false, moved = true;
	int64_t took, most;
	size_t done, count;

	while (!through && moved && !l->first && (most = longest_look(deadline)) > 0 && ipc_spin_pays(hope)) {
		done = c->done;
		count = count_of(q);
		settle_and_unlock(q);
		took = look(q, count, most);
		ipc_queue_lock(q);
		through = attempt(q, l, c);
		moved = through || c->done > done;
		ipc_spin_took(hope, took, moved);
	}
	return through;
}

/* It gave up waiting, or a signal or a cancel wants it to. If it was served meanwhile, it has been. */
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

static void wait_in_line(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	while (ipc_wait_entry_wait(&c->entry, &q->lock, deadline) == -1) {
		if (errno == EINTR && l == &q->putters)
			continue;
		give_up(q, l, c, errno);
		return;
	}
}

/* What a task was handed that never runs again goes back. */
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

/* Under the lock: it has to wait. Does it stand in line now, or may it not? A task keeps places for what it gets. */
static bool line_up(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
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
		ipc_flow_watches_refused(q, charge(c->put[c->done]));
	return false;
}

/* Whoever waits keeps the queue, so that others may free it meanwhile. */
static void end_wait(struct aioqueue *q, const struct call *c)
{
	ipc_queue_lock(q);
	if (c->lends && c->got)
		q->lent -= c->done;
	q->parked--;
	ipc_queue_unlock_or_destroy(q);
}

/* Under the lock, which it gives up: it was not through at once. */
static void wait_for_others(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	q->parked++;
	if ((aiotask_self() || !look_around(q, l, c, deadline)) && line_up(q, l, c, deadline)) {
		settle_and_unlock(q);
		wait_in_line(q, l, c, deadline);
		end_wait(q, c);
		return;
	}
	q->parked--;
	settle_and(q, ipc_queue_unlock_or_destroy);
}

/* What every call that puts or gets does: try, look whether something moves, stand in line. */
static void carry_out(struct aioqueue *q, struct ipc_waitlist *l, struct call *c, int64_t deadline)
{
	lock_among_the_living(q);
	if (attempt(q, l, c)) {
		settle_and_unlock(q);
	} else if (deadline == AIOIPC_NOW) {
		line_up(q, l, c, deadline);
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
	/* a cancel that comes with messages is told by the next wait */
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
			push_first(q, m[--n]);
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
	return count_of(q);
}

/* Those who wait to get find it empty and closed: that is the end. */
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

static void drop_all(struct aioqueue *q)
{
	while (count_of(q) > 0)
		aiomsg_free(pop(q));
}

static void close_queue(struct aioqueue *q, bool drop)
{
	struct ipc_waitlist woken = {NULL, NULL};
	bool news;

	if (!q || ipc_queue_check(q) == -1)
		return;
	lock_among_the_living(q);
	news = !ipc_queue_is_closed(q) || (drop && count_of(q) > 0);
	atomic_store_explicit(&q->closed, true, memory_order_relaxed);
	if (drop) {
		q->discarded = true;
		drop_all(q);
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

/* In a forked child somebody who does not exist there may hold the lock. */
static void free_inherited(struct aioqueue *q)
{
	if (--q->refs > 0)
		return;
	drop_all(q);
	ipc_flow_watches_drop(q);
	free(q->ring);
	free(q);
}

void ipc_queue_unlock_or_destroy(struct aioqueue *q)
{
	bool over = q->refs == 0 && q->parked == 0 && !q->watches;

	ipc_queue_unlock(q);
	if (!over)
		return;
	pthread_mutex_destroy(&q->lock);
	free(q->ring);
	free(q);
}

void ipc_queue_unref_and_unlock(struct aioqueue *q)
{
	struct ipc_waitlist woken = {NULL, NULL};

	if (--q->refs == 0) {
		atomic_store_explicit(&q->closed, true, memory_order_relaxed);
		q->discarded = true;
		drop_all(q);
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
