/* What the tool asks the system itself: the time, small files, and signals. */
#include "tool/tool.h"

#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void read_little(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd != -1) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
}

bool is_ignored(int sig)
{
	struct sigaction now;

	return sigaction(sig, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

bool catch_signal(int sig, void (*handler)(int sig))
{
	struct sigaction act = {.sa_handler = handler};

	return !is_ignored(sig) && sigaction(sig, &act, NULL) == 0;
}
