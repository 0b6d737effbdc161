/* See sides.h. */
#include "tests/sides.h"

#include <stdio.h>
#include <stdlib.h>

static char last_words[4][600]; /* of the log, the newest first */

static void remember(const char *text, void *arg)
{
	(void)arg;
	memmove(last_words[1], last_words[0], sizeof last_words - sizeof *last_words);
	snprintf(last_words[0], sizeof *last_words, "%s", text);
}

void remember_log(void)
{
	aioipc_set_log(remember, NULL);
}

void expect_logged(const char *words)
{
	for (size_t i = 0; i < sizeof last_words / sizeof *last_words; i++)
		if (strstr(last_words[i], words))
			return;
	ck_abort_msg("nothing in the log says \"%s\", the last says \"%s\"", words, last_words[0]);
}

void expect_words(const char *why, const char *words)
{
	if (!strstr(why, words))
		ck_abort_msg("\"%s\" does not say \"%s\"", why, words);
}

const char *tls_at(int port)
{
	static char text[64];

	snprintf(text, sizeof text, "tls://127.0.0.1:%d", port);
	return text;
}

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct side *s = arg;
	struct aiomsg *m = must(aiomsg_new_bytes(&c, sizeof c));

	(void)l;
	must(aioconn_set_framing(c, s->framing, NULL));
	must(aioqueue_put(s->come, m, AIOIPC_NOW));
	aiomsg_free(m);
}

void listen_limited(struct side *s, struct event_base *base, const struct aiotls_options *o,
		    const struct aiolistener_options *limits)
{
	struct aiolistener_options lo = *limits;

	*s = (struct side){.base = base, .come = must(aioqueue_new(64, 0))};
	s->tls = lo.tls = must(aiotls_new(o));
	s->listener = must(aiolistener_new("tls://127.0.0.1:0", base, &lo, on_peer, s));
	snprintf(s->address, sizeof s->address, "%s", aiolistener_address(s->listener));
	remember_log();
}

void listen_with(struct side *s, struct event_base *base, const struct aiotls_options *o)
{
	listen_limited(s, base, o, &(struct aiolistener_options){.size = sizeof(struct aiolistener_options)});
}

void listen_as(struct side *s, struct event_base *base, const char *name)
{
	struct aiotls_options o = tls_options(name);

	listen_with(s, base, &o);
}

struct aioconn *next_peer(struct side *s)
{
	struct aioconn *c;
	struct aiomsg *m;

	ck_assert_int_eq(must(aioqueue_get(s->come, &m, soon())), 1);
	memcpy(&c, aiomsg_bytes(m, NULL), sizeof c);
	aiomsg_free(m);
	return c;
}

void stop(struct side *s)
{
	aiolistener_free(s->listener);
	aiotls_free(s->tls);
	aioqueue_free(s->come);
}

struct aioconn *connect_as(const struct side *s, const char *name)
{
	struct aiotls *t = new_tls(name);
	struct aioconn *c = aioconn_connect_tls(s->address, t, s->base, soon());
	int error = errno;

	aiotls_free(t);
	errno = error;
	return c;
}

void open_both(struct side *s, struct aioconn **a, struct aioconn **b)
{
	*a = must(connect_as(s, "client"));
	*b = next_peer(s);
}

void in_tls_task(void (*body)(void *arg))
{
	struct event_base *base = new_base();

	make_usual_certs();
	must(aiotask_run(base, body, base));
	event_base_free(base);
	remove_certs();
}

uint64_t refusals_of(const struct side *s)
{
	struct aiolistener_stats st = {.size = sizeof st};

	must(aiolistener_stats(s->listener, &st));
	return st.refused;
}

void await_refusals(const struct side *s, uint64_t n)
{
	while (refusals_of(s) < n)
		nap(5);
	ck_assert_uint_eq(refusals_of(s), n);
}

int raw_connect_to(const struct side *s)
{
	return raw_connect(tcp_at(aiolistener_port(s->listener)));
}
