/*
 * 64 KiB after 64 KiB between two programs that know no TLS: system calls, and a stunnel beside each of them. As on two machines, a program
 * and its stunnel share a processor.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/certs.h"

static const char *folder; /* of certificates */

static const char *stunnel(void)
{
	static const char *const known[] = {"/usr/bin/stunnel4", "/usr/bin/stunnel",
					    "/usr/local/bin/stunnel"};

	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (access(known[i], X_OK) == 0)
			return known[i];
	bench_skip("no stunnel here (Debian: apt-get install stunnel4)");
}

/* One that takes @from and connects to @to. It lives no longer than this process, whose standard output it does not keep. */
static pid_t start_stunnel(const char *program, bool client, int from, int to)
{
	char path[100];
	pid_t pid;
	FILE *f;

	snprintf(path, sizeof path, "%s/%s.conf", folder, client ? "client" : "server");
	f = must_have(fopen(path, "w"), path);
	fprintf(f,
		"foreground = yes\npid =\ndebug = 3\n[it]\nclient = %s\naccept = 127.0.0.1:%d\n"
		"connect = 127.0.0.1:%d\ncert = %s/both.pem\nCAfile = %s/ca.pem\nverifyChain = yes\n"
		"sslVersionMin = TLSv1.3\n",
		client ? "yes" : "no", from, to, folder, folder);
	fclose(f);
	pid = must(fork(), "fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), fd);
	execl(program, "stunnel", path, (char *)NULL);
	_exit(127);
}

static void stop_stunnel(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static int loopback(int port, int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");

	if (call(fd, (struct sockaddr *)&in, sizeof in) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Until somebody listens there. */
static int reach(int port)
{
	int fd;

	while ((fd = loopback(port, connect)) == -1)
		usleep(2000);
	return fd;
}

static void write_all(struct bench *b, int fd)
{
	static char block[BULK];

	while (bench_more(b))
		for (size_t done = 0; done < BULK;)
			done += (size_t)must((int)write(fd, block + done, BULK - done), "write");
}

/* The reader's stunnel is there before the writer's: that one would end a connection that it can't pass on. */
static void bulk(struct bench *b)
{
	const char *program = stunnel();
	int near = bench_port(), far = bench_port(), last = bench_port(), listener, ready[2], fd;
	char c = 0;
	pid_t tunnel;

	listener = must(loopback(last, bind), "bind");
	must(listen(listener, 8), "listen");
	must(pipe(ready), "pipe");
	if (bench_fork(b)) {
		tunnel = start_stunnel(program, false, far, last);
		close(reach(far));
		must((int)write(ready[1], &c, 1), "write");
		fd = must(accept(listener, NULL, NULL), "accept");
		bench_read_bulk(b, fd);
	} else {
		must(read(ready[0], &c, 1) == 1 ? 0 : -1, "the other side");
		tunnel = start_stunnel(program, true, near, far);
		fd = reach(near);
		write_all(b, fd);
		must(shutdown(fd, SHUT_WR), "shutdown");
		must(read(fd, &c, 1) == 0 ? 0 : -1, "the end");
	}
	close(fd);
	stop_stunnel(tunnel);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"bulk", bulk},
		{NULL, NULL},
	};

	folder = certs_make();
	return bench_main(argc, argv, cases);
}
