/*
 * A privilege-separated pair: the worker gives up its rights (when it has any), and asks the monitor,
 * which keeps them, to open files for it. The monitor decides which, and passes open descriptors over
 * the socket pair.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <aioipc.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

#define NOBODY 65534

static void drop_rights(void)
{
	if (geteuid() != 0)
		return;
	if (setgroups(0, NULL) == -1 || setgid(NOBODY) == -1 || setuid(NOBODY) == -1)
		die("drop rights");
}

/* Asks for a file by its name: a descriptor, or -1 with the monitor's errno. */
static int ask(struct aioconn *monitor, const char *name)
{
	struct aiomsg *answer;
	int32_t error;
	int fd = -1;

	if (aioconn_send(monitor, "s", name) == -1 || aioconn_recv(monitor, &answer, AIOIPC_FOREVER) != 1)
		die("ask");
	if (aiomsg_unpack(answer, "i", &error) == -1)
		die("unpack");
	if (error == 0)
		fd = aiomsg_take_fd(answer);
	aiomsg_free(answer);
	errno = error;
	return fd;
}

static int worker(void *arg)
{
	static const char *const names[] = {"secret", "/etc/shadow"};
	struct aioconn *monitor = aioend_open(arg, NULL);
	char text[64];

	if (!monitor || aioconn_allow_fds(monitor, 1) == -1)
		die("open");
	drop_rights();
	for (size_t i = 0; i < 2; i++) {
		int fd = ask(monitor, names[i]);
		ssize_t n = fd == -1 ? -1 : read(fd, text, sizeof text);

		if (n == -1)
			printf("[%d] worker: %s: %s\n", (int)getpid(), names[i], strerror(errno));
		else
			printf("[%d] worker: %s: \"%.*s\"\n", (int)getpid(), names[i], (int)n, text);
		if (fd != -1)
			close(fd);
	}
	return aioconn_close(monitor, AIOIPC_FOREVER);
}

/* Only one name is known here, whatever the worker asks for. */
static void answer(struct aioconn *worker_conn, const char *name, const char *secret)
{
	int known = strcmp(name, "secret") == 0;
	int fd = known ? open(secret, O_RDONLY | O_CLOEXEC) : -1;
	int32_t error = fd != -1 ? 0 : known ? errno : EACCES;

	printf("[%d] monitor: %s %s\n", (int)getpid(), fd == -1 ? "refuses" : "opens", name);
	if (fd == -1 ? aioconn_send(worker_conn, "i", error) : aioconn_send_fd(worker_conn, fd, "i", error))
		die("answer");
	if (fd != -1)
		close(fd);
}

static void serve(struct aioend *end, const char *secret)
{
	struct aioconn *c = aioend_open(end, NULL);
	struct aiomsg *request;
	const char *name;
	int got = -1;

	while (c && (got = aioconn_recv(c, &request, AIOIPC_FOREVER)) == 1) {
		if (aiomsg_unpack(request, "s", &name) == 0 && name)
			answer(c, name, secret);
		aiomsg_free(request);
	}
	if (got == -1)
		die("serve");
	aioconn_close(c, AIOIPC_NOW);
}

/* A file that only this user may read. */
static void make_secret(char *path)
{
	int fd = mkstemp(path);

	if (fd == -1 || write(fd, "forty-two", 9) != 9 || close(fd) == -1)
		die(path);
}

int main(void)
{
	char secret[] = "/tmp/privsep.XXXXXX";
	struct aioend *mine, *workers;
	struct aioproc *proc;
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	make_secret(secret);
	if (aiosockpair(&mine, &workers) == -1)
		die("aiosockpair");
	proc = aioproc_start_with(worker, workers, &workers, 1);
	if (!proc)
		die("start");
	aioend_free(workers);

	serve(mine, secret);
	unlink(secret);

	if (aioproc_join(proc, &status, AIOIPC_FOREVER) == -1)
		die("join");
	aioproc_free(proc);
	return status != 0;
}
