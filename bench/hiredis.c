/* hiredis by hand: a reader that asks for 256 entries, and acknowledges all of them in one command. Nothing is renewed, taken over or given back. */
#include <stdio.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "bench/bench.h"
#include "bench/server.h"

#define COUNT 256
#define FILLED 200192

static redisReply *get(redisContext *c)
{
	redisReply *r = NULL;

	must(redisGetReply(c, (void **)&r) == REDIS_OK && r && r->type != REDIS_REPLY_ERROR ? 0 : -1,
	     "redisGetReply");
	return r;
}

static void fill_stream(redisContext *c)
{
	char data[SMALL];

	memset(data, 'x', SMALL);
	for (int i = 0; i < FILLED; i += COUNT) {
		for (int k = 0; k < COUNT; k++)
			redisAppendCommand(c, "XADD s * m %b", data, (size_t)SMALL);
		for (int k = 0; k < COUNT; k++)
			freeReplyObject(get(c));
	}
}

static size_t read_some(redisContext *c)
{
	const char *argv[3 + COUNT] = {"XACK", "s", "g"};
	size_t n = 0;
	redisReply *r, *entries;

	redisAppendCommand(c, "XREADGROUP GROUP g me COUNT %d BLOCK 5000 STREAMS s >", COUNT);
	r = get(c);
	if (r->type == REDIS_REPLY_ARRAY && r->elements == 1) {
		entries = r->element[0]->element[1];
		for (n = 0; n < entries->elements; n++)
			argv[3 + n] = entries->element[n]->element[0]->str;
		redisAppendCommandArgv(c, (int)(3 + n), argv, NULL);
		freeReplyObject(get(c));
	}
	freeReplyObject(r);
	return n;
}

static void receive(struct bench *b)
{
	struct server server;
	redisContext *c;

	server_start(&server);
	c = must_have(redisConnectUnix(server.path), "redisConnectUnix");
	fill_stream(c);
	freeReplyObject(redisCommand(c, "XGROUP CREATE s g 0"));
	bench_start(b);
	for (size_t got = 0, n; got < FILLED; got += n) {
		n = read_some(c);
		bench_add(b, n);
	}
	bench_end(b);
	redisFree(c);
	server_stop(&server);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"receive", receive},
		{NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
