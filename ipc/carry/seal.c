/* The carrier of an encrypted socket: see seal.h. */
#include "ipc/carry/seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "ipc/carry/engine.h"
#include "ipc/msg/pool.h"

/* No record more is made once so much ciphertext waits: a message of 64 KiB and its header leave at once. */
#define OUT_MOST ((size_t)80 * 1024)
#define OUT_ROOM (OUT_MOST + IPC_ENGINE_RECORD + IPC_ENGINE_OVER)
#define RECORDS 64 /* that wait; a power of two */
#define GULPS 4    /* reads of the socket in one read of the connection: so a flood of nothing ends */

/* A record that waits. When all ciphertext up to @end has left, so have @plain bytes more. */
struct record {
	uint64_t end;
	size_t plain;
};

struct ipc_seal {
	struct ipc_wire wire; /* the first member */
	struct aiotls *tls;
	const struct ipc_engine *engine;
	struct ipc_session *session;
	const struct ipc_own *own; /* the socket, during a call */

	unsigned char *out; /* of the pool; NULL while nothing waits */
	size_t room, start, end;
	uint64_t made, left; /* bytes of ciphertext */
	struct record record[RECORDS];
	unsigned head, records;
	size_t sealed; /* plain bytes in records that wait. The connection still offers them */

	unsigned gulps; /* that this read may still take; none, once one took all there was */
	bool dry;       /* the engine gives nothing before more comes */
	bool owes;      /* the last read found the end, or a fault, behind bytes: the next one tells */
	bool said_end;
	int broken; /* nothing can be written any more: why */
	const char *broken_why;
};

static struct ipc_seal *seal_of(struct ipc_wire *w)
{
	return (struct ipc_seal *)(void *)w;
}

static ssize_t take(struct ipc_wire *w, void *to, size_t n)
{
	struct ipc_seal *s = seal_of(w);
	struct iovec iov = {to, n};
	ssize_t got;

	if (!s->gulps) {
		errno = EAGAIN;
		return -1;
	}
	s->gulps--;
	got = ipc_os_readv(s->own->r.fd, s->own->r.kind, &iov, 1, NULL);
	if (got > 0 && (size_t)got < n)
		s->gulps = 0;
	return got;
}

/* Room for @n bytes more behind the end. The second record is followed by more: for all that may wait, at once. */
static int make_room(struct ipc_seal *s, size_t n)
{
	size_t waits = s->end - s->start, want = waits && waits + n < OUT_ROOM ? OUT_ROOM : waits + n, room;
	unsigned char *more;

	if (s->room - s->end >= n)
		return 0;
	if (s->room >= waits + n) {
		memmove(s->out, s->out + s->start, waits);
	} else {
		more = ipc_pool_get(want, &room);
		if (!more)
			return -1;
		if (waits)
			memcpy(more, s->out + s->start, waits);
		ipc_pool_put(s->out, s->room);
		s->out = more;
		s->room = room;
	}
	s->start = 0;
	s->end = waits;
	return 0;
}

static int give(struct ipc_wire *w, const void *from, size_t n)
{
	struct ipc_seal *s = seal_of(w);

	if (make_room(s, n) == -1)
		return -1;
	memcpy(s->out + s->end, from, n);
	s->end += n;
	s->made += n;
	return 0;
}

static void free_out(struct ipc_seal *s)
{
	ipc_pool_put(s->out, s->room);
	s->out = NULL;
	s->room = s->start = s->end = 0;
}

struct ipc_seal *ipc_seal_new(struct aiotls *t, const char *host)
{
	struct ipc_seal *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->wire = (struct ipc_wire){.take = take, .give = give};
	s->engine = t->engine;
	s->session = s->engine->begin(t, &s->wire, host);
	if (!s->session) {
		free(s);
		return NULL;
	}
	s->tls = s->engine->ref(t);
	return s;
}

void ipc_seal_free(struct ipc_seal *s)
{
	int error = errno;

	if (!s)
		return;
	s->engine->end(s->session);
	s->engine->unref(s->tls);
	free_out(s);
	free(s);
	errno = error;
}

bool ipc_seal_unsent(const struct ipc_seal *s)
{
	return s->end > s->start;
}

const char *ipc_seal_why(const struct ipc_seal *s)
{
	return s->engine->why(s->session);
}

/* Sends what waits: 0 all, -1: EAGAIN, or as ipc_os_writev(). */
static int push(struct ipc_seal *s)
{
	while (s->end > s->start) {
		struct iovec iov = {s->out + s->start, s->end - s->start};
		ssize_t n = ipc_os_writev(s->own->w.fd, s->own->w.kind, &iov, 1, NULL, 0);

		if (n < 0)
			return -1;
		s->start += (size_t)n;
		s->left += (uint64_t)n;
	}
	if (s->out)
		free_out(s);
	return 0;
}

/* The same, for what no write of the connection waits for. */
static void push_aside(struct ipc_seal *s)
{
	int error = errno;

	if (s->end > s->start)
		push(s);
	errno = error;
}

int ipc_seal_shake(struct ipc_seal *s, const struct ipc_own *own)
{
	int r;

	s->own = own;
	s->gulps = GULPS;
	r = s->engine->shake(s->session);
	push_aside(s);
	return r;
}

/* Plain bytes whose records have left, and were not told yet. */
static size_t take_left(struct ipc_seal *s)
{
	size_t n = 0;

	while (s->records && s->record[s->head].end <= s->left) {
		n += s->record[s->head].plain;
		s->head = (s->head + 1) % RECORDS;
		s->records--;
	}
	s->sealed -= n;
	return n;
}

/* What a write is to send: the rest of @iov, from @at in its first. */
struct rest {
	const struct iovec *iov;
	int n;
	size_t at;
};

static void pass(struct rest *r, size_t len)
{
	while (r->n && len >= r->iov->iov_len - r->at) {
		len -= r->iov->iov_len - r->at;
		r->iov++;
		r->n--;
		r->at = 0;
	}
	r->at += len;
}

/* Collects what fits into one record. */
static size_t collect(const struct rest *from, unsigned char *to)
{
	struct rest r = *from;
	size_t len = 0;

	while (r.n && len < IPC_ENGINE_RECORD) {
		size_t n = r.iov->iov_len - r.at;

		if (n > IPC_ENGINE_RECORD - len)
			n = IPC_ENGINE_RECORD - len;
		memcpy(to + len, (const unsigned char *)r.iov->iov_base + r.at, n);
		len += n;
		pass(&r, n);
	}
	return len;
}

/* Memory is there before the engine makes a record: it can't make it twice. */
static int seal_record(struct ipc_seal *s, const void *from, size_t n)
{
	if (make_room(s, n + IPC_ENGINE_OVER) == -1) {
		errno = ENOBUFS;
		return -1;
	}
	if (s->engine->write(s->session, from, n) == -1) {
		s->broken = errno;
		s->broken_why = ipc_seal_why(s);
		return -1;
	}
	s->record[(s->head + s->records++) % RECORDS] = (struct record){s->made, n};
	s->sealed += n;
	return 0;
}

/* One record of what is in a row, or else of what is collected. */
static int seal_next(struct ipc_seal *s, struct rest *r)
{
	size_t n = r->iov->iov_len - r->at, room = 0;
	const unsigned char *at = (const unsigned char *)r->iov->iov_base + r->at;
	unsigned char *several = NULL;
	int ret;

	if (n < IPC_ENGINE_RECORD && r->n > 1) {
		several = ipc_pool_get(IPC_ENGINE_RECORD, &room);
		if (!several) {
			errno = ENOBUFS;
			return -1;
		}
		n = collect(r, several);
		at = several;
	}
	if (n > IPC_ENGINE_RECORD)
		n = IPC_ENGINE_RECORD;
	ret = seal_record(s, at, n);
	ipc_pool_put(several, room);
	if (ret == 0)
		pass(r, n);
	return ret;
}

/* As much as may wait. */
static int seal_some(struct ipc_seal *s, struct rest *r)
{
	while (r->n && s->end - s->start < OUT_MOST && s->records < RECORDS)
		if (seal_next(s, r) == -1)
			return -1;
	return 0;
}

/* The socket takes nothing any more. The peer may have said why before it went. */
static void hear_last_word(struct ipc_seal *s)
{
	s->broken = errno;
	s->gulps = GULPS;
	s->dry = false; /* what the engine takes from the socket now, the socket shows no more */
	if (s->engine->last_word(s->session) == -1 && (errno == EACCES || errno == EPROTO)) {
		s->broken = errno;
		s->broken_why = ipc_seal_why(s);
	}
}

/* Sends what waits, as far as @r is sealed. 0 all, -1: EAGAIN, ENOBUFS, or it is broken. */
static int seal_and_push(struct ipc_seal *s, struct rest *r)
{
	int made = seal_some(s, r), error = errno;

	if (made == -1 && !ipc_seal_unsent(s)) {
		errno = error;
		return -1;
	}
	if (push(s) == 0 || errno == EAGAIN || errno == ENOBUFS)
		return ipc_seal_unsent(s) ? -1 : 0;
	hear_last_word(s);
	return -1;
}

static int is_broken(struct ipc_carrier *k)
{
	k->why = k->seal->broken_why;
	errno = k->seal->broken;
	return -1;
}

static ssize_t seal_write(struct ipc_carrier *k, const struct iovec *iov, int n, const int *fd, unsigned nfds)
{
	struct ipc_seal *s = k->seal;
	struct rest r = {iov, n, 0};
	size_t told = 0;
	int sent;

	(void)fd;
	if (nfds) {
		errno = EOPNOTSUPP;
		return -1;
	}
	if (s->broken)
		return is_broken(k);
	s->own = &k->own;
	pass(&r, s->sealed);
	do {
		sent = seal_and_push(s, &r);
		told += take_left(s);
	} while (sent == 0 && r.n);
	if (told || sent == 0)
		return (ssize_t)told;
	return s->broken ? is_broken(k) : -1;
}

/* Of one stretch. How many bytes; less where no more is there. */
static size_t read_stretch(struct ipc_seal *s, const struct iovec *iov, ssize_t *last)
{
	size_t got = 0;

	*last = 1;
	while (got < iov->iov_len) {
		*last = s->engine->read(s->session, (unsigned char *)iov->iov_base + got, iov->iov_len - got);
		if (*last <= 0)
			break;
		got += (size_t)*last;
	}
	return got;
}

/* What follows the bytes that were read is told by the next read: at_hand() asks for it. */
static ssize_t seal_read(struct ipc_carrier *k, struct iovec *iov, int n, struct ipc_fdlist *fds)
{
	struct ipc_seal *s = k->seal;
	size_t got = 0;
	ssize_t last = 1;

	(void)fds;
	s->own = &k->own;
	s->gulps = GULPS;
	for (int i = 0; i < n && last > 0; i++)
		got += read_stretch(s, &iov[i], &last);
	s->dry = last < 0 && errno == EAGAIN;
	s->owes = got && last <= 0 && !s->dry;
	if (!s->broken)
		push_aside(s);
	if (got || last >= 0)
		return (ssize_t)got;
	if (errno != EAGAIN && errno != ENOMEM)
		k->why = ipc_seal_why(s);
	return -1;
}

static bool seal_at_hand(struct ipc_carrier *k, enum ipc_carry_wait what)
{
	const struct ipc_seal *s = k->seal;

	return what == IPC_CARRY_IN && (s->owes || (!s->dry && s->engine->holds(s->session)));
}

/* What the engine itself has to say leaves while the connection reads. */
static short seal_shown_by(const struct ipc_carrier *k, enum ipc_carry_wait what)
{
	if (what == IPC_CARRY_GONE)
		return EV_READ | EV_ET;
	if (what == IPC_CARRY_OUT)
		return EV_WRITE;
	return EV_READ | (ipc_seal_unsent(k->seal) && !k->seal->sealed && !k->seal->said_end ? EV_WRITE : 0);
}

static void seal_shut_read(struct ipc_carrier *k)
{
	ipc_os_shutdown_read(k->own.r.fd);
}

static int seal_shut_write(struct ipc_carrier *k)
{
	struct ipc_seal *s = k->seal;

	s->own = &k->own;
	if (!s->said_end && !s->broken)
		s->engine->say_end(s->session);
	s->said_end = true;
	if (push(s) == -1 && (errno == EAGAIN || errno == ENOBUFS)) {
		errno = EAGAIN;
		return -1;
	}
	ipc_own_close_write(&k->own);
	return 0;
}

/* An end that was not said is a loss in any case. */
static int seal_set_reset(struct ipc_carrier *k, bool on)
{
	(void)k;
	(void)on;
	errno = EOPNOTSUPP;
	return -1;
}

/* A record may have come in part, and takes all the memory that the engine reads into. */
static size_t seal_held(const struct ipc_carrier *k)
{
	return k->seal->engine->holds(k->seal->session) ? IPC_ENGINE_AHEAD : 0;
}

static bool seal_all_arrived(const struct ipc_carrier *k)
{
	return !ipc_seal_unsent(k->seal) && ipc_os_all_arrived(k->own.r.fd);
}

static void seal_close(struct ipc_carrier *k)
{
	ipc_own_close(&k->own);
	ipc_carry_by_fd(k);
	ipc_seal_free(k->seal);
	k->seal = NULL;
}

static const struct ipc_carry by_seal = {
	.read = seal_read,
	.write = seal_write,
	.at_hand = seal_at_hand,
	.shown_by = seal_shown_by,
	.left = ipc_carry_hung_up,
	.shut_read = seal_shut_read,
	.shut_write = seal_shut_write,
	.set_reset = seal_set_reset,
	.held = seal_held,
	.all_arrived = seal_all_arrived,
	.close = seal_close,
};

void ipc_carry_by_seal(struct ipc_carrier *k, struct ipc_seal *s)
{
	k->how = &by_seal;
	k->seal = s;
	k->can = IPC_CARRY_ONE | IPC_CARRY_READ_OUT | IPC_CARRY_SAYS_END;
}

int ipc_seal_tell(const struct ipc_carrier *k, int field, char *buf, size_t size)
{
	if (k->how == &by_seal)
		return k->seal->engine->tell(k->seal->session, field, buf, size);
	errno = k->own.r.fd == -1 && k->own.w.fd == -1 ? ENOTCONN : EOPNOTSUPP;
	return -1;
}
