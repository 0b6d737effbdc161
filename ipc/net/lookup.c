/* Looks up the addresses of a name. See lookup.h. */
#include "ipc/net/lookup.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/own/bell.h"
#include "ipc/own/own.h"
#include "ipc/os/thread.h"
#include "ipc/net/address.h"
#include "ipc/os/bell.h"
#include "ipc/os/os.h"

#define THREADS_MOST 4
#define HANGS_NS (INT64_C(1000) * 1000 * 1000)

/* One call of getaddrinfo(). Its lookups and the thread that makes the call share it; the last of them frees it. */
struct question {
	struct question *next; /* in one of the two lists below */
	struct ipc_lookup *askers;
	unsigned refs;
	bool over;
	int status, error; /* the results of getaddrinfo() */
	struct addrinfo *found;
	char host[IPC_HOST_MOST + 1], port[6];
};

struct ipc_lookup {
	struct ipc_own bell;
	struct ipc_lookup *next; /* the next lookup that shares the question */
	struct question *q;
};

/* The mutex of the fork registry guards this, and all questions. It stays usable in a forked child. */
static struct desk {
	uint32_t epoch;
	struct question *line, *asked; /* those that wait, in order; and those that a thread is working on */
	unsigned threads;
	int64_t begun; /* when a thread began the newest of the latter */
} desk;

/* Nobody uses it any more. */
static void destroy(struct question *q)
{
	if (q && q->found)
		freeaddrinfo(q->found);
	free(q);
}

static void destroy_all(struct question *q)
{
	struct question *next;

	for (; q; q = next) {
		next = q->next;
		destroy(q);
	}
}

static void take_out(struct question **list, const struct question *q)
{
	while (*list && *list != q)
		list = &(*list)->next;
	if (*list)
		*list = q->next;
}

static void put_last(struct question **list, struct question *q)
{
	while (*list)
		list = &(*list)->next;
	*list = q;
	q->next = NULL;
}

/* In a forked child the threads do not exist. Returns the questions that only they used, to be freed. */
static struct question *forget_threads(void)
{
	struct question *q, *next, *lost = NULL;

	for (q = desk.asked; q; q = next) {
		next = q->next;
		if (--q->refs == 0)
			put_last(&lost, q);
	}
	desk = (struct desk){.epoch = ipc_epoch()};
	return lost;
}

static int hold(void)
{
	struct question *lost = NULL;

	if (ipc_own_hold() == -1)
		return -1;
	if (desk.epoch == ipc_epoch())
		return 0;
	lost = forget_threads();
	ipc_own_let_go();
	destroy_all(lost);
	return ipc_own_hold();
}

/* Calls getaddrinfo(). With AI_NUMERICHOST in @flags it asks no name server. */
static void ask(const struct question *q, int flags, struct question *to)
{
	const bool any = strcmp(q->host, "*") == 0;
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				       .ai_flags = flags | AI_NUMERICSERV | AI_PASSIVE};

	errno = 0;
	to->status = getaddrinfo(any ? NULL : q->host, q->port, &hints, &to->found);
	to->error = errno;
	if (to->status)
		to->found = NULL;
}

/* Tells all lookups that share the question. */
static void tell(struct question *q, const struct question *answer)
{
	q->status = answer->status;
	q->error = answer->error;
	q->found = answer->found;
	q->over = true;
	for (struct ipc_lookup *l = q->askers; l; l = l->next)
		ipc_os_bell_ring(l->bell.w.fd);
}

static struct question *begin_next(void)
{
	struct question *q;

	if (ipc_own_hold() == -1)
		return NULL;
	q = desk.line;
	if (q) {
		take_out(&desk.line, q);
		put_last(&desk.asked, q);
		q->refs++;
		desk.begun = ipc_os_now();
	} else {
		desk.threads--;
	}
	ipc_own_let_go();
	return q;
}

static void *answer_all(void *unused)
{
	struct question *q, answer;

	(void)unused;
	while ((q = begin_next())) {
		bool last;

		ask(q, 0, &answer);
		if (ipc_own_hold() == -1)
			break;
		tell(q, &answer);
		take_out(&desk.asked, q);
		last = --q->refs == 0;
		ipc_own_let_go();
		if (last)
			destroy(q);
	}
	return NULL;
}

/* How long until another thread is to start; 0: now, -1: never. */
static int64_t until_help(void)
{
	int64_t left;

	if (!desk.line || desk.threads == THREADS_MOST)
		return -1;
	left = desk.threads ? desk.begun + HANGS_NS - ipc_os_now() : 0;
	return left > 0 ? left : 0;
}

/* There is no thread, and none can be started. */
static void tell_line(int error)
{
	const struct question none = {.status = EAI_SYSTEM, .error = error};
	struct question *q;

	while ((q = desk.line)) {
		take_out(&desk.line, q);
		tell(q, &none);
	}
}

/* Starts another thread, if it is time. Returns how long until the next one is to start. */
static int64_t help(void)
{
	int64_t ns;
	int error;

	if (hold() == -1)
		return -1;
	ns = until_help();
	if (ns == 0) {
		desk.threads++;
		desk.begun = ipc_os_now();
	}
	ipc_own_let_go();
	if (ns != 0)
		return ns;
	if (ipc_thread_start(answer_all, NULL) == 0)
		return HANGS_NS;
	error = errno;
	if (hold() == -1)
		return -1;
	if (--desk.threads == 0)
		tell_line(error);
	ipc_own_let_go();
	return HANGS_NS;
}

static struct question *find(struct question *q, const struct question *like)
{
	while (q && (strcmp(q->host, like->host) != 0 || strcmp(q->port, like->port) != 0))
		q = q->next;
	return q;
}

static void join(struct ipc_lookup *l, struct question *q)
{
	l->q = q;
	l->next = q->askers;
	q->askers = l;
	q->refs++;
}

/* Shares a question with the same name, or adds a new one to the list. -1: a fork is going on in this thread. */
static int get_in_line(struct ipc_lookup *l, struct question *mine)
{
	struct question *q;

	if (hold() == -1)
		return -1;
	q = find(desk.asked, mine);
	if (!q)
		q = find(desk.line, mine);
	join(l, q ? q : mine);
	if (!q)
		put_last(&desk.line, mine);
	ipc_own_let_go();
	if (q)
		destroy(mine);
	return 0;
}

static struct question *new_question(const char *host, const char *port)
{
	struct question *q = calloc(1, sizeof *q);

	if (!q)
		return NULL;
	snprintf(q->host, sizeof q->host, "%s", host);
	snprintf(q->port, sizeof q->port, "%s", port);
	return q;
}

/* A number is known at once: the bell rings before the caller waits. */
static int begin(struct ipc_lookup *l, struct question *q)
{
	struct question answer;

	ask(q, AI_NUMERICHOST, &answer);
	if (answer.status == EAI_NONAME)
		return get_in_line(l, q);
	join(l, q);
	tell(q, &answer);
	return 0;
}

struct ipc_lookup *ipc_lookup_start(const char *host, const char *port)
{
	struct ipc_lookup *l = calloc(1, sizeof *l);
	struct question *q = l ? new_question(host, port) : NULL;

	if (!q)
		goto fail;
	ipc_own_init(&l->bell);
	if (ipc_own_bell(&l->bell) == -1)
		goto fail;
	if (begin(l, q) == 0) {
		help();
		return l;
	}
	ipc_own_close(&l->bell);
fail:
	destroy(q);
	free(l);
	return NULL;
}

int ipc_lookup_fd(const struct ipc_lookup *l)
{
	return l->bell.r.fd;
}

static int error_of(int status, int error)
{
	switch (status) {
	case EAI_NONAME:
	case EAI_NODATA:
	case EAI_ADDRFAMILY:
		return ENOENT;
	case EAI_MEMORY:
		return ENOMEM;
	case EAI_SYSTEM:
		return error == EMFILE || error == ENFILE || error == ENOMEM || error == EAGAIN
			       ? error
			       : EHOSTUNREACH;
	default:
		return EHOSTUNREACH;
	}
}

int ipc_lookup_take(struct ipc_lookup *l, const struct addrinfo **found, const char **why, int64_t *ns)
{
	const struct question *q = l->q;
	bool over;

	if (ipc_own_check(&l->bell) == -1 || ipc_own_hold() == -1)
		return -1;
	over = q->over;
	ipc_own_let_go();
	if (!over) {
		*ns = help();
		return 0;
	}
	ipc_own_close(&l->bell);
	if (q->status) {
		*why = q->status == EAI_SYSTEM ? strerror(q->error) : gai_strerror(q->status);
		errno = error_of(q->status, q->error);
		return -1;
	}
	*found = q->found;
	return 1;
}

static void leave(struct ipc_lookup *l)
{
	struct ipc_lookup **at = &l->q->askers;

	while (*at && *at != l)
		at = &(*at)->next;
	if (*at)
		*at = l->next;
	ipc_own_close_held(&l->bell);
}

void ipc_lookup_free(struct ipc_lookup *l)
{
	int error = errno;
	bool last;

	if (!l)
		return;
	if (hold() == 0) {
		leave(l);
		last = --l->q->refs == 0;
		if (last)
			take_out(&desk.line, l->q);
		ipc_own_let_go();
		if (last)
			destroy(l->q);
		free(l);
	}
	errno = error;
}
