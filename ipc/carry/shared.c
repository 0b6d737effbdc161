/* The carrier of rings in shared memory: see shared.h. */
#include "ipc/carry/shared.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

#include "ipc/carry/ring.h"
#include "ipc/os/memory.h"

#define SIZE_DEFAULT ((size_t)256 * 1024)
#define SIZE_OFFERED ((size_t)64 * 1024)
#define SIZE_LEAST ((size_t)4 * 1024)
#define SIZE_MOST ((size_t)16 << 20)
#define WORDS ((size_t)4096) /* of the memory: what is before the bytes of both rings */
#define WAKE_TRIES 1000
#define WAKE_NS 1000000
#define RINGS_AT_ONCE 64 /* bytes */

_Static_assert(2 * sizeof(struct ipc_ring_words) <= WORDS,
	       "the words of both rings don't fit before their bytes");

/* What the socket brings first, along with the descriptor of the memory. */
struct hello {
	char name[7];
	uint8_t side; /* 0 writes the first ring, 1 the second */
};
static const char hello_name[7] = "aioring";

struct ipc_shared {
	void *memory;
	size_t len;
	struct ipc_ring in, out;
	size_t enough;             /* room that a write waits for */
	bool in_slept, out_slept;  /* since then the peer may have rung */
	bool over;                 /* the socket has ended: the peer closed it, or died */
	bool deaf;                 /* input ends behind what is here */
	bool crowded;              /* the socket has no room for descriptors */
	bool stuck;                /* the socket shows input, but only descriptors whose turn has not come */
	uint64_t marked, unmarked; /* marks made for the peer, and its marks that were passed */
	struct ipc_fdlist *held;   /* descriptors that came before their byte; NULL: none did yet */
};

static int fail(int error)
{
	errno = error;
	return -1;
}

/*
 * A byte on the socket. If it has no room for one, others are there already. A byte that the system has no memory for would leave the
 * peer asleep for ever, and nobody asks for it again: so this tries until there is some.
 */
static void wake_peer(struct ipc_carrier *k)
{
	struct iovec iov = {.iov_base = (char[1]){0}, .iov_len = 1};

	for (int i = 0; i < WAKE_TRIES; i++) {
		if (ipc_os_writev(k->own.w.fd, IPC_FD_UNIX, &iov, 1, NULL, 0) == 1)
			return;
		if (errno == EAGAIN && i > 0)
			return;
		if (errno != EAGAIN && errno != ENOBUFS)
			break;
		if (errno == ENOBUFS)
			ipc_os_poll(NULL, 0, WAKE_NS);
	}
	k->shared->over = true;
}

static void close_all(struct ipc_fdlist *fds)
{
	while (fds && fds->n > 0)
		close(fds->fd[--fds->n]);
}

static void heard(struct ipc_shared *s, ssize_t n)
{
	if (n == 0 || (n == -1 && errno != EAGAIN && errno != ENOMEM && errno != ENOBUFS))
		s->over = true;
}

/* Takes wake-ups out of the socket and leaves descriptors in it: others are held. */
static void hear_rings(struct ipc_carrier *k)
{
	char rung;
	struct iovec iov = {.iov_base = &rung, .iov_len = 1};
	struct ipc_fdlist next;
	ssize_t n;

	for (int i = 0; i < RINGS_AT_ONCE; i++) {
		next.n = 0;
		n = ipc_os_peek(k->own.r.fd, &iov, &next);
		k->shared->stuck = n > 0 && (next.n || next.cut);
		heard(k->shared, n);
		close_all(&next);
		if (n <= 0 || k->shared->stuck)
			return;
		ipc_os_readv(k->own.r.fd, IPC_FD_UNIX, &iov, 1, NULL);
	}
}

/* Takes wake-ups out of the socket, up to the next descriptors, which are held until their byte is read. -1/ENOMEM */
static int hear(struct ipc_carrier *k)
{
	struct ipc_shared *s = k->shared;
	char rung[RINGS_AT_ONCE];
	struct iovec iov = {.iov_base = rung, .iov_len = sizeof rung};
	struct ipc_fdlist got = {.n = 0};
	ssize_t n;

	if (k->takes_fds && !s->held && !(s->held = calloc(1, sizeof *s->held)))
		return -1;
	if (s->held && (s->held->n || s->held->cut)) {
		hear_rings(k);
		return 0;
	}
	n = ipc_os_readv(k->own.r.fd, IPC_FD_UNIX, &iov, 1, k->takes_fds ? &got : NULL);
	heard(s, n);
	if (n > 0 && s->held)
		*s->held = got;
	return 0;
}

/* Did this side sleep, and did the peer ring, or is about to? */
static bool was_woken(struct ipc_shared *s)
{
	bool in = s->in_slept && !ipc_ring_reader_awake(&s->in);
	bool out = s->out_slept && !ipc_ring_writer_awake(&s->out);

	return in || out;
}

/* This side is awake. The socket is read if the peer has rung, or if nothing has @moved: then something else made it readable. */
static int wake_up(struct ipc_carrier *k, bool (*moved)(struct ipc_shared *s))
{
	struct ipc_shared *s = k->shared;
	bool slept = s->in_slept || s->out_slept;

	if (!slept)
		return 0;
	if ((was_woken(s) || !moved(s)) && hear(k) == -1)
		return -1;
	s->in_slept = s->out_slept = false;
	return 0;
}

static bool has_input(struct ipc_shared *s)
{
	return ipc_ring_input(&s->in, 1) > 0;
}

static bool has_room(struct ipc_shared *s)
{
	return ipc_ring_room(&s->out, s->enough) >= s->enough;
}

/* Leaves in @iov the first @most bytes. */
static int cut(struct iovec *iov, int n, uint64_t most)
{
	for (int i = 0; i < n; i++) {
		if (iov[i].iov_len >= most) {
			iov[i].iov_len = (size_t)most;
			return i + 1;
		}
		most -= iov[i].iov_len;
	}
	return n;
}

/* The next byte is the one that descriptors go along with. If a peer marks a byte and sends none, the frame tells. */
static int give_fds(struct ipc_carrier *k, struct ipc_fdlist *fds)
{
	struct ipc_shared *s = k->shared;

	if ((!s->held || s->held->n == 0) && hear(k) == -1)
		return -1;
	s->stuck = false;
	atomic_store_explicit(&s->in.words->unmarked, ++s->unmarked, memory_order_relaxed);
	if (!s->held)
		return 0;
	if (fds)
		*fds = *s->held;
	else
		close_all(s->held);
	s->held->n = 0;
	s->held->cut = 0;
	return 0;
}

/* How many bytes from here to the next mark; -1: there is none. A mark that was passed is the next byte's. */
static int64_t to_mark(struct ipc_shared *s)
{
	const struct ipc_ring_words *w = s->in.words;
	int64_t left;

	if (!has_input(s) || atomic_load_explicit(&w->marked, memory_order_relaxed) == s->unmarked)
		return -1;
	left = (int64_t)(atomic_load_explicit(&w->mark[s->unmarked % IPC_RING_MARKS], memory_order_relaxed) -
			 s->in.mine);
	return left > 0 ? left : 0;
}

/* Input that is here, up to the next byte with descriptors; or from that byte on, up to the next. */
static ssize_t take(struct ipc_carrier *k, struct iovec *iov, int n, struct ipc_fdlist *fds)
{
	struct ipc_shared *s = k->shared;
	int64_t left = to_mark(s);
	size_t got;

	if (left == 0) {
		if (give_fds(k, fds) == -1)
			return -1;
		left = to_mark(s);
		left = left == 0 ? 1 : left;
	}
	if (left > 0)
		n = cut(iov, n, (uint64_t)left);
	got = ipc_ring_read(&s->in, iov, n);
	if (got > 0 && ipc_ring_writer_waits(&s->in))
		wake_peer(k);
	return (ssize_t)got;
}

static bool is_shut(const struct ipc_shared *s)
{
	return atomic_load_explicit(&s->in.words->shut, memory_order_acquire);
}

static bool is_abrupt(const struct ipc_shared *s)
{
	return atomic_load_explicit(&s->in.words->abrupt, memory_order_relaxed);
}

static bool has_ended(const struct ipc_shared *s)
{
	return s->over || s->deaf || is_shut(s);
}

/* There was no input. What the peer wrote before its end is here by now. */
static ssize_t at_end(struct ipc_shared *s)
{
	if (s->in.broken)
		return fail(EPROTO);
	return s->over && !is_shut(s) && is_abrupt(s) ? fail(ECONNRESET) : 0;
}

static ssize_t shared_read(struct ipc_carrier *k, struct iovec *iov, int n, struct ipc_fdlist *fds)
{
	struct ipc_shared *s = k->shared;
	bool ended;
	ssize_t got;

	if (wake_up(k, has_input) == -1)
		return -1;
	ended = has_ended(s);
	got = take(k, iov, n, fds);
	if (got != 0)
		return got;
	return ended || s->in.broken ? at_end(s) : fail(EAGAIN);
}

/* Too many are on their way: they are fewer when the ring is empty. */
static bool may_mark(struct ipc_shared *s)
{
	uint64_t passed = atomic_load_explicit(&s->out.words->unmarked, memory_order_relaxed);

	s->enough = s->marked - passed < IPC_RING_MARKS ? 1 : s->out.size;
	return has_room(s);
}

static int put_fds(struct ipc_carrier *k, const int *fd, unsigned nfds)
{
	struct ipc_shared *s = k->shared;
	struct ipc_ring_words *w = s->out.words;
	struct iovec iov = {.iov_base = (char[1]){0}, .iov_len = 1};

	if (!may_mark(s))
		return fail(EAGAIN);
	if (ipc_os_writev(k->own.w.fd, IPC_FD_UNIX, &iov, 1, fd, nfds) == -1) {
		s->crowded = errno == EAGAIN;
		return -1;
	}
	atomic_store_explicit(&w->mark[s->marked % IPC_RING_MARKS], s->out.mine, memory_order_relaxed);
	atomic_store_explicit(&w->marked, ++s->marked, memory_order_relaxed);
	return 0;
}

static ssize_t put(struct ipc_carrier *k, const struct iovec *iov, int n)
{
	struct ipc_shared *s = k->shared;
	size_t done = 0, part;

	while ((part = ipc_ring_write(&s->out, iov, n, done)) > 0) {
		done += part;
		if (ipc_ring_reader_waits(&s->out))
			wake_peer(k);
	}
	s->enough = s->out.size / 4;
	return (ssize_t)done;
}

/* The peer has said so; a dead one is known by the socket. */
static bool is_left(const struct ipc_shared *s)
{
	return atomic_load_explicit(&s->out.words->gone, memory_order_relaxed);
}

static ssize_t shared_write(struct ipc_carrier *k, const struct iovec *iov, int n, const int *fd,
			    unsigned nfds)
{
	struct ipc_shared *s = k->shared;
	ssize_t done;

	s->crowded = false;
	if (wake_up(k, has_room) == -1)
		return fail(ENOBUFS);
	if (s->over || is_left(s))
		return fail(EPIPE);
	if (nfds && put_fds(k, fd, nfds) == -1)
		return -1;
	done = put(k, iov, n);
	if (done > 0)
		return done;
	if (s->out.broken)
		return fail(EPROTO);
	return fail(s->stuck ? ENOBUFS : EAGAIN);
}

static bool shared_at_hand(struct ipc_carrier *k, enum ipc_carry_wait what)
{
	struct ipc_shared *s = k->shared;

	if (what == IPC_CARRY_IN)
		return has_input(s) || s->in.broken || has_ended(s);
	return what == IPC_CARRY_OUT && !s->crowded &&
	       (has_room(s) || s->out.broken || s->over || is_left(s));
}

static void shared_sleep(struct ipc_carrier *k, enum ipc_carry_wait what)
{
	struct ipc_shared *s = k->shared;

	if (what == IPC_CARRY_IN) {
		s->in_slept = true;
		ipc_ring_reader_sleep(&s->in);
	} else if (what == IPC_CARRY_OUT) {
		s->out_slept = true;
		ipc_ring_writer_sleep(&s->out);
	}
}

/* At its end the socket stays readable: of a peer that left only an edge tells. */
static short shared_shown_by(const struct ipc_carrier *k, enum ipc_carry_wait what)
{
	if (what == IPC_CARRY_GONE)
		return EV_READ | EV_ET;
	return what == IPC_CARRY_OUT && k->shared->crowded ? EV_READ | EV_WRITE : EV_READ;
}

static void shared_shut_read(struct ipc_carrier *k)
{
	k->shared->deaf = true;
}

static int shared_shut_write(struct ipc_carrier *k)
{
	struct ipc_ring *out = &k->shared->out;

	atomic_store_explicit(&out->words->shut, 1, memory_order_release);
	if (ipc_ring_reader_waits(out))
		wake_peer(k);
	return 0;
}

static int shared_set_reset(struct ipc_carrier *k, bool on)
{
	atomic_store_explicit(&k->shared->out.words->abrupt, on, memory_order_relaxed);
	return 0;
}

/* What is in the memory stays for the peer to read. */
static bool shared_all_arrived(const struct ipc_carrier *k)
{
	(void)k;
	return true;
}

/* In a forked child the memory is not there. What is left is a carrier of no descriptors. */
static void shared_close(struct ipc_carrier *k)
{
	struct ipc_shared *s = k->shared;

	if (k->own.epoch == ipc_epoch()) {
		atomic_store_explicit(&s->in.words->gone, 1, memory_order_release);
		ipc_os_memory_unmap(s->memory, s->len);
	}
	close_all(s->held);
	free(s->held);
	free(s);
	k->shared = NULL;
	ipc_own_close(&k->own);
	ipc_carry_by_fd(k);
}

static const struct ipc_carry by_rings = {
	.read = shared_read,
	.write = shared_write,
	.at_hand = shared_at_hand,
	.sleep = shared_sleep,
	.shown_by = shared_shown_by,
	.left = ipc_carry_hung_up,
	.shut_read = shared_shut_read,
	.shut_write = shared_shut_write,
	.set_reset = shared_set_reset,
	.all_arrived = shared_all_arrived,
	.close = shared_close,
};

static size_t size_of_memory(size_t ring)
{
	return WORDS + 2 * ring;
}

static bool is_size(size_t size)
{
	return size >= SIZE_LEAST && size <= SIZE_MOST && (size & (size - 1)) == 0;
}

/* The one that goes to @to's peer says which ring that one writes. */
static int say_hello(int to, uint8_t side, int memory)
{
	struct hello hello = {.side = side};
	struct iovec iov = {.iov_base = &hello, .iov_len = sizeof hello};

	memcpy(hello.name, hello_name, sizeof hello.name);
	return ipc_os_writev(to, IPC_FD_UNIX, &iov, 1, &memory, 1) == (ssize_t)sizeof hello ? 0 : -1;
}

static void close_memory(int memory)
{
	int error = errno;

	close(memory);
	errno = error;
}

int ipc_carry_share(int one, int other, size_t size)
{
	size_t ring = size ? size : SIZE_DEFAULT;
	int memory, r;

	if (!is_size(ring))
		return fail(EINVAL);
	memory = ipc_os_memory(size_of_memory(ring));
	if (memory == -1)
		return -1;
	r = say_hello(one, 0, memory) == -1 || say_hello(other, 1, memory) == -1 ? -1 : 0;
	close_memory(memory);
	return r;
}

/* Looks at the hello, which stays: its side, and a descriptor of the memory. */
static int look_at_hello(int fd, uint8_t *side)
{
	struct hello hello;
	struct iovec iov = {.iov_base = &hello, .iov_len = sizeof hello};
	struct ipc_fdlist fds = {.n = 0};
	ssize_t n = ipc_os_peek(fd, &iov, &fds);

	if (n == -1)
		return -1;
	if (n == 0)
		return fail(ECONNRESET);
	*side = hello.side;
	if (n == (ssize_t)sizeof hello && memcmp(hello.name, hello_name, sizeof hello_name) == 0 &&
	    hello.side <= 1 && fds.n == 1)
		return fds.fd[0];
	close_all(&fds);
	return fail(fds.cut ? fds.cut : EPROTO);
}

static void take_hello(int fd)
{
	struct hello hello;
	struct iovec iov = {.iov_base = &hello, .iov_len = sizeof hello};

	ipc_os_readv(fd, IPC_FD_UNIX, &iov, 1, NULL);
}

static struct ipc_ring ring_at(unsigned char *memory, size_t size, unsigned which)
{
	struct ipc_ring_words *words = (struct ipc_ring_words *)(void *)memory;

	return (struct ipc_ring){
		.words = &words[which], .bytes = memory + WORDS + which * size, .size = size};
}

/* Maps the memory of an end that writes the ring number @side. */
static struct ipc_shared *map(int memory, uint8_t side)
{
	struct ipc_shared *s = calloc(1, sizeof *s);
	size_t len, size;

	if (!s)
		return NULL;
	if (!ipc_os_memory_is_safe(memory, &len) || len <= WORDS || !is_size(size = (len - WORDS) / 2) ||
	    size_of_memory(size) != len) {
		errno = EPROTO;
		goto fail;
	}
	s->memory = ipc_os_memory_map(memory, len);
	if (!s->memory)
		goto fail;
	s->len = len;
	s->out = ring_at(s->memory, size, side);
	s->in = ring_at(s->memory, size, !side);
	s->enough = size / 4;
	return s;

fail:
	free(s);
	return NULL;
}

static void use(struct ipc_carrier *k, struct ipc_shared *s)
{
	k->shared = s;
	k->how = &by_rings;
	k->can = IPC_CARRY_FDS_IN | IPC_CARRY_FDS_OUT | IPC_CARRY_ONE;
}

int ipc_carry_by_rings(struct ipc_carrier *k)
{
	uint8_t side;
	int memory = look_at_hello(k->own.r.fd, &side);
	struct ipc_shared *s;

	if (memory == -1)
		return -1;
	s = map(memory, side);
	close_memory(memory);
	if (!s)
		return -1;
	take_hello(k->own.r.fd);
	use(k, s);
	return 0;
}

int ipc_carry_offer(struct ipc_carrier *k)
{
	int memory = ipc_os_memory(size_of_memory(SIZE_OFFERED));
	struct ipc_shared *s;

	if (memory == -1)
		return -1;
	s = map(memory, 1);
	if (!s || say_hello(k->own.w.fd, 0, memory) == -1)
		goto fail;
	close(memory);
	use(k, s);
	return 0;

fail:
	if (s)
		ipc_os_memory_unmap(s->memory, s->len);
	free(s);
	close_memory(memory);
	return -1;
}
