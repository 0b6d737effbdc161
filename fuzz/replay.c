/*
 * Gives a fuzz target its kept corpus, or the files it is called with: what libFuzzer's main() would do, with any
 * compiler. "fuzz/replay_NAME [file...]"; the corpus is $srcdir/fuzz/corpus/NAME.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void die(const char *what)
{
	perror(what);
	printf("Bail out!\n");
	exit(1);
}

static void replay(const char *path)
{
	static uint8_t data[1 << 20];
	FILE *file = fopen(path, "rb");
	size_t size;
	uint8_t *exact;

	if (!file)
		die(path);
	size = fread(data, 1, sizeof data, file);
	fclose(file);
	exact = malloc(size + (size == 0)); /* so that ASan sees a byte too many */
	if (!exact)
		die("malloc");
	memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
}

static unsigned replay_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char path[8192];
	unsigned n = 0;

	if (!dir)
		die(folder);
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
		replay(path);
		n++;
	}
	closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	const char *name = strstr(argv[0], "replay_"), *srcdir = getenv("srcdir");
	char folder[4096];
	unsigned n = 0;

	for (int i = 1; i < argc; i++, n++)
		replay(argv[i]);
	if (argc == 1 && name) {
		snprintf(folder, sizeof folder, "%s/fuzz/corpus/%s", srcdir ? srcdir : ".",
			 name + strlen("replay_"));
		n = replay_folder(folder);
	}
	printf("1..1\n%s 1 - %u inputs of the kept corpus\n", n > 0 ? "ok" : "not ok", n);
	return n == 0;
}
