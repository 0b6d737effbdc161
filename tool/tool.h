/* The parts of the aioipc tool. It is a program like any user's: it stands on the public headers; only top also has that of the file that it reads. */
#ifndef TOOL_H
#define TOOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <aioipc.h>

#define TOOL_CLEAN 0
#define TOOL_FAILED 1 /* the peer was lost or bad or could not be reached; so was the output, or a stream */
#define TOOL_USAGE 2
#define TOOL_INTERRUPTED 130 /* Ctrl-C */

#define TOOL_LINE_MOST ((size_t)16 << 20) /* as one message by default */

enum tool_mode {
	TOOL_LISTEN,
	TOOL_CONNECT,
	TOOL_CALL,
	TOOL_DUMP,
	TOOL_TAP,
	TOOL_BENCH,
	TOOL_TOP,
	TOOL_STREAM
};

struct tool_options {
	enum tool_mode mode;
	const char *address; /* or the file to dump; NULL is standard input */
	enum aioconn_framing framing;
	char *delimiter;      /* of LINES; NULL is "\n" */
	struct aiomsg **send; /* or to call with; NULL: standard input is sent, */
	size_t n_send;
	const char *format; /* whose lines are values of this, or what --json and --text say */
	bool print, json, text, raw, quiet, once, retry, no_wait;
	bool keep, fan_out, time, hex;
	bool colour, sign;         /* on a terminal */
	const char *program;       /* for each peer */
	mode_t file_mode;          /* of the socket; 0: the library's */
	uint64_t count;            /* messages to receive; 0: no end */
	int64_t timeout;           /* ms; 0: none */
	const char *other;         /* address of tap; name of a stream */
	const char *group;         /* of those who read it; NULL: it is written */
	bool from_start;           /* of the stream */
	size_t length;             /* of a message of bench */
	bool echo;                 /* which starts the peer, too */
	int64_t every;             /* ms between two looks of top; 0: the usual */
	char *owned, *owned_other; /* addresses that were completed */
	const char *tls_ca, *tls_cert, *tls_key, **tls_name;
	size_t n_tls_names;
	bool tls_anonymous;
	struct aiotls *tls; /* NULL: no address is one of TLS */
};

/* options.c: the command line. What is wrong with it ends the program. */
void options_read(struct tool_options *o, char **words);
void options_free(struct tool_options *o);

/* address.c: what @word stands for, to be freed; NULL when it stands for itself. */
char *address_of(const char *word, bool listens);

/* tls.c: what is given to each call whose address is one of TLS. -1: it is told. */
bool tls_is_of(const char *address);
int tls_make(struct tool_options *o);
void tls_free(struct tool_options *o);
struct aiotls *tls_for(const struct tool_options *o, const char *address); /* NULL: another address */
struct aioconn *tls_connect(const struct tool_options *o, const char *address, struct event_base *base,
			    int64_t deadline); /* to any address */

/* os.c: what is asked of the system itself. */
int64_t now_ns(void);                                        /* monotonic */
void read_little(const char *path, char *text, size_t size); /* its beginning; "" when it can't be read */
bool is_ignored(int sig);                                    /* whoever started us wants that: it stays so */
bool catch_signal(int sig, void (*handler)(int sig));        /* false: it is ignored */

/* form.c: 1 and the message that a line stands for; 0: it is empty; -1: what is wrong is in @why, or an errno. */
bool form_is_plain(const struct tool_options *o);
int form_read(const struct tool_options *o, const char *line, size_t len, struct aiomsg **m,
	      const char **why);

/* text.c: what a peer chose, as text that does nothing to a terminal; and back. */
#define TEXT_LINE "\"t[]"    /* escapes that are taken back: a quote and a tab stand in a line as they are, */
#define TEXT_STREAM "\"t[]n" /* in a stream newlines too, */
#define TEXT_SAID "\"t[]\\"  /* and backslashes in what is not to be read back */
char *text_of(const struct aiomsg *m, bool json, size_t *len); /* all of it, to be freed; NULL */
void text_plain(FILE *f, const void *data, size_t n, const char *letters);
ssize_t text_unescape(char *text); /* in place; the length, or -1 */

/* show.c: messages, as text or as JSON. */
/* @from: who says it; NULL */
void show_message(FILE *f, const struct aiomsg *m, const char *from, const struct tool_options *o);
struct aiomsg *show_text(const struct aiomsg *m, const char *from,
			 const struct tool_options *o);                     /* as its bytes */
void show_speaker(FILE *f, const char *from, const struct tool_options *o); /* in front of what is printed, */
void show_speaker_json(FILE *f, const char *from,
		       const struct tool_options *o); /* or of the members of an object */
void show_string_json(FILE *f, const char *string);
void show_time(FILE *f, bool json);                           /* now: local, or that of the world */
void show_values(FILE *f, const struct aiomsg *m, bool json); /* no newline, no brackets around it */

/* stdio.c: threads between the standard streams and queues. */
struct tool_input {
	struct aioqueue *queue; /* ends with standard input */
	bool spoke, failed;     /* it was not empty; it could not be read. Known once the queue has ended */
	uint64_t lines;         /* so far */
	_Atomic uint64_t read;  /* bytes, so far */
	const struct tool_options *o;
};
struct tool_output {
	struct aioqueue *queue; /* what is put, as text, is printed; closed when nobody reads it */
	struct aioqueue *done;  /* ends when everything was printed, or failed */
	bool failed;            /* known then */
};
int input_start(struct tool_input *in, const struct tool_options *o);
int output_start(struct tool_output *out);

/* progress.c: how far the input is. */
struct event;
struct tool_progress {
	struct tool_input *in;
	struct event *tick; /* NULL: nobody is told */
	uint64_t before, ticks;
};
int progress_start(struct tool_progress *p, struct tool_input *in, struct event_base *base,
		   const struct tool_options *o);
void progress_end(struct tool_progress *p);

/* program.c: what --exec runs for a peer. */
struct tool_program {
	struct aioproc *proc;
	struct aioconn *c;
};
int program_start(struct tool_program *p, const char *peer, struct event_base *base,
		  const struct tool_options *o);
int program_hear(struct tool_program *p, const struct aiomsg *shown);
int program_say(struct tool_program *p, struct aiomsg **m,
		const struct tool_options *o); /* as aioconn_recv() */
void program_end(struct tool_program *p, const struct tool_options *o);

/* say.c: the lines on standard error. */
void say_note(const struct tool_options *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
void say_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void say_progress(const char *format, ...) __attribute__((format(printf, 1, 2))); /* NULL: no more */
void say_log(const char *text, void *hushed); /* for the library's log; NULL, or whether nothing is said */
void why_begin(void);                         /* what the log says in this thread from now on, is kept, */
const char *why_end(int error); /* until here, where it is returned, without the call's name; or the error */
const char *why_behind(const char *why);                                  /* the same without the place */
void say_why(const struct tool_options *o, const char *where, int error); /* and what to do next */

/* talk.c, call.c and dump.c: the commands. Each returns an exit status. */
int talk(const struct tool_options *o);
int call(const struct tool_options *o);
int dump(const struct tool_options *o);
int tap(const struct tool_options *o);
int bench(const struct tool_options *o);
int top(const struct tool_options *o);
int stream(const struct tool_options *o);

/* dump.c, for tap: prints what @read gives, which is as fread() but for errno 0 at the end. In a task. */
typedef size_t dump_read(void *from, void *data, size_t n);
void dump_way(const struct tool_options *o, const char *speaker, dump_read *read, void *from,
	      struct event_base *base);

#endif
