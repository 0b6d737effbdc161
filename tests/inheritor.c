/* What test_exec starts: a program that looks at what it was given. Its exit status says what it found. */
#include <aioipc.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* 0 or the errno of asking for @name. */
static int has(const char *name)
{
	struct aioend *end = aioend_inherited(name);

	aioend_free(end);
	return end ? 0 : errno;
}

/* Echoes until the end. */
static int echo(const char *name)
{
	struct aioend *end = aioend_inherited(name);
	char buf[100];
	int r, w;
	ssize_t n;

	if (!end || aioend_release(end, &r, &w) == -1)
		return errno;
	if (!(fcntl(r, F_GETFD) & FD_CLOEXEC))
		return 200;
	while ((n = read(r, buf, sizeof(buf))) > 0)
		if (write(w, buf, (size_t)n) != n)
			return 201;
	return n == 0 ? 0 : errno;
}

/* Sends messages back until the end. */
static int answer_messages(const char *name)
{
	struct aioend *end = aioend_inherited(name);
	struct aioconn *c = end ? aioend_open(end, NULL) : NULL;
	struct aiomsg *m;
	int r;

	if (!c)
		return errno;
	while ((r = aioconn_recv(c, &m, AIOIPC_FOREVER)) == 1) {
		if (aioconn_send_msg(c, m) == -1)
			return errno;
		aiomsg_free(m);
	}
	return r == 0 && aioconn_close(c, AIOIPC_FOREVER) == 0 ? 0 : errno;
}

/* The descriptors that are open: a bit each. */
static int open_ones(void)
{
	int bits = 0;

	for (int fd = 0; fd < 1000; fd++)
		if (fcntl(fd, F_GETFD) != -1)
			bits |= fd < 7 ? 1 << fd : 0x80;
	return bits;
}

/* Which of 0, 1 and 2 are /dev/null: a bit each. */
static int null_ones(void)
{
	struct stat st, null;
	int bits = 0;

	stat("/dev/null", &null);
	for (int fd = 0; fd < 3; fd++)
		if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == null.st_rdev)
			bits |= 1 << fd;
	return bits;
}

/* Found, and above what is standard. */
static int is_high(const char *name)
{
	struct aioend *end = aioend_inherited(name);
	int r, w;

	if (!end || aioend_release(end, &r, &w) == -1)
		return errno;
	return r > 2 && w > 2 ? null_ones() : 200;
}

/* Does it run with more than its user's rights? Then what @name says does not count. No leak checker may look at such a process. */
static _Noreturn void secure(const char *name)
{
	aioqueue_free(aioqueue_new(1, 0));
	_exit(getauxval(AT_SECURE) ? has(name) : 254);
}

static int grandchild(char *self, char *name)
{
	char *argv[] = {self, "has", name, NULL};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execv(self, argv);
		_exit(255);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static int forked(const char *name)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(has(name));
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

/* One that is blocked, or SIGUSR1 when it is not at its default. */
static int signals(void)
{
	struct sigaction sa;
	sigset_t mask;

	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int sig = 1; sig < 32; sig++)
		if (sigismember(&mask, sig))
			return sig;
	sigaction(SIGUSR1, NULL, &sa);
	return sa.sa_handler == SIG_DFL ? 0 : SIGUSR1;
}

/* With 0 and 1 adopted and used, it ends as @how says. */
static int leave(const char *how)
{
	struct aioconn *c = aioend_open(aioend_from_fds(0, 1), NULL);
	pid_t pid = 0;

	if (!c || aioconn_set_framing(c, AIOCONN_BYTES, NULL) == -1 || aioconn_send_bytes(c, "x", 1) == -1)
		return errno;
	if (strcmp(how, "close") == 0)
		return aioconn_close(c, AIOIPC_FOREVER) == 0 ? 0 : errno;
	if (strcmp(how, "fork") == 0)
		pid = fork();
	if (pid == 0)
		exit(0);
	waitpid(pid, NULL, 0);
	return fcntl(0, F_GETFL) & O_NONBLOCK && fcntl(1, F_GETFL) & O_NONBLOCK ? 0 : 200;
}

/* A worker of a service: what it is told is a number. */
static int handle(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	struct aiomsg *answer;
	uint32_t n;
	int r;

	(void)arg;
	memcpy(&n, aiomsg_bytes(m, NULL), sizeof n);
	if (n == 7)
		raise(SIGKILL);
	while (n == 1000)
		pause();
	n *= 2;
	answer = aiomsg_new_bytes(&n, sizeof n);
	r = aioqueue_put(out, answer, AIOIPC_NOW);
	aiomsg_free(answer);
	return r;
}

static int work(void)
{
	const struct aioservice_options o = {.size = sizeof o, .handle = handle};

	return aioservice_worker(&o) == 0 ? 0 : errno;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "fds") == 0)
		return open_ones();
	if (strcmp(what, "nulls") == 0)
		return null_ones();
	if (strcmp(what, "group") == 0)
		return getpgrp() == getpid();
	if (strcmp(what, "signals") == 0)
		return signals();
	if (strcmp(what, "work") == 0)
		return work();
	if (strcmp(what, "session") == 0)
		return getsid(0) == getpid();
	if (strcmp(what, "ids") == 0)
		return getuid() == 54321 && getgid() == 54322 && getgroups(0, NULL) == 0;
	if (argc < 3)
		return 255;
	if (strcmp(what, "leave") == 0)
		return leave(argv[2]);
	if (strcmp(what, "has") == 0)
		return has(argv[2]);
	if (strcmp(what, "high") == 0)
		return is_high(argv[2]);
	if (strcmp(what, "secure") == 0)
		secure(argv[2]);
	if (strcmp(what, "twice") == 0)
		return has(argv[2]) == 0 ? has(argv[2]) : 254;
	if (strcmp(what, "echo") == 0)
		return echo(argv[2]);
	if (strcmp(what, "messages") == 0)
		return answer_messages(argv[2]);
	if (strcmp(what, "grandchild") == 0)
		return grandchild(argv[0], argv[2]);
	if (strcmp(what, "forked") == 0)
		return has(argv[2]) == 0 ? forked(argv[2]) : 254;
	if (strcmp(what, "forked-late") == 0)
		return has("nobody") == ENOENT ? forked(argv[2]) : 254;
	return 255;
}
