/* The limit: the same work with system calls and nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/frames.h"

/* Both ends of both directions: of a socket pair the same number twice. */
struct ends {
	int r, w;
};

static void make_pair(struct ends end[2])
{
	int fd[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), "socketpair");
	end[0] = (struct ends){fd[0], fd[0]};
	end[1] = (struct ends){fd[1], fd[1]};
}

static void make_pipes(struct ends end[2])
{
	int there[2], back[2];

	must(pipe(there), "pipe");
	must(pipe(back), "pipe");
	end[0] = (struct ends){back[0], there[1]};
	end[1] = (struct ends){there[0], back[1]};
}

/* Over the loopback. */
static void make_tcp(struct ends end[2])
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof in;
	int listener = must(socket(AF_INET, SOCK_STREAM, 0), "socket"), on = 1, fd[2];

	must(bind(listener, (struct sockaddr *)&in, len), "bind");
	must(listen(listener, 1), "listen");
	must(getsockname(listener, (struct sockaddr *)&in, &len), "getsockname");
	fd[0] = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
	must(connect(fd[0], (struct sockaddr *)&in, len), "connect");
	fd[1] = must(accept(listener, NULL, NULL), "accept");
	close(listener);
	for (int i = 0; i < 2; i++) {
		must(setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
		end[i] = (struct ends){fd[i], fd[i]};
	}
}

/* Forks; the caller's end. */
static struct ends part(struct bench *b, struct ends end[2], bool *child)
{
	*child = bench_fork(b);
	close(end[!*child].r);
	close(end[!*child].w);
	return end[*child];
}

static void write_all(int fd, const void *data, size_t len)
{
	for (const char *p = data; len > 0;) {
		ssize_t n = must((int)write(fd, p, len), "write");

		p += n;
		len -= (size_t)n;
	}
}

static void count_message(const unsigned char *data, uint32_t len, void *arg)
{
	(void)len;
	if (bench_got(arg, data, 1))
		bench_end(arg);
}

static void write_frames(struct bench *b, int fd)
{
	unsigned char buffer[32768], message[SMALL] = {0};
	bool more = true;

	while (more) {
		unsigned char *to = buffer;

		while (more && to + sizeof(uint32_t) + SMALL <= buffer + sizeof buffer) {
			more = bench_next(b, message);
			to = frame_put(to, message, SMALL);
		}
		write_all(fd, buffer, (size_t)(to - buffer));
	}
}

/* A write for each. */
static void write_each(struct bench *b, int fd)
{
	unsigned char frame[sizeof(uint32_t) + SMALL], message[SMALL] = {0};
	bool more = true;

	while (more) {
		more = bench_next(b, message);
		frame_put(frame, message, SMALL);
		write_all(fd, frame, sizeof frame);
	}
}

static void read_frames(struct bench *b, int fd)
{
	static struct frames f;
	ssize_t n;

	f.on_message = count_message;
	f.arg = b;
	while ((n = read(fd, f.data + f.used, sizeof f.data - f.used)) > 0)
		frames_take(&f, (size_t)n);
}

static void write_bulk(struct bench *b, int fd)
{
	static char block[BULK];

	while (bench_more(b))
		write_all(fd, block, sizeof block);
}

static void one_way(struct bench *b, void (*make)(struct ends[2]), void (*writer)(struct bench *, int),
		    void (*reader)(struct bench *, int))
{
	struct ends end[2], mine;
	bool child;

	make(end);
	mine = part(b, end, &child);
	if (child) {
		reader(b, mine.r);
	} else {
		writer(b, mine.w);
		close(mine.w);
	}
}

static void trips_blocking(struct bench *b, struct ends end, bool child)
{
	char message[SMALL] = {0};

	if (child) {
		while (read(end.r, message, SMALL) == SMALL)
			write_all(end.w, message, SMALL);
		return;
	}
	while (bench_more(b)) {
		write_all(end.w, message, SMALL);
		must((int)read(end.r, message, SMALL), "read");
		bench_add(b, 1);
	}
	bench_end(b);
}

/* A read with a deadline, which a signal ends, is a poll and a read. */
static ssize_t poll_and_read(int fd, void *to, size_t n)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	must(ppoll(&p, 1, &(struct timespec){10, 0}, NULL), "ppoll");
	return read(fd, to, n);
}

static void trips_poll(struct bench *b, struct ends end, bool child)
{
	char message[SMALL] = {0};

	if (child) {
		while (poll_and_read(end.r, message, SMALL) == SMALL)
			write_all(end.w, message, SMALL);
		return;
	}
	while (bench_more(b)) {
		write_all(end.w, message, SMALL);
		must((int)poll_and_read(end.r, message, SMALL), "read");
		bench_add(b, 1);
	}
	bench_end(b);
}

static void trips_epoll(struct bench *b, struct ends end, bool child)
{
	struct epoll_event event = {.events = EPOLLIN};
	int epoll = must(epoll_create1(0), "epoll_create1");
	char message[SMALL] = {0};

	fcntl(end.r, F_SETFL, O_NONBLOCK);
	fcntl(end.w, F_SETFL, O_NONBLOCK);
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, end.r, &event), "epoll_ctl");
	if (!child)
		write_all(end.w, message, SMALL);
	for (;;) {
		must(epoll_wait(epoll, &event, 1, -1), "epoll_wait");
		if (read(end.r, message, SMALL) <= 0)
			break;
		bench_add(b, 1);
		if (!child && !bench_more(b))
			break;
		write_all(end.w, message, SMALL);
	}
	if (!child)
		bench_end(b);
}

static void trips(struct bench *b, void (*make)(struct ends[2]),
		  void (*go)(struct bench *, struct ends, bool))
{
	struct ends end[2], mine;
	bool child;

	make(end);
	mine = part(b, end, &child);
	go(b, mine, child);
	close(mine.r);
	close(mine.w);
}

static void small_pair(struct bench *b)
{
	one_way(b, make_pair, write_frames, read_frames);
}

static void small_pipe(struct bench *b)
{
	one_way(b, make_pipes, write_frames, read_frames);
}

static void each_pair(struct bench *b)
{
	one_way(b, make_pair, write_each, read_frames);
}

static void bulk_pair(struct bench *b)
{
	one_way(b, make_pair, write_bulk, bench_read_bulk);
}

static void bulk_pipe(struct bench *b)
{
	one_way(b, make_pipes, write_bulk, bench_read_bulk);
}

static void trip_blocking_pair(struct bench *b)
{
	trips(b, make_pair, trips_blocking);
}

static void trip_poll_pair(struct bench *b)
{
	trips(b, make_pair, trips_poll);
}

static void trip_blocking_pipes(struct bench *b)
{
	trips(b, make_pipes, trips_blocking);
}

static void trip_blocking_tcp(struct bench *b)
{
	trips(b, make_tcp, trips_blocking);
}

static void trip_epoll_pair(struct bench *b)
{
	trips(b, make_pair, trips_epoll);
}

static void trip_epoll_pipes(struct bench *b)
{
	trips(b, make_pipes, trips_epoll);
}

/* A child with a pair of its own, started and waited for, again and again. */
static void children(struct bench *b)
{
	struct ends end[2];
	pid_t pid;

	bench_start(b);
	for (int i = 0; i < CHILDREN; i++) {
		make_pair(end);
		pid = must(fork(), "fork");
		if (pid == 0)
			_exit(0);
		close(end[0].r);
		close(end[1].r);
		must(waitpid(pid, NULL, 0), "waitpid");
		bench_add(b, 1);
	}
	bench_end(b);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"small-pair", small_pair},
		{"small-pipe", small_pipe},
		{"each-pair", each_pair},
		{"bulk-pair", bulk_pair},
		{"bulk-pipe", bulk_pipe},
		{"trip-blocking-pair", trip_blocking_pair},
		{"trip-poll-pair", trip_poll_pair},
		{"trip-blocking-pipes", trip_blocking_pipes},
		{"trip-blocking-tcp", trip_blocking_tcp},
		{"trip-epoll-pair", trip_epoll_pair},
		{"trip-epoll-pipes", trip_epoll_pipes},
		{"children", children},
		{NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
