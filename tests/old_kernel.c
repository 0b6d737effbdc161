/*
 * Runs a program as on an older kernel: "old_kernel program [argument...]". Of what the library asks for, what is not as
 * old as Linux 4.13 is not there: pipes written to without SIGPIPE, pidfds, ranges closed at once, pages wiped by fork, guards
 * that are no mappings. All tests on it: make check UNDER=tests/old_kernel. Status 77 where filters are not allowed.
 */
#include <endian.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Younger than the headers of the systems we build on. */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

#define NO_SIGNAL 0x100
#define WIPE_ON_FORK 18
#define GUARD_INSTALL 102

#if __BYTE_ORDER == __BIG_ENDIAN
#define LOW_HALF 4
#else
#define LOW_HALF 0
#endif

#define LOAD(what) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (what))
#define LOAD_ARGUMENT(n) LOAD(offsetof(struct seccomp_data, args) + 8 * (n) + LOW_HALF)
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (skip))
#define UNLESS_BIT(bit, skip) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bit), 0, (skip))
#define FAIL(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define PASS BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static struct sock_filter filter[] = {
	LOAD(offsetof(struct seccomp_data, nr)),
	UNLESS(SYS_pwritev2, 4),
	LOAD_ARGUMENT(5),
	UNLESS_BIT(NO_SIGNAL, 1),
	FAIL(EOPNOTSUPP),
	PASS,
	UNLESS(SYS_madvise, 5),
	LOAD_ARGUMENT(2),
	UNLESS(WIPE_ON_FORK, 1),
	FAIL(EINVAL),
	UNLESS(GUARD_INSTALL, 4),
	FAIL(EINVAL),
	UNLESS(SYS_pidfd_open, 1),
	FAIL(ENOSYS),
	UNLESS(SYS_close_range, 1),
	FAIL(ENOSYS),
	PASS,
};

int main(int argc, char **argv)
{
	struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};

	if (argc < 2) {
		fprintf(stderr, "usage: old_kernel program [argument...]\n");
		return 2;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == -1) {
		fprintf(stderr, "old_kernel: %s\n", strerror(errno));
		return 77;
	}
	execvp(argv[1], argv + 1);
	fprintf(stderr, "old_kernel: %s: %s\n", argv[1], strerror(errno));
	return 127;
}
