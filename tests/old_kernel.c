/*
 * Runs a program as on an older kernel: "old_kernel [--enosys | --eperm] [--bare] [--no-proc] program [argument...]". Of what the library
 * asks for, what is not as old as Linux 4.13 is not there: see the table in ipc/os/missing.h. It is told as Linux 4.13 would;
 * by ENOSYS, as still older ones; or by EPERM, as a filter that is older than the kernel. "--bare" takes eventfd and timerfd away,
 * "--no-proc" what is in /proc. All tests on it: make check UNDER=tests/old_kernel. Status 77 where that is not allowed.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NO_SIGNAL 0x100
#define WIPE_ON_FORK 18
#define GUARD_INSTALL 102
#define PEER_PIDFD 77
#define CLONE3 435 /* with any other errno the C library starts no thread: tests/test_os.c tries EPERM */

#if __BYTE_ORDER == __BIG_ENDIAN
#define LOW_HALF 4
#else
#define LOW_HALF 0
#endif

/* A call that fails: always, or when its argument is this value, or has this bit. Numbers since 424 are the same everywhere. */
struct lack {
	unsigned call;
	int error;
	enum { ALWAYS, VALUE, BIT } when;
	unsigned argument, is;
	bool bare;
};

static const struct lack lacks[] = {
	{SYS_pwritev2, EOPNOTSUPP, BIT, 5, NO_SIGNAL, false},
	{SYS_preadv2, EOPNOTSUPP, BIT, 5, NO_SIGNAL, false},
	{SYS_madvise, EINVAL, VALUE, 2, WIPE_ON_FORK, false},
	{SYS_madvise, EINVAL, VALUE, 2, GUARD_INSTALL, false},
	{SYS_getsockopt, ENOPROTOOPT, VALUE, 2, PEER_PIDFD, false},
	{424 /* pidfd_send_signal */, ENOSYS, ALWAYS, 0, 0, false},
	{434 /* pidfd_open */, ENOSYS, ALWAYS, 0, 0, false},
	{CLONE3, ENOSYS, ALWAYS, 0, 0, false},
	{436 /* close_range */, ENOSYS, ALWAYS, 0, 0, false},
	{437 /* openat2 */, ENOSYS, ALWAYS, 0, 0, false},
	{438 /* pidfd_getfd */, ENOSYS, ALWAYS, 0, 0, false},
	{439 /* faccessat2 */, ENOSYS, ALWAYS, 0, 0, false},
	{441 /* epoll_pwait2 */, ENOSYS, ALWAYS, 0, 0, false},
	{449 /* futex_waitv */, ENOSYS, ALWAYS, 0, 0, false},
	{452 /* fchmodat2 */, ENOSYS, ALWAYS, 0, 0, false},
	{454 /* futex_wake */, ENOSYS, ALWAYS, 0, 0, false},
	{455 /* futex_wait */, ENOSYS, ALWAYS, 0, 0, false},
	{SYS_eventfd2, ENOSYS, ALWAYS, 0, 0, true},
	{SYS_timerfd_create, ENOSYS, ALWAYS, 0, 0, true},
};

#define LOAD(what) (struct sock_filter) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (what))
#define LOAD_ARGUMENT(n) LOAD(offsetof(struct seccomp_data, args) + 8 * (n) + LOW_HALF)
#define UNLESS(value, skip) (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define UNLESS_BIT(bit, skip) (struct sock_filter) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bit), 0, (skip))
#define RETURN(what) (struct sock_filter) BPF_STMT(BPF_RET | BPF_K, (what))

/* Each lack is five instructions at most: this call? this argument? then it fails. */
static struct sock_filter filter[5 * sizeof lacks / sizeof *lacks + 1];

static struct sock_filter *add(struct sock_filter *f, const struct lack *l, int error)
{
	*f++ = LOAD(offsetof(struct seccomp_data, nr));
	*f++ = UNLESS(l->call, l->when == ALWAYS ? 1 : 3);
	if (l->when != ALWAYS)
		*f++ = LOAD_ARGUMENT(l->argument);
	if (l->when == VALUE)
		*f++ = UNLESS(l->is, 1);
	if (l->when == BIT)
		*f++ = UNLESS_BIT(l->is, 1);
	*f++ = RETURN(SECCOMP_RET_ERRNO | (unsigned)error);
	return f;
}

static int take_calls_away(int error, bool bare)
{
	struct sock_filter *f = filter;
	struct sock_fprog program = {.filter = filter};

	for (size_t i = 0; i < sizeof lacks / sizeof *lacks; i++)
		if (bare || !lacks[i].bare)
			f = add(f, &lacks[i], error && lacks[i].call != CLONE3 ? error : lacks[i].error);
	*f++ = RETURN(SECCOMP_RET_ALLOW);
	program.len = (unsigned short)(f - filter);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd != -1 && write(fd, text, strlen(text)) == -1)
		fprintf(stderr, "old_kernel: %s: %s\n", path, strerror(errno));
	close(fd);
}

/* Who may not have a name space of mounts may have one as the owner of one of users. */
static int take_proc_away(void)
{
	unsigned uid = getuid(), gid = getgid();
	char map[50];

	if (unshare(CLONE_NEWNS) == -1) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == -1)
			return -1;
		snprintf(map, sizeof map, "%u %u 1", uid, uid);
		put("/proc/self/uid_map", map);
		put("/proc/self/setgroups", "deny");
		snprintf(map, sizeof map, "%u %u 1", gid, gid);
		put("/proc/self/gid_map", map);
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1)
		return -1;
	return mount("none", "/proc", "tmpfs", 0, NULL);
}

int main(int argc, char **argv)
{
	bool bare = false, proc = true;
	int error = 0;

	for (; argc > 1 && argv[1][0] == '-'; argc--, argv++) {
		if (!strcmp(argv[1], "--enosys"))
			error = ENOSYS;
		else if (!strcmp(argv[1], "--eperm"))
			error = EPERM;
		else if (!strcmp(argv[1], "--bare"))
			bare = true;
		else if (!strcmp(argv[1], "--no-proc"))
			proc = false;
		else
			argc = 1;
	}
	if (argc < 2) {
		fprintf(stderr, "usage: old_kernel [--enosys | --eperm] [--bare] [--no-proc] program "
				"[argument...]\n");
		return 2;
	}
	if ((!proc && take_proc_away() == -1) || take_calls_away(error, bare) == -1) {
		fprintf(stderr, "old_kernel: %s\n", strerror(errno));
		return 77;
	}
	execvp(argv[1], argv + 1);
	fprintf(stderr, "old_kernel: %s: %s\n", argv[1], strerror(errno));
	return 127;
}
