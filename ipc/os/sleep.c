/* Sleeping on a word: a futex where there are some, else a look every millisecond. See sleep.h. */
#include "ipc/os/sleep.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include "ipc/os/os.h"

void ipc_os_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#ifdef __linux__

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>

/* Without a limit, the kernel would restart the call after handlers with SA_RESTART. */
#define LONG_TIME INT64_C(1000000000000000)

int ipc_os_sleep(const atomic_uint *word, unsigned value, int64_t ns)
{
	int64_t most = ns < 0 || ns > LONG_TIME ? LONG_TIME : ns;
	struct timespec t = {.tv_sec = (time_t)(most / 1000000000), .tv_nsec = (long)(most % 1000000000)};

	if (syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &t, NULL, 0) == 0 || errno == EAGAIN)
		return 0;
	return -1;
}

void ipc_os_wake(const atomic_uint *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* The only processor on which this thread may run; -1: there are several, or nobody knows. */
static int only_processor(void)
{
	cpu_set_t set;
	int cpu = 0;

	if (sched_getaffinity(0, sizeof set, &set) == -1 || CPU_COUNT(&set) != 1)
		return -1;
	while (!CPU_ISSET((unsigned)cpu, &set))
		cpu++;
	return cpu;
}

#else

int ipc_os_sleep(const atomic_uint *word, unsigned value, int64_t ns)
{
	const int64_t look = 1000000;

	if (atomic_load_explicit(word, memory_order_acquire) != value)
		return 0;
	if (ipc_os_poll(NULL, 0, ns < 0 || ns > look ? look : ns) == -1)
		return -1;
	if (ns >= 0 && ns <= look) {
		errno = ETIMEDOUT;
		return -1;
	}
	return 0;
}

void ipc_os_wake(const atomic_uint *word)
{
	(void)word;
}

static int only_processor(void)
{
	return sysconf(_SC_NPROCESSORS_ONLN) == 1 ? 0 : -1;
}

#endif

bool ipc_os_parallel(void)
{
	static const int unknown = -2;
	static atomic_int only = -2; /* all threads that asked may run only there; -1: there are several */
	static _Thread_local bool asked;
	int before = unknown, mine;

	if (!asked) {
		asked = true;
		mine = only_processor();
		if (!atomic_compare_exchange_strong(&only, &before, mine) && before != mine)
			atomic_store(&only, -1);
	}
	return atomic_load_explicit(&only, memory_order_relaxed) == -1;
}
