/* Memory that two processes share: see memory.h. */
#include "ipc/os/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ipc/os/os.h"

/* Younger than the headers of the systems we build on: since 6.3, and told by EINVAL. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif

#define SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)
#define ALL_SEALS (SIZE_SEALS | F_SEAL_WRITE | F_SEAL_SEAL)
#define BLOCK 512 /* of st_blocks */

static int create(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create("aioipc", flags | MFD_NOEXEC_SEAL);

	if (fd == -1 && errno == EINVAL)
		fd = memfd_create("aioipc", flags);
	return ipc_os_lift(fd);
}

/* A file that grows over this limit brings a signal that ends the process. */
static bool is_allowed(size_t len)
{
	struct rlimit most;

	if (getrlimit(RLIMIT_FSIZE, &most) == 0 && most.rlim_cur < len) {
		errno = EFBIG;
		return false;
	}
	return true;
}

static int allocate(int fd, size_t len)
{
	while (fallocate(fd, 0, 0, (off_t)len) == -1)
		if (errno != EINTR)
			return -1;
	return 0;
}

static int memory(size_t len, int seals)
{
	int fd, error;

	if (!is_allowed(len))
		return -1;
	fd = create();
	if (fd == -1)
		return -1;
	if (allocate(fd, len) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

int ipc_os_memory(size_t len)
{
	return memory(len, SIZE_SEALS | F_SEAL_SEAL);
}

int ipc_os_memory_for_bytes(size_t len)
{
	return memory(len, SIZE_SEALS);
}

bool ipc_os_memory_is_safe(int fd, size_t *len)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct statfs fs;
	struct stat st;

	if (seals == -1 || (seals & SIZE_SEALS) != SIZE_SEALS)
		return false;
	if (fstatfs(fd, &fs) == -1 || fs.f_type != TMPFS_MAGIC || fstat(fd, &st) == -1 || st.st_size <= 0)
		return false;
	*len = (size_t)st.st_size;
	return true;
}

void *ipc_os_memory_map(int fd, size_t len)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int error;

	if (at == MAP_FAILED)
		return NULL;
	if (madvise(at, len, MADV_DONTFORK) == 0)
		return at;
	error = errno;
	munmap(at, len);
	errno = error;
	return NULL;
}

void ipc_os_memory_unmap(void *at, size_t len)
{
	munmap(at, len);
}

void *ipc_os_memory_map_open(int fd, size_t len)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

/* Private, because kernels before 6.7 take any other mapping for one that writes. */
void *ipc_os_memory_map_frozen(void *at, int fd, size_t len)
{
	at = mmap(at, len, PROT_READ, MAP_PRIVATE | (at ? MAP_FIXED : 0), fd, 0);
	return at == MAP_FAILED ? NULL : at;
}

int ipc_os_memory_freeze(int fd)
{
	return fcntl(fd, F_ADD_SEALS, ALL_SEALS);
}

/* A page that is not there is made at the first read, and there may be no memory for it. */
bool ipc_os_memory_is_frozen(int fd, size_t len)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals == -1 || (seals & ALL_SEALS) != ALL_SEALS || fstat(fd, &st) == -1)
		return false;
	return st.st_size >= 0 && (size_t)st.st_size == len && st.st_blocks >= 0 &&
	       (uint64_t)st.st_blocks >= (len + BLOCK - 1) / BLOCK;
}

/* A program that was killed, and had our pid, left it. */
static bool is_left_over(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid();
}

static int create_file(const char *path)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	int fd = open(path, flags, S_IRUSR | S_IWUSR);

	if (fd == -1 && errno == EEXIST && is_left_over(path) && unlink(path) == 0)
		fd = open(path, flags, S_IRUSR | S_IWUSR);
	return fd;
}

static int reserve(int fd, size_t len)
{
	int error = posix_fallocate(fd, 0, (off_t)len);

	if (!error)
		return 0;
	errno = error;
	return -1;
}

static void *map_file(int fd, size_t len, size_t most)
{
	void *at = MAP_FAILED;

	if (reserve(fd, len) == 0)
		at = mmap(NULL, most, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return at == MAP_FAILED ? NULL : at;
}

void *ipc_os_memory_file(const char *path, size_t len, size_t most)
{
	void *at;
	int fd, error;

	if (!is_allowed(len) || (fd = create_file(path)) == -1)
		return NULL;
	at = map_file(fd, len, most);
	error = errno;
	close(fd);
	if (!at)
		unlink(path);
	errno = error;
	return at;
}

/* Is it the file that is mapped there? Its first bytes tell processes apart. */
static bool is_mapped(int fd, const void *at)
{
	char first[32]; /* what follows changes */

	return pread(fd, first, sizeof first, 0) == sizeof first && memcmp(first, at, sizeof first) == 0;
}

int ipc_os_memory_file_grow(const char *path, const void *at, size_t len)
{
	int fd, r, error;

	if (!is_allowed(len) || (fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)) == -1)
		return -1;
	errno = ESTALE;
	r = is_mapped(fd, at) ? reserve(fd, len) : -1;
	error = errno;
	close(fd);
	errno = error;
	return r;
}
