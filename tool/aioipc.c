/*
 * aioipc: talks to a connection from the command line, shows what one says, and prints captured streams. Here is the command
 * line; see aioipc(1).
 */
#include "tool/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"usage: aioipc listen ADDR [options]    waits for peers, one after the other\n"
	"       aioipc connect ADDR [options]   connects to one\n"
	"       aioipc call ADDR FORMAT VALUES..  calls one, and prints the answer\n"
	"       aioipc dump [FILE] [options]    prints a captured stream of frames\n"
	"\n"
	"Prints what the peer says, and sends what standard input says, a message a line.\n"
	"ADDR is tcp://host:port, unix:///path or unix:@name. Options:\n"
	"\n"
	"  --lines[=END]           lines instead of messages; END is \\n, say \\r\\n for others\n"
	"  --bytes                 bytes as they come\n"
	"  --send FORMAT VALUES..  send one message of these values instead of standard input\n"
	"  --print                 print what comes, also with --send\n"
	"  --raw                   print text as it came, without escapes and quotes\n"
	"  --json                  print one JSON object a message\n"
	"  --count N               end after N messages\n"
	"  --once                  listen: end after the first peer\n"
	"  --retry                 connect: try until somebody listens, and again when the peer is lost\n"
	"  --timeout SECONDS       give up when nothing moves for so long\n"
	"  --quiet                 say nothing but errors on standard error\n"
	"  --help, --version\n"
	"\n"
	"Exit status: 0 clean, 1 the peer was lost, bad or not reached, 2 wrong usage. More: man 1 aioipc\n";

static __attribute__((format(printf, 1, 2), noreturn)) void die_of_usage(const char *format, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	say_error("%s; see aioipc --help", line);
	exit(TOOL_USAGE);
}

#define WHY_MOST 256

/* Words behind an option. */
struct words {
	char **at;
	const char *option;
	char *value; /* of --option=value; NULL */
};

static char *next_word(struct words *w)
{
	char *value = w->value;

	w->value = NULL;
	if (value)
		return value;
	if (!*w->at)
		die_of_usage("%s: its value is missing", w->option);
	return *w->at++;
}

static double read_number(struct words *w, double least, double most)
{
	const char *word = next_word(w);
	char *end;
	double n = strtod(word, &end);

	if (!*word || *end || !(n >= least && n <= most))
		die_of_usage("%s: \"%s\" is not a number from %g to %g", w->option, word, least, most);
	return n;
}

static void set_framing(struct tool_options *o, enum aioconn_framing framing)
{
	if (o->framing != AIOCONN_MESSAGES && o->framing != framing)
		die_of_usage("--lines or --bytes, not both");
	o->framing = framing;
}

static void set_lines(struct tool_options *o, struct words *w)
{
	ssize_t len;

	set_framing(o, AIOCONN_LINES);
	o->delimiter = w->value;
	w->value = NULL;
	if (!o->delimiter)
		return;
	len = text_unescape(o->delimiter);
	if (len < 1 || len > 8 || strlen(o->delimiter) != (size_t)len)
		die_of_usage("--lines: an end of 1 to 8 bytes, with escapes such as \\r\\n");
}

static void set_bytes(struct tool_options *o, struct words *w)
{
	(void)w;
	set_framing(o, AIOCONN_BYTES);
}

/* What is wrong with the values: behind the name of the call and the number of the word, which is in it. */
static void note_why(const char *text, void *arg)
{
	const char *words = strstr(text, ": ");

	words = words ? strstr(words + 2, ": ") : NULL;
	snprintf(arg, WHY_MOST, "%s", words ? words + 2 : text);
}

static void take_message(struct tool_options *o, struct words *w, const char *format)
{
	char why[WHY_MOST] = "";
	size_t used;

	aioipc_set_log(note_why, why);
	o->send = aiomsg_from_words(format, w->at, &used);
	aioipc_set_log(NULL, NULL);
	if (!o->send)
		die_of_usage("%s: %s", o->mode == TOOL_CALL ? "call" : "--send",
			     *why ? why : strerror(errno));
	w->at += used;
}

static void set_send(struct tool_options *o, struct words *w)
{
	const char *format = next_word(w);

	if (o->send)
		die_of_usage("--send: one message only");
	take_message(o, w, format);
}

static void set_count(struct tool_options *o, struct words *w)
{
	double n = read_number(w, 1, 1e15);

	o->count = (uint64_t)n;
	if ((double)o->count != n)
		die_of_usage("--count: not a whole number");
}

static void set_timeout(struct tool_options *o, struct words *w)
{
	o->timeout = (int64_t)(read_number(w, 0.001, 1e9) * 1000 + 0.5);
}

#define TALK (1U << TOOL_LISTEN | 1U << TOOL_CONNECT)
#define CALLS (1U << TOOL_CALL)
#define ALL (TALK | CALLS | 1U << TOOL_DUMP)
#define FLAG(name) offsetof(struct tool_options, name)

/* An option has a function or a flag. */
static const struct option {
	const char *name;
	unsigned modes; /* where it may stand */
	void (*set)(struct tool_options *o, struct words *w);
	size_t flag;
} options[] = {
	{"--bytes", TALK, set_bytes, 0},
	{"--count", TALK, set_count, 0},
	{"--json", ALL, NULL, FLAG(json)},
	{"--lines", TALK, set_lines, 0},
	{"--once", 1U << TOOL_LISTEN, NULL, FLAG(once)},
	{"--print", TALK, NULL, FLAG(print)},
	{"--quiet", ALL, NULL, FLAG(quiet)},
	{"--raw", TALK | CALLS, NULL, FLAG(raw)},
	{"--retry", 1U << TOOL_CONNECT, NULL, FLAG(retry)},
	{"--send", TALK, set_send, 0},
	{"--timeout", TALK | CALLS, set_timeout, 0},
};

/* What comes before any work. */
static void answer_and_exit(const char *word)
{
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		fputs(usage, stdout);
	else if (strcmp(word, "--version") == 0)
		printf("aioipc %s\n", aioipc_version());
	else
		return;
	exit(fflush(stdout) == EOF ? TOOL_FAILED : TOOL_CLEAN);
}

static const struct option *find_option(const char *word, size_t len)
{
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
		if (strlen(options[i].name) == len && strncmp(options[i].name, word, len) == 0)
			return &options[i];
	return NULL;
}

static void take_option(struct tool_options *o, struct words *w, char *word)
{
	const struct option *option = find_option(word, strcspn(word, "="));
	char *equals = strchr(word, '=');

	answer_and_exit(word);
	if (!option)
		die_of_usage("%s: no such option", word);
	if (!(option->modes & 1U << o->mode))
		die_of_usage("%s: not with this command", option->name);
	w->option = option->name;
	w->value = equals ? equals + 1 : NULL;
	if (option->set)
		option->set(o, w);
	else
		*(bool *)((char *)o + option->flag) = true;
	if (w->value)
		die_of_usage("%s takes no value", option->name);
}

static void take_words(struct tool_options *o, char **at)
{
	struct words w = {at, NULL, NULL};

	while (*w.at) {
		char *word = *w.at++;

		if (word[0] == '-' && word[1] != '\0')
			take_option(o, &w, word);
		else if (o->mode == TOOL_CALL && o->address && !o->send)
			take_message(o, &w, word);
		else if (o->address)
			die_of_usage("\"%s\" is one word too many", word);
		else
			o->address = word;
	}
}

static void check(struct tool_options *o)
{
	if (o->mode == TOOL_DUMP) {
		if (o->address && strcmp(o->address, "-") == 0)
			o->address = NULL;
		return;
	}
	if (!o->address)
		die_of_usage("an address is missing");
	if (o->mode == TOOL_CALL && !o->send)
		die_of_usage("call: the format of a message is missing, and its values");
	if (o->send && o->framing != AIOCONN_MESSAGES)
		die_of_usage("--send sends a message: not with --lines or --bytes");
	if (o->json && o->raw)
		die_of_usage("--json or --raw, not both");
	if (!o->send || o->count)
		o->print = true;
}

static enum tool_mode mode_of(const char *word)
{
	static const char *const names[] = {"listen", "connect", "dump", "call"};

	for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(word, names[i]) == 0)
			return (enum tool_mode)i;
	answer_and_exit(word);
	die_of_usage("\"%s\" is not a command", word);
}

/* A socket is not to become one of the standard streams because that is closed. */
static void fill_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct tool_options o = {0};
	int status;

	fill_standard_streams();
	signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		fputs(usage, stderr);
		return TOOL_USAGE;
	}
	o.mode = mode_of(argv[1]);
	take_words(&o, argv + 2);
	check(&o);
	status = o.mode == TOOL_DUMP ? dump(&o) : o.mode == TOOL_CALL ? call(&o) : talk(&o);
	aiomsg_free(o.send);
	return status;
}
