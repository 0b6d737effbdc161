/*
 * Stands in for libcuda.so.1, so that the demo that passes GPU memory is tested where there is no GPU: memory is in memfds, and the
 * demo's function for the GPU is done here. As of the real one, no call works in a process that was forked after cuInit(), and an
 * allocation is mapped whole or not at all. Built by test_demos.sh.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* As demos/gpu.c has them. */
struct cuda_place {
	int type, id; /* CU_MEM_LOCATION_TYPE_DEVICE is 1 */
};

struct cuda_kind {
	int type;   /* CU_MEM_ALLOCATION_TYPE_PINNED is 1 */
	int handle; /* CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR is 1 */
	struct cuda_place place;
	void *unused;
	unsigned char flags[8];
};

struct cuda_access {
	struct cuda_place place;
	int flags; /* CU_MEM_ACCESS_FLAGS_PROT_READWRITE is 3 */
};

#define CUDA_DEVICE 1
#define CUDA_PINNED 1
#define CUDA_POSIX_FD 1
#define CUDA_READ_WRITE 3

typedef unsigned long long cuda_ptr;    /* CUdeviceptr: an address that only the GPU knows */
typedef unsigned long long cuda_handle; /* CUmemGenericAllocationHandle */

#define UNIT ((size_t)1 << 21)
#define INVALID 1
#define NOT_INITIALISED 3

static pid_t owner;

static int ready(void)
{
	return owner == getpid() ? 0 : NOT_INITIALISED;
}

static int done(int right)
{
	int error = ready();

	return error ? error : right ? 0 : INVALID;
}

static void *pointer(cuda_ptr at)
{
	return (void *)(uintptr_t)at;
}

int cuInit(unsigned flags)
{
	if (owner == 0)
		owner = getpid();
	return done(flags == 0);
}

int cuGetErrorName(int error, const char **name)
{
	*name = error == NOT_INITIALISED ? "CUDA_ERROR_NOT_INITIALIZED" : "CUDA_ERROR_INVALID_VALUE";
	return 0;
}

int cuDeviceGet(int *device, int n)
{
	*device = n;
	return done(n == 0);
}

int cuDeviceGetName(char *name, int len, int device)
{
	strncpy(name, "no GPU", (size_t)len);
	return done(device == 0);
}

int cuDevicePrimaryCtxRetain(void **context, int device)
{
	*context = &owner;
	return done(device == 0);
}

int cuCtxSetCurrent(void *context)
{
	return done(context == &owner);
}

int cuCtxSynchronize(void)
{
	return ready();
}

int cuModuleLoadData(void **module, const void *ptx)
{
	*module = &owner;
	return done(memcmp(ptx, ".version", 8) == 0);
}

int cuModuleGetFunction(void **function, void *module, const char *name)
{
	*function = &owner;
	return done(module == &owner && strcmp(name, "words") == 0);
}

/* What cuda_words says. */
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned x, unsigned y, unsigned z,
		   unsigned shared, void *stream, void **args, void **extra)
{
	uint32_t *word = pointer(*(cuda_ptr *)args[0]), seed = *(uint32_t *)args[2], right;
	uint64_t n = *(uint64_t *)args[1], *found = pointer(*(cuda_ptr *)args[3]);

	for (uint64_t i = 0; i < n; i++) {
		right = (uint32_t)i * 1640531535u + seed;
		if (!found)
			word[i] = right;
		else
			found[0] += word[i], found[1] += word[i] != right;
	}
	return done(function == &owner && gx * gy * gz > 0 && x * y * z > 0 && !shared && !stream && !extra);
}

int cuMemGetAllocationGranularity(size_t *size, const struct cuda_kind *kind, int option)
{
	*size = UNIT;
	return done(kind->type == CUDA_PINNED && option == 0);
}

int cuMemCreate(cuda_handle *handle, size_t size, const struct cuda_kind *kind, unsigned long long flags)
{
	int fd = memfd_create("gpu", MFD_CLOEXEC);

	*handle = (cuda_handle)fd;
	return done(fd != -1 && size % UNIT == 0 && kind->handle == CUDA_POSIX_FD && flags == 0 &&
		    ftruncate(fd, (off_t)size) == 0);
}

int cuMemExportToShareableHandle(void *fd, cuda_handle handle, int type, unsigned long long flags)
{
	*(int *)fd = dup((int)handle);
	return done(*(int *)fd != -1 && type == CUDA_POSIX_FD && flags == 0);
}

int cuMemImportFromShareableHandle(cuda_handle *handle, void *fd, int type)
{
	int copy = dup((int)(intptr_t)fd);

	*handle = (cuda_handle)copy;
	return done(copy != -1 && type == CUDA_POSIX_FD);
}

int cuMemRelease(cuda_handle handle)
{
	return done(close((int)handle) == 0);
}

int cuMemAddressReserve(cuda_ptr *at, size_t size, size_t align, cuda_ptr wish, unsigned long long flags)
{
	void *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*at = (cuda_ptr)(uintptr_t)p;
	return done(p != MAP_FAILED && align == 0 && wish == 0 && flags == 0);
}

int cuMemAddressFree(cuda_ptr at, size_t size)
{
	return done(munmap(pointer(at), size) == 0);
}

int cuMemMap(cuda_ptr at, size_t size, size_t offset, cuda_handle handle, unsigned long long flags)
{
	struct stat st;

	if (fstat((int)handle, &st) == -1 || (size_t)st.st_size != size || offset || flags)
		return INVALID;
	return done(mmap(pointer(at), size, PROT_NONE, MAP_SHARED | MAP_FIXED, (int)handle, 0) != MAP_FAILED);
}

int cuMemUnmap(cuda_ptr at, size_t size)
{
	return done(mmap(pointer(at), size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
		    MAP_FAILED);
}

int cuMemSetAccess(cuda_ptr at, size_t size, const struct cuda_access *access, size_t n)
{
	return done(n == 1 && access->flags == CUDA_READ_WRITE &&
		    mprotect(pointer(at), size, PROT_READ | PROT_WRITE) == 0);
}

int cuMemHostAlloc(void **data, size_t size, unsigned flags)
{
	*data = malloc(size);
	return done(*data && flags == 0);
}

int cuMemFreeHost(void *data)
{
	free(data);
	return ready();
}

int cuMemsetD32_v2(cuda_ptr at, unsigned word, size_t words)
{
	for (size_t i = 0; i < words; i++)
		((unsigned *)pointer(at))[i] = word;
	return ready();
}

int cuMemcpyHtoD_v2(cuda_ptr to, const void *from, size_t len)
{
	memcpy(pointer(to), from, len);
	return ready();
}

int cuMemcpyDtoH_v2(void *to, cuda_ptr from, size_t len)
{
	memcpy(to, pointer(from), len);
	return ready();
}
