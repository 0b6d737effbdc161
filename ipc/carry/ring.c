/* One direction of bytes through shared memory: see ring.h. */
#include "ipc/carry/ring.h"

#include <string.h>

/* What is given back in smaller pieces costs the reader more than it helps the writer. */
static size_t worth_telling(const struct ipc_ring *r)
{
	return r->size / 4;
}

size_t ipc_ring_room(struct ipc_ring *w, size_t enough)
{
	uint64_t head;

	if (w->size - (w->mine - w->theirs) >= enough || w->broken)
		return w->broken ? 0 : w->size - (w->mine - w->theirs);
	head = atomic_load_explicit(&w->words->head, memory_order_acquire);
	if (w->mine - head > w->size || head - w->theirs > w->size) {
		w->broken = true;
		return 0;
	}
	w->theirs = head;
	return w->size - (w->mine - head);
}

size_t ipc_ring_input(struct ipc_ring *r, size_t enough)
{
	uint64_t tail;

	if (r->theirs - r->mine >= enough)
		return r->theirs - r->mine;
	tail = atomic_load_explicit(&r->words->tail, memory_order_acquire);
	if (r->broken || tail - r->mine > r->size || tail - r->theirs > r->size) {
		r->broken = true;
		return 0;
	}
	r->theirs = tail;
	return tail - r->mine;
}

/* From here to the end of the ring, and then from its beginning on. */
static void copy_in(struct ipc_ring *w, const unsigned char *from, size_t len)
{
	size_t at = w->mine & (w->size - 1), first = len < w->size - at ? len : w->size - at;

	memcpy(w->bytes + at, from, first);
	memcpy(w->bytes, from + first, len - first);
	w->mine += len;
}

static void copy_out(struct ipc_ring *r, unsigned char *to, size_t len)
{
	size_t at = r->mine & (r->size - 1), first = len < r->size - at ? len : r->size - at;

	memcpy(to, r->bytes + at, first);
	memcpy(to + first, r->bytes, len - first);
	r->mine += len;
}

static void publish(struct ipc_ring *s, _Atomic(uint64_t) *word)
{
	s->published = s->mine;
	atomic_store_explicit(word, s->mine, memory_order_release);
}

static size_t length(const struct iovec *iov, int n)
{
	size_t len = 0;

	for (int i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

size_t ipc_ring_write(struct ipc_ring *w, const struct iovec *iov, int n, size_t skip)
{
	size_t len = length(iov, n) - skip, most = worth_telling(w), room, wrote = 0;

	most = len < most ? len : most;
	room = ipc_ring_room(w, most);
	most = room < most ? room : most;
	for (int i = 0; i < n && wrote < most; i++) {
		size_t part;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - skip < most - wrote ? iov[i].iov_len - skip : most - wrote;
		copy_in(w, (const unsigned char *)iov[i].iov_base + skip, part);
		skip = 0;
		wrote += part;
	}
	if (wrote)
		publish(w, &w->words->tail);
	return wrote;
}

/* Fills @to, as far as there is input. */
static size_t read_into(struct ipc_ring *r, unsigned char *to, size_t len)
{
	size_t done = 0, part;

	while (done < len && (part = ipc_ring_input(r, 1)) > 0) {
		part = part < len - done ? part : len - done;
		copy_out(r, to + done, part);
		done += part;
	}
	return done;
}

/* The writer may go on meanwhile: what is not filled ends it. */
size_t ipc_ring_read(struct ipc_ring *r, const struct iovec *iov, int n)
{
	size_t got = 0, part;

	for (int i = 0; i < n; i++) {
		part = read_into(r, iov[i].iov_base, iov[i].iov_len);
		got += part;
		if (part < iov[i].iov_len)
			break;
	}
	if (r->mine != r->published && (r->mine == r->theirs || r->mine - r->published >= worth_telling(r)))
		publish(r, &r->words->head);
	return got;
}

/* What was published comes before the look at the flag, and the flag of who falls asleep before its last look. */
static bool wakes(_Atomic(uint32_t) *sleeps)
{
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(sleeps, memory_order_relaxed) &&
	       atomic_exchange_explicit(sleeps, 0, memory_order_relaxed);
}

bool ipc_ring_reader_waits(struct ipc_ring *w)
{
	return wakes(&w->words->reader_sleeps);
}

bool ipc_ring_writer_waits(struct ipc_ring *r)
{
	return wakes(&r->words->writer_sleeps);
}

static void fall_asleep(_Atomic(uint32_t) *sleeps)
{
	atomic_store_explicit(sleeps, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

void ipc_ring_reader_sleep(struct ipc_ring *r)
{
	fall_asleep(&r->words->reader_sleeps);
}

void ipc_ring_writer_sleep(struct ipc_ring *w)
{
	fall_asleep(&w->words->writer_sleeps);
}

bool ipc_ring_reader_awake(struct ipc_ring *r)
{
	return atomic_exchange_explicit(&r->words->reader_sleeps, 0, memory_order_acquire);
}

bool ipc_ring_writer_awake(struct ipc_ring *w)
{
	return atomic_exchange_explicit(&w->words->writer_sleeps, 0, memory_order_acquire);
}
