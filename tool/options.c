/* The command line: the words of the options, each of which has a row in the table. What is wrong with one ends the program. */
#include "tool/tool.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((format(printf, 1, 2), noreturn)) static void die_of_usage(const char *format, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof line, format, ap);
	va_end(ap);
	say_error("%s; see aioipc --help", line);
	exit(TOOL_USAGE);
}

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

static void keep_message(struct tool_options *o, struct aiomsg *m)
{
	struct aiomsg **all = realloc(o->send, (o->n_send + 1) * sizeof(struct aiomsg *));

	if (!all)
		die_of_usage("%s", strerror(errno));
	o->send = all;
	o->send[o->n_send++] = m;
}

static void take_message(struct tool_options *o, struct words *w, const char *format)
{
	struct aiomsg *m;
	const char *why;
	size_t used;

	why_begin();
	m = aiomsg_from_words(format, w->at, &used);
	why = why_end(m ? 0 : errno);
	if (!m)
		die_of_usage("%s: %s", o->mode == TOOL_CALL ? "call" : "--send", why_behind(why));
	keep_message(o, m);
	w->at += used;
}

static void set_send(struct tool_options *o, struct words *w)
{
	const char *format = next_word(w);

	take_message(o, w, format);
}

static void set_format(struct tool_options *o, struct words *w)
{
	struct aiowriter *writer;

	o->format = next_word(w);
	why_begin();
	writer = aiowriter_new(o->format);
	why_end(0);
	if (!writer)
		die_of_usage("--format: \"%s\" is not a format, such as si; see aiomsg(3)", o->format);
	aiowriter_free(writer);
}

static void set_count(struct tool_options *o, struct words *w)
{
	double n = read_number(w, 1, 1e15);

	o->count = (uint64_t)n;
	if ((double)o->count != n)
		die_of_usage("--count: not a whole number");
}

static void set_size(struct tool_options *o, struct words *w)
{
	o->length = (size_t)read_number(w, 0, 1 << 20);
}

static void set_every(struct tool_options *o, struct words *w)
{
	o->every = (int64_t)(read_number(w, 0.01, 86400) * 1000 + 0.5);
}

static void set_timeout(struct tool_options *o, struct words *w)
{
	o->timeout = (int64_t)(read_number(w, 0.001, 1e9) * 1000 + 0.5);
}

static void set_mode(struct tool_options *o, struct words *w)
{
	const char *word = next_word(w);
	size_t len = strlen(word);

	if (len < 1 || len > 4 || word[strspn(word, "01234567")])
		die_of_usage("--mode: \"%s\" is not a mode such as 660", word);
	o->file_mode = (mode_t)strtoul(word, NULL, 8);
	if (o->file_mode == 0 || o->file_mode > 0777)
		die_of_usage("--mode: \"%s\" is not from 1 to 777", word);
}

static void set_group(struct tool_options *o, struct words *w)
{
	o->group = next_word(w);
}

static void set_tls_ca(struct tool_options *o, struct words *w)
{
	o->tls_ca = next_word(w);
}

static void set_tls_cert(struct tool_options *o, struct words *w)
{
	o->tls_cert = next_word(w);
}

static void set_tls_key(struct tool_options *o, struct words *w)
{
	o->tls_key = next_word(w);
}

static void set_tls_name(struct tool_options *o, struct words *w)
{
	const char **all = realloc(o->tls_name, (o->n_tls_names + 1) * sizeof(const char *));

	if (!all)
		die_of_usage("%s", strerror(errno));
	o->tls_name = all;
	o->tls_name[o->n_tls_names++] = next_word(w);
}

static void set_program(struct tool_options *o, struct words *w)
{
	o->program = next_word(w);
	if (!*o->program)
		die_of_usage("--exec: \"\" is no program");
}

#define LISTEN (1U << TOOL_LISTEN)
#define CONNECT (1U << TOOL_CONNECT)
#define DUMP (1U << TOOL_DUMP)
#define CALLS (1U << TOOL_CALL)
#define TALK (LISTEN | CONNECT)
#define TAP (1U << TOOL_TAP)
#define BENCH (1U << TOOL_BENCH)
#define TOP (1U << TOOL_TOP)
#define STREAM (1U << TOOL_STREAM)
#define SECURE (TALK | CALLS | TAP | BENCH | STREAM)
#define ALL (TALK | CALLS | DUMP | TAP | BENCH | TOP | STREAM)
#define FLAG(name) NULL, offsetof(struct tool_options, name)

/* An option has a function or a flag. */
static const struct option {
	const char *name, *brief;
	const char *value; /* for the help */
	unsigned modes;    /* where it may stand */
	void (*set)(struct tool_options *o, struct words *w);
	size_t flag;
	const char *what;
} options[] = {
	{"--lines", NULL, "[=END]", TALK | TAP | STREAM, set_lines, 0,
	 "lines instead of messages; END is \\n, say \\r\\n for others"},
	{"--bytes", NULL, "", TALK | TAP, set_bytes, 0, "bytes as they come"},
	{"--send", NULL, " FORMAT VALUES..", TALK, set_send, 0,
	 "send a message of these values, not standard input"},
	{"--format", NULL, " FORMAT", TALK | STREAM, set_format, 0,
	 "each line of standard input has the values of a message"},
	{"--text", NULL, "", TALK | STREAM, FLAG(text), "each line is a message as it is printed"},
	{"--json", NULL, "", ALL, FLAG(json), "print one JSON object a message, and read such"},
	{"--print", NULL, "", TALK, FLAG(print), "print what comes, also with --send"},
	{"--raw", NULL, "", TALK | CALLS | STREAM, FLAG(raw),
	 "print text as it came, without escapes and quotes"},
	{"--count", NULL, " N", TALK | BENCH | TOP | STREAM, set_count, 0,
	 "end after N messages, calls or tables"},
	{"--keep", NULL, "", LISTEN, FLAG(keep), "serve all peers at once, and say who says what"},
	{"--fan-out", NULL, "", LISTEN, FLAG(fan_out), "send standard input to all of them"},
	{"--exec", NULL, " PROGRAM", LISTEN, set_program, 0,
	 "run a shell command for each peer, which talks to it"},
	{"--time", NULL, "", TALK | TAP | STREAM, FLAG(time), "print when it came"},
	{"--hex", NULL, "", TALK | STREAM, FLAG(hex), "print the bytes, in hexadecimal too"},
	{"--once", NULL, "", LISTEN | TAP, FLAG(once), "end after the first peer"},
	{"--mode", NULL, " MODE", LISTEN, set_mode, 0, "of a socket in the file system; 600"},
	{"--retry", NULL, "", CONNECT, FLAG(retry),
	 "try until somebody listens, and again when the peer is lost"},
	{"--no-wait", NULL, "", CONNECT, FLAG(no_wait),
	 "leave when everything is sent, without the peer's goodbye"},
	{"--timeout", NULL, " SECONDS", TALK | CALLS | STREAM, set_timeout, 0,
	 "give up when nothing moves for so long"},
	{"--echo", NULL, "", BENCH, FLAG(echo), "start a peer that answers, too"},
	{"--every", NULL, " SECONDS", TOP, set_every, 0, "look so often; 1"},
	{"--size", NULL, " BYTES", BENCH, set_size, 0, "of each call; 0"},
	{"--group", NULL, " NAME", STREAM, set_group, 0,
	 "read, as a member of this group; \"\": all that is added"},
	{"--from-start", NULL, "", STREAM, FLAG(from_start), "a new group begins with all that is there"},
	{"--tls-ca", NULL, " FILE", SECURE, set_tls_ca, 0,
	 "of tls://: whose certificates are taken; those of the system"},
	{"--tls-cert", NULL, " FILE", SECURE, set_tls_cert, 0, "our certificate"},
	{"--tls-key", NULL, " FILE", SECURE, set_tls_key, 0, "its key, if it is not in the same file"},
	{"--tls-name", NULL, " NAME", SECURE, set_tls_name, 0,
	 "the peer's certificate is for NAME; may be given again"},
	{"--tls-anonymous", NULL, "", LISTEN | TAP, FLAG(tls_anonymous),
	 "take peers without a certificate, too"},
	{"--quiet", "-q", "", ALL, FLAG(quiet), "say nothing but errors on standard error"},
};

static const struct command {
	const char *name, *words, *what;
} commands[] = {
	[TOOL_LISTEN] = {"listen", "ADDR [options]", "waits for peers, one after the other"},
	[TOOL_CONNECT] = {"connect", "ADDR [options]", "connects to one"},
	[TOOL_CALL] = {"call", "ADDR FORMAT VALUES..", "calls one, and prints the answer"},
	[TOOL_DUMP] = {"dump", "[FILE] [options]", "prints a captured stream of frames"},
	[TOOL_TAP] = {"tap", "ADDR ADDR [options]", "stands between two, and prints what both say"},
	[TOOL_BENCH] = {"bench", "ADDR [options]", "measures how fast calls are answered"},
	[TOOL_TOP] = {"top", "[PATH] [options]", "shows what programs with AIOIPC_STATS=PATH do"},
	[TOOL_STREAM] = {"stream", "ADDR NAME [options]", "appends to a stream of Redis, or reads it"},
};

#define N_OPTIONS (sizeof options / sizeof options[0])
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void print_commands(FILE *f, unsigned modes)
{
	const char *lead = "usage:";

	for (unsigned i = 0; i < N_COMMANDS; i++)
		if (modes & 1U << i) {
			fprintf(f, "%-6s aioipc %-7s %-22s %s\n", lead, commands[i].name, commands[i].words,
				commands[i].what);
			lead = "";
		}
}

static void print_options(FILE *f, unsigned modes)
{
	char name[64];

	for (unsigned i = 0; i < N_OPTIONS; i++) {
		const struct option *p = &options[i];

		if (!(p->modes & modes))
			continue;
		snprintf(name, sizeof name, "%s%s%s%s", p->brief ? p->brief : "", p->brief ? ", " : "",
			 p->name, p->value);
		fprintf(f, "  %-23s %s\n", name, p->what);
	}
}

static void print_usage(FILE *f, unsigned modes)
{
	print_commands(f, modes);
	fputc('\n', f);
	if (modes & TALK)
		fputs("Prints what the peer says, and sends what standard input says, a message a line.\n",
		      f);
	if (modes & ~(DUMP | TOP | STREAM))
		fputs("ADDR is tcp://host:port, tls://host:port, unix:///path or unix:@name; host:port, "
		      "/path "
		      "and @name will do.\n",
		      f);
	if (modes & STREAM)
		fputs("ADDR of a stream is redis://host, rediss://host or redis+unix:///path.\n", f);
	fputs("Options:\n\n", f);
	print_options(f, modes);
	fputs("  -h, --help              this; also: aioipc help COMMAND\n"
	      "  -V, --version\n"
	      "\n"
	      "Exit status: 0 clean, 1 the peer was lost, bad or not reached, 2 wrong usage, 130 Ctrl-C.\n"
	      "More: man 1 aioipc\n",
	      f);
}

__attribute__((noreturn)) static void leave(void)
{
	exit(fflush(stdout) == EOF ? TOOL_FAILED : TOOL_CLEAN);
}

/* What comes before any work. */
static void answer_and_exit(const char *word, unsigned modes)
{
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		print_usage(stdout, modes);
	else if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0)
		printf("aioipc %s\n", aioipc_version());
	else
		return;
	leave();
}

/* How many letters have to change for one word to be the other; of long words, many. */
static size_t distance(const char *a, const char *b)
{
	size_t row[33], n = strlen(b), before, here;

	if (n > 32 || strlen(a) > 32)
		return 32;
	for (size_t i = 0; i <= n; i++)
		row[i] = i;
	for (; *a; a++) {
		before = row[0]++;
		for (size_t i = 1; i <= n; i++, before = here) {
			here = row[i];
			row[i] = before + (*a != b[i - 1]);
			row[i] = row[i] < here + 1 ? row[i] : here + 1;
			row[i] = row[i] < row[i - 1] + 1 ? row[i] : row[i - 1] + 1;
		}
	}
	return row[n];
}

static bool is_meant(const char *word, const char *name)
{
	return distance(word, name) <= 2 || (strlen(word) > 3 && strncmp(word, name, strlen(word)) == 0);
}

__attribute__((noreturn)) static void die_of_option(const char *word, unsigned mode)
{
	char name[32];

	snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
	for (unsigned i = 0; i < N_OPTIONS; i++)
		if (options[i].modes & mode && is_meant(name, options[i].name))
			die_of_usage("%s: no such option, did you mean %s?", word, options[i].name);
	die_of_usage("%s: no such option", word);
}

/* The names of the commands that take it. */
__attribute__((noreturn)) static void die_of_place(const struct option *option)
{
	char names[64] = "";

	for (unsigned i = 0; i < N_COMMANDS; i++)
		if (option->modes & 1U << i)
			snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s",
				 *names ? ", " : "", commands[i].name);
	die_of_usage("%s: not with this command, but with %s", option->name, names);
}

static const struct option *find_option(const char *word, size_t len)
{
	for (unsigned i = 0; i < N_OPTIONS; i++) {
		if (strlen(options[i].name) == len && strncmp(options[i].name, word, len) == 0)
			return &options[i];
		if (options[i].brief && strcmp(options[i].brief, word) == 0)
			return &options[i];
	}
	return NULL;
}

static void take_option(struct tool_options *o, struct words *w, char *word)
{
	const struct option *option = find_option(word, strcspn(word, "="));
	char *equals = strchr(word, '=');

	answer_and_exit(word, 1U << o->mode);
	if (!option)
		die_of_option(word, 1U << o->mode);
	if (!(option->modes & 1U << o->mode))
		die_of_place(option);
	w->option = option->name;
	w->value = equals ? equals + 1 : NULL;
	if (option->set)
		option->set(o, w);
	else
		*(bool *)((char *)o + option->flag) = true;
	if (w->value)
		die_of_usage("%s takes no value, not even \"%s\"", option->name, w->value);
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
		else if ((o->mode == TOOL_TAP || o->mode == TOOL_STREAM) && o->address && !o->other)
			o->other = word;
		else if (o->address)
			die_of_usage("\"%s\" is one word too many", word);
		else
			o->address = word;
	}
}

/* As people write it; it is told what that was taken for. */
static void complete_address(struct tool_options *o)
{
	if (!o->address)
		die_of_usage("%s: an address is missing, such as unix:@name", commands[o->mode].name);
	o->owned = address_of(o->address, o->mode == TOOL_LISTEN || o->mode == TOOL_TAP);
	if (o->owned)
		say_note(o, "%s: taken as %s", o->address, o->owned);
	o->address = o->owned ? o->owned : o->address;
	o->owned_other = o->other ? address_of(o->other, false) : NULL;
	if (o->owned_other)
		say_note(o, "%s: taken as %s", o->other, o->owned_other);
	o->other = o->owned_other ? o->owned_other : o->other;
}

/* Only who connects has a reason to trust those whom the system trusts. */
static void check_tls(struct tool_options *o)
{
	bool accepts = o->mode == TOOL_LISTEN || o->mode == TOOL_TAP || o->echo;
	bool any = tls_is_of(o->address) || (o->mode == TOOL_TAP && tls_is_of(o->other));

	accepts = accepts && tls_is_of(o->address);
	if (!any && (o->tls_ca || o->tls_cert || o->tls_key || o->n_tls_names || o->tls_anonymous))
		die_of_usage("--tls-ca and the like are for an address such as tls://host:port");
	if (!any)
		return;
	if (o->tls_key && !o->tls_cert)
		die_of_usage("--tls-key is the key of --tls-cert, which is missing");
	if (accepts && !o->tls_cert)
		die_of_usage("%s: --tls-cert is missing: who listens shows a certificate", o->address);
	if (accepts && !o->tls_ca && !o->tls_anonymous)
		die_of_usage("%s: --tls-ca is missing: whose certificates are taken", o->address);
	if (tls_make(o) == -1)
		exit(errno == EINVAL ? TOOL_USAGE : TOOL_FAILED);
}

static void check_forms(const struct tool_options *o)
{
	const char *form = o->format ? "--format" : "--text";

	if (o->json && o->raw)
		die_of_usage("--json or --raw, not both");
	if (o->hex && (o->json || o->raw))
		die_of_usage("--hex or %s, not both", o->json ? "--json" : "--raw");
	if (o->json + o->text + (o->format != NULL) > 1)
		die_of_usage("standard input has one form: %s or %s, not both", form,
			     o->json ? "--json" : "--text");
	if (!(o->text || o->format))
		return;
	if (o->framing != AIOCONN_MESSAGES)
		die_of_usage("%s makes messages: not with --lines or --bytes", form);
	if (o->send)
		die_of_usage("%s is of standard input, which --send replaces: take one of them", form);
}

static void check_many(struct tool_options *o)
{
	if (o->once && (o->keep || o->fan_out))
		die_of_usage("--once or %s, not both", o->keep ? "--keep" : "--fan-out");
	if (o->send && (o->program || o->fan_out))
		die_of_usage("--send or %s, not both", o->program ? "--exec" : "--fan-out");
	if (o->program && o->fan_out)
		die_of_usage("--exec or --fan-out, not both");
	if (o->program && (o->print || o->hex))
		die_of_usage("--exec prints nothing: not with %s", o->hex ? "--hex" : "--print");
	o->keep |= o->fan_out || (o->program && !o->once);
}

/* Colours, unless NO_COLOR is set, and a sign for who types. */
static void look_at_terminal(struct tool_options *o)
{
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
	bool terminal = isatty(STDOUT_FILENO) && !o->raw;

	o->colour = terminal && !(no_colour && *no_colour) && term && strcmp(term, "dumb") != 0;
	o->sign = terminal && o->mode != TOOL_TAP && isatty(STDIN_FILENO) && o->framing != AIOCONN_BYTES &&
		  !o->json;
}

/* Where the programs that it starts would keep theirs, unless it is told. */
static void find_stats(struct tool_options *o)
{
	const char *path = getenv("AIOIPC_STATS");

	if (!o->address)
		o->address = path && *path ? path : NULL;
	if (!o->address)
		die_of_usage("top: the path is missing that programs have in AIOIPC_STATS");
}

static void check_stream(struct tool_options *o)
{
	if (!o->address)
		die_of_usage("stream: an address is missing, such as redis://host");
	if (!o->other)
		die_of_usage("stream: the name of the stream is missing");
	if (o->from_start && !o->group)
		die_of_usage("--from-start is for --group: what is appended comes last");
	if (o->count && !o->group)
		die_of_usage("--count is for --group: what is appended ends with standard input");
	check_forms(o);
	check_tls(o);
	look_at_terminal(o);
	o->sign = false;
}

static void check(struct tool_options *o)
{
	if (o->mode == TOOL_DUMP) {
		if (o->address && strcmp(o->address, "-") == 0)
			o->address = NULL;
		return;
	}
	if (o->mode == TOOL_TOP) {
		find_stats(o);
		look_at_terminal(o);
		return;
	}
	if (o->mode == TOOL_STREAM) {
		check_stream(o);
		return;
	}
	if (o->mode == TOOL_CALL && o->address && !o->send)
		die_of_usage("call: the format of a message is missing, and its values");
	if (o->send && o->framing != AIOCONN_MESSAGES)
		die_of_usage("--send sends a message: not with --lines or --bytes");
	if (o->no_wait && o->count)
		die_of_usage("--no-wait leaves at once, --count waits: not both");
	if (o->mode == TOOL_TAP && o->address && !o->other)
		die_of_usage("tap: the second address is missing, of the program to connect to");
	check_forms(o);
	check_many(o);
	complete_address(o);
	check_tls(o);
	if ((!o->send && !o->no_wait && !o->program) || o->count)
		o->print = !o->program;
	look_at_terminal(o);
}

static bool find_command(const char *word, enum tool_mode *mode)
{
	for (unsigned i = 0; i < N_COMMANDS; i++)
		if (strcmp(word, commands[i].name) == 0) {
			*mode = (enum tool_mode)i;
			return true;
		}
	return false;
}

__attribute__((noreturn)) static void die_of_command(const char *word)
{
	unsigned nearest = 0;

	if (*word == '-')
		die_of_usage("%s: a command comes first", word);
	for (unsigned i = 1; i < N_COMMANDS; i++)
		if (distance(word, commands[i].name) < distance(word, commands[nearest].name))
			nearest = i;
	if (distance(word, commands[nearest].name) <= 2)
		die_of_usage("\"%s\" is not a command, did you mean %s?", word, commands[nearest].name);
	die_of_usage("\"%s\" is not a command", word);
}

__attribute__((noreturn)) static void help(const char *word)
{
	enum tool_mode mode;

	if (word && !find_command(word, &mode))
		die_of_command(word);
	print_usage(stdout, word ? 1U << mode : ~0U);
	leave();
}

void options_read(struct tool_options *o, char **words)
{
	if (!*words) {
		print_usage(stderr, ~0U);
		exit(TOOL_USAGE);
	}
	answer_and_exit(*words, ~0U);
	if (strcmp(*words, "help") == 0)
		help(words[1]);
	if (!find_command(*words, &o->mode))
		die_of_command(*words);
	take_words(o, words + 1);
	check(o);
}

void options_free(struct tool_options *o)
{
	for (size_t i = 0; i < o->n_send; i++)
		aiomsg_free(o->send[i]);
	free(o->send);
	free(o->owned);
	free(o->owned_other);
	free(o->tls_name);
	tls_free(o);
}
