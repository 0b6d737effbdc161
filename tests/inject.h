/*
 * Fault injection: the library's calls to the C library and to libevent go through wrappers (-Wl,--wrap), and the
 * n-th of them fails. Only calls of the thread that armed it count. It also counts blocks of memory.
 */
#ifndef TESTS_INJECT_H
#define TESTS_INJECT_H

/* HARD: it failed for good, say ENOMEM or EMFILE. SOFT: it may be tried again, EINTR or EAGAIN. */
enum inject_kind { INJECT_HARD, INJECT_SOFT };

/* The @nth call from now on that can fail in this way does. */
void inject_arm(unsigned nth, enum inject_kind kind);
void inject_disarm(void);

/* While paused, calls are not counted: for what is no business of the test. */
void inject_pause(void);
void inject_resume(void);

/* Called in each child that is forked from now on, where nothing is armed any more; NULL. */
void inject_in_child(void (*fn)(void));

/* The name of the call that was made to fail; NULL if none was reached. Where to store it: memory shared with who asks. */
const char *inject_failed(void);
void inject_report_to(const char **failed);

/* Blocks of memory that are allocated, libevent's too. */
long inject_blocks(void);

/* To be called before libevent is used. */
void inject_setup(void);

#endif
