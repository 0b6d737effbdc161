/*
 * top: what programs that keep statistics do now. On a terminal it is drawn again and again; elsewhere it is one table, or one every so many
 * seconds, or JSON.
 */
#include "tool/board.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define EVERY 1000 /* ms */
#define WIDTH 120  /* of a table that is no terminal's */
#define BOLD "\033[1m"
#define RED "\033[31m"
#define DIM "\033[2m"
#define PLAIN "\033[0m"

/* One look at all. */
struct table {
	const struct tool_options *o;
	struct boards boards;
	struct row_text *rows;
	size_t n, slow;
	bool live;
	unsigned width, height; /* height 0: there is no end */
	size_t who, state;      /* characters of these columns; 0: as many as there are */
};

static volatile sig_atomic_t signalled;

static void on_signal(int sig)
{
	signalled = sig;
}

/* Looking. */

static int look(struct table *t)
{
	struct boards before = t->boards;

	if (boards_read(&t->boards, t->o->address) == -1) {
		int error = errno;

		boards_free(&t->boards);
		boards_free(&before);
		errno = error;
		return -1;
	}
	boards_follow(&t->boards, &before);
	return 0;
}

static int add_row(struct table *t, const struct row_text *row)
{
	struct row_text *more;

	if ((t->n & (t->n - 1)) == 0) {
		more = realloc(t->rows, (t->n ? 2 * t->n : 1) * sizeof *more);
		if (!more)
			return -1;
		t->rows = more;
	}
	t->slow += row->slow != NULL;
	t->rows[t->n++] = *row;
	return 0;
}

static int by_kind(const void *a, const void *b)
{
	const struct row_text *x = a, *y = b;

	if (x->row->kind != y->row->kind)
		return x->row->kind < y->row->kind ? -1 : 1;
	return (x->row->id > y->row->id) - (x->row->id < y->row->id);
}

static int describe(struct table *t)
{
	struct row_text row;

	t->n = t->slow = 0;
	for (size_t i = 0; i < t->boards.n; i++) {
		const struct board *b = t->boards.all[i];
		size_t first;

		row_of_process(&row, b);
		if (add_row(t, &row) == -1)
			return -1;
		first = t->n;
		for (unsigned k = 0; k < b->n; k++)
			if (row_describe(&row, b, &b->rows[k]) && add_row(t, &row) == -1)
				return -1;
		qsort(t->rows + first, t->n - first, sizeof *t->rows, by_kind);
	}
	return 0;
}

/* Showing. */

/* What is seldom is no 0. */
static const char *rate(double x, char text[16])
{
	if (x < 0)
		return "";
	if (x == 0 || x >= 9.95)
		return brief(x, text);
	snprintf(text, 16, "%.1f", x);
	return text;
}

/* @n characters of text, with nothing that could do something to a terminal; at least so many. 0: all, and no more. */
static void show_cell(FILE *f, const char *text, size_t n)
{
	char *plain = NULL;
	size_t len, done = 0, at = 0;
	FILE *g = open_memstream(&plain, &len);

	if (!g)
		return;
	text_plain(g, text, strlen(text), TEXT_SAID);
	fclose(g);
	while (plain && at < len && (done < n || n == 0)) {
		do
			fputc(plain[at++], f);
		while (at < len && ((unsigned char)plain[at] & 0xc0) == 0x80);
		done++;
	}
	for (; done < n; done++)
		fputc(' ', f);
	free(plain);
}

#define FIXED 57 /* characters of all columns but the two that share the rest */

/* What the names do not need, the states have. */
static void set_columns(struct table *t)
{
	size_t rest = t->width > FIXED + 20 ? t->width - FIXED : 20, longest = 8;

	for (size_t i = 0; i < t->n; i++)
		if (strlen(t->rows[i].who) > longest)
			longest = strlen(t->rows[i].who);
	t->who = longest < rest * 11 / 20 ? longest : rest * 11 / 20;
	t->state = t->live ? rest - t->who : 0;
}

static void show_row(FILE *f, const struct table *t, const struct row_text *row)
{
	char in[16], out[16], bytes[16], said[256];

	snprintf(said, sizeof said, "%s%s%s", row->slow ? row->slow : "", row->slow ? "; " : "", row->state);
	fputs(!t->o->colour ? "" : row->slow ? RED : row->board->gone ? DIM : row->row ? "" : BOLD, f);
	if (row->board->why)
		fprintf(f, "%7s %-10s ", "?", row->kind);
	else
		fprintf(f, "%7lld %-10s ", (long long)row->board->head.pid, row->kind);
	show_cell(f, row->who, t->who);
	fprintf(f, " %6s %6s %6s ", rate(row->in, in), rate(row->out, out), rate(row->bytes, bytes));
	show_cell(f, row->waits, 14);
	fputs(row->slow ? " !" : "  ", f);
	show_cell(f, said, t->state);
	fputs(t->o->colour ? PLAIN : "", f);
}

static void end_line(FILE *f, const struct table *t)
{
	fputs(t->live ? "\033[K\r\n" : "\n", f);
}

static void show_head(FILE *f, const struct table *t)
{
	fputs(t->o->colour ? DIM : "", f);
	fprintf(f, "%7s %-10s %-*s %6s %6s %6s %-14s  %s", "PID", "KIND", (int)t->who, "WHO", "IN/S", "OUT/S",
		"B/S", "WAITS", "STATE");
	fputs(t->o->colour ? PLAIN : "", f);
	end_line(f, t);
}

static int by_need(const void *a, const void *b)
{
	const struct row_text *x = a, *y = b;
	double m = x->in + x->out, n = y->in + y->out;

	if (!x->slow != !y->slow)
		return x->slow ? -1 : 1;
	return (m < n) - (m > n);
}

/* Where not all has room, the slow are first, then the busy. */
static size_t choose(struct table *t)
{
	const unsigned others =
		4; /* lines: what this is, the head, how many are left, and where the cursor is */

	if (!t->height || t->n + others <= t->height)
		return t->n;
	qsort(t->rows, t->n, sizeof *t->rows, by_need);
	return t->height > others ? t->height - others : 0;
}

static void show_table(FILE *f, struct table *t)
{
	size_t shown = choose(t);

	set_columns(t);
	show_head(f, t);
	for (size_t i = 0; i < shown; i++) {
		show_row(f, t, &t->rows[i]);
		end_line(f, t);
	}
	if (shown < t->n) {
		fprintf(f, "and %zu more, not slow or less busy: make this larger", t->n - shown);
		end_line(f, t);
	}
}

static void show_process_json(FILE *f, const struct table *t, size_t *i)
{
	const struct board *b = t->rows[*i].board;
	const char *lead = "";

	fputs("{\"file\": ", f);
	show_string_json(f, b->path);
	if (b->why) {
		fputs(", \"error\": ", f);
		show_string_json(f, b->why);
		fputs("}", f);
		++*i;
		return;
	}
	fprintf(f, ", \"pid\": %lld, \"program\": ", (long long)b->head.pid);
	show_string_json(f, b->head.program);
	fputs(", \"version\": ", f);
	show_string_json(f, b->head.version);
	fprintf(f, ", \"gone\": %s, \"cut\": %s, \"missed\": %llu, \"rows\": [", b->gone ? "true" : "false",
		b->cut ? "true" : "false", (unsigned long long)b->head.missed);
	for (++*i; *i < t->n && t->rows[*i].row && t->rows[*i].board == b; ++*i, lead = ", ") {
		fputs(lead, f);
		row_show_json(f, &t->rows[*i]);
	}
	fputs("]}", f);
}

static void show_json(FILE *f, const struct table *t)
{
	fputs("{\"time\": \"", f);
	show_time(f, true);
	fprintf(f, "\", \"slow\": %zu, \"processes\": [", t->slow);
	for (size_t i = 0; i < t->n;) {
		fputs(i ? ", " : "", f);
		show_process_json(f, t, &i);
	}
	fputs("]}\n", f);
}

/* The terminal. */

static struct termios before;
static bool is_raw;

static void write_out(const char *text)
{
	(void)!write(STDOUT_FILENO, text, strlen(text));
}

/* Its own screen, no cursor; keys come at once, and are not shown. */
static void begin_screen(void)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &before) == 0) {
		raw = before;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		is_raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
	}
	write_out("\033[?1049h\033[?25l");
}

static void end_screen(void)
{
	write_out("\033[?25h\033[?1049l");
	if (is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
	is_raw = false;
}

static void stop_for_a_while(void)
{
	end_screen();
	raise(SIGSTOP);
	begin_screen();
}

static void measure(struct table *t)
{
	struct winsize size;

	t->width = 80;
	t->height = 24;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
		t->width = size.ws_col;
		t->height = size.ws_row;
	}
}

static void draw(struct table *t)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return;
	measure(t);
	fputs("\033[H", f);
	fprintf(f, "aioipc top: %zu %s, %zu slow   ", t->boards.n, t->boards.n == 1 ? "process" : "processes",
		t->slow);
	show_time(f, false);
	fputs("   q ends, space looks now", f);
	end_line(f, t);
	show_table(f, t);
	fputs("\033[J", f);
	if (fclose(f) == 0 && text && len > 0) {
		text[len] = '\0';
		write_out(text);
	}
	free(text);
}

/* 0, or why not. */
static int renew(struct table *t)
{
	return look(t) == 0 && describe(t) == 0 ? 0 : errno;
}

static int fail(const struct table *t, int error)
{
	say_error("%s: %s", t->o->address, strerror(error));
	return TOOL_FAILED;
}

static int64_t every(const struct tool_options *o)
{
	return o->every ? o->every : EVERY;
}

/* True: a key, or a signal. The signals are blocked but here. */
static bool rest(int64_t ms, bool keys, const sigset_t *mask)
{
	struct timespec limit = {ms / 1000, ms % 1000 * 1000000};
	struct pollfd in = {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN};

	return ppoll(&in, 1, &limit, mask) != 0;
}

/* Lines of the terminal's own would move the screen up. */
static bool wants_end(bool *keys)
{
	char key[16];
	ssize_t n = read(STDIN_FILENO, key, sizeof key);

	if (n <= 0) {
		*keys = false;
		return false;
	}
	return memchr(key, 'q', (size_t)n) || memchr(key, 'Q', (size_t)n);
}

static int status_of(int sig)
{
	return sig == SIGINT ? TOOL_INTERRUPTED : TOOL_CLEAN;
}

static int live(struct table *t, const sigset_t *mask)
{
	bool keys = isatty(STDIN_FILENO), end = false;
	uint64_t looks = 0;
	int error = 0;

	t->live = true;
	begin_screen();
	while (!end && !error) {
		draw(t);
		if (t->o->count && ++looks >= t->o->count)
			break;
		if (rest(every(t->o), keys, mask) && !signalled && keys)
			end = wants_end(&keys);
		if (signalled == SIGTSTP)
			stop_for_a_while();
		else if (signalled && signalled != SIGWINCH)
			break;
		signalled = 0;
		if (!end)
			error = renew(t);
	}
	end_screen();
	if (error)
		return fail(t, error);
	return signalled ? status_of(signalled) : TOOL_CLEAN;
}

/* One, after two looks, so that there are rates; or so many, or without end, if it is told how often. */
static int tables(struct table *t, const sigset_t *mask)
{
	uint64_t most = t->o->count ? t->o->count : t->o->every ? UINT64_MAX : 1;
	int error;

	t->width = WIDTH;
	for (uint64_t n = 0; n < most; n++) {
		rest(every(t->o), false, mask);
		if (signalled)
			return status_of(signalled);
		error = renew(t);
		if (error)
			return fail(t, error);
		if (n > 0 && !t->o->json)
			putchar('\n');
		if (t->o->json)
			show_json(stdout, t);
		else
			show_table(stdout, t);
		if (fflush(stdout) == EOF)
			return errno == EPIPE ? TOOL_CLEAN : TOOL_FAILED;
	}
	return TOOL_CLEAN;
}

static void catch_signals(sigset_t *mask)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
		if (catch_signal(signals[i], on_signal))
			sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, mask);
}

int top(const struct tool_options *o)
{
	struct table t = {.o = o};
	sigset_t mask;
	int error, status;

	catch_signals(&mask);
	error = renew(&t);
	if (!error && t.n == 0)
		say_note(o, "%s: no program keeps statistics there; start it with AIOIPC_STATS=%s",
			 o->address, o->address);
	if (error)
		status = fail(&t, error);
	else
		status = !o->json && isatty(STDOUT_FILENO) ? live(&t, &mask) : tables(&t, &mask);
	boards_free(&t.boards);
	free(t.rows);
	return status;
}
