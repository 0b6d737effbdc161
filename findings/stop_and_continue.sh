#!/bin/sh
# A process without any signal handler is stopped and continued while it waits. Which calls end with EINTR? Those that poll go on;
# epoll_wait ends, and so does reading from a socket, but only where it has a timeout.
. "$(dirname "$0")/common.sh"
system
guess "read: goes on, read with SO_RCVTIMEO: goes on, poll: goes on, epoll_wait: goes on"
cat >"$tmp/stop.c" <<'END'
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int pair[2];

static int plain_read(void)
{
	char c;
	return (int)recv(pair[0], &c, 1, 0);
}

static int timed_read(void)
{
	struct timeval t = {100, 0};

	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	return plain_read();
}

static int poll_it(void)
{
	struct pollfd p = {pair[0], POLLIN, 0};
	return poll(&p, 1, 100000);
}

static int epoll_it(void)
{
	struct epoll_event e = {EPOLLIN};
	int fd = epoll_create1(0);

	epoll_ctl(fd, EPOLL_CTL_ADD, pair[0], &e);
	return epoll_wait(fd, &e, 1, 100000);
}

static void try(const char *name, int (*call)(void), const char *behind)
{
	int status;
	pid_t pid;

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	pid = fork();
	if (pid == 0)
		_exit(call() == -1 && errno == EINTR);
	usleep(300000);
	kill(pid, SIGSTOP);
	waitpid(pid, &status, WUNTRACED);
	kill(pid, SIGCONT);
	usleep(300000);
	write(pair[1], "x", 1);
	waitpid(pid, &status, 0);
	printf("%s: %s%s", name, status ? "EINTR" : "goes on", behind);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	try("read", plain_read, ", ");
	try("read with SO_RCVTIMEO", timed_read, ", ");
	try("poll", poll_it, ", ");
	try("epoll_wait", epoll_it, "\n");
	return 0;
}
END
gcc -w -o "$tmp/stop" "$tmp/stop.c"
finding "read: goes on, read with SO_RCVTIMEO: EINTR, poll: goes on, epoll_wait: EINTR" "$tmp/stop"
