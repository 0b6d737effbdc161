/*
 * What a real server refuses: users who may not do all that is needed, servers that do not write, and a cluster whose slots move. Each is told
 * by name and waited for; then everything is there once.
 */
#include "tests/engine.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <aioipc/stream.h>

#include "tests/links.h"

static struct engine engine;

static struct aiostream *start_as(const char *user, const char *group)
{
	struct aiostream_options o = {.size = sizeof o,
				      .address = engine.address,
				      .user = user,
				      .password = user ? "a secret" : NULL,
				      .stream = "s",
				      .group = group,
				      .from_start = group,
				      .reply_limit = 2000,
				      .reconnect_first = 2,
				      .reconnect_most = 20};
	struct aiostream *s;

	if (group && *group)
		o.lease = 150;
	s = must(aiostream_new(&o));
	must(aiostream_start(s, NULL));
	return s;
}

/* Until this is what is wrong, in the words of the server. */
static bool has_error(struct aiostream *s, int error, const char *words)
{
	char why[128];

	must(aiostream_why(s, why, sizeof why));
	return aiostream_error(s) == error && strncmp(why, words, strlen(words)) == 0;
}

static void await_error(struct aiostream *s, int error, const char *words)
{
	while (!has_error(s, error, words))
		nap(1);
}

static void await_sent(struct aiostream *s, unsigned n)
{
	struct aiostream_stats stats = {.size = sizeof stats};

	while (stats.sent < n) {
		nap(1);
		must(aiostream_stats(s, &stats));
	}
}

/* Users. */

enum { RIGHTS = 16 };

/* A user who has these, but for @without. */
static void make_user(const char *const *rights, const char *without)
{
	engine_ask(&engine, "ACL", "SETUSER", "u", "reset", "on", ">a secret", NULL);
	for (; *rights; rights++)
		if (*rights != without)
			ck_assert_str_eq(engine_ask(&engine, "ACL", "SETUSER", "u", *rights, NULL), "OK");
}

static void grant(const char *right)
{
	ck_assert_str_eq(engine_ask(&engine, "ACL", "SETUSER", "u", right, NULL), "OK");
}

static void begin(void)
{
	engine = (struct engine){.args = {NULL}};
	engine_start(&engine);
}

/* Those of aiostream(3). */
static const char *const sender[] = {"+multi", "+exec", "+watch", "+xadd",     "+set",
				     "+get",   "+xlen", "~s",     "~{s}:by:*", NULL};
static const char *const receiver[] = {
	"+xgroup|create", "+xreadgroup", "+xack", "+xclaim", "+xpending", "+xinfo|groups", "+xtrim", "+multi",
	"+exec",          "+xadd",       "~s",    "~s:dead", NULL};
static const char *const hearer[] = {"+xread", "+xinfo|stream", "~s", NULL};

static void put_ten(struct aiostream *s, unsigned from)
{
	put_numbers(aiostream_queue(s), "n", from, from + 10);
}

static void stop_in_transaction(struct aiostream *s, unsigned n)
{
	engine_ask(&engine, "CLIENT", "PAUSE", "60000", "WRITE", NULL);
	put_numbers(aiostream_queue(s), "n", 10, 10 + n);
	while (!strstr(engine_ask(&engine, "CLIENT", "LIST", NULL), "cmd=xadd user=u"))
		nap(1);
}

/* Its last transaction lies at the server, which does not answer: the sender can't know what became of it. */
static void break_in_doubt(struct aiostream *s)
{
	stop_in_transaction(s, 10);
	engine_ask(&engine, "CLIENT", "KILL", "USER", "u", NULL);
	engine_ask(&engine, "CLIENT", "UNPAUSE", NULL);
}

TEST(a_sender_needs_the_rights_that_the_page_lists)
{
	struct aiostream *s;

	if (!engine_is_there())
		return;
	begin();
	make_user(sender, NULL);
	s = start_as("u", NULL);
	put_ten(s, 0);
	await_sent(s, 10);
	break_in_doubt(s);
	await_sent(s, 20);
	ck_assert_int_eq(aiostream_error(s), 0);
	must(aiostream_close(s, soon()));
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 20);
	engine_end(&engine);
}

static void send_without(const char *right)
{
	struct aiostream *s;

	engine_ask(&engine, "DEL", "s", NULL);
	make_user(sender, right);
	s = start_as("u", NULL);
	put_ten(s, 0);
	if (strcmp(right, "+get") == 0) {
		await_sent(s, 10);
		break_in_doubt(s);
	}
	if (strcmp(right, "+watch") != 0) /* which may be missing */
		await_error(s, EACCES, "NOPERM ");
	grant(right);
	must(aiostream_close(s, soon()));
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), strcmp(right, "+get") == 0 ? 20 : 10);
}

TEST(a_sender_without_one_of_them_waits_for_it)
{
	if (!engine_is_there())
		return;
	begin();
	for (const char *const *right = sender; *right; right++)
		send_without(*right);
	engine_end(&engine);
}

/* It is not among those above: who uses the first database needs none. */
TEST(another_database_needs_the_right_to_select_it)
{
	struct aiostream_options o = {.size = sizeof o,
				      .user = "u",
				      .password = "a secret",
				      .stream = "s",
				      .reconnect_first = 2,
				      .reconnect_most = 20};
	struct aiostream *s;
	char address[160];

	if (!engine_is_there())
		return;
	begin();
	make_user(sender, NULL);
	snprintf(address, sizeof address, "%s?db=1", engine.address);
	o.address = address;
	s = must(aiostream_new(&o));
	must(aiostream_start(s, NULL));
	put_ten(s, 0);
	await_error(s, EACCES, "NOPERM ");
	grant("+select");
	must(aiostream_close(s, soon()));
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 0);
	engine_ask(&engine, "SELECT", "1", NULL);
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 10);
	engine_end(&engine);
}

/* Taken away while it sends: what was asked without MULTI is done, and not asked again. */
TEST(a_sender_whose_rights_are_taken_away_repeats_nothing)
{
	struct aiostream *s;

	if (!engine_is_there())
		return;
	begin();
	for (const char *const *right = sender; *right; right++) {
		char less[16];

		engine_ask(&engine, "DEL", "s", NULL);
		make_user(sender, NULL);
		s = start_as("u", NULL);
		put_ten(s, 0);
		await_sent(s, 10);
		snprintf(less, sizeof less, "-%s", *right + 1);
		engine_ask(&engine, "ACL", "SETUSER", "u", **right == '~' ? "resetkeys" : less, NULL);
		put_ten(s, 10);
		if (strcmp(*right, "+get") != 0 && strcmp(*right, "+watch") != 0)
			await_error(s, EACCES, "NOPERM ");
		make_user(sender, NULL);
		must(aiostream_close(s, soon()));
		ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 20);
	}
	engine_end(&engine);
}

static void receive(struct aiostream *s, const char *text)
{
	struct aiomsg *m;

	ck_assert_int_eq(aioqueue_get(aiostream_queue(s), &m, soon()), 1);
	if (!is_text(m, text))
		ck_abort_msg("\"%s\" came, and \"%s\" was due", (const char *)aiomsg_bytes(m, NULL), text);
	must(aiomsg_ack(m));
	aiomsg_free(m);
}

static void add_both(void)
{
	engine_ask(&engine, "XADD", "s", "*", "m", "good", NULL);
	engine_ask(&engine, "XADD", "s", "*", "name", "bad", NULL);
}

/* All that is bad is there once. */
static void expect_all_done(struct aiostream *s, unsigned bad)
{
	char n[16];

	snprintf(n, sizeof n, "%u", bad);
	engine_await(&engine, n, "XLEN", "s:dead", NULL);
	engine_await(&engine, "0 nil nil nil", "XPENDING", "s", "g", NULL);
	while (aiostream_error(s))
		nap(1);
	must(aiostream_close(s, soon()));
	ck_assert_str_eq(engine_ask(&engine, "XLEN", "s:dead", NULL), n);
}

TEST(a_receiver_needs_the_rights_that_the_page_lists)
{
	struct aiostream *s;

	if (!engine_is_there())
		return;
	begin();
	engine_ask(&engine, "CONFIG", "SET", "stream-node-max-entries", "1", NULL);
	make_user(receiver, NULL);
	s = start_as("u", "g");
	add_both();
	receive(s, "good");
	engine_await(&engine, "1", "XLEN", "s", NULL); /* trimmed */
	expect_all_done(s, 1);
	engine_end(&engine);
}

static bool is_one_of(const char *right, const char *const *some)
{
	while (*some && strcmp(right, *some) != 0)
		some++;
	return *some;
}

static void receive_without(const char *right)
{
	static const char *const none_before[] = {"+xgroup|create", "+xreadgroup", "+xpending", "~s", NULL};
	static const char *const courtesies[] = {"+xinfo|groups", "+xtrim", NULL};
	bool early = is_one_of(right, none_before), courtesy = is_one_of(right, courtesies);
	unsigned bad = 1;
	struct aiostream *s;

	engine_ask(&engine, "DEL", "s", "s:dead", NULL);
	make_user(receiver, right);
	add_both();
	s = start_as("u", "g");
	if (!early)
		receive(s, "good");
	/* Without MULTI it is done all the same, and told until the next round. */
	if (strcmp(right, "+multi") == 0)
		for (; !has_error(s, EACCES, "NOPERM "); bad++)
			engine_ask(&engine, "XADD", "s", "*", "name", "bad", NULL);
	else if (!courtesy)
		await_error(s, EACCES, "NOPERM ");
	grant(right);
	if (early)
		receive(s, "good");
	expect_all_done(s, bad);
}

/* Who may not ask for the groups, or trim, removes nothing. */
TEST(a_receiver_without_one_of_them_waits_for_it)
{
	if (!engine_is_there())
		return;
	begin();
	for (const char *const *right = receiver; *right; right++)
		receive_without(*right);
	engine_end(&engine);
}

TEST(a_broadcast_needs_two)
{
	if (!engine_is_there())
		return;
	begin();
	for (const char *const *right = hearer; *right; right++) {
		struct aiostream *s;

		make_user(hearer, *right);
		s = start_as("u", "");
		await_error(s, EACCES, "NOPERM ");
		engine_ask(&engine, "DEL", "s", NULL);
		engine_ask(&engine, "XADD", "s", "*", "m", "a", NULL);
		grant(*right);
		receive(s, "a");
		ck_assert_int_eq(aiostream_error(s), 0);
		must(aiostream_close(s, soon()));
	}
	engine_end(&engine);
}

/* Servers that do not write. */

static void expect_ten(struct aiostream *s)
{
	must(aiostream_close(s, soon()));
	ck_assert_int_eq(engine_number(&engine, "XLEN", "s", NULL), 10);
	engine_end(&engine);
}

TEST(too_few_replicas)
{
	struct aiostream *s;

	if (!engine_is_there())
		return;
	begin();
	engine_ask(&engine, "CONFIG", "SET", "min-replicas-to-write", "1", NULL);
	s = start_as(NULL, NULL);
	put_ten(s, 0);
	await_error(s, EIO, "NOREPLICAS ");
	ck_assert_int_eq(aiostream_state(s), AIOLINK_CONNECTED);
	engine_ask(&engine, "CONFIG", "SET", "min-replicas-to-write", "0", NULL);
	expect_ten(s);
}

TEST(a_disk_that_is_gone)
{
	char dir[] = "/tmp/aioipc-gone-XXXXXX";
	struct aiostream *s;

	if (!engine_is_there())
		return;
	must(mkdtemp(dir));
	engine = (struct engine){.args = {"--dir", dir}};
	engine_start(&engine);
	must(rmdir(dir));
	engine_ask(&engine, "CONFIG", "SET", "save", "3600 1", NULL);
	engine_ask(&engine, "BGSAVE", NULL);
	while (!strstr(engine_ask(&engine, "INFO", "persistence", NULL), "rdb_last_bgsave_status:err"))
		nap(1);
	s = start_as(NULL, NULL);
	put_ten(s, 0);
	await_error(s, EIO, "MISCONF ");
	ck_assert_int_eq(aiostream_state(s), AIOLINK_CONNECTED);
	engine_ask(&engine, "CONFIG", "SET", "stop-writes-on-bgsave-error", "no", NULL);
	expect_ten(s);
}

/* Its master has never been there. */
TEST(a_replica_without_its_master)
{
	struct aiostream *s, *reader;

	if (!engine_is_there())
		return;
	engine = (struct engine){.args = {"--replicaof", "127.0.0.1", "1"}};
	engine_start(&engine);
	s = start_as(NULL, NULL);
	put_ten(s, 0);
	await_error(s, EROFS, "READONLY ");
	engine_ask(&engine, "CONFIG", "SET", "replica-serve-stale-data", "no", NULL);
	reader = start_as(NULL, "");
	await_error(reader, EAGAIN, "MASTERDOWN ");
	engine_ask(&engine, "REPLICAOF", "NO", "ONE", NULL);
	for (unsigned i = 0; i < 10; i++) {
		struct aiomsg *m;

		ck_assert_int_eq(aioqueue_get(aiostream_queue(reader), &m, soon()), 1);
		aiomsg_free(m);
	}
	must(aiostream_close(reader, soon()));
	expect_ten(s);
}

static void *see_it_load(void *arg)
{
	await_error(arg, EAGAIN, "LOADING ");
	return NULL;
}

/* Its 300 keys take it some time. */
TEST(a_server_that_loads)
{
	struct aiostream *s;
	pthread_t thread;

	if (!engine_is_there())
		return;
	begin();
	engine_ask(&engine, "EVAL", "for i = 1, 300 do redis.call('SET', 'k' .. i, i) end", "0", NULL);
	engine_ask(&engine, "SAVE", NULL);
	s = start_as(NULL, NULL);
	must(aiostream_wait_connected(s, soon()));
	engine_kill(&engine);
	put_ten(s, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, see_it_load, s), 0);
	engine.args[0] = "--key-load-delay";
	engine.args[1] = "2000";
	engine.args[2] = "--loading-process-events-interval-bytes";
	engine.args[3] = "1024";
	engine_restart(&engine);
	pthread_join(thread, NULL);
	expect_ten(s);
}

/* Clusters. */

static struct engine other;
static char slot[16];

struct node {
	struct engine *e;
	char port[16], id[64];
};

static bool is_free(int port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), on = 1, r;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	r = bind(fd, (struct sockaddr *)&in, sizeof in);
	close(fd);
	return r == 0;
}

/* Below those that the system gives away; that of its bus is 10000 above. */
static int free_port(void)
{
	static unsigned tried;
	int port;

	do {
		port = 10000 + (int)(((unsigned)getpid() * 16 + tried++) % 12000);
	} while (!is_free(port) || !is_free(port + 10000));
	return port;
}

static void start_node(struct node *n, struct engine *e)
{
	snprintf(n->port, sizeof n->port, "%d", free_port());
	*e = (struct engine){.args = {"--port", n->port, "--bind", "127.0.0.1", "--cluster-enabled", "yes",
				      "--cluster-require-full-coverage", "no"}};
	engine_start(e);
	n->e = e;
	snprintf(n->id, sizeof n->id, "%s", engine_ask(e, "CLUSTER", "MYID", NULL));
}

static void knows(const struct node *n, const struct node *peer)
{
	while (!strstr(engine_ask(n->e, "CLUSTER", "NODES", NULL), peer->id))
		nap(2);
}

static void await_cluster(const struct node *n)
{
	while (!strstr(engine_ask(n->e, "CLUSTER", "INFO", NULL), "cluster_state:ok"))
		nap(2);
}

static void expect_ok(const char *answer)
{
	ck_assert_str_eq(answer, "OK");
}

static void begin_to_move(const struct node *from, const struct node *to)
{
	expect_ok(engine_ask(to->e, "CLUSTER", "SETSLOT", slot, "IMPORTING", from->id, NULL));
	expect_ok(engine_ask(from->e, "CLUSTER", "SETSLOT", slot, "MIGRATING", to->id, NULL));
}

static void move_key(const struct node *from, const struct node *to, const char *key)
{
	expect_ok(engine_ask(from->e, "MIGRATE", "127.0.0.1", to->port, key, "0", "60000", NULL));
}

static void move_the_rest(const struct node *from, const struct node *to)
{
	char key[256];

	for (;;) {
		snprintf(key, sizeof key, "%s",
			 engine_ask(from->e, "CLUSTER", "GETKEYSINSLOT", slot, "1", NULL));
		if (strcmp(key, "()") == 0)
			break;
		move_key(from, to, key);
	}
	expect_ok(engine_ask(to->e, "CLUSTER", "SETSLOT", slot, "NODE", to->id, NULL));
	expect_ok(engine_ask(from->e, "CLUSTER", "SETSLOT", slot, "NODE", to->id, NULL));
}

static void receive_numbers(struct aiostream *s, unsigned from, unsigned to)
{
	char text[16];

	for (; from < to; from++) {
		snprintf(text, sizeof text, "n %u", from);
		receive(s, text);
	}
}

/* Two servers: nobody has the slot. */
static void start_cluster(struct node *a, struct node *b)
{
	start_node(a, &engine);
	start_node(b, &other);
	snprintf(slot, sizeof slot, "%s", engine_ask(a->e, "CLUSTER", "KEYSLOT", "s", NULL));
}

/* The first has it. Who loses its last slot becomes a replica, so both have others too. */
static void give_slots(const struct node *a, const struct node *b)
{
	expect_ok(engine_ask(a->e, "CLUSTER", "ADDSLOTS", slot, "0", NULL));
	expect_ok(engine_ask(b->e, "CLUSTER", "ADDSLOTS", "1", NULL));
	expect_ok(engine_ask(a->e, "CLUSTER", "MEET", "127.0.0.1", b->port, NULL));
	knows(a, b);
	knows(b, a);
	await_cluster(a);
	await_cluster(b);
}

/* Nobody has the slot; one has it; it moves to the other one, key by key, while they send and receive. */
TEST_WITHIN(a_slot_that_moves_is_followed, 60)
{
	struct aiostream *to, *from;
	struct node a, b;

	if (!engine_is_there())
		return;
	start_cluster(&a, &b);
	to = start_as(NULL, NULL);
	put_ten(to, 0);
	await_error(to, EAGAIN, "CLUSTERDOWN ");
	give_slots(&a, &b);
	await_sent(to, 10);
	from = start_as(NULL, "g");
	receive_numbers(from, 0, 10);
	begin_to_move(&a, &b);
	put_ten(to, 10);
	receive_numbers(from, 10, 20);
	move_key(&a, &b, "s");
	put_ten(to, 20);
	move_the_rest(&a, &b);
	put_ten(to, 30);
	receive_numbers(from, 20, 40);
	ck_assert_str_ne(engine_ask(b.e, "EXISTS", "s", NULL), "0");
	must(aiostream_close(to, soon()));
	must(aiostream_close(from, soon()));
	ck_assert_int_eq(engine_number(b.e, "XPENDING", "s", "g", NULL), 0);
	engine_end(&engine);
	engine_end(&other);
}

/* What the server would have done with the transaction that it got from a user who can't ask now. */
static void do_transaction(struct engine *e)
{
	char keys[512], number[24];
	const char *mark;

	snprintf(keys, sizeof keys, "%s", engine_ask(e, "KEYS", "{s}:by:*", NULL));
	mark = strtok(keys, " ");
	if (strstr(mark, ":fence"))
		mark = strtok(NULL, " ");
	engine_ask(e, "XADD", "s", "*", "m", "by hand", NULL);
	snprintf(number, sizeof number, "%ld", engine_number(e, "GET", mark, NULL) + 1);
	expect_ok(engine_ask(e, "SET", mark, number, NULL));
}

/*
 * The connection breaks when the server has done what was asked, and has not said so. Then the stream moves to the other one, and the mark that
 * tells of it comes later.
 */
TEST_WITHIN(what_was_done_is_not_done_again_where_the_slot_moves_to, 60)
{
	struct aiostream *s;
	struct node a, b;

	if (!engine_is_there())
		return;
	start_cluster(&a, &b);
	give_slots(&a, &b);
	for (int i = 0; i < 2; i++)
		engine_ask(i ? a.e : b.e, "ACL", "SETUSER", "u", "on", ">a secret", "+@all", "~*", NULL);
	s = start_as("u", NULL);
	put_ten(s, 0);
	await_sent(s, 10);
	stop_in_transaction(s, 1);
	engine_ask(a.e, "ACL", "SETUSER", "u", "off", NULL);
	engine_ask(a.e, "CLIENT", "KILL", "USER", "u", NULL);
	engine_ask(a.e, "CLIENT", "UNPAUSE", NULL);
	do_transaction(a.e);
	begin_to_move(&a, &b);
	move_key(&a, &b, "s");
	engine_ask(a.e, "ACL", "SETUSER", "u", "on", NULL);
	await_error(s, EAGAIN, "TRYAGAIN ");
	move_the_rest(&a, &b);
	must(aiostream_close(s, soon()));
	ck_assert_int_eq(engine_number(b.e, "XLEN", "s", NULL), 11);
	engine_end(&engine);
	engine_end(&other);
}
