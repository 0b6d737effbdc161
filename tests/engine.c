/* A real server for the tests: see engine.h. */
#include "tests/engine.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/stream/resp.h"

/* What is found, and the name under which it is a server. */
static const char *find(const char **name)
{
	static const char *const known[][2] = {
		{"/usr/bin/redis-server", "redis-server"},
		{"/usr/bin/valkey-server", "valkey-server"},
		{"/usr/local/bin/redis-server", "redis-server"},
		{"/usr/local/bin/valkey-server", "valkey-server"},
		{"/usr/bin/redis-check-rdb", "redis-server"},
		{"/usr/bin/valkey-check-rdb", "valkey-server"},
	};
	const char *own = getenv("AIOIPC_ENGINE");

	*name = "redis-server";
	if (own)
		return own;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		*name = known[i][1];
		if (access(known[i][0], X_OK) == 0)
			return known[i][0];
	}
	return NULL;
}

bool engine_is_there(void)
{
	const char *name;

	if (find(&name))
		return true;
	printf("# SKIP no server of Redis or Valkey here: the package redis-tools has one\n");
	return false;
}

static void run(struct engine *e)
{
	char log[96];
	const char *argv[40] = {NULL, "--port", "0", "--unixsocket", e->path, "--dir", e->dir, "--save", ""};
	const char *path = find(&argv[0]);
	size_t n = 9;
	int fd;

	for (size_t i = 0; e->args[i]; i++)
		argv[n++] = e->args[i];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(log, sizeof log, "%s/log", e->dir);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	close(fd);
	execv(path, (char **)(uintptr_t)argv);
	_exit(127);
}

static int try_connecting(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));

	snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
	if (connect(fd, (struct sockaddr *)&un, sizeof un) == 0)
		return fd;
	close(fd);
	return -1;
}

static void put_words(int fd, va_list words)
{
	struct ipc_resp_out out = {.buf = NULL};
	const char *word;
	va_list again;
	size_t n = 0;

	va_copy(again, words);
	while (va_arg(again, const char *))
		n++;
	va_end(again);
	ipc_resp_begin(&out, n);
	while ((word = va_arg(words, const char *)))
		ipc_resp_str(&out, word);
	put(fd, out.buf, out.len);
	free(out.buf);
}

static size_t show(struct ipc_resp_walk *walk, char *to, size_t room)
{
	struct ipc_resp_item i;
	size_t n = 0;

	to[0] = '\0';
	while (ipc_resp_get(walk, &i) && n + 64 < room) {
		if (i.type == '*' && i.n > 0)
			continue;
		if (n > 0)
			to[n++] = ' ';
		if (i.type == '*' && i.n == 0)
			n += (size_t)snprintf(to + n, room - n, "()");
		else if (i.n == -1 && !i.s)
			n += (size_t)snprintf(to + n, room - n, "nil");
		else
			n += (size_t)snprintf(to + n, room - n, "%.*s", (int)i.len, i.s);
	}
	return n;
}

/* NULL: it has closed. */
static const char *get_answer(int fd)
{
	static char text[1 << 16];
	struct ipc_resp_in in;
	struct ipc_resp_walk walk;
	ssize_t n = 1;
	int r;

	ipc_resp_init(&in, (size_t)1 << 26);
	while ((r = ipc_resp_next(&in, &walk)) == 0) {
		n = read(fd, ipc_resp_room(&in, 1 << 16), 1 << 16);
		if (n <= 0)
			break;
		ipc_resp_filled(&in, (size_t)n);
	}
	ck_assert_int_ge(r, 0);
	if (r == 1)
		show(&walk, text, sizeof text);
	ipc_resp_free(&in);
	return r == 1 ? text : NULL;
}

static const char *ask(struct engine *e, va_list words)
{
	const char *text;

	put_words(e->asks, words);
	text = get_answer(e->asks);
	if (!text)
		ck_abort_msg("the server has gone");
	return text;
}

const char *engine_ask(struct engine *e, ...)
{
	const char *text;
	va_list words;

	va_start(words, e);
	text = ask(e, words);
	va_end(words);
	return text;
}

long engine_number(struct engine *e, ...)
{
	const char *text;
	va_list words;

	va_start(words, e);
	text = ask(e, words);
	va_end(words);
	return strtol(text, NULL, 10);
}

void engine_await(struct engine *e, const char *answer, ...)
{
	va_list words;

	for (;;) {
		va_start(words, answer);
		if (strcmp(ask(e, words), answer) == 0)
			break;
		va_end(words);
		usleep(2000);
	}
	va_end(words);
}

/* Until it answers, and has its data loaded. */
static void await(struct engine *e)
{
	const char *text = NULL;

	while (!text || strncmp(text, "LOADING", 7) == 0) {
		if (waitpid(e->pid, NULL, WNOHANG) == e->pid)
			ck_abort_msg("the server has ended: see %s/log", e->dir);
		usleep(2000);
		if (e->asks == -1)
			e->asks = try_connecting(e->path);
		if (e->asks == -1)
			continue;
		put(e->asks, "PING\r\n", 6);
		text = get_answer(e->asks);
	}
}

void engine_restart(struct engine *e)
{
	e->asks = -1;
	e->pid = must(fork());
	if (e->pid == 0)
		run(e);
	await(e);
}

void engine_start(struct engine *e)
{
	snprintf(e->dir, sizeof e->dir, "/tmp/aioipc-engine-XXXXXX");
	must(mkdtemp(e->dir));
	snprintf(e->path, sizeof e->path, "%s/s", e->dir);
	snprintf(e->address, sizeof e->address, "redis+unix://%s", e->path);
	engine_restart(e);
}

bool engine_logged(const struct engine *e, const char *text)
{
	char name[96], line[1024];
	bool found = false;
	FILE *f;

	snprintf(name, sizeof name, "%s/log", e->dir);
	f = must(fopen(name, "r"));
	while (!found && fgets(line, sizeof line, f))
		found = strstr(line, text);
	fclose(f);
	return found;
}

void engine_kill(struct engine *e)
{
	close(e->asks);
	e->asks = -1;
	must(kill(e->pid, SIGKILL));
	must(waitpid(e->pid, NULL, 0));
	e->pid = 0;
}

static void remove_folder(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *f;
	char name[512];

	while (d && (f = readdir(d))) {
		snprintf(name, sizeof name, "%s/%s", path, f->d_name);
		if (strcmp(f->d_name, ".") == 0 || strcmp(f->d_name, "..") == 0)
			continue;
		if (unlink(name) == -1)
			remove_folder(name);
	}
	if (d)
		closedir(d);
	rmdir(path);
}

void engine_end(struct engine *e)
{
	if (e->pid)
		engine_kill(e);
	remove_folder(e->dir);
}
