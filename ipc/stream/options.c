/* The options of a stream: checked, and copied. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <aioipc/queue.h>

#include "ipc/flow/queue.h"
#include "ipc/net/secure.h"
#include "ipc/os/log.h"
#include "ipc/os/random.h"
#include "ipc/os/sized.h"
#include "ipc/stream/stream.h"

#define NAME_MOST 512
#define FIRST_MS 100
#define MOST_MS 10000
#define REPLY_MS 5000
#define LEASE_MS 30000
#define LEASE_LEAST_MS 100
#define MOST 1000000
#define PREFETCH 256
#define PREFETCH_MOST 65536
#define TRIES 10
#define QUEUE_MESSAGES 1024
#define QUEUE_BYTES ((size_t)1 << 20)
#define MS_MOST (INT64_C(1000) * 86400 * 1000) /* a longer time means for ever */

static int64_t nanoseconds(int64_t ms, int64_t otherwise)
{
	if (ms == 0)
		ms = otherwise;
	return (ms < MS_MOST ? ms : MS_MOST) * IPC_STREAM_MS;
}

static const char *check_name(const char *name, const char *what)
{
	if (name && strlen(name) > NAME_MOST)
		return what;
	return NULL;
}

static const char *check_names(const struct aiostream_options *o)
{
	if (!o->stream || !*o->stream)
		return "the name of a stream is needed";
	if (o->member && !*o->member)
		return "a member has a name, or NULL is given";
	if (o->member && (!o->group || !*o->group))
		return "only a group has members";
	if (check_name(o->stream, "") || check_name(o->group, "") || check_name(o->member, ""))
		return "names have 512 bytes at most";
	return NULL;
}

static const char *check_times(const struct aiostream_options *o)
{
	if (o->reconnect_first < -1 || o->reconnect_most < 0 || o->connect_limit < 0 || o->reply_limit < 0 ||
	    o->lease < 0 || o->handle_limit < 0)
		return "a negative time";
	if (o->reconnect_first >= 0 && (o->reconnect_first || o->reconnect_most) &&
	    (o->reconnect_first == 0 || o->reconnect_most < o->reconnect_first))
		return "reconnecting begins after some time, and at most that much or more";
	if (o->lease && o->lease < LEASE_LEAST_MS)
		return "a lease has 100 milliseconds at least";
	return NULL;
}

static const char *check_direction(const struct aiostream_options *o)
{
	bool member = o->group && *o->group;

	if (!o->group && o->from_start)
		return "one that sends does not begin at the start of the stream";
	if (o->group && o->most)
		return "only one that sends waits while the stream is full";
	if (!member && (o->tries || o->lease || o->handle_limit || o->keep))
		return "only a member of a group has leases and tries, and removes what is done with";
	if (!o->group && o->prefetch)
		return "one that sends has nothing before it is asked for";
	return o->prefetch > PREFETCH_MOST ? "more than 65536 messages before they are acknowledged" : NULL;
}

static int refuse(const char *stream, const char *why, int error)
{
	ipc_log("stream%s%s: %s", stream ? " " : "", stream ? stream : "", why);
	errno = error;
	return -1;
}

/* Nobody else has this name. */
static char *unique_name(void)
{
	char host[64] = "", *name;
	struct ipc_key key;

	ipc_os_random_key(&key);
	gethostname(host, sizeof host - 1);
	return asprintf(&name, "%s.%d.%016" PRIx64, host, (int)getpid(), key.half[0]) == -1 ? NULL : name;
}

/* Does the name say itself what of it decides about the slot in a cluster? */
static bool has_tag(const char *name)
{
	const char *open = strchr(name, '{');

	return open && open[1] != '}' && strchr(open + 1, '}');
}

static char *key_of(const char *stream, const char *sender, const char *what)
{
	const char *open = has_tag(stream) ? "" : "{", *close = has_tag(stream) ? "" : "}";
	char *key;

	return asprintf(&key, "%s%s%s:by:%s%s", open, stream, close, sender, what) == -1 ? NULL : key;
}

static int copy_names(struct ipc_stream_options *to, const struct aiostream_options *o)
{
	to->member = o->member ? strdup(o->member) : unique_name();
	to->stream = strdup(o->stream);
	to->group = o->group ? strdup(o->group) : NULL;
	if (!to->member || !to->stream || (o->group && !to->group))
		return -1;
	to->mark = key_of(o->stream, to->member, "");
	to->fence = key_of(o->stream, to->member, ":fence");
	if (asprintf(&to->dead, "%s:dead", o->stream) == -1)
		to->dead = NULL;
	return to->mark && to->fence && to->dead ? ipc_server_as(&to->server, o->user, o->password) : -1;
}

static void copy_numbers(struct ipc_stream_options *to, const struct aiostream_options *o)
{
	to->reply_limit = nanoseconds(o->reply_limit, REPLY_MS);
	to->connect_limit = o->connect_limit ? nanoseconds(o->connect_limit, 0) : to->reply_limit;
	to->first = o->reconnect_first < 0 ? 0 : nanoseconds(o->reconnect_first, FIRST_MS);
	to->most_pause = nanoseconds(o->reconnect_first < 0 ? 0 : o->reconnect_most, MOST_MS);
	to->lease = nanoseconds(o->lease, LEASE_MS);
	to->handle_limit = nanoseconds(o->handle_limit, 0);
	to->most = o->most ? o->most : MOST;
	to->from_start = o->from_start;
	to->keep = o->keep;
	to->prefetch = o->prefetch ? o->prefetch : PREFETCH;
	to->tries = o->tries ? o->tries : TRIES;
}

/* With errno. */
static const char *check_tls(const struct ipc_stream_options *o, struct aiotls *tls)
{
	struct ipc_address a;
	const char *why = NULL;

	if (ipc_address_read(&a, o->server.dial, IPC_TO_CONNECT, &why) == 0)
		ipc_secure_check(&a, tls, false, &why);
	return why;
}

static int take_queue(struct aioqueue **to, struct aioqueue *given)
{
	if (given && ipc_queue_check(given) == -1)
		return -1;
	*to = given ? aioqueue_ref(given) : aioqueue_new(QUEUE_MESSAGES, QUEUE_BYTES);
	return *to ? 0 : -1;
}

int ipc_stream_take_options(struct ipc_stream_options *to, const struct aiostream_options *given,
			    struct aioqueue **queue)
{
	struct aiostream_options o;
	const char *why;
	int error;

	if (!given || ipc_sized_take(&o, sizeof o, given) == -1)
		return refuse(NULL, "the size of the options is wrong", EINVAL);
	why = check_names(&o);
	if (!why)
		why = check_times(&o);
	if (!why)
		why = check_direction(&o);
	if (why)
		return refuse(o.stream, why, EINVAL);
	memset(to, 0, sizeof *to);
	if (ipc_server_read(&to->server, o.address, &why) == -1)
		return why ? refuse(o.stream, why, EINVAL) : -1;
	why = check_tls(to, o.tls);
	if (why) {
		error = errno;
		ipc_server_free(&to->server);
		return refuse(o.stream, why, error);
	}
	to->tls = ipc_secure_ref(o.tls);
	copy_numbers(to, &o);
	if (copy_names(to, &o) == 0 && take_queue(queue, o.queue) == 0)
		return 0;
	error = errno;
	ipc_stream_free_options(to);
	errno = error;
	return -1;
}

void ipc_stream_free_options(struct ipc_stream_options *o)
{
	ipc_server_free(&o->server);
	ipc_secure_unref(o->tls);
	free(o->stream);
	free(o->group);
	free(o->member);
	free(o->mark);
	free(o->fence);
	free(o->dead);
}
