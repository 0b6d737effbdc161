/*
 * aiolistener: accepts peers, within limits, and gives each of them to a callback as a connection. It knows how many peers there are, which of
 * them have sent no whole message yet, and how much they hold together: a hook of each connection tells it. listen.c makes its socket.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <aioipc/end.h>
#include <aioipc/listener.h>

#include "ipc/carry/seal.h"
#include "ipc/conn/input.h"
#include "ipc/conn/life.h"
#include "ipc/end/end.h"
#include "ipc/os/log.h"
#include "ipc/net/chain.h"
#include "ipc/net/greet.h"
#include "ipc/net/listen.h"
#include "ipc/net/secure.h"
#include "ipc/net/socket.h"
#include "ipc/os/os.h"
#include "ipc/os/sized.h"

#define PEERS_DEFAULT 4096
#define TOTAL_DEFAULT ((size_t)256 << 20)
#define BACKLOG_DEFAULT 65535 /* the kernel has a limit of its own */
#define MODE_DEFAULT 0600
#define TURN_PEERS 64 /* most peers accepted in one turn */
#define BACK_OFF_NS (INT64_C(100) * 1000 * 1000)
#define PATIENCE_NS (INT64_C(1000) * 1000 * 1000) /* a silent peer has this time, if others wait */
#define LOOK_NS (INT64_C(1000) * 1000)            /* the time to read what a peer has sent */
#define PROGRESS 1024 /* a peer that sends so many bytes in PATIENCE_NS is not silent */

struct peer {
	struct ipc_chain link; /* the first member */
	struct ipc_conn_hook hook;
	struct aioconn *conn;
	struct aiolistener *listener;
	int64_t since;  /* since then it has sent no whole message */
	uint64_t heard; /* its bytes at that time */
	bool looked_at; /* its time is over, and what had come by then is being read */
	bool spoke;     /* it is in the list `talking`, else in `silent` */
};

/*
 * The user pauses and resumes it:      OPEN <---> PAUSED, and both ---> GONE: freed
 * While it rests, it accepts nobody:   AWAKE <---> BACKS_OFF, AWAKE <---> CROWDED
 */
enum life { OPEN, PAUSED, GONE };
enum rest {
	AWAKE,
	BACKS_OFF, /* no descriptors or no memory: for some time, or until a connection is gone */
	CROWDED,   /* as many peers are silent as are allowed: for some time, or until one speaks */
};

struct aiolistener {
	struct ipc_listen socket;
	struct ipc_greeter *greeter; /* of tls: peers shake hands before they are peers; NULL */
	struct ipc_own reserve;      /* a descriptor to close when the process has no other */
	struct event_base *base;
	struct ipc_watch *watch; /* its timer ends a rest */
	aiolistener_cb *cb;
	void *arg;
	struct ipc_ledger ledger;
	struct ipc_watch *shed; /* a timer that runs while all peers together hold too much */
	struct aiolistener_stats stats;
	struct ipc_chain silent, talking;
	unsigned peers, silents, most_peers, most_silents;
	uid_t *uids;
	size_t n_uids;
	unsigned holds;
	enum life life;
	enum rest rest;
	bool said; /* a failure was logged, and no peer was accepted since */
};

static void hold(struct aiolistener *l)
{
	l->holds++;
}

static void release(struct aiolistener *l)
{
	if (--l->holds)
		return;
	free(l->uids);
	free(l);
}

static bool is_ready(const struct aiolistener *l)
{
	return ipc_greeter_counts(l->greeter).ready;
}

/* May one more peer be accepted? Encrypted ones shake hands even while they have to wait. Their memory counts to the total. */
static bool wants_more(const struct aiolistener *l)
{
	if (l->rest != AWAKE || l->life == GONE)
		return false;
	return l->greeter ? !l->ledger.over : l->life == OPEN && l->peers < l->most_peers;
}

/* Tells the loop what to wait for. */
static void interest(struct aiolistener *l)
{
	bool more = wants_more(l);

	if (l->watch && l->life == OPEN && l->rest == AWAKE && l->peers < l->most_peers && is_ready(l))
		ipc_watch_later(l->watch, 0);
	if (l->watch && ipc_watch_want(l->watch, more ? EV_READ : 0) == -1)
		ipc_watch_later(l->watch, BACK_OFF_NS);
}

static void wake_from(struct aiolistener *l, enum rest rest)
{
	if (l->rest == rest)
		l->rest = AWAKE;
}

static struct peer *peer_of(struct ipc_conn_hook *h)
{
	return (struct peer *)(void *)((char *)h - offsetof(struct peer, hook));
}

/* From now on the peer has some time to send a whole message. */
static void give_time(struct peer *p)
{
	p->since = ipc_os_now();
	p->heard = p->conn->bytes_in;
	p->looked_at = false;
	ipc_chain_leave(&p->link);
	ipc_chain_add(&p->listener->silent, &p->link);
}

static void mark_silent(struct peer *p)
{
	if (!p->spoke)
		return;
	p->spoke = false;
	p->listener->silents++;
	give_time(p);
}

static void mark_spoken(struct peer *p)
{
	if (p->spoke)
		return;
	p->spoke = true;
	p->listener->silents--;
	wake_from(p->listener, CROWDED);
	ipc_chain_leave(&p->link);
	ipc_chain_add(&p->listener->talking, &p->link);
}

static void on_owes(struct ipc_conn_hook *h, bool owes)
{
	struct peer *p = peer_of(h);

	if (owes)
		mark_silent(p);
	else
		mark_spoken(p);
	interest(p->listener);
}

static void on_gone(struct ipc_conn_hook *h)
{
	struct peer *p = peer_of(h);
	struct aiolistener *l = p->listener;

	mark_spoken(p);
	ipc_chain_leave(&p->link);
	free(p);
	l->peers--;
	wake_from(l, BACKS_OFF);
	interest(l);
}

static const struct ipc_conn_hook_calls hook_calls = {.owes = on_owes, .gone = on_gone};

/* The bytes of a half message of a peer that holds more than its share; else 0. */
static size_t half_of(const struct aiolistener *l, struct peer *p)
{
	struct aioconn *c = p->conn;

	if (c->way_in >= IPC_IN_ENDED || c->charged <= l->ledger.share || c->charged > l->ledger.held / 2)
		return 0;
	return ipc_in_owes(&c->in) ? ipc_in_memory(&c->in) : 0;
}

static void find_largest(const struct aiolistener *l, const struct ipc_chain *list, struct peer **found)
{
	for (struct ipc_chain *at = list->next; at != list; at = at->next) {
		struct peer *p = (struct peer *)(void *)at;

		if (half_of(l, p) > (*found ? half_of(l, *found) : 0))
			*found = p;
	}
}

/*
 * All peers together have held too much for a second. Whole messages wait for us, so their peers are not to blame. The peer with the
 * largest half message is closed, and the next one, until there is room.
 */
static void on_shed(short what, void *arg)
{
	struct aiolistener *l = arg;
	struct peer *p = NULL;

	(void)what;
	if (!l->ledger.over)
		return;
	find_largest(l, &l->silent, &p);
	find_largest(l, &l->talking, &p);
	if (p) {
		l->stats.closed_large++;
		ipc_conn_end(p->conn, AIOCONN_LOST, ECONNRESET,
			     "closed here: half of a large message, and all peers together held too much");
		ipc_in_drop(&p->conn->in);
		ipc_in_rest(&p->conn->in);
		ipc_conn_charge(p->conn);
		ipc_conn_soon(p->conn);
	}
	if (l->ledger.over)
		ipc_watch_later(l->shed, p ? 0 : PATIENCE_NS);
}

static void wake_all(const struct ipc_chain *list)
{
	for (struct ipc_chain *at = list->next; at != list; at = at->next)
		ipc_conn_soon(((struct peer *)(void *)at)->conn);
}

/* The total has changed. If there is room again, peers that were not read are read again. */
static void on_total(struct ipc_ledger *ledger)
{
	struct aiolistener *l =
		(struct aiolistener *)(void *)((char *)ledger - offsetof(struct aiolistener, ledger));

	if (l->life == GONE)
		return;
	if (ledger->over) {
		ipc_watch_later(l->shed, PATIENCE_NS);
		return;
	}
	wake_all(&l->silent);
	wake_all(&l->talking);
	interest(l);
}

/* Bytes that were not read yet; or, on a listening socket, a peer that was not accepted yet. */
static bool is_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return ipc_os_poll(&p, 1, 0) == 1;
}

static bool has_input(struct peer *p)
{
	return ipc_carry_at_hand(&p->conn->carrier, IPC_CARRY_IN) || is_readable(aioconn_fd(p->conn));
}

/* How long the peer may still be silent; 0: no longer. What it has sent by then is read first. A peer that goes on sending has more time. */
static int64_t time_left(struct peer *p)
{
	int64_t left = p->since + PATIENCE_NS - ipc_os_now();

	if (left > 0)
		return left;
	if (!p->looked_at && has_input(p)) {
		p->looked_at = true;
		return LOOK_NS;
	}
	if (p->conn->bytes_in - p->heard < PROGRESS)
		return 0;
	give_time(p);
	return LOOK_NS; /* the time of the next peer, which is the first now */
}

/* The peer has sent something, and we do not read it: it is not silent. */
static bool is_not_read(struct peer *p)
{
	return !ipc_conn_is_read(p->conn) && has_input(p);
}

/*
 * May one more peer be silent? If there are too many, others wait until the one that was silent longest has had its time. Then that one is
 * closed.
 */
static bool may_be_silent(struct aiolistener *l)
{
	struct peer *first = (struct peer *)(void *)l->silent.next;
	int64_t left;

	if (!l->most_silents || l->silents < l->most_silents)
		return true;
	if (is_not_read(first)) {
		mark_spoken(first);
		return true;
	}
	left = time_left(first);
	if (left > 0) {
		if (ipc_watch_after(l->watch, left) == 0)
			l->rest = CROWDED;
		return false;
	}
	if (!is_ready(l) && !is_readable(l->socket.own.r.fd))
		return false;
	mark_spoken(first);
	l->stats.closed_silent++;
	ipc_conn_end(first->conn, AIOCONN_LOST, ECONNRESET, "closed here: it was silent, and others waited");
	ipc_conn_soon(first->conn);
	return true;
}

static bool is_welcome(const struct aiolistener *l, int fd)
{
	uid_t uid;

	if (!l->n_uids)
		return true;
	if (ipc_os_peer_cred(fd, NULL, &uid, NULL) == -1)
		return false;
	for (size_t i = 0; i < l->n_uids; i++)
		if (l->uids[i] == uid)
			return true;
	ipc_log("%s: closed a peer of user %ld, who is not allowed", l->socket.address, (long)uid);
	return false;
}

/* Makes an end a connection that the listener knows. */
static struct aioconn *admit(struct aiolistener *l, struct aioend *end, struct ipc_seal *seal)
{
	struct peer *p = malloc(sizeof *p);

	if (!p)
		return NULL;
	*p = (struct peer){.hook.calls = &hook_calls, .listener = l, .since = ipc_os_now()};
	if (l->socket.ring)
		end->ring = IPC_RING_OFFERS;
	p->conn = ipc_conn_open(end, l->base, seal);
	if (!p->conn) {
		free(p);
		return NULL;
	}
	ipc_conn_hook(p->conn, &p->hook);
	ipc_conn_put_on(p->conn, &l->ledger);
	ipc_chain_add(&l->silent, &p->link);
	l->silents++;
	l->peers++;
	return p->conn;
}

/* There is no descriptor or memory to accept a peer. It waits, and the loop waits too: for some time, or until a connection is gone. */
static void back_off(struct aiolistener *l, int error)
{
	if (!l->said)
		ipc_log("%s: can't accept a peer: %s", l->socket.address, strerror(error));
	l->said = true;
	l->rest = ipc_watch_after(l->watch, BACK_OFF_NS) == 0 ? BACKS_OFF : AWAKE;
}

/* Accepts the first peer with the reserved descriptor, and closes it: so it knows that nobody will serve it. */
static void turn_away(struct aiolistener *l)
{
	struct ipc_own own;

	ipc_own_init(&own);
	ipc_own_close(&l->reserve);
	if (ipc_net_accept(&own, l->socket.own.r.fd) == 0)
		l->stats.turned_away++;
	ipc_own_close(&own);
	ipc_own_init(&l->reserve);
	ipc_net_socket(&l->reserve, AF_UNIX, SOCK_STREAM);
}

/* Accepts a peer, as an end. NULL: none waits, or none can be accepted. */
static struct aioend *take(struct aiolistener *l)
{
	struct aioend *end = ipc_end_new();
	int error = ENOMEM;

	if (end && ipc_net_accept(&end->own, l->socket.own.r.fd) == 0)
		return end;
	if (end)
		error = errno;
	aioend_free(end);
	if (error == EMFILE || error == ENFILE)
		turn_away(l);
	if (error != EAGAIN)
		back_off(l, error);
	return NULL;
}

/* Gives it to the user. */
static bool serve(struct aiolistener *l, struct aioend *end, struct ipc_seal *seal)
{
	struct aioconn *c = admit(l, end, seal);

	if (!c) {
		back_off(l, errno);
		ipc_seal_free(seal);
		aioend_free(end);
		return false;
	}
	l->said = false;
	l->stats.accepted++;
	l->cb(l, c, l->arg);
	return true;
}

static bool greet(struct aiolistener *l, struct aioend *end)
{
	if (ipc_greet(l->greeter, end) == 0)
		return true;
	back_off(l, errno);
	aioend_free(end);
	return false;
}

/* True if more peers may wait. */
static bool serve_one(struct aiolistener *l)
{
	struct aioend *end = take(l);

	if (!end)
		return false;
	if (!is_welcome(l, end->own.r.fd)) {
		aioend_free(end);
		l->stats.turned_away++;
		return true;
	}
	return l->greeter ? greet(l, end) : serve(l, end, NULL);
}

/* False in a child that a callback forked: there the listener is closed. */
static bool is_open(const struct aiolistener *l)
{
	return l->life == OPEN && ipc_own_check(&l->socket.own) == 0 && l->peers < l->most_peers;
}

/* The same for handshakes. When there are too many, others wait as for silent peers. */
static bool may_greet(struct aiolistener *l)
{
	int64_t ns = 0;

	if (!wants_more(l))
		return false;
	if (ipc_greeter_has_room(l->greeter, is_readable(l->socket.own.r.fd), &ns))
		return true;
	if (ns > 0 && ipc_watch_after(l->watch, ns) == 0)
		l->rest = CROWDED;
	return false;
}

static bool has_room(struct aiolistener *l)
{
	if (l->greeter)
		return ipc_own_check(&l->socket.own) == 0 && may_greet(l);
	return is_open(l) && may_be_silent(l);
}

/* Those whose handshake is done. */
static void serve_ready(struct aiolistener *l)
{
	struct ipc_seal *seal;
	struct aioend *end;

	while (is_open(l) && is_ready(l) && may_be_silent(l)) {
		end = ipc_greeter_take(l->greeter, &seal);
		if (!serve(l, end, seal))
			break;
	}
}

static void on_greeted(void *arg)
{
	struct aiolistener *l = arg;

	hold(l);
	wake_from(l, CROWDED);
	serve_ready(l);
	interest(l);
	release(l);
}

static void on_charge(void *arg, size_t more, size_t less)
{
	struct aiolistener *l = arg;

	ipc_ledger_charge(&l->ledger, more, less);
}

static void on_ready(short what, void *arg)
{
	struct aiolistener *l = arg;
	unsigned n;

	if (what & EV_TIMEOUT)
		l->rest = AWAKE;
	hold(l);
	serve_ready(l);
	for (n = 0; (what & EV_READ) && n < TURN_PEERS; n++)
		if (!has_room(l) || !serve_one(l))
			break;
	interest(l);
	release(l);
}

static int copy_options(struct aiolistener *l, const struct aiolistener_options *o)
{
	l->most_peers = o->peers ? o->peers : PEERS_DEFAULT;
	l->most_silents = o->silent;
	l->ledger.most = o->total ? o->total : TOTAL_DEFAULT;
	l->ledger.share = l->ledger.most / 4 / l->most_peers;
	l->ledger.changed = on_total;
	if (!o->n_uids)
		return 0;
	l->uids = calloc(o->n_uids, sizeof *l->uids);
	if (!l->uids)
		return -1;
	memcpy(l->uids, o->uids, o->n_uids * sizeof *l->uids);
	l->n_uids = o->n_uids;
	return 0;
}

static void set_how(struct ipc_listen_options *how, const struct aiolistener_options *o)
{
	unsigned backlog = o->backlog && o->backlog < BACKLOG_DEFAULT ? o->backlog : BACKLOG_DEFAULT;

	*how = (struct ipc_listen_options){
		.mode = o->mode ? o->mode : MODE_DEFAULT,
		.backlog = (int)backlog,
		.keepalive = {.idle = o->keepalive, .timeout = o->user_timeout},
	};
}

/* NULL, or a text that says what is wrong. */
static const char *check_options(const struct aiolistener_options *o, enum ipc_address_kind kind)
{
	if (o->n_uids && (!o->uids || kind == IPC_ADDRESS_TCP))
		return "only a unix socket tells the user of a peer";
	if (o->mode && kind != IPC_ADDRESS_PATH)
		return "only a socket in the file system has a mode";
	if (o->keepalive < AIOIPC_FOREVER || o->user_timeout < AIOIPC_FOREVER)
		return "a negative time";
	return o->mode & ~(mode_t)0777 ? "no such mode" : NULL;
}

/* -1/EINVAL, which is logged in words. */
static int check(const char *address, struct event_base *base, const struct aiolistener_options *o,
		 aiolistener_cb *cb, struct ipc_address *a)
{
	const char *why = NULL;
	int error = EINVAL;

	if (!base || !cb)
		why = "no base or no callback";
	else if (ipc_address_read(a, address, IPC_TO_LISTEN, &why) == 0)
		why = check_options(o, a->kind);
	if (!why && ipc_secure_check(a, o->tls, true, &why) == -1)
		error = errno;
	if (!why)
		return 0;
	ipc_log("listen on %s: %s", address ? address : "", why);
	errno = error;
	return -1;
}

static struct aiolistener *make(struct event_base *base, aiolistener_cb *cb, void *arg)
{
	struct aiolistener *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	l->base = base;
	l->cb = cb;
	l->arg = arg;
	l->holds = 1;
	ipc_chain_init(&l->silent);
	ipc_chain_init(&l->talking);
	ipc_own_init(&l->reserve);
	return l;
}

static struct ipc_greeter *make_greeter(struct aiolistener *l, struct aiotls *t)
{
	const struct ipc_greeter_owner owner = {.changed = on_greeted, .charge = on_charge, .arg = l};

	return ipc_greeter_new(t, l->base, l->socket.address, &owner);
}

struct aiolistener *aiolistener_new(const char *address, struct event_base *base,
				    const struct aiolistener_options *given, aiolistener_cb *cb, void *arg)
{
	struct aiolistener_options all = {0};
	const struct aiolistener_options *const o = &all;
	struct ipc_listen_options how;
	struct ipc_address a;
	struct aiolistener *l;
	int error;

	if (given && ipc_sized_take(&all, sizeof all, given) == -1)
		return NULL;
	if (check(address, base, o, cb, &a) == -1 || ipc_watch_base_ok(base) == -1)
		return NULL;
	l = make(base, cb, arg);
	if (!l)
		return NULL;
	set_how(&how, o);
	if (copy_options(l, o) == -1 || ipc_listen_open(&l->socket, &a, base, &how) == -1)
		goto fail;
	if (ipc_net_socket(&l->reserve, AF_UNIX, SOCK_STREAM) == -1)
		goto fail_listening;
	l->watch = ipc_watch_new(base, l->socket.own.r.fd, on_ready, l);
	l->shed = ipc_watch_new(base, -1, on_shed, l);
	if (o->tls && !(l->greeter = make_greeter(l, o->tls)))
		goto fail_listening;
	if (!l->watch || !l->shed || ipc_watch_want(l->watch, EV_READ) == -1)
		goto fail_listening;
	return l;

fail_listening:
	error = errno;
	ipc_greeter_free(l->greeter);
	ipc_watch_free(l->watch);
	ipc_watch_free(l->shed);
	ipc_own_close(&l->reserve);
	ipc_listen_close(&l->socket);
	errno = error;
fail:
	release(l);
	return NULL;
}

const char *aiolistener_address(const struct aiolistener *l)
{
	return l->socket.address;
}

int aiolistener_port(const struct aiolistener *l)
{
	return l->socket.port;
}

int aiolistener_stats(const struct aiolistener *l, struct aiolistener_stats *stats)
{
	struct aiolistener_stats s = l->stats;

	s.refused = ipc_greeter_counts(l->greeter).refused;
	s.shaking = ipc_greeter_counts(l->greeter).shaking;
	s.peers = l->peers;
	s.silent = l->silents;
	s.held = l->ledger.held;
	s.peak = l->ledger.peak;
	return ipc_sized_give(stats, &s, sizeof s);
}

void aiolistener_pause(struct aiolistener *l)
{
	l->life = PAUSED;
	interest(l);
}

void aiolistener_resume(struct aiolistener *l)
{
	l->life = OPEN;
	interest(l);
}

/* The connections stay, and no longer belong to a listener. */
static void forget(struct ipc_chain *list)
{
	while (list->next != list) {
		struct peer *p = (struct peer *)(void *)list->next;

		ipc_chain_leave(&p->link);
		ipc_conn_unhook(p->conn, &p->hook);
		ipc_conn_put_on(p->conn, NULL);
		free(p);
	}
}

void aiolistener_free(struct aiolistener *l)
{
	int error = errno;

	if (!l)
		return;
	l->life = GONE;
	forget(&l->silent);
	forget(&l->talking);
	ipc_greeter_free(l->greeter);
	ipc_watch_free(l->watch);
	ipc_watch_free(l->shed);
	l->watch = l->shed = NULL;
	l->greeter = NULL;
	ipc_own_close(&l->reserve);
	ipc_listen_close(&l->socket);
	release(l);
	errno = error;
}
