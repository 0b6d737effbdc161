/*
 * Runs one test program, and sees to it that nothing outlives it: "wrap [-t seconds] program [argument...]".
 *
 * Whatever the program forks becomes a child of this process in the end (it is a subreaper), a session of
 * its own does not help. Past the limit (600 seconds, times CK_TIMEOUT_MULTIPLIER) everything is killed:
 * status 124. Strays that still run a second after the program are named and killed: status 99, unless the program
 * failed by itself. Else the status is the program's, 128 + n for signal n.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STATUS_STRAYS 99
#define STATUS_LATE 124

static sigset_t watched;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double slowness(void)
{
	const char *text = getenv("CK_TIMEOUT_MULTIPLIER");
	double factor = text ? atof(text) : 1;

	return factor > 1 ? factor : 1;
}

static pid_t start(char **argv)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	sigprocmask(SIG_UNBLOCK, &watched, NULL);
	dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	execvp(argv[0], argv);
	fprintf(stderr, "wrap: %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Reaps what has ended; @status is set when @program is among it. False when no child is left at all. */
static bool reap(pid_t program, int *status)
{
	int s;
	pid_t pid;

	while ((pid = waitpid(-1, &s, WNOHANG)) > 0)
		if (pid == program)
			*status = WIFEXITED(s) ? WEXITSTATUS(s) : 128 + WTERMSIG(s);
	return pid == 0;
}

/* The next signal that is of interest, or 0 at the deadline. */
static int wait_signal(double deadline)
{
	double left = deadline - now();
	struct timespec t = {0, 0};

	if (left > 0) {
		t.tv_sec = (time_t)left;
		t.tv_nsec = (long)((left - (double)t.tv_sec) * 1e9);
	}
	for (;;) {
		int sig = sigtimedwait(&watched, NULL, &t);

		if (sig > 0)
			return sig;
		if (errno != EINTR)
			return 0;
	}
}

/* Waits for @program; its status, or what stopped it. */
static int wait_for(pid_t program, double deadline)
{
	int status = -1;

	while (reap(program, &status) && status == -1) {
		int sig = wait_signal(deadline);

		if (sig == 0) {
			printf("# wrap: the time limit is over, everything is killed\n");
			return STATUS_LATE;
		}
		if (sig != SIGCHLD)
			return 128 + sig;
	}
	return status;
}

static bool is_child(const char *pid)
{
	char path[64], stat[512], state;
	int parent = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
	if (!(f = fopen(path, "re")))
		return false;
	if (fgets(stat, sizeof stat, f) && strrchr(stat, ')'))
		sscanf(strrchr(stat, ')') + 1, " %c %d", &state, &parent);
	fclose(f);
	return parent == getpid();
}

static void tell(const char *pid)
{
	char path[64], line[200];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%.20s/cmdline", pid);
	if ((f = fopen(path, "re"))) {
		n = fread(line, 1, sizeof line - 1, f);
		fclose(f);
	}
	for (size_t i = 0; i < n; i++)
		if (!isprint((unsigned char)line[i]))
			line[i] = ' ';
	line[n] = '\0';
	printf("# wrap: stray process %s: %s\n", pid, line);
}

static void kill_children(bool telling)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		if (!isdigit((unsigned char)entry->d_name[0]) || !is_child(entry->d_name))
			continue;
		if (telling)
			tell(entry->d_name);
		kill(atoi(entry->d_name), SIGKILL);
	}
	if (proc)
		closedir(proc);
}

/* Kills until no child is left: those of the killed become ours. True if there was any. */
static bool sweep(double grace, bool telling)
{
	bool any = false;
	int status;

	while (reap(0, &status) && wait_signal(grace))
		;
	while (reap(0, &status)) {
		any = true;
		kill_children(telling);
		wait_signal(now() + 0.1);
	}
	return any;
}

int main(int argc, char **argv)
{
	double limit = 600;
	bool orderly, strays;
	pid_t program;
	int status;

	if (argc > 2 && !strcmp(argv[1], "-t")) {
		limit = atof(argv[2]);
		argv += 2;
	}
	if (!argv[1]) {
		fprintf(stderr, "usage: wrap [-t seconds] program [argument...]\n");
		return 2;
	}
	sigemptyset(&watched);
	sigaddset(&watched, SIGCHLD);
	sigaddset(&watched, SIGHUP);
	sigaddset(&watched, SIGINT);
	sigaddset(&watched, SIGTERM);
	sigprocmask(SIG_BLOCK, &watched, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	program = start(argv + 1);
	if (program == -1) {
		perror("wrap: fork");
		return 127;
	}
	status = wait_for(program, now() + limit * slowness());
	orderly = status < STATUS_LATE;
	strays = sweep(now() + (orderly ? slowness() : 0), orderly);
	return strays && status == 0 ? STATUS_STRAYS : status;
}
