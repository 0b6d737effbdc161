/*
 * aiostream: a queue that a server keeps, Redis 6.2 or later or Valkey, and so goes past one machine and past the life of any process. What
 * is put into the queue of a stream that sends is appended to a stream of the server. One that receives is a member of a group: the messages
 * are shared out among the members of each group.
 *
 * At least once: a member has a message until it is acknowledged. When its process dies, or gives it back, another member is given it. So
 * a handler may see a message again; aiomsg_id() is the same each time. What a sender puts in is in the stream once, and in order, whatever
 * connections break, as long as the sender lives and the server keeps what it has confirmed. A server does so with `appendonly yes`,
 * `appendfsync always` and `maxmemory-policy noeviction`. With `everysec` it may lose two seconds, also when only its process is killed; a
 * replica that takes over may lack what it had not got yet. The library can't see these settings.
 *
 * Order: one member that handles one message at a time sees them in order, but for those that are given again.
 *
 * A message is acknowledged by aiomsg_ack(), or by a service (see <aioipc/service.h>) whose handler returns 0. aiomsg_nack(), or a handler
 * that fails, gives it back; so does freeing it without an answer.
 *
 * States, threads, waiting and their errno are those of a link: see <aioipc/link.h>.
 */
#ifndef AIOIPC_STREAM_H
#define AIOIPC_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <aioipc/base.h>
#include <aioipc/link.h>

#ifdef __cplusplus
extern "C" {
#endif

struct aioqueue;
struct aiostream;
struct aiotls;
struct event_base;

/* 0 and NULL are the defaults. An address and a stream are needed. All texts are copied. */
struct aiostream_options {
	size_t size; /* sizeof(struct aiostream_options) */

	/*
	 * "redis://[user:password@]host[:6379][/database]"; "rediss://..." with TLS; or "redis+unix://[user:password@]/path[?db=number]";
	 * valkey in the place of redis is the same. In a user and a password, %40 is an '@', %3A a ':', %2F a '/' and %25 a '%'.
	 */
	const char *address;
	const char *user, *password; /* instead of those in the address. Neither is ever logged or told */
	struct aiotls *tls; /* of rediss:, where it must be given, and of nothing else: see <aioipc/tls.h> */
	const char *stream; /* its name at the server */

	/*
	 * NULL: it sends. A name: it receives, as a member of this group. "": it receives all that is added from now on, beside any group,
	 * and nothing is acknowledged (a broadcast).
	 */
	const char *group;

	/*
	 * The name of this member. NULL: one that nobody else has. One that was given before gets back what it had when it died; no two that
	 * run at the same time may have the same.
	 */
	const char *member;
	/* NULL: it is made, for 1024 messages and 1 MiB. Else the stream takes a reference. */
	struct aioqueue *queue;

	/*
	 * Milliseconds, as in struct aiolink_options. But when both are 0, they are 100 and 10000: a stream goes on. -1 as the first: it ends
	 * with its first connection or attempt. They are also the pauses before the server is asked again what it refused.
	 */
	int64_t reconnect_first, reconnect_most;
	int64_t connect_limit; /* ms for one attempt to connect; 0: as the next */
	int64_t reply_limit;   /* ms in which the server has to answer; 0: 5000 */

	/* For one that sends. It waits while the stream holds so many messages. 0: 1000000; UINT64_MAX: it never waits. */
	uint64_t most;

	/* The others are for one that receives. The group begins with all that is in the stream, if it is made here; else with what follows. */
	bool from_start;
	bool keep; /* what all groups have acknowledged stays in the stream; else it is removed now and then */
	/* Messages that it has and that are not acknowledged, those in the queue included; 0: 256; at most 65536. */
	unsigned prefetch;
	unsigned tries; /* after so many a message goes to the stream NAME:dead; 0: 10; UINT_MAX: never */

	/*
	 * Milliseconds after which another member may have what this one has. It is renewed as long as this process lives. All members of
	 * a group should have the same. 0: 30000; at least 100.
	 */
	int64_t lease;
	int64_t handle_limit; /* ms after which the lease of a message is not renewed any more, as its handler may hang; 0: it always is */
};

/*
 * Makes a stream that is not started. Errno: EINVAL; the log says in words why: no address, no name, an option for the other direction,
 * impossible numbers, and so on. EPROTONOSUPPORT (rediss: without a struct aiotls). Since 0.2.
 */
AIOIPC_API struct aiostream *aiostream_new(const struct aiostream_options *o);

/* As aiolink_on_state() and aiolink_start(), with their errno. Since 0.2. */
typedef void aiostream_state_cb(struct aiostream *s, enum aiolink_state state, void *arg);
AIOIPC_API int aiostream_on_state(struct aiostream *s, aiostream_state_cb *cb, void *arg);
AIOIPC_API int aiostream_start(struct aiostream *s, struct event_base *base);

/*
 * Its queue: what is to be sent, or what was received. It lives as long as the stream; aioqueue_ref() keeps it longer. Close it to
 * end the stream in good order, as aiostream_close() does. When the stream ends, it closes the queue, unless others share it.
 *
 * Any message may be sent, but those with descriptors; they are dropped, counted and told to the log. Since 0.2.
 */
AIOIPC_API struct aioqueue *aiostream_queue(const struct aiostream *s);

/* As aiolink_wait_connected(), aiolink_join() and aiolink_state(). Since 0.2. */
AIOIPC_API int aiostream_wait_connected(struct aiostream *s, int64_t deadline);
AIOIPC_API int aiostream_join(struct aiostream *s, int64_t deadline);
AIOIPC_API enum aiolink_state aiostream_state(const struct aiostream *s);

/*
 * What is wrong now, or why it ended, as an errno and in words; what the server said, in its own: "OOM command not allowed ...". 0 and "":
 * nothing. An error of the server ends nothing: what it refused is asked again, after pauses that grow up to reconnect_most.
 *
 * ECONNREFUSED and the others of a link. EACCES (NOAUTH, WRONGPASS, NOPERM; or a certificate was not taken), ENOSPC (OOM, or the stream holds `most` messages), EROFS
 * (READONLY: it is a replica), EAGAIN (LOADING, CLUSTERDOWN, TRYAGAIN, MASTERDOWN, BUSY; MOVED and ASK, which are followed), EIO (MISCONF,
 * NOREPLICAS), EINVAL (WRONGTYPE: the name is that of something else; CROSSSLOT), ENOENT (NOGROUP: the group is made again), EMSGSIZE (an
 * entry, or an answer, of more than 64 MiB), ETIMEDOUT (it does not answer), EPROTO (it is no such server; any other error). Since 0.2.
 */
AIOIPC_API int aiostream_error(const struct aiostream *s);
AIOIPC_API int aiostream_why(const struct aiostream *s, char *buf, size_t size);

struct aiostream_stats {
	size_t size;          /* sizeof(struct aiostream_stats) */
	uint64_t connections; /* that were made; a member of a group has two at a time */
	uint64_t sent;        /* messages that the server has confirmed */
	uint64_t resent;   /* messages that were asked to be appended a second time, as they were not there */
	uint64_t refused;  /* messages that can't be sent; they were dropped, and the log was told */
	uint64_t received; /* messages that were put into the queue */
	uint64_t again;    /* of these: those that were given before, here or elsewhere */
	uint64_t acked;    /* confirmed by the server */
	uint64_t nacked;   /* given back */
	uint64_t late;     /* acknowledged here, when somebody else had done so already */
	uint64_t dead;     /* moved to NAME:dead */
	/* Removed from the stream by others before they were acknowledged: lost; of a broadcast: gaps. */
	uint64_t vanished;
	uint64_t in_work; /* now: had, and not answered */
};

/* Fills *@stats, up to the size that @stats->size says. Errno: EINVAL, ECHILD. Since 0.2. */
AIOIPC_API int aiostream_stats(const struct aiostream *s, struct aiostream_stats *stats);

/*
 * aiostream_close: one that sends has sent all, and all is confirmed. One that receives takes no more, gives back what nobody has got from
 * its queue yet, waits until the rest is answered, and tells the server. Until @deadline; then it gives back what is not answered, for which it
 * takes a quarter of a second more at most, and ends as by aiostream_abort(). aiostream_abort: at once; what it had is given to others when
 * its lease is over. Both free the stream, as aiolink_close() and aiolink_abort() do. What was not sent stays in the queue.
 *
 * Errno: ETIMEDOUT (not all is confirmed; or not all was answered), EPIPE (it had ended before all was sent), EDEADLK as of
 * aiolink_close(), EINVAL, ECHILD. Since 0.2.
 */
AIOIPC_API int aiostream_close(struct aiostream *s, int64_t deadline);
AIOIPC_API void aiostream_abort(struct aiostream *s);

#ifdef __cplusplus
}
#endif

#endif
