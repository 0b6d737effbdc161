/*
 * How one thread waits for another. It sleeps on a word in memory until it is woken; or it spins, which makes sense only when the other
 * thread can run at the same time.
 */
#ifndef IPC_OS_SLEEP_H
#define IPC_OS_SLEEP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Sleeps while *@word is @value, at most @ns nanoseconds (-1: for ever). 0: it may have changed; -1: ETIMEDOUT, or EINTR: a signal handler ran,
 * also one with SA_RESTART.
 */
int ipc_os_sleep(const atomic_uint *word, unsigned value, int64_t ns);

/* Wakes a thread that sleeps on @word; call it after the change. Does not read the word: its memory may be freed already. */
void ipc_os_wake(const atomic_uint *word);

/* Tells the processor that this is a spinning loop. */
void ipc_os_relax(void);

/* Can threads of this process run at the same time? Judged by the processors on which the threads that asked may run. Cheap. */
bool ipc_os_parallel(void);

#endif
