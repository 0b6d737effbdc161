/* Rings: moved by fork and exec, descriptors beside them, and peers that lie, die, or write what they like. */
#include "tests/peers.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/carry/ring.h"
#include "ipc/carry/shared.h"
#include "ipc/end/end.h"
#include "ipc/os/os.h"

#define SIZE 4096

/* A peer by hand: its socket, and what it maps. */
struct liar {
	int sock, memory;
	struct ipc_ring_words *words; /* both: its connection writes the first, and reads the second */
	size_t len;
};

static int receive_memory(int sock)
{
	char hello[8];
	struct iovec iov = {.iov_base = hello, .iov_len = sizeof hello};
	struct ipc_fdlist fds = {.n = 0};

	ck_assert_int_eq(must(ipc_os_readv(sock, IPC_FD_UNIX, &iov, 1, &fds)), sizeof hello);
	ck_assert_uint_eq(fds.n, 1);
	return fds.fd[0];
}

static bool is_filled_msg(const struct aiomsg *m, size_t len, unsigned seed)
{
	size_t have;
	const void *data = aiomsg_bytes(m, &have);

	return have == len && is_filled(data, len, seed);
}

static struct aioconn *open_ring_at(int sock)
{
	struct aioend *end = must(aioend_from_fds(sock, sock));

	end->ring = IPC_RING_COMES;
	return must(aioend_open(end, NULL));
}

static struct aioconn *open_liar(struct liar *l)
{
	struct stat st;
	int s[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	must(ipc_carry_share(s[0], s[1], SIZE));
	l->sock = s[0];
	l->memory = receive_memory(s[0]);
	must(fstat(l->memory, &st));
	l->len = (size_t)st.st_size;
	l->words = mmap(NULL, l->len, PROT_READ | PROT_WRITE, MAP_SHARED, l->memory, 0);
	ck_assert(l->words != MAP_FAILED);
	return open_ring_at(s[1]);
}

static void close_liar(struct liar *l)
{
	munmap(l->words, l->len);
	close(l->memory);
	close(l->sock);
}

static bool is_mapped_here(void)
{
	FILE *maps = must(fopen("/proc/self/maps", "r"));
	char line[512];
	bool found = false;

	while (fgets(line, sizeof line, maps))
		found = found || strstr(line, "memfd:aioipc");
	fclose(maps);
	return found;
}

TEST(sizes_are_powers_of_two)
{
	struct aioend *a, *b;

	must_fail(aioring(&a, &b, 4095), EINVAL);
	must_fail(aioring(&a, &b, 5000), EINVAL);
	must_fail(aioring(&a, &b, 2048), EINVAL);
	must_fail(aioring(&a, &b, (size_t)32 << 20), EINVAL);
	must(aioring(&a, &b, 4096));
	aioend_free(a);
	aioend_free(b);
}

TEST(an_end_is_more_than_its_descriptor)
{
	struct aioend *a, *b;
	struct aioconn *c;
	int r, w;

	must(aioring(&a, &b, 0));
	must_fail(aioend_release(a, &r, &w), EOPNOTSUPP);
	must_fail(aioend_set_stdio(a, 0, -1), EOPNOTSUPP);
	aioend_free(b);
	c = open_end(a, NULL);
	expect_end(c, ECONNRESET);
	aioconn_abort(c);
}

/* Not even while it is open: who forks has no copy. */
TEST(memory_is_mapped_where_it_is_open_and_nowhere_else)
{
	struct aioconn *a, *b;
	pid_t pid;

	open_pair(RING, NULL, &a, &b);
	ck_assert(is_mapped_here());
	pid = must(fork());
	if (pid == 0) {
		bool mapped = is_mapped_here();

		aioconn_abort(a);
		aioconn_abort(b);
		_exit(mapped);
	}
	expect_exit(pid, 0);
	send_text(a, "still here");
	expect_text(b, "still here");
	aioconn_abort(a);
	aioconn_abort(b);
	ck_assert(!is_mapped_here());
}

static void talk(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);

	(void)arg;
	for (int i = 0; i < 1000; i++) {
		expect_fill(c, (size_t)i * 7, (unsigned)i);
		send_fill(c, (size_t)i * 5, (unsigned)i);
	}
	must(aioconn_close(c, soon()));
}

TEST(an_end_moves_to_a_child)
{
	struct aioend *a, *b;
	struct aioconn *c;
	pid_t pid;

	must(aioring(&a, &b, SIZE));
	pid = start_child(talk, b, NULL);
	c = open_end(a, NULL);
	for (int i = 0; i < 1000; i++) {
		send_fill(c, (size_t)i * 7, (unsigned)i);
		expect_fill(c, (size_t)i * 5, (unsigned)i);
	}
	expect_end(c, 0);
	must(aioconn_close(c, soon()));
	expect_exit(pid, 0);
}

TEST(an_end_moves_to_a_program)
{
	struct aioend *a, *b;
	struct aioconn *c;
	struct aioproc *p;
	int status;

	must(aioring(&a, &b, 0));
	must(aioend_set_name(b, "ring"));
	must(aioend_detach(b));
	p = must(aioproc_exec("tests/inheritor", (char *[]){"inheritor", "messages", "ring", NULL}, NULL,
			      NULL));
	aioend_free(b);
	c = open_end(a, NULL);
	for (int i = 0; i < 100; i++) {
		send_fill(c, 10000, (unsigned)i);
		expect_fill(c, 10000, (unsigned)i);
	}
	must(aioconn_close(c, soon()));
	must(aioproc_join(p, &status, soon()));
	ck_assert_int_eq(status, 0);
	aioproc_free(p);
}

/* A kill is a loss under any framing, as a reset over TCP; an exit in order is not. */
static void say_lines(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);
	const bool *dies = arg;

	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	must(aioconn_send_bytes(c, "one", 3));
	if (*dies)
		raise(SIGKILL);
	exit(0);
}

static void expect_line_then(bool dies, int error)
{
	struct aioend *a, *b;
	struct aioconn *c;
	pid_t pid;

	must(aioring(&a, &b, 0));
	pid = start_child(say_lines, b, &dies);
	c = open_end(a, NULL);
	must(aioconn_set_framing(c, AIOCONN_LINES, NULL));
	expect_text(c, "one");
	expect_end(c, error);
	aioconn_abort(c);
	if (dies)
		expect_killed(pid, SIGKILL);
	else
		expect_exit(pid, 0);
}

TEST(a_kill_is_a_loss_and_an_exit_is_an_end)
{
	expect_line_then(true, ECONNRESET);
	expect_line_then(false, 0);
}

static void send_for_ever(struct aioend *end, void *arg)
{
	struct aioconn *c = open_end(end, NULL);

	(void)arg;
	for (unsigned i = 0;; i++)
		send_fill(c, 300 + i % 5000, i);
}

TEST_WITHIN(a_writer_killed_at_any_moment_leaves_whole_messages, 60)
{
	for (unsigned i = 0; i < 100; i++) {
		struct aioend *a, *b;
		struct aioconn *c;
		struct aiomsg *m;
		unsigned n = 0;
		pid_t pid;

		must(aioring(&a, &b, SIZE << i % 5));
		pid = start_child(send_for_ever, b, NULL);
		c = open_end(a, NULL);
		while (n < i * 13 % 200) {
			expect_fill(c, 300 + n % 5000, n);
			n++;
		}
		must(kill(pid, SIGKILL));
		for (; aioconn_recv(c, &m, soon()) == 1; aiomsg_free(m), n++)
			ck_assert(is_filled_msg(m, 300 + n % 5000, n));
		ck_assert_int_eq(errno, ECONNRESET);
		aioconn_abort(c);
		expect_killed(pid, SIGKILL);
	}
}

/* More than may be on their way at once, and each belongs to its message. */
TEST(descriptors_stay_with_their_messages)
{
	struct event_base *base = new_base();
	struct aioconn *a, *b;
	struct aiomsg *m;
	char name[32];

	open_pair(RING, base, &a, &b);
	must(aioconn_allow_fds(b, 200));
	for (unsigned i = 0; i < 150; i++) {
		int fd = must(memfd_create(snprintf(name, sizeof name, "%u", i) ? name : "", MFD_CLOEXEC));

		must(ftruncate(fd, i));
		must(aioconn_send_fd(a, fd, "u", i));
		close(fd);
		send_fill(a, i * 3, i);
	}
	for (uint32_t i = 0, n; i < 150; i++) {
		struct stat st;
		int fd;

		while (aioconn_recv(b, &m, AIOIPC_NOW) != 1)
			run_now(base);
		must(aiomsg_unpack(m, "u", &n));
		ck_assert_uint_eq(n, i);
		fd = must(aiomsg_take_fd(m));
		must(fstat(fd, &st));
		close(fd);
		ck_assert_int_eq(st.st_size, i);
		aiomsg_free(m);
		while (aioconn_recv(b, &m, AIOIPC_NOW) != 1)
			run_now(base);
		ck_assert(aiomsg_fds(m) == 0 && is_filled_msg(m, i * 3, i));
		aiomsg_free(m);
	}
	aioconn_abort(a);
	aioconn_abort(b);
	event_base_free(base);
}

static void expect_bad(struct aioconn *c)
{
	struct aiomsg *m;

	must_fail(aioconn_recv(c, &m, soon()), EPROTO);
	aioconn_abort(c);
}

TEST(an_index_that_can_not_be_ends_the_connection)
{
	const uint64_t jumps[] = {SIZE + 1, UINT64_MAX, UINT64_C(1) << 63};

	for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++) {
		struct aioconn *c;
		struct liar l;

		c = open_liar(&l);
		atomic_store(&l.words[1].tail, jumps[i]);
		expect_bad(c);
		close_liar(&l);

		c = open_liar(&l);
		atomic_store(&l.words[0].head, jumps[i]);
		for (int n = 0; n < 1000 && aioconn_send(c, "i", n) == 0; n++)
			;
		must_fail(aioconn_send(c, "i", 0), EPROTO);
		aioconn_abort(c);
		close_liar(&l);
	}
}

static atomic_bool scribbles;

static void *scribble(void *arg)
{
	struct liar *l = arg;
	unsigned seed = 1;

	while (scribbles) {
		((unsigned char *)l->words)[(unsigned)rand_r(&seed) % l->len] = (unsigned char)rand_r(&seed);
		if (rand_r(&seed) % 64 == 0)
			(void)!send(l->sock, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	return NULL;
}

/* Whatever stands in the memory: its own connection may end, and that is all. */
TEST_WITHIN(a_peer_that_scribbles_can_end_its_own_connection_only, 30)
{
	const int64_t end = aioipc_after(2000);
	unsigned rounds = 0;

	while (ipc_os_now() < (end ^ (INT64_C(1) << 62))) {
		struct aioconn *c;
		struct aiomsg *m;
		pthread_t thread;
		struct liar l;
		int r = 0;

		c = open_liar(&l);
		must(aioconn_allow_fds(c, 16));
		must(aioconn_set_send_wait(c, 0));
		scribbles = true;
		pthread_create(&thread, NULL, scribble, &l);
		for (int i = 0; i < 500 && r != -1; i++) {
			aioconn_send(c, "iS(ss)", i, "some", "words");
			r = aioconn_recv(c, &m, aioipc_after(1));
			if (r == 1)
				aiomsg_free(m);
			r = r == -1 && (errno == ETIMEDOUT || errno == EAGAIN) ? 0 : r - 1;
		}
		scribbles = false;
		pthread_join(thread, NULL);
		aioconn_abort(c);
		close_liar(&l);
		rounds++;
	}
	ck_assert_uint_gt(rounds, 0);
}

TEST(its_size_is_settled)
{
	struct aioconn *c;
	struct liar l;

	c = open_liar(&l);
	must_fail(ftruncate(l.memory, 0), EPERM);
	must_fail(ftruncate(l.memory, 1 << 20), EPERM);
	aioconn_abort(c);
	close_liar(&l);
}

static void expect_no_ring(const char *hello, size_t len, int memory)
{
	struct aioend *end;
	int s[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	if (memory >= 0)
		put_fds(s[0], hello, len, &memory, 1);
	else
		put(s[0], hello, len);
	end = must(aioend_from_fds(s[1], s[1]));
	end->ring = IPC_RING_COMES;
	must_fail(aioend_open(end, NULL), EPROTO);
	aioend_free(end);
	close(s[0]);
}

TEST(a_hello_that_is_none_is_refused)
{
	int sealed = must(memfd_create("small", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	int open_ended = must(memfd_create("open", MFD_CLOEXEC | MFD_ALLOW_SEALING));
	int file = must(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));

	must(ftruncate(open_ended, 4096 + 2 * SIZE));
	must(ftruncate(sealed, 4096 + SIZE));
	must(fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
	expect_no_ring("aioring\0", 8, -1);
	expect_no_ring("aioring\0", 8, open_ended);
	expect_no_ring("aioring\0", 8, sealed);
	expect_no_ring("aioring\0", 8, file);
	expect_no_ring("aioring\2", 8, sealed);
	expect_no_ring("aio", 3, sealed);
	expect_no_ring("AIPC\1\0\0\0", 8, -1);
	close(sealed);
	close(open_ended);
	close(file);
}

/* A file over this limit would bring a signal that ends the process. */
TEST(a_limit_of_files_is_an_error)
{
	struct aioend *a, *b;

	must(setrlimit(RLIMIT_FSIZE, &(struct rlimit){0, RLIM_INFINITY}));
	must_fail(aioring(&a, &b, 0), EFBIG);
	must(setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}));
}

static void *echo_with_spin(void *arg)
{
	struct aioconn *c = open_end(arg, NULL);
	struct aiomsg *m;

	must(aioconn_set_spin(c, 50));
	while (aioconn_recv(c, &m, soon()) == 1) {
		must(aioconn_send_msg(c, m));
		aiomsg_free(m);
	}
	must(aioconn_close(c, soon()));
	return NULL;
}

/* Neither wake-up is ever lost, whoever sleeps, and however small the ring is. */
static void there_and_back(struct event_base *base, unsigned spin)
{
	struct aioend *a, *b;
	struct aioconn *c;
	pthread_t thread;

	must(aioring(&a, &b, SIZE));
	pthread_create(&thread, NULL, echo_with_spin, b);
	c = open_end(a, base);
	must(aioconn_set_spin(c, spin));
	for (unsigned i = 0; i < 3000; i++) {
		send_fill(c, i * 37 % 20000, i);
		expect_fill(c, i * 37 % 20000, i);
	}
	must(aioconn_write_eof(c));
	expect_end(c, 0);
	must(aioconn_close(c, soon()));
	pthread_join(thread, NULL);
}

TEST_WITHIN(no_wake_up_is_lost, 60)
{
	struct event_base *base = new_base();

	there_and_back(NULL, 0);
	there_and_back(NULL, 20);
	there_and_back(base, 0);
	there_and_back(base, 20);
	event_base_free(base);
}

/* Programs that are no relatives: the listener hands the memory over. */
struct meeting {
	struct aioconn *server;
	struct seen seen;
};

static void on_peer(struct aiolistener *l, struct aioconn *c, void *arg)
{
	struct meeting *m = arg;

	(void)l;
	m->server = c;
	m->seen.stay = true;
	see(c, &m->seen);
}

static void meet(const char *address)
{
	struct meeting m = {.server = NULL};
	struct event_base *base = new_base();
	struct aiolistener *l = must(aiolistener_new(address, base, NULL, on_peer, &m));
	char text[300];
	pid_t pid;

	ck_assert_str_eq(aiolistener_address(l), address);
	snprintf(text, sizeof text, "%s", aiolistener_address(l));
	pid = must(fork());
	if (pid == 0) {
		struct aioconn *c;

		aiolistener_free(l);
		c = must(aioconn_connect(text, NULL, soon()));
		ck_assert(is_mapped_here());
		for (int i = 0; i < 50; i++)
			send_text(c, "x");
		must(aioconn_close(c, soon()));
		event_base_free(base);
		_exit(0);
	}
	run_until(base, &m.seen.closes, 1);
	ck_assert_uint_eq(m.seen.msgs, 50);
	ck_assert_int_eq(m.seen.cause, AIOCONN_CLEAN);
	aioconn_abort(m.server);
	aiolistener_free(l);
	expect_exit(pid, 0);
	event_base_free(base);
}

TEST(strangers_meet_at_an_address)
{
	char path[200], *folder = must(mkdtemp(strcpy(path, "/tmp/aioring-XXXXXX"))), address[250];

	snprintf(address, sizeof address, "ring://%s/s", folder);
	meet(address);
	must(rmdir(folder));
	snprintf(address, sizeof address, "ring:@aioring-test-%ld", (long)getpid());
	meet(address);
}

/* Who listens for something else does not say hello. */
TEST(a_listener_of_no_rings_is_told)
{
	struct event_base *base = new_base();
	struct meeting m = {.server = NULL};
	char address[100];
	struct aiolistener *l;

	snprintf(address, sizeof address, "unix:@aioring-test-%ld", (long)getpid());
	l = must(aiolistener_new(address, base, NULL, on_peer, &m));
	memcpy(address, "ring", 4);
	must_fail(aioconn_connect(address, base, aioipc_after(100)), ETIMEDOUT);
	aiolistener_free(l);
	aioconn_abort(m.server);
	event_base_free(base);
}

static struct aiolink *start_ring_link(const char *address, enum aiolink_role role)
{
	struct aiolink_options o = {.size = sizeof o, .role = role, .address = address};
	struct aiolink *l = must(aiolink_new(&o));

	must(aiolink_start(l, NULL));
	return l;
}

TEST(links_meet_at_an_address)
{
	struct aiolink *one, *other;
	char address[100];

	snprintf(address, sizeof address, "ring:@aioring-test-%ld", (long)getpid());
	one = start_ring_link(address, AIOLINK_LISTEN);
	other = start_ring_link(address, AIOLINK_CONNECT);
	for (int i = 0; i < 1000; i++) {
		struct aiomsg *m = must(aiomsg_new("i", i));
		int32_t n;

		must(aioqueue_put(aiolink_outbox(other), m, soon()));
		aiomsg_free(m);
		ck_assert_int_eq(must(aioqueue_get(aiolink_inbox(one), &m, soon())), 1);
		must(aiomsg_unpack(m, "i", &n));
		ck_assert_int_eq(n, i);
		aiomsg_free(m);
	}
	aioqueue_close(aiolink_outbox(one));
	must(aiolink_close(other, soon()));
	must(aiolink_close(one, soon()));
}
