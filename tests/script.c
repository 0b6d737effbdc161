/* See script.h. */
#include "tests/script.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ipc/stream/resp.h"
#include "tests/peers.h"

bool script_is(const char *line, const char *command)
{
	size_t len = strlen(command);

	return strncmp(line, command, len) == 0 && (line[len] == ' ' || !line[len]);
}

void script_hang_up(struct script_talk *t)
{
	shutdown(t->fd, SHUT_RDWR);
}

void script_say(struct script_talk *t, const char *text)
{
	struct script *s = t->script;
	size_t len = strlen(text);
	unsigned long from = atomic_fetch_add(&s->said, len), cut = atomic_load(&s->cut);

	if (cut && from < cut && from + len >= cut) {
		put_try(t->fd, text, cut - from);
		script_hang_up(t);
		return;
	}
	put_try(t->fd, text, len);
}

/* As usual. */

/* The letter of a command of a sender, 0: it is none. */
static char letter_of(struct script_talk *t, const char *line)
{
	if (script_is(line, "XADD"))
		return 'A';
	if (script_is(line, "GET"))
		return 'G';
	if (script_is(line, "XLEN"))
		return 'L';
	if (!script_is(line, "SET"))
		return 0;
	if (strstr(line, ":fence "))
		return 'F';
	sscanf(line, "SET %*s %31s", t->mark);
	return 'S';
}

/* Does it, and writes what is said. */
static size_t obey(struct script_talk *t, char letter, char *to, size_t room)
{
	struct script *s = t->script;
	int n;

	if (letter == 'S')
		snprintf(s->mark, sizeof s->mark, "%s", t->mark);
	s->appended += letter == 'A';
	if (letter == 'A')
		n = snprintf(to, room, "$3\r\n1-1\r\n");
	else if (letter == 'L')
		n = snprintf(to, room, ":%u\r\n", s->appended);
	else if (letter == 'G' && !*s->mark)
		n = snprintf(to, room, "$-1\r\n");
	else if (letter == 'G')
		n = snprintf(to, room, "$%zu\r\n%s\r\n", strlen(s->mark), s->mark);
	else
		n = snprintf(to, room, "+OK\r\n");
	return (size_t)n;
}

static void say_exec(struct script_talk *t)
{
	char text[65536];
	size_t n = (size_t)snprintf(text, sizeof text, "*%u\r\n", t->count);

	if (!t->multi) {
		script_say(t, "-ERR EXEC without MULTI\r\n");
		return;
	}
	t->script->transactions++;
	for (unsigned i = 0; i < t->count; i++)
		n += obey(t, t->queued[i], text + n, sizeof text - n);
	t->multi = false;
	t->count = 0;
	script_say(t, text);
}

static void say_queued(struct script_talk *t, const char *line)
{
	t->queued[t->count++] = letter_of(t, line);
	script_say(t, "+QUEUED\r\n");
}

static void say_at_once(struct script_talk *t, char letter)
{
	char text[64];

	obey(t, letter, text, sizeof text);
	script_say(t, text);
}

static size_t write_entry(char *to, size_t room, unsigned i)
{
	return (size_t)snprintf(to, room, "*2\r\n$%d\r\n%u-0\r\n*2\r\n$1\r\nm\r\n$%d\r\n%u\r\n",
				i + 1 < 10 ? 3 : 4, i + 1, i < 10 ? 1 : 2, i);
}

static void say_new(struct script_talk *t, const char *line)
{
	struct script *s = t->script;
	unsigned most = (unsigned)strtoul(strstr(line, "COUNT ") + 6, NULL, 10), n = s->entries - s->given;
	char text[8192];
	size_t at;

	n = n < most ? n : most;
	if (n == 0) {
		pthread_mutex_unlock(&s->lock);
		usleep(3000);
		pthread_mutex_lock(&s->lock);
		script_say(t, "*-1\r\n");
		return;
	}
	at = (size_t)snprintf(text, sizeof text, "*1\r\n*2\r\n$1\r\ns\r\n*%u\r\n", n);
	for (; n > 0; n--) {
		s->tries[s->given] = 1;
		at += write_entry(text + at, sizeof text - at, s->given++);
	}
	script_say(t, text);
}

static bool is_pending(const struct script *s, unsigned i)
{
	return i < s->given && !s->acked[i];
}

/* Those of this member, behind the id after '('; nobody else's lease has run out. */
static void say_pending(struct script_talk *t, const char *line)
{
	struct script *s = t->script;
	const char *behind = strchr(line, '(');
	unsigned from = behind ? (unsigned)strtoul(behind + 1, NULL, 10) : 0, n = 0;
	char text[8192];
	size_t at;

	for (unsigned i = from; i < s->given; i++)
		n += is_pending(s, i);
	if (strstr(line, " IDLE ") && !strstr(line, " me"))
		n = 0;
	at = (size_t)snprintf(text, sizeof text, "*%u\r\n", n);
	for (unsigned i = from; n > 0 && i < s->given; i++)
		if (is_pending(s, i))
			at += (size_t)snprintf(text + at, sizeof text - at,
					       "*4\r\n$%d\r\n%u-0\r\n$2\r\nme\r\n:10\r\n:%u\r\n",
					       i + 1 < 10 ? 3 : 4, i + 1, s->tries[i]);
	script_say(t, text);
}

/* The numbers of the ids in a command. */
static unsigned read_ids(const char *line, unsigned *number)
{
	unsigned n = 0;

	for (const char *at = strchr(line, ' '); at && n < SCRIPT_ENTRIES; at = strchr(at + 1, ' ')) {
		char *end;
		unsigned long i = strtoul(at + 1, &end, 10);

		if (end > at + 1 && strncmp(end, "-0", 2) == 0 && i > 0 && i <= SCRIPT_ENTRIES)
			number[n++] = (unsigned)i - 1;
	}
	return n;
}

static void say_claimed(struct script_talk *t, const char *line)
{
	struct script *s = t->script;
	bool ids = strstr(line, " JUSTID");
	unsigned number[SCRIPT_ENTRIES], n = read_ids(line, number), k = 0;
	char text[8192];
	size_t at;

	for (unsigned i = 0; i < n; i++)
		if (is_pending(s, number[i]))
			number[k++] = number[i];
	at = (size_t)snprintf(text, sizeof text, "*%u\r\n", ids ? 0 : k);
	for (unsigned i = 0; !ids && i < k; i++) {
		s->tries[number[i]]++;
		at += write_entry(text + at, sizeof text - at, number[i]);
	}
	script_say(t, text);
}

static void say_acked(struct script_talk *t, const char *line)
{
	struct script *s = t->script;
	unsigned number[SCRIPT_ENTRIES], n = read_ids(line, number), k = 0;
	char text[32];

	for (unsigned i = 0; i < n; i++)
		k += s->acked[number[i]]++ == 0;
	snprintf(text, sizeof text, ":%u\r\n", k);
	script_say(t, text);
}

static void answer(struct script_talk *t, const char *line)
{
	if (script_is(line, "EXEC"))
		say_exec(t);
	else if (t->multi)
		say_queued(t, line);
	else if (letter_of(t, line))
		say_at_once(t, letter_of(t, line));
	else if (script_is(line, "XREADGROUP"))
		say_new(t, line);
	else if (script_is(line, "XPENDING"))
		say_pending(t, line);
	else if (script_is(line, "XCLAIM"))
		say_claimed(t, line);
	else if (script_is(line, "XACK"))
		say_acked(t, line);
	else if (script_is(line, "XINFO"))
		script_say(t, "*0\r\n");
	else
		script_say(t, "+OK\r\n");
	if (script_is(line, "MULTI"))
		t->multi = true;
}

/* Connections. */

static void turn(struct script_talk *t, const char *line)
{
	struct script *s = t->script;

	if (s->turn && s->turn(t, line, s->arg))
		return;
	pthread_mutex_lock(&s->lock);
	answer(t, line);
	pthread_mutex_unlock(&s->lock);
}

static void read_line(struct ipc_resp_walk *walk, char *line, size_t room)
{
	struct ipc_resp_item i;
	size_t n = 0;

	line[0] = '\0';
	ipc_resp_get(walk, &i);
	while (ipc_resp_get(walk, &i) && n < room - 1)
		n += (size_t)snprintf(line + n, room - n, "%s%.*s", n ? " " : "", (int)i.len, i.s);
}

static void *talk(void *arg)
{
	struct script_talk *t = arg;
	struct ipc_resp_in in;
	struct ipc_resp_walk walk;
	char line[4096];
	ssize_t n;

	ipc_resp_init(&in, (size_t)1 << 26);
	while ((n = recv(t->fd, ipc_resp_room(&in, 65536), 65536, 0)) > 0) {
		ipc_resp_filled(&in, (size_t)n);
		while (ipc_resp_next(&in, &walk) == 1) {
			read_line(&walk, line, sizeof line);
			turn(t, line);
		}
	}
	ipc_resp_free(&in);
	return NULL;
}

static void *run(void *arg)
{
	struct script *s = arg;
	unsigned n = 0;

	while (!atomic_load(&s->over) && n < SCRIPT_TALKS) {
		struct script_talk *t = &s->talks[n];

		*t = (struct script_talk){
			.script = s, .number = n, .fd = accept4(s->listening, NULL, NULL, SOCK_CLOEXEC)};
		if (t->fd == -1)
			continue;
		ck_assert_int_eq(pthread_create(&s->threads[n], NULL, talk, t), 0);
		atomic_store(&s->count, ++n);
	}
	return NULL;
}

static void listen_at(struct script *s, const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof in;

	s->listening = must(socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	if (path) {
		snprintf(s->path, sizeof s->path, "%s", path);
		snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
		unlink(path);
		must(bind(s->listening, (struct sockaddr *)&un, sizeof un));
	} else {
		must(bind(s->listening, (struct sockaddr *)&in, sizeof in));
		must(getsockname(s->listening, (struct sockaddr *)&in, &len));
		s->port = ntohs(in.sin_port);
	}
	must(listen(s->listening, 64));
}

void start_script(struct script *s, const char *path, script_turn *fn, void *arg)
{
	memset(s, 0, sizeof *s);
	s->turn = fn;
	s->arg = arg;
	pthread_mutex_init(&s->lock, NULL);
	listen_at(s, path);
	ck_assert_int_eq(pthread_create(&s->thread, NULL, run, s), 0);
}

void stop_script(struct script *s)
{
	atomic_store(&s->over, true);
	shutdown(s->listening, SHUT_RDWR); /* who waits for a connection is woken */
	pthread_join(s->thread, NULL);
	for (unsigned i = 0; i < atomic_load(&s->count); i++) {
		script_hang_up(&s->talks[i]);
		pthread_join(s->threads[i], NULL);
		close(s->talks[i].fd);
	}
	close(s->listening);
	if (*s->path)
		unlink(s->path);
	pthread_mutex_destroy(&s->lock);
}
