/*
 * How one thread waits for another: it sleeps until it is woken, on nothing but a word that both can see; or it looks again
 * and again, where the other one may be running meanwhile.
 */
#ifndef IPC_OS_SLEEP_H
#define IPC_OS_SLEEP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Sleeps while *@word is @value, at most @ns nanoseconds (-1 for ever). 0: it may have changed; -1: ETIMEDOUT, or
 * EINTR: a signal handler ran, even one with SA_RESTART.
 */
int ipc_os_sleep(const atomic_uint *word, unsigned value, int64_t ns);

/* Wakes the thread that sleeps on @word, after it was changed. The memory may be gone by now: it is not read. */
void ipc_os_wake(const atomic_uint *word);

/* Tells the processor that this is a loop that waits for another one. */
void ipc_os_relax(void);

/* May threads of this process run at the same time? By the processors that those which asked may run on. Cheap. */
bool ipc_os_parallel(void);

#endif
