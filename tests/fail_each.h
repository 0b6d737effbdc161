/*
 * A scenario in which every allocation and every system call is made to fail in turn: no crash, no hang, no leak; what was not done is told;
 * and the library works afterwards.
 */
#ifndef TESTS_FAIL_EACH_H
#define TESTS_FAIL_EACH_H

struct event_base;

/* COMPLETE: all was done and is right. TOLD: some call failed and said so. SILENT: neither. */
enum outcome { COMPLETE, TOLD, SILENT };
typedef enum outcome scenario(void);

/* Says everything that is wrong before it fails: such things come in groups. */
void fail_each(scenario *run);

/* A base of the test's own, for which nothing fails. */
struct event_base *quiet_base(void);
void quiet_free(struct event_base *base);

#endif
