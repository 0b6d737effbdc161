/* libuv: a uv_pipe_t over a socket pair, a write for each message, and a 4-byte length by hand. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

#include "bench/bench.h"
#include "bench/frames.h"

#define AHEAD 65536 /* bytes a writer keeps queued */

struct end {
	struct bench *bench;
	uv_loop_t loop;
	uv_pipe_t pipe;
	uint32_t len;
	bool ended;
	struct frames frames;
};

struct message {
	uv_write_t request;
	uint32_t len;
	char data[];
};

static struct end end; /* this process's */

static void on_written(uv_write_t *request, int status)
{
	(void)status;
	free(request);
}

static void put(const void *data, uint32_t len)
{
	struct message *m = must_have(malloc(sizeof *m + len), "malloc");
	uv_buf_t buf = uv_buf_init((char *)&m->len, (unsigned)(sizeof m->len + len));

	m->len = len;
	memcpy(m->data, data, len);
	if (uv_write(&m->request, (uv_stream_t *)&end.pipe, &buf, 1, on_written) != 0)
		_exit(1);
}

/* Each turn of the loop fills the queue up. */
static void on_turn(uv_idle_t *idle)
{
	static char message[BULK];

	while (!end.ended && uv_stream_get_write_queue_size((uv_stream_t *)&end.pipe) < AHEAD) {
		end.ended = !bench_next(end.bench, message);
		put(message, end.len);
	}
	if (end.ended)
		uv_idle_stop(idle);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	(void)handle;
	(void)suggested;
	*buf = uv_buf_init((char *)end.frames.data + end.frames.used,
			   (unsigned)(sizeof end.frames.data - end.frames.used));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	(void)buf;
	if (n > 0)
		frames_take(&end.frames, (size_t)n);
	else if (n < 0)
		uv_read_stop(stream);
}

static void count(const unsigned char *data, uint32_t len, void *arg)
{
	(void)arg;
	if (bench_got(end.bench, data, len == SMALL ? 1 : len))
		bench_end(end.bench);
}

static void echo(const unsigned char *data, uint32_t len, void *arg)
{
	(void)arg;
	put(data, len);
}

static void trip(const unsigned char *data, uint32_t len, void *arg)
{
	bench_add(arg, 1);
	if (bench_more(arg)) {
		put(data, len);
		return;
	}
	bench_end(arg);
	uv_read_stop((uv_stream_t *)&end.pipe);
}

static void open_end(struct bench *b, int fd[2], bool child)
{
	close(fd[!child]);
	end.bench = b;
	end.frames.arg = b;
	uv_loop_init(&end.loop);
	uv_pipe_init(&end.loop, &end.pipe, 0);
	uv_pipe_open(&end.pipe, fd[child]);
}

static void close_end(void)
{
	uv_run(&end.loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&end.pipe, NULL);
	uv_run(&end.loop, UV_RUN_DEFAULT);
	uv_loop_close(&end.loop);
}

static void one_way(struct bench *b, uint32_t len)
{
	uv_idle_t idle;
	int fd[2];
	bool child;

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), "socketpair");
	child = bench_fork(b);
	open_end(b, fd, child);
	end.len = len;
	end.frames.on_message = count;
	uv_idle_init(&end.loop, &idle);
	if (child)
		uv_read_start((uv_stream_t *)&end.pipe, give_room, on_read);
	else
		uv_idle_start(&idle, on_turn);
	close_end();
}

static void small(struct bench *b)
{
	one_way(b, SMALL);
}

static void bulk(struct bench *b)
{
	one_way(b, BULK);
}

static void trips(struct bench *b)
{
	char message[SMALL] = {0};
	int fd[2];
	bool child;

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), "socketpair");
	child = bench_fork(b);
	open_end(b, fd, child);
	end.frames.on_message = child ? echo : trip;
	uv_read_start((uv_stream_t *)&end.pipe, give_room, on_read);
	if (!child)
		put(message, SMALL);
	close_end();
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
		{"small", small},
		{"bulk", bulk},
		{"trip", trips},
		{NULL, NULL},
	};

	return bench_main(argc, argv, cases);
}
