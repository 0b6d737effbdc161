/*
 * Runs one test program, and sees to it that nothing outlives it: "wrap [-t seconds] program [argument...]".
 *
 * Whatever the program forks becomes a child of this process in the end (it is a subreaper), a session of
 * its own does not help. Past the limit (600 seconds, times CK_TIMEOUT_MULTIPLIER) everything is killed:
 * status 124. Strays that still run a second after the program are named and killed: status 99, unless the program
 * failed by itself. Else the status is the program's, 128 + n for signal n.
 */
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

#define PIDS_MOST (1 << 22) /* Linux has no more */

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

/* Of any process: is it a child of this one? */
static bool is_child(pid_t pid)
{
	siginfo_t info;

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void tell(pid_t pid)
{
	char path[64], line[200] = "without /proc it has no name";
	size_t n = strlen(line);
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
	if ((f = fopen(path, "re"))) {
		n = fread(line, 1, sizeof line - 1, f);
		fclose(f);
	}
	for (size_t i = 0; i < n; i++)
		if (line[i] < ' ' || line[i] > '~')
			line[i] = ' ';
	line[n] = '\0';
	printf("# wrap: stray process %d: %s\n", (int)pid, line);
}

static bool kill_child(pid_t pid, bool telling)
{
	if (pid < 2 || !is_child(pid))
		return false;
	if (telling)
		tell(pid);
	kill(pid, SIGKILL);
	return true;
}

/* Where /proc tells of none, all numbers are tried. */
static void kill_children(bool telling)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	bool any = false;

	while (proc && (entry = readdir(proc)))
		any |= kill_child(atoi(entry->d_name), telling);
	if (proc)
		closedir(proc);
	for (pid_t pid = 2; !any && pid < PIDS_MOST; pid++)
		kill_child(pid, telling);
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
