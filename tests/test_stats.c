/*
 * The statistics that a program keeps with AIOIPC_STATS in its environment: each thing that lives has a row with its numbers, a child has a
 * file of its own, and whatever is wrong with the path, the program goes on without.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/os/child.h"
#include "ipc/os/os.h"
#include "ipc/own/row.h"
#include "tests/links.h"
#include "tests/script.h"

static char folder[64];

/* What a test sees of a file. */
struct seen_file {
	struct ipc_board_head head;
	struct ipc_row rows[IPC_BOARD_ROWS];
	unsigned n;
};

static const char *path_of(pid_t pid)
{
	static char path[100];

	snprintf(path, sizeof path, "%s/aioipc.%d", folder, (int)pid);
	return path;
}

static bool is_there(pid_t pid)
{
	return access(path_of(pid), F_OK) == 0;
}

static const struct seen_file *look(pid_t pid)
{
	static struct seen_file f;
	int fd = must(open(path_of(pid), O_RDONLY | O_CLOEXEC));
	ssize_t n = must(read(fd, &f, offsetof(struct seen_file, n)));

	must(close(fd));
	ck_assert_int_ge(n, sizeof f.head);
	ck_assert_mem_eq(f.head.magic, IPC_BOARD_MAGIC, sizeof f.head.magic);
	ck_assert_int_eq((n - (ssize_t)sizeof f.head) % (ssize_t)sizeof f.rows[0], 0);
	f.n = (unsigned)(((size_t)n - sizeof f.head) / sizeof f.rows[0]);
	ck_assert_uint_eq(f.n, f.head.rows);
	return &f;
}

/* The @nth of this kind, of this process; NULL. */
static const struct ipc_row *find(enum ipc_row_kind kind, unsigned nth)
{
	const struct seen_file *f = look(getpid());

	for (unsigned i = 0; i < f->n; i++)
		if (f->rows[i].kind == kind && nth-- == 0)
			return &f->rows[i];
	return NULL;
}

static unsigned count(pid_t pid, enum ipc_row_kind kind)
{
	const struct seen_file *f = look(pid);
	unsigned n = 0;

	for (unsigned i = 0; i < f->n; i++)
		n += f->rows[i].kind == kind;
	return n;
}

static uint64_t value_of(enum ipc_row_kind kind, unsigned nth, unsigned i)
{
	const struct ipc_row *row = find(kind, nth);

	ck_assert_ptr_nonnull(row);
	return row->value[i];
}

static void begin(void)
{
	must(mkdtemp(strcpy(folder, "/tmp/aioipc-stats-XXXXXX")));
	must(setenv("AIOIPC_STATS", folder, 1));
}

/* What this process, which does not end by exit(), leaves. */
static void end(void)
{
	unlink(path_of(getpid()));
	must(rmdir(folder));
}

TEST(is_off_unless_asked_for)
{
	struct aioqueue *q;

	begin();
	must(unsetenv("AIOIPC_STATS"));
	q = must(aioqueue_new(1, 0));
	ck_assert(!is_there(getpid()));
	must(setenv("AIOIPC_STATS", folder, 1));
	aioqueue_free(q);
	aioqueue_free(must(aioqueue_new(1, 0)));
	ck_assert(!is_there(getpid())); /* it has looked before */
	end();
}

TEST(says_who_it_is)
{
	struct stat st;
	struct aioqueue *q;
	int proc;

	begin();
	q = must(aioqueue_new(1, 0));
	ck_assert_int_eq(look(getpid())->head.pid, getpid());
	proc = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(look(getpid())->head.started > 0, proc != -1); /* a container may have no /proc */
	if (proc != -1)
		must(close(proc));
	ck_assert_str_eq(look(getpid())->head.version, aioipc_version());
	must(stat(path_of(getpid()), &st));
	ck_assert_int_eq(st.st_mode & 0777, 0600);
	ck_assert_int_le(st.st_size, 16 << 10);
	aioqueue_free(q);
	end();
}

/* A path that is no folder is the beginning of the names. */
TEST(takes_a_path_that_is_no_folder)
{
	char path[100];

	begin();
	snprintf(path, sizeof path, "%s/aioipc", folder);
	must(setenv("AIOIPC_STATS", path, 1));
	aioqueue_free(must(aioqueue_new(1, 0)));
	ck_assert(is_there(getpid()));
	end();
}

TEST(a_connection_counts_without_a_loop)
{
	struct aioconn *a, *b;
	struct aiomsg *m;

	begin();
	open_pair(DUPLEX, NULL, &a, &b);
	for (int i = 0; i < 3; i++)
		must(aioconn_send(a, "i", i));
	must(aioconn_recv(b, &m, soon()));
	aiomsg_free(m);
	ck_assert_uint_eq(value_of(IPC_ROW_CONN, 0, IPC_CONN_ROW_MSGS_OUT), 3);
	ck_assert_uint_eq(value_of(IPC_ROW_CONN, 1, IPC_CONN_ROW_MSGS_IN), 1);
	ck_assert_uint_gt(value_of(IPC_ROW_CONN, 1, IPC_CONN_ROW_HELD_IN), 0);
	ck_assert_uint_eq(value_of(IPC_ROW_CONN, 0, IPC_CONN_ROW_FD), (uint64_t)aioconn_fd(a));
	aioconn_abort(a);
	ck_assert_int_eq(count(getpid(), IPC_ROW_CONN), 1);
	aioconn_abort(b);
	ck_assert_int_eq(count(getpid(), IPC_ROW_CONN), 0);
	end();
}

/* Its peer does not read: what is sent stays. */
TEST(a_connection_says_that_its_peer_is_slow)
{
	static const char data[100000];
	struct event_base *base = new_base();
	struct aioconn *c;
	int fd;

	begin();
	fd = raw_peer(PAIR, base, &c);
	must(aioconn_set_send_wait(c, 0));
	while (aioconn_send_bytes(c, data, sizeof data) == 0)
		continue;
	must(event_base_loop(base, EVLOOP_NONBLOCK));
	ck_assert_uint_gt(value_of(IPC_ROW_CONN, 0, IPC_CONN_ROW_HELD_OUT), 0);
	ck_assert_uint_gt(value_of(IPC_ROW_CONN, 0, IPC_CONN_ROW_REFUSED), 0);
	ck_assert_uint_eq(value_of(IPC_ROW_CONN, 0, IPC_CONN_ROW_FLAGS), IPC_CONN_ROW_BLOCKED);
	must(close(fd));
	aioconn_abort(c);
	event_base_free(base);
	end();
}

TEST(a_connection_tells_how_it_ended)
{
	struct event_base *base = new_base();
	struct aioconn *c;
	int fd;

	begin();
	fd = raw_peer(PAIR, base, &c);
	must(close(fd));
	must(event_base_loop(base, EVLOOP_ONCE));
	ck_assert_uint_eq(value_of(IPC_ROW_CONN, 0, IPC_CONN_ROW_END), 1 + AIOCONN_LOST);
	aioconn_abort(c);
	event_base_free(base);
	end();
}

TEST(a_queue_counts)
{
	struct aiomsg *m, *got;
	struct aioqueue *q;

	begin();
	q = must(aioqueue_new(10, 0));
	m = must(aiomsg_new_bytes("12345", 5));
	for (int i = 0; i < 4; i++)
		must(aioqueue_put(q, m, soon()));
	must(aioqueue_get(q, &got, soon()));
	aiomsg_free(got);
	ck_assert_uint_eq(value_of(IPC_ROW_QUEUE, 0, IPC_QUEUE_ROW_PUT), 4);
	ck_assert_uint_eq(value_of(IPC_ROW_QUEUE, 0, IPC_QUEUE_ROW_GOT), 1);
	ck_assert_uint_eq(value_of(IPC_ROW_QUEUE, 0, IPC_QUEUE_ROW_MOST), 10);
	ck_assert_uint_eq(value_of(IPC_ROW_QUEUE, 0, IPC_QUEUE_ROW_FLAGS), 0);
	aioqueue_close(q);
	ck_assert_uint_eq(value_of(IPC_ROW_QUEUE, 0, IPC_QUEUE_ROW_FLAGS), IPC_QUEUE_ROW_CLOSED);
	aiomsg_free(m);
	aioqueue_free(q);
	ck_assert_ptr_null(find(IPC_ROW_QUEUE, 0));
	end();
}

static int pass_on(struct aiomsg *m, struct aioqueue *out, void *arg)
{
	(void)arg;
	return aioqueue_put(out, m, AIOIPC_FOREVER);
}

static void check_service(enum aioservice_kind kind)
{
	struct aioservice_options o = {.size = sizeof o, .kind = kind, .handle = pass_on, .workers = 2};
	struct aioservice *s;
	struct aiomsg *m, *got;

	begin();
	o.in = must(aioqueue_new(10, 0));
	o.out = must(aioqueue_new(10, 0));
	s = must(aioservice_new(&o));
	ck_assert_uint_eq(value_of(IPC_ROW_SERVICE, 0, IPC_SERVICE_ROW_LIFE), 0);
	must(aioservice_start(s));
	m = must(aiomsg_new_bytes("", 0));
	for (int i = 0; i < 5; i++) {
		must(aioqueue_put(o.in, m, soon()));
		must(aioqueue_get(o.out, &got, soon()));
		aiomsg_free(got);
	}
	aiomsg_free(m);
	aioservice_stop(s);
	must(aioservice_join(s, soon()));
	ck_assert_uint_eq(value_of(IPC_ROW_SERVICE, 0, IPC_SERVICE_ROW_JOBS), 5);
	ck_assert_uint_eq(value_of(IPC_ROW_SERVICE, 0, IPC_SERVICE_ROW_LIFE), 2);
	ck_assert_uint_eq(value_of(IPC_ROW_SERVICE, 0, IPC_SERVICE_ROW_BUSY), 0);
	ck_assert_ptr_nonnull(strstr(find(IPC_ROW_QUEUE, 0)->name, "in of service"));
	ck_assert_ptr_nonnull(strstr(find(IPC_ROW_QUEUE, 1)->name, "out of service"));
	must(aioservice_close(s, soon()));
	ck_assert_ptr_null(find(IPC_ROW_SERVICE, 0));
	aioqueue_free(o.in);
	aioqueue_free(o.out);
}

TEST(a_service_of_threads_counts)
{
	check_service(AIOSERVICE_THREADS);
	end();
}

/* Its workers end in order, and take their files with them; what forks them does not make any. */
TEST(a_service_of_processes_counts)
{
	check_service(AIOSERVICE_FORKED);
	end();
}

TEST(a_hub_counts)
{
	struct aiohub_options o = {.size = sizeof o};
	struct aioconn *member, *peer;
	struct aiohub *h;
	struct aiomsg *m;

	begin();
	o.base = new_base();
	h = must(aiohub_new(&o));
	open_pair(PAIR, o.base, &member, &peer);
	must(aiohub_join(h, member));
	ck_assert_uint_eq(value_of(IPC_ROW_HUB, 0, IPC_HUB_ROW_MEMBERS), 1);
	m = must(aiomsg_new_bytes("x", 1));
	ck_assert_int_eq(aiohub_send(h, m), 1);
	must(event_base_loop(o.base, EVLOOP_NONBLOCK));
	ck_assert_uint_eq(value_of(IPC_ROW_HUB, 0, IPC_HUB_ROW_MESSAGES), 1);
	ck_assert_uint_eq(value_of(IPC_ROW_HUB, 0, IPC_HUB_ROW_SENT), 1);
	aioconn_abort(member);
	ck_assert_uint_eq(value_of(IPC_ROW_HUB, 0, IPC_HUB_ROW_MEMBERS), 0);
	aiohub_free(h);
	ck_assert_ptr_null(find(IPC_ROW_HUB, 0));
	aiomsg_free(m);
	aioconn_abort(peer);
	event_base_free(o.base);
	end();
}

TEST(a_link_tells_its_state_and_counts)
{
	struct aiolink_options o = {.size = sizeof o};
	struct aioend *end_of_ours, *end_of_theirs;
	struct aioconn *peer;
	struct aiomsg *m;
	struct aiolink *l;

	begin();
	must(aiosockpair(&end_of_ours, &end_of_theirs));
	o.end = end_of_ours;
	l = must(aiolink_new(&o));
	ck_assert_uint_eq(value_of(IPC_ROW_LINK, 0, IPC_LINK_ROW_STATE), AIOLINK_NEW);
	must(aiolink_start(l, NULL));
	must(aiolink_wait_connected(l, soon()));
	peer = open_end(end_of_theirs, NULL);
	must(aioconn_send(peer, "i", 1));
	must(aioqueue_get(aiolink_inbox(l), &m, soon()));
	must(aioqueue_put(aiolink_outbox(l), m, soon()));
	aiomsg_free(m);
	must(aioconn_recv(peer, &m, soon()));
	aiomsg_free(m);
	must(aioconn_write_eof(peer));
	must(aiolink_join(l, soon()));
	while (value_of(IPC_ROW_LINK, 0, IPC_LINK_ROW_STATE) != AIOLINK_ENDED)
		sched_yield(); /* its thread tells us first, then the row */
	ck_assert_uint_eq(value_of(IPC_ROW_LINK, 0, IPC_LINK_ROW_MSGS_IN), 1);
	ck_assert_uint_eq(value_of(IPC_ROW_LINK, 0, IPC_LINK_ROW_MSGS_OUT), 1);
	ck_assert_uint_eq(value_of(IPC_ROW_LINK, 0, IPC_LINK_ROW_CONNECTIONS), 1);
	aiolink_close(l, soon());
	ck_assert_ptr_null(find(IPC_ROW_LINK, 0));
	aioconn_abort(peer);
	end();
}

/* A server of streams that follows a script. */
static struct script script;
static atomic_bool refuses;

static bool refuse_what_is_sent(struct script_talk *t, const char *line, void *arg)
{
	(void)arg;
	if (!script_is(line, "EXEC") || !atomic_load(&refuses) || t->queued[0] != 'A')
		return false;
	t->multi = false;
	t->count = 0;
	script_say(t, "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
	return true;
}

static struct aiostream *new_stream(const char *group)
{
	struct aiostream_options o = {.size = sizeof o,
				      .stream = "jobs",
				      .group = group,
				      .member = group && *group ? "me" : NULL,
				      .reconnect_first = 1,
				      .reconnect_most = 2};
	char address[200];

	snprintf(address, sizeof address, "valkey+unix://somebody:secret@%s/s?db=3", folder);
	o.address = address;
	return must(aiostream_new(&o));
}

static void begin_script(void)
{
	char path[100];

	begin();
	snprintf(path, sizeof path, "%s/s", folder);
	start_script(&script, path, refuse_what_is_sent, NULL);
}

/* The row has what is at the server, and where that is, but not who asks. */
static void check_name(const char *what)
{
	char due[200];

	snprintf(due, sizeof due, "%s, redis+unix://%s/s?db=3", what, folder);
	ck_assert_str_eq(find(IPC_ROW_STREAM, 0)->name, due);
}

static void wait_for_value(unsigned i, uint64_t due)
{
	while (value_of(IPC_ROW_STREAM, 0, i) != due)
		nap(1);
}

TEST(a_stream_that_receives_counts)
{
	struct aiostream *s;
	struct aiomsg *m[3];

	begin_script();
	script.entries = 3;
	s = new_stream("workers");
	check_name("jobs, group workers");
	ck_assert_uint_eq(value_of(IPC_ROW_STREAM, 0, IPC_STREAM_ROW_STATE), AIOLINK_NEW);
	must(aiostream_start(s, NULL));
	for (int i = 0; i < 3; i++)
		must(aioqueue_get(aiostream_queue(s), &m[i], soon()));
	must(aiomsg_ack(m[0]));
	must(aiomsg_ack(m[1]));
	wait_for_value(IPC_STREAM_ROW_ACKED, 2);
	wait_for_value(IPC_STREAM_ROW_IN_WORK, 1);
	ck_assert_uint_eq(value_of(IPC_ROW_STREAM, 0, IPC_STREAM_ROW_RECEIVED), 3);
	ck_assert_uint_eq(value_of(IPC_ROW_STREAM, 0, IPC_STREAM_ROW_CONNECTIONS), 2);
	ck_assert_uint_eq(value_of(IPC_ROW_STREAM, 0, IPC_STREAM_ROW_STATE), AIOLINK_CONNECTED);
	ck_assert_ptr_nonnull(strstr(find(IPC_ROW_QUEUE, 0)->name, "inbox of stream"));
	must(aiomsg_ack(m[2]));
	for (int i = 0; i < 3; i++)
		aiomsg_free(m[i]);
	must(aiostream_close(s, soon()));
	ck_assert_ptr_null(find(IPC_ROW_STREAM, 0));
	stop_script(&script);
	end();
}

TEST(a_stream_that_sends_tells_what_is_wrong)
{
	struct aiostream *s;
	struct aiomsg *m;

	begin_script();
	atomic_store(&refuses, true);
	s = new_stream(NULL);
	check_name("jobs");
	m = must(aiomsg_new_bytes("x", 1));
	must(aioqueue_put(aiostream_queue(s), m, soon()));
	must(aiostream_start(s, NULL));
	wait_for_value(IPC_STREAM_ROW_ERROR, ENOSPC);
	wait_for_value(IPC_STREAM_ROW_STATE, AIOLINK_CONNECTED);
	ck_assert_uint_eq(value_of(IPC_ROW_STREAM, 0, IPC_STREAM_ROW_SENT), 0);
	atomic_store(&refuses, false);
	wait_for_value(IPC_STREAM_ROW_SENT, 1);
	wait_for_value(IPC_STREAM_ROW_ERROR, 0);
	aiomsg_free(m);
	must(aiostream_close(s, soon()));
	stop_script(&script);
	end();
}

TEST(a_stream_without_a_server_tells_so)
{
	struct aiostream *s;

	begin();
	s = new_stream("");
	check_name("jobs, broadcast");
	must(aiostream_start(s, NULL));
	wait_for_value(IPC_STREAM_ROW_ERROR, ENOENT);
	ck_assert_uint_lt(value_of(IPC_ROW_STREAM, 0, IPC_STREAM_ROW_STATE), AIOLINK_CONNECTED);
	aiostream_abort(s);
	ck_assert_ptr_null(find(IPC_ROW_STREAM, 0));
	end();
}

static int return_7(void *arg)
{
	(void)arg;
	return 7;
}

TEST(a_child_tells_how_it_ended)
{
	struct aioproc *p;
	int status;

	begin();
	p = must(aioproc_start(return_7, NULL));
	ck_assert_uint_eq(value_of(IPC_ROW_CHILD, 0, IPC_CHILD_ROW_PID), (uint64_t)aioproc_pid(p));
	must(aioproc_join(p, &status, soon()));
	ck_assert_uint_eq(value_of(IPC_ROW_CHILD, 0, IPC_CHILD_ROW_END), 1);
	ck_assert_uint_eq(value_of(IPC_ROW_CHILD, 0, IPC_CHILD_ROW_STATUS), (uint64_t)status);
	aioproc_free(p);
	ck_assert_ptr_null(find(IPC_ROW_CHILD, 0));
	end();
}

/* Of a child: it has nothing at first, then a file of its own. What it frees of its parent's stays where it is. */
static void check_child(struct aioqueue *inherited)
{
	struct aioqueue *own;

	aioqueue_free(inherited);
	ck_assert(!is_there(getpid()));
	own = must(aioqueue_new(1, 0));
	ck_assert_int_eq(look(getpid())->head.pid, getpid());
	ck_assert_int_eq(count(getpid(), IPC_ROW_QUEUE), 1);
	ck_assert_int_eq(count(getppid(), IPC_ROW_QUEUE), 1);
	aioqueue_free(own);
	ck_assert_int_eq(count(getppid(), IPC_ROW_QUEUE), 1);
}

static int child(void *arg)
{
	check_child(arg);
	return 0;
}

TEST(a_child_has_a_file_of_its_own)
{
	struct aioqueue *q;
	struct aioproc *p;
	int status;
	pid_t pid;

	begin();
	q = must(aioqueue_new(1, 0));
	p = must(aioproc_start(child, q));
	pid = aioproc_pid(p);
	must(aioproc_join(p, &status, soon()));
	ck_assert_int_eq(status, 0);
	aioproc_free(p);
	ck_assert(!is_there(pid)); /* removed when it ended */
	ck_assert_int_eq(count(getpid(), IPC_ROW_QUEUE), 1);
	aioqueue_free(q);
	end();
}

/* On a kernel that wipes no page, nothing tells of such a fork. */
TEST(so_has_one_that_no_fork_handler_saw)
{
	struct aioqueue *q;
	int status;
	pid_t pid;

	if (!ipc_os_page_of_this_process()) {
		printf("# SKIP no MADV_WIPEONFORK\n");
		return;
	}
	begin();
	q = must(aioqueue_new(1, 0));
	pid = must(ipc_os_raw_fork());
	if (pid == 0) {
		check_child(q);
		_exit(0);
	}
	must(waitpid(pid, &status, 0));
	ck_assert_int_eq(status, 0);
	ck_assert(is_there(pid)); /* it did not end in order */
	must(unlink(path_of(pid)));
	aioqueue_free(q);
	end();
}

TEST(the_file_goes_with_the_program)
{
	int status;
	pid_t pid;

	begin();
	pid = must(fork());
	if (pid == 0) {
		aioqueue_free(must(aioqueue_new(1, 0)));
		exit(is_there(getpid()) ? 0 : 1);
	}
	must(waitpid(pid, &status, 0));
	ck_assert_int_eq(status, 0);
	ck_assert(!is_there(pid));
	end();
}

/* One that was killed and had this pid left it. */
TEST(replaces_a_file_that_was_left)
{
	int fd;

	begin();
	fd = must(open(path_of(getpid()), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	must(close(fd));
	aioqueue_free(must(aioqueue_new(1, 0)));
	ck_assert_int_eq(look(getpid())->head.pid, getpid());
	end();
}

/* It may have been put there to make this program write somewhere else. */
TEST(follows_no_link)
{
	char victim[100];
	struct stat st;
	int fd;

	begin();
	snprintf(victim, sizeof victim, "%s/victim", folder);
	fd = must(open(victim, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	must(close(fd));
	must(symlink("victim", path_of(getpid())));
	aioqueue_free(must(aioqueue_new(1, 0)));
	must(stat(victim, &st));
	ck_assert_int_eq(st.st_size, 0);
	must(unlink(victim));
	end();
}

static char logged[200];

static void take_log(const char *text, void *arg)
{
	(void)arg;
	snprintf(logged, sizeof logged, "%s", text);
}

TEST(a_path_that_is_none_is_told)
{
	begin();
	must(setenv("AIOIPC_STATS", "/no/such/folder/x", 1));
	aioipc_set_log(take_log, NULL);
	aioqueue_free(must(aioqueue_new(1, 0)));
	ck_assert_ptr_nonnull(strstr(logged, "AIOIPC_STATS"));
	ck_assert_ptr_nonnull(strstr(logged, "/no/such/folder/x"));
	end();
}

/* The limit would bring a signal. */
TEST(a_limit_of_files_is_heard)
{
	struct rlimit little;

	begin();
	must(getrlimit(RLIMIT_FSIZE, &little));
	little.rlim_cur = 1000;
	must(setrlimit(RLIMIT_FSIZE, &little));
	aioqueue_free(must(aioqueue_new(1, 0)));
	ck_assert(!is_there(getpid()));
	end();
}

TEST(the_file_grows_and_then_counts_what_it_misses)
{
	enum { MANY = IPC_BOARD_ROWS + 20 };
	static struct aioqueue *q[MANY];

	begin();
	for (int i = 0; i < 200; i++)
		q[i] = must(aioqueue_new(1, 0));
	ck_assert_int_eq(count(getpid(), IPC_ROW_QUEUE), 200);
	ck_assert_int_lt(look(getpid())->n, 300);
	for (int i = 200; i < MANY; i++)
		q[i] = must(aioqueue_new(1, 0));
	ck_assert_int_eq(count(getpid(), IPC_ROW_QUEUE), IPC_BOARD_ROWS);
	ck_assert_uint_eq(look(getpid())->head.missed, 20);
	for (int i = 0; i < MANY; i++)
		aioqueue_free(q[i]);
	ck_assert_int_eq(count(getpid(), IPC_ROW_QUEUE), 0);
	aioqueue_free(must(aioqueue_new(1, 0)));
	ck_assert_uint_eq(look(getpid())->head.missed, 20);
	end();
}

/* Somebody has removed it: there is no more room, and no harm. */
TEST(a_file_that_went_away_does_not_grow)
{
	enum { MANY = 100 };
	struct aioqueue *q[MANY];

	begin();
	q[0] = must(aioqueue_new(1, 0));
	must(unlink(path_of(getpid())));
	for (int i = 1; i < MANY; i++)
		q[i] = must(aioqueue_new(1, 0));
	for (int i = 0; i < MANY; i++)
		aioqueue_free(q[i]);
	end();
}
