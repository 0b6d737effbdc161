/*
 * hiredis by hand: a sender that has 256 commands under way, none of them in a transaction; and a reader that asks for 256 entries, and
 * acknowledges all of them in one command. Nothing is renewed, taken over or given back.
 */
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

static void send_some(redisContext *c)
{
	static const char data[SMALL];
	const char *argv[] = {"XADD", "s", "*", "m", data};
	const size_t len[] = {4, 1, 1, 1, SMALL};

	for (int k = 0; k < COUNT; k++)
		redisAppendCommandArgv(c, 5, argv, len);
	for (int k = 0; k < COUNT; k++)
		freeReplyObject(get(c));
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

static redisContext *open_server(struct server *server)
{
	server_start(server);
	return must_have(redisConnectUnix(server->path), "redisConnectUnix");
}

static void send_time(struct bench *b)
{
	struct server server;
	redisContext *c = open_server(&server);
	int64_t from;

	bench_start(b);
	from = bench_processor_time();
	for (int i = 0; i < FILLED; i += COUNT) {
		send_some(c);
		bench_add(b, COUNT);
	}
	bench_end_time(b, from);
	redisFree(c);
	server_stop(&server);
}

static void receive_all(struct bench *b, bool by_clock)
{
	struct server server;
	redisContext *c = open_server(&server);
	int64_t from;

	for (int i = 0; i < FILLED; i += COUNT)
		send_some(c);
	freeReplyObject(redisCommand(c, "XGROUP CREATE s g 0"));
	bench_start(b);
	from = bench_processor_time();
	for (size_t got = 0, n; got < FILLED; got += n) {
		n = read_some(c);
		bench_add(b, n);
	}
	if (by_clock)
		bench_end(b);
	else
		bench_end_time(b, from);
	redisFree(c);
	server_stop(&server);
}

static void receive(struct bench *b)
{
	receive_all(b, true);
}

static void receive_time(struct bench *b)
{
	receive_all(b, false);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"receive", receive},
		{"receive-time", receive_time},
		{"send-time", send_time},
		{NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
