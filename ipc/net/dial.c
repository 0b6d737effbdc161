/* One attempt to connect. See dial.h. */
#include "ipc/net/dial.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/carry/engine.h"
#include "ipc/carry/seal.h"
#include "ipc/conn/conn.h"
#include "ipc/end/end.h"
#include "ipc/os/log.h"
#include "ipc/net/address.h"
#include "ipc/net/local.h"
#include "ipc/net/lookup.h"
#include "ipc/net/secure.h"
#include "ipc/net/socket.h"
#include "ipc/os/socket.h"

#define MS_NS (INT64_C(1000) * 1000)
#define RETRY_NS                                                                                             \
	(10 * MS_NS) /* the backlog of a unix peer is full: the kernel does not tell when there is room */
#define DELAY_NS (250 * MS_NS) /* from one address to the next; not less than: */
#define DELAY_LEAST_NS (10 * MS_NS)

/* A socket that is being connected. */
struct call {
	struct aioend *end;
	const struct addrinfo *to;
	bool waits; /* connect() was called, and has not finished */
};

/*
 *	NEW ---> LOOKS_UP ---> CONNECTS ---> OVER: connected, or failed for good
 *	  |     (TCP only)        ^           ^
 *	  +-----------------------+     from each of these
 */
enum life { NEW, LOOKS_UP, CONNECTS, OVER };

struct ipc_dial {
	struct ipc_address address;
	struct ipc_os_keepalive keepalive;
	const struct ipc_local *local; /* NULL: the kernel chooses */
	struct ipc_lookup *lookup;
	struct addrinfo path; /* for a unix socket */
	const struct addrinfo
		*way[2]; /* addresses still to be tried: of the first one's family, and of others */
	int family;      /* of the first address */
	bool turn;       /* the next address is of way[turn] */
	struct call call[IPC_DIAL_MOST]; /* the oldest first */
	unsigned calls;
	int64_t delay, next_at; /* when the next address is to be tried */
	int64_t until;
	struct aioend *end; /* the one that is connected */
	struct aiotls *tls; /* NULL: it is not encrypted */
	struct ipc_seal *seal;
	int64_t shaken_until; /* the end of its handshake, at the latest */
	enum life life;
	int error; /* of those addresses that failed, the one that tells most */
	const char *why;
	uint32_t epoch;
};

struct ipc_dial *ipc_dial_new_tls(const char *address, struct aiotls *tls)
{
	struct ipc_dial *d = calloc(1, sizeof *d);
	const char *why;
	int error;

	if (!d)
		return NULL;
	d->why = "";
	d->epoch = ipc_epoch();
	if (ipc_address_read(&d->address, address, IPC_TO_CONNECT, &why) == 0 &&
	    ipc_secure_check(&d->address, tls, false, &why) == 0) {
		d->tls = ipc_secure_ref(tls);
		return d;
	}
	error = errno;
	ipc_log("connect to %s: %s", address ? address : "", why);
	free(d);
	errno = error;
	return NULL;
}

struct ipc_dial *ipc_dial_new(const char *address)
{
	return ipc_dial_new_tls(address, NULL);
}

void ipc_dial_keep_alive(struct ipc_dial *d, const struct ipc_os_keepalive *k)
{
	d->keepalive = *k;
}

void ipc_dial_from(struct ipc_dial *d, const struct ipc_local *local)
{
	d->local = local;
}

void ipc_dial_until(struct ipc_dial *d, int64_t until)
{
	d->until = until;
}

/* The first address from @ai on that is of @family, or is not (@is). */
static const struct addrinfo *next_of(const struct addrinfo *ai, int family, bool is)
{
	while (ai && (ai->ai_family == family) != is)
		ai = ai->ai_next;
	return ai;
}

/* If there is little time, the addresses share the first half of it. */
static int64_t delay_between(const struct addrinfo *ai, int64_t until)
{
	int64_t n = 0, share;

	if (!until)
		return DELAY_NS;
	for (; ai; ai = ai->ai_next)
		n++;
	share = (until - ipc_os_now()) / 2 / n;
	if (share > DELAY_NS)
		return DELAY_NS;
	return share > DELAY_LEAST_NS ? share : DELAY_LEAST_NS;
}

static void found(struct ipc_dial *d, const struct addrinfo *ai)
{
	d->life = CONNECTS;
	d->family = ai->ai_family;
	d->way[0] = ai;
	d->way[1] = next_of(ai, ai->ai_family, false);
	d->delay = delay_between(ai, d->until);
}

/* Finds out which addresses to try. Returns 1, 0 or -1, like a step. */
static int begin(struct ipc_dial *d)
{
	if (d->address.kind == IPC_ADDRESS_TCP) {
		d->lookup = ipc_lookup_start(d->address.host, d->address.port);
		d->life = LOOKS_UP;
		return d->lookup ? 1 : -1;
	}
	d->path = (struct addrinfo){.ai_family = AF_UNIX,
				    .ai_addr = (struct sockaddr *)(void *)&d->address.un,
				    .ai_addrlen = d->address.un_len};
	found(d, &d->path);
	return 1;
}

static void log_why(const struct ipc_dial *d)
{
	ipc_log("connect to %s://%s:%s: %s", d->tls ? "tls" : "tcp", d->address.host, d->address.port,
		d->why);
}

static int look_up(struct ipc_dial *d, struct ipc_dial_wait *w)
{
	const struct addrinfo *ai;
	int r = ipc_lookup_take(d->lookup, &ai, &d->why, &w->ns);

	if (r == 0)
		w->fd[w->n++] = (struct pollfd){.fd = ipc_lookup_fd(d->lookup), .events = POLLIN};
	if (r == -1)
		log_why(d);
	if (r == 1)
		found(d, ai);
	return r;
}

/* How much an error tells. Most: a host said no. Less: no host answered. Least: this machine has no such network. */
static int weight(int error)
{
	switch (error) {
	case 0:
		return 0;
	case EAFNOSUPPORT:
	case EADDRNOTAVAIL:
	case ENETUNREACH:
		return 1;
	case EHOSTUNREACH:
	case ETIMEDOUT:
		return 2;
	default:
		return 3;
	}
}

/* Of two errors that tell as much, the first is kept: the best addresses come first. */
static void note(struct ipc_dial *d, int error)
{
	if (weight(error) > weight(d->error))
		d->error = error;
}

/* This process lacks something: the address is not at fault. */
static bool is_ours(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

static void hang_up(struct ipc_dial *d, unsigned i)
{
	int error = errno;

	aioend_free(d->call[i].end);
	for (d->calls--; i < d->calls; i++)
		d->call[i] = d->call[i + 1];
	errno = error;
}

static void hang_up_all(struct ipc_dial *d)
{
	while (d->calls)
		hang_up(d, d->calls - 1);
}

/* A new socket, not connected. */
static struct aioend *open_socket(const struct ipc_dial *d, int family)
{
	struct aioend *end = ipc_end_new();
	int error;

	if (!end)
		return NULL;
	if (ipc_net_socket(&end->own, family, SOCK_STREAM) == -1) {
		ipc_end_dispose(end);
		return NULL;
	}
	if (family != AF_UNIX)
		ipc_os_keep_alive(end->own.r.fd, &d->keepalive);
	if (!d->local || ipc_local_bind(d->local, end->own.r.fd, family) == 0)
		return end;
	error = errno;
	aioend_free(end);
	errno = error;
	return NULL;
}

/* 1: connected; 0: wait; -1: failed. */
static int go_on(struct call *c)
{
	int fd = c->end->own.r.fd, r;

	if (!c->waits) {
		r = ipc_os_connect(fd, c->to->ai_addr, c->to->ai_addrlen);
		if (r == -1 && errno == EAGAIN && c->to->ai_family == AF_UNIX)
			return 0;
		if (r == -1 && errno != EINPROGRESS)
			return -1;
		c->waits = true;
	}
	return ipc_os_connected(fd);
}

/* Goes on with each socket that is connecting. True when one is connected. */
static bool look_at_calls(struct ipc_dial *d)
{
	for (unsigned i = 0; i < d->calls;) {
		int r = go_on(&d->call[i]);

		if (r == 1) {
			d->end = d->call[i].end;
			d->call[i].end = NULL;
			hang_up_all(d);
			return true;
		}
		if (r == 0) {
			i++;
			continue;
		}
		note(d, errno);
		hang_up(d, i);
		d->next_at = 0;
	}
	return false;
}

static bool is_next_due(const struct ipc_dial *d)
{
	return (d->way[0] || d->way[1]) && (!d->calls || ipc_os_now() >= d->next_at);
}

/* The index of the next address in way[]: families take turns. */
static bool next_way(const struct ipc_dial *d)
{
	return d->way[d->turn] ? d->turn : !d->turn;
}

/* The address is taken from those still to be tried. */
static void pass_by(struct ipc_dial *d, bool way)
{
	const struct addrinfo *ai = d->way[way];

	d->way[way] = next_of(ai->ai_next, d->family, !way);
	d->turn = !way;
}

/* If too many are being tried, the oldest makes room: it had its time. */
static void make_room(struct ipc_dial *d)
{
	if (d->calls < IPC_DIAL_MOST)
		return;
	note(d, ETIMEDOUT);
	hang_up(d, 0);
}

/* Tries the next address. -1: this process lacks something, and no other socket of this dial will give it back. */
static int call_next(struct ipc_dial *d)
{
	bool way = next_way(d);
	const struct addrinfo *to = d->way[way];
	struct aioend *end;

	make_room(d);
	end = open_socket(d, to->ai_family);
	d->next_at = ipc_os_now() + d->delay;
	if (!end && is_ours(errno))
		return d->calls ? 0 : -1;
	pass_by(d, way);
	if (end)
		d->call[d->calls++] = (struct call){.end = end, .to = to};
	else
		note(d, errno);
	return 0;
}

/* When to step again, even if no descriptor is ready. */
static int64_t due_in(const struct ipc_dial *d)
{
	int64_t ns = -1;

	if (d->way[0] || d->way[1]) {
		ns = d->next_at - ipc_os_now();
		ns = ns > 0 ? ns : 0;
	}
	for (unsigned i = 0; i < d->calls; i++)
		if (!d->call[i].waits && (ns < 0 || ns > RETRY_NS))
			ns = RETRY_NS;
	return ns;
}

static void wait_for_calls(const struct ipc_dial *d, struct ipc_dial_wait *w)
{
	w->ns = due_in(d);
	for (unsigned i = 0; i < d->calls; i++)
		if (d->call[i].waits)
			w->fd[w->n++] = (struct pollfd){.fd = d->call[i].end->own.r.fd, .events = POLLOUT};
}

static int connect_to_any(struct ipc_dial *d, struct ipc_dial_wait *w)
{
	while (!look_at_calls(d)) {
		if (is_next_due(d)) {
			if (call_next(d) == -1)
				return -1;
		} else if (d->calls) {
			wait_for_calls(d, w);
			return 0;
		} else {
			errno = d->error;
			return -1;
		}
	}
	return 1;
}

/* The listener of a ring sends the memory when it accepts. */
static int await_hello(struct ipc_dial *d, struct ipc_dial_wait *w)
{
	struct pollfd p = {.fd = d->end->own.r.fd, .events = POLLIN};

	d->end->ring = IPC_RING_COMES;
	if (ipc_os_poll(&p, 1, 0) == 1)
		return 1;
	w->fd[w->n++] = p;
	return 0;
}

/* How far the handshake is; a failure has its words. */
static int shake_once(struct ipc_dial *d)
{
	int r;

	if (!d->seal) {
		d->seal = ipc_seal_new(d->tls, d->address.host);
		d->shaken_until = ipc_os_now() + d->tls->patience;
	}
	if (!d->seal)
		return -1;
	r = ipc_seal_shake(d->seal, &d->end->own);
	if (r == 0 && ipc_os_now() >= d->shaken_until) {
		d->why = "the peer was silent in the handshake of TLS";
		errno = ETIMEDOUT;
		return -1;
	}
	if (r == -1 && ipc_seal_why(d->seal))
		d->why = ipc_seal_why(d->seal);
	return r;
}

/* Encrypted: the peer shows who it is. */
static int shake(struct ipc_dial *d, struct ipc_dial_wait *w)
{
	int r = shake_once(d);
	short out;

	if (r == -1 && *d->why)
		log_why(d);
	if (r != 0)
		return r;
	out = ipc_seal_unsent(d->seal) ? POLLOUT : 0;
	w->fd[w->n++] = (struct pollfd){.fd = d->end->own.r.fd, .events = (short)(POLLIN | out)};
	w->ns = d->shaken_until - ipc_os_now();
	w->ns = w->ns > 0 ? w->ns : 0;
	return 0;
}

static void hang_up_connected(struct ipc_dial *d)
{
	ipc_seal_free(d->seal);
	aioend_free(d->end);
	d->seal = NULL;
	d->end = NULL;
}

/* The failure is final. */
static void fail(struct ipc_dial *d)
{
	d->error = errno;
	hang_up_all(d);
	hang_up_connected(d);
	d->way[0] = d->way[1] = NULL;
	if (!*d->why)
		d->why = strerror(d->error);
}

static int go_as_far_as_can_be(struct ipc_dial *d, struct ipc_dial_wait *w)
{
	int r = 1;

	if (d->life == NEW)
		r = begin(d);
	if (r == 1 && d->life == LOOKS_UP)
		r = look_up(d, w);
	if (r == 1 && !d->end)
		r = connect_to_any(d, w);
	if (r == 1 && d->address.ring)
		r = await_hello(d, w);
	if (r == 1 && d->tls)
		r = shake(d, w);
	if (r == -1)
		fail(d);
	if (r != 0)
		d->life = OVER;
	return r;
}

int ipc_dial_step(struct ipc_dial *d, struct ipc_dial_wait *w)
{
	w->n = 0;
	w->ns = -1;
	if (d->epoch != ipc_epoch()) {
		errno = ECHILD;
		return -1;
	}
	if (d->life != OVER)
		return go_as_far_as_can_be(d, w);
	errno = d->error;
	return d->end ? 1 : -1;
}

bool ipc_dial_looks_up(const struct ipc_dial *d)
{
	return d->life == LOOKS_UP;
}

struct aioconn *ipc_dial_open(struct ipc_dial *d, struct event_base *base)
{
	struct aioconn *c;

	if (!d->end) {
		errno = ENOTCONN;
		return NULL;
	}
	ipc_os_set_nonblock(d->end->own.r.fd, false, NULL);
	c = ipc_conn_open(d->end, base, d->seal);
	if (c) {
		d->end = NULL;
		d->seal = NULL;
	}
	return c;
}

const char *ipc_dial_why(const struct ipc_dial *d)
{
	return d->why;
}

void ipc_dial_free(struct ipc_dial *d)
{
	int error = errno;

	if (!d)
		return;
	hang_up_all(d);
	hang_up_connected(d);
	ipc_secure_unref(d->tls);
	ipc_lookup_free(d->lookup);
	free(d);
	errno = error;
}
