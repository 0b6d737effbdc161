/* See server.h. */
#include "bench/server.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"

/* In Debian's redis-tools there is one under another name; called like this, it is a server. */
static const char *find_server(void)
{
	static const char *const known[] = {"/usr/bin/redis-server", "/usr/bin/valkey-server",
					    "/usr/local/bin/redis-server", "/usr/bin/redis-check-rdb",
					    "/usr/bin/valkey-check-rdb"};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (access(known[i], X_OK) == 0)
			return known[i];
	bench_skip("no server of Redis or Valkey here");
}

/* Its child that rewrites the file would disturb the measurement, and outlive it. */
static _Noreturn void run(const struct server *s, const char *path)
{
	int null = open("/dev/null", O_WRONLY);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, STDOUT_FILENO);
	execl(path, "redis-server", "--port", "0", "--unixsocket", s->path, "--dir", s->dir, "--save", "",
	      "--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0",
	      (char *)NULL);
	_exit(127);
}

static bool answers(const struct server *s)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = must(socket(AF_UNIX, SOCK_STREAM, 0), "socket");
	bool up;

	snprintf(un.sun_path, sizeof un.sun_path, "%s", s->path);
	up = connect(fd, (struct sockaddr *)&un, sizeof un) == 0;
	close(fd);
	return up;
}

void server_start(struct server *s)
{
	const char *path = find_server();

	snprintf(s->dir, sizeof s->dir, "/tmp/aioipc-bench-XXXXXX");
	must_have(mkdtemp(s->dir), "mkdtemp");
	snprintf(s->path, sizeof s->path, "%s/s", s->dir);
	s->pid = must(fork(), "fork");
	if (s->pid == 0)
		run(s, path);
	while (!answers(s))
		usleep(5000);
}

void server_stop(struct server *s)
{
	char command[64];

	kill((pid_t)s->pid, SIGKILL);
	waitpid((pid_t)s->pid, NULL, 0);
	snprintf(command, sizeof command, "rm -rf %s", s->dir);
	must(system(command), command);
}
