/*
 * Hands GPU memory to a worker process by its descriptor: nothing is copied, whatever its size. Beside it the same bytes through
 * aioconn_send_bytes(), down from the GPU and up to it again. Sizes in MiB are arguments. Without CUDA it says so and exits with 77.
 *
 * The worker starts before its parent calls CUDA, whose calls fail in a child that was forked later.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <aioipc.h>

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "[%d] %s: %s\n", (int)getpid(), what, strerror(errno));
	exit(1);
}

/*
 * The part of CUDA's driver interface that is needed here, declared by hand and found in the driver at run time: this builds
 * without CUDA's headers, and starts without the driver.
 */

/* Where memory is, and what may be done with it: cuda.h has these with more members that are zero here. */
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

struct cuda {
	void *library;
	int (*cuInit)(unsigned flags);
	int (*cuGetErrorName)(int error, const char **name);
	int (*cuDeviceGet)(int *device, int n);
	int (*cuDeviceGetName)(char *name, int len, int device);
	int (*cuDevicePrimaryCtxRetain)(void **context, int device);
	int (*cuCtxSetCurrent)(void *context);
	int (*cuCtxSynchronize)(void);
	int (*cuModuleLoadData)(void **module, const void *ptx);
	int (*cuModuleGetFunction)(void **function, void *module, const char *name);
	int (*cuLaunchKernel)(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned x, unsigned y,
			      unsigned z, unsigned shared, void *stream, void **args, void **extra);
	int (*cuMemGetAllocationGranularity)(size_t *size, const struct cuda_kind *kind, int option);
	int (*cuMemCreate)(cuda_handle *handle, size_t size, const struct cuda_kind *kind,
			   unsigned long long flags);
	int (*cuMemExportToShareableHandle)(void *fd, cuda_handle handle, int type, unsigned long long flags);
	int (*cuMemImportFromShareableHandle)(cuda_handle *handle, void *fd, int type);
	int (*cuMemRelease)(cuda_handle handle);
	int (*cuMemAddressReserve)(cuda_ptr *at, size_t size, size_t align, cuda_ptr wish,
				   unsigned long long flags);
	int (*cuMemAddressFree)(cuda_ptr at, size_t size);
	int (*cuMemMap)(cuda_ptr at, size_t size, size_t offset, cuda_handle handle,
			unsigned long long flags);
	int (*cuMemUnmap)(cuda_ptr at, size_t size);
	int (*cuMemSetAccess)(cuda_ptr at, size_t size, const struct cuda_access *access, size_t n);
	int (*cuMemHostAlloc)(void **data, size_t size, unsigned flags);
	int (*cuMemFreeHost)(void *data);
	int (*cuMemsetD32)(cuda_ptr at, unsigned word, size_t words);
	int (*cuMemcpyHtoD)(cuda_ptr to, const void *from, size_t len);
	int (*cuMemcpyDtoH)(void *to, cuda_ptr from, size_t len);
};

static const struct {
	const char *name;
	size_t where;
} cuda_calls[] = {
	{"cuInit", offsetof(struct cuda, cuInit)},
	{"cuGetErrorName", offsetof(struct cuda, cuGetErrorName)},
	{"cuDeviceGet", offsetof(struct cuda, cuDeviceGet)},
	{"cuDeviceGetName", offsetof(struct cuda, cuDeviceGetName)},
	{"cuDevicePrimaryCtxRetain", offsetof(struct cuda, cuDevicePrimaryCtxRetain)},
	{"cuCtxSetCurrent", offsetof(struct cuda, cuCtxSetCurrent)},
	{"cuCtxSynchronize", offsetof(struct cuda, cuCtxSynchronize)},
	{"cuModuleLoadData", offsetof(struct cuda, cuModuleLoadData)},
	{"cuModuleGetFunction", offsetof(struct cuda, cuModuleGetFunction)},
	{"cuLaunchKernel", offsetof(struct cuda, cuLaunchKernel)},
	{"cuMemGetAllocationGranularity", offsetof(struct cuda, cuMemGetAllocationGranularity)},
	{"cuMemCreate", offsetof(struct cuda, cuMemCreate)},
	{"cuMemExportToShareableHandle", offsetof(struct cuda, cuMemExportToShareableHandle)},
	{"cuMemImportFromShareableHandle", offsetof(struct cuda, cuMemImportFromShareableHandle)},
	{"cuMemRelease", offsetof(struct cuda, cuMemRelease)},
	{"cuMemAddressReserve", offsetof(struct cuda, cuMemAddressReserve)},
	{"cuMemAddressFree", offsetof(struct cuda, cuMemAddressFree)},
	{"cuMemMap", offsetof(struct cuda, cuMemMap)},
	{"cuMemUnmap", offsetof(struct cuda, cuMemUnmap)},
	{"cuMemSetAccess", offsetof(struct cuda, cuMemSetAccess)},
	{"cuMemHostAlloc", offsetof(struct cuda, cuMemHostAlloc)},
	{"cuMemFreeHost", offsetof(struct cuda, cuMemFreeHost)},
	{"cuMemsetD32_v2", offsetof(struct cuda, cuMemsetD32)},
	{"cuMemcpyHtoD_v2", offsetof(struct cuda, cuMemcpyHtoD)},
	{"cuMemcpyDtoH_v2", offsetof(struct cuda, cuMemcpyDtoH)},
};

/* NULL, or what is missing. */
static inline const char *cuda_find(struct cuda *cuda)
{
	void *call;

	cuda->library = dlopen("libcuda.so.1", RTLD_NOW);
	if (!cuda->library)
		return dlerror();
	for (size_t i = 0; i < sizeof cuda_calls / sizeof *cuda_calls; i++) {
		call = dlsym(cuda->library, cuda_calls[i].name);
		if (!call)
			return dlerror();
		memcpy((char *)cuda + cuda_calls[i].where, &call, sizeof call);
	}
	return NULL;
}

/*
 * The demo's own function for the GPU. Where found is NULL, word i becomes i * 1640531535 + seed. Else it adds all words to
 * found[0], and to found[1] how many are not that. Thread t of n does the words t, t + n, t + 2 n...
 */
static const char cuda_words[] = ".version 6.3\n"
				 ".target sm_60\n"
				 ".address_size 64\n"
				 ".visible .entry words(.param .u64 at, .param .u64 n, .param .u32 seed,\n"
				 "                      .param .u64 found)\n"
				 "{\n"
				 "    .reg .pred %p<4>;\n"
				 "    .reg .b32 %r<9>;\n"
				 "    .reg .b64 %rd<10>;\n"
				 "    ld.param.u64 %rd1, [at];\n"
				 "    ld.param.u64 %rd2, [n];\n"
				 "    ld.param.u32 %r1, [seed];\n"
				 "    ld.param.u64 %rd7, [found];\n"
				 "    mov.u32 %r2, %ntid.x;\n"
				 "    mov.u32 %r3, %ctaid.x;\n"
				 "    mov.u32 %r4, %tid.x;\n"
				 "    mov.u32 %r5, %nctaid.x;\n"
				 "    mad.lo.s32 %r6, %r2, %r3, %r4;\n"
				 "    cvt.u64.u32 %rd3, %r6;\n"
				 "    mul.wide.u32 %rd4, %r2, %r5;\n"
				 "    mov.u64 %rd8, 0;\n"
				 "    setp.eq.u64 %p3, %rd7, 0;\n"
				 "NEXT:\n"
				 "    setp.ge.u64 %p1, %rd3, %rd2;\n"
				 "    @%p1 bra DONE;\n"
				 "    shl.b64 %rd5, %rd3, 2;\n"
				 "    add.s64 %rd6, %rd1, %rd5;\n"
				 "    cvt.u32.u64 %r7, %rd3;\n"
				 "    mad.lo.s32 %r7, %r7, 1640531535, %r1;\n"
				 "    add.s64 %rd3, %rd3, %rd4;\n"
				 "    @%p3 bra FILL;\n"
				 "    ld.global.u32 %r8, [%rd6];\n"
				 "    cvt.u64.u32 %rd9, %r8;\n"
				 "    add.s64 %rd8, %rd8, %rd9;\n"
				 "    setp.eq.s32 %p2, %r7, %r8;\n"
				 "    @%p2 bra NEXT;\n"
				 "    mov.u64 %rd9, 1;\n"
				 "    red.global.add.u64 [%rd7+8], %rd9;\n"
				 "    bra NEXT;\n"
				 "FILL:\n"
				 "    st.global.u32 [%rd6], %r7;\n"
				 "    bra NEXT;\n"
				 "DONE:\n"
				 "    @%p3 bra END;\n"
				 "    red.global.add.u64 [%rd7], %rd8;\n"
				 "END:\n"
				 "    ret;\n"
				 "}\n";

#define MIB ((size_t)1 << 20)
#define PIECE MIB /* bytes of one message */
#define NO_CUDA 77
#define BLOCKS 1024
#define THREADS 256

struct memory {
	cuda_ptr at;
	cuda_handle handle;
	size_t size;
};

static const char *role = "parent";
static struct cuda cuda;
static void *words_function; /* of cuda_words, on the GPU */
static struct memory found;  /* by it, on the GPU: the sum, and how many words are wrong */

/* What the worker answers: at which moments, and what it found. */
struct answer {
	uint64_t got, imported, mapped, read, checked;
	uint64_t sum, wrong;
};
#define ANSWER "S(UUUUUUU)"

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static double ms(uint64_t from, uint64_t to)
{
	return (double)(to - from) / 1e6;
}

static const char *error_name(int error)
{
	const char *name = NULL;

	return cuda.cuGetErrorName(error, &name) == 0 && name ? name : "an unknown error";
}

static void must(int error, const char *what)
{
	if (error == 0)
		return;
	fprintf(stderr, "[%d] %s: %s: %s\n", (int)getpid(), role, what, error_name(error));
	exit(1);
}
#define MUST(call, ...) must(cuda.call(__VA_ARGS__), #call)

/* Whether there is a GPU; says why not. */
static bool have_cuda(int *device)
{
	const char *missing = cuda_find(&cuda);
	int error = 0;

	if (!missing)
		error = cuda.cuInit(0);
	if (!missing && error == 0)
		error = cuda.cuDeviceGet(device, 0);
	if (error != 0)
		missing = error_name(error);
	if (missing)
		printf("[%d] %s: no CUDA: %s\n", (int)getpid(), role, missing);
	return !missing;
}

/* The whole of it: a part of an allocation can't be mapped. */
static void map(struct memory *m)
{
	struct cuda_access access = {{CUDA_DEVICE, 0}, CUDA_READ_WRITE};

	MUST(cuMemAddressReserve, &m->at, m->size, 0, 0, 0);
	MUST(cuMemMap, m->at, m->size, 0, m->handle, 0);
	MUST(cuMemSetAccess, m->at, m->size, &access, 1);
}

static void make(struct memory *m, size_t size)
{
	struct cuda_kind kind = {.type = CUDA_PINNED, .handle = CUDA_POSIX_FD, .place = {CUDA_DEVICE, 0}};
	size_t unit;

	MUST(cuMemGetAllocationGranularity, &unit, &kind, 0);
	m->size = (size + unit - 1) / unit * unit;
	MUST(cuMemCreate, &m->handle, m->size, &kind, 0);
	map(m);
}

static void start_cuda(int device)
{
	void *context, *module;

	MUST(cuDevicePrimaryCtxRetain, &context, device);
	MUST(cuCtxSetCurrent, context);
	MUST(cuModuleLoadData, &module, cuda_words);
	MUST(cuModuleGetFunction, &words_function, module, "words");
	make(&found, 1);
}

static void drop(struct memory *m)
{
	MUST(cuMemUnmap, m->at, m->size);
	MUST(cuMemAddressFree, m->at, m->size);
	MUST(cuMemRelease, m->handle);
}

static void run(struct memory *m, unsigned seed, cuda_ptr to)
{
	uint64_t words = m->size / 4;
	void *args[] = {&m->at, &words, &seed, &to};

	MUST(cuLaunchKernel, words_function, BLOCKS, 1, 1, THREADS, 1, 1, 0, NULL, args, NULL);
	MUST(cuCtxSynchronize);
}

static void fill(struct memory *m, unsigned seed)
{
	run(m, seed, 0);
}

/* Every word, by the GPU. */
static void check(struct memory *m, unsigned seed, struct answer *a)
{
	uint64_t result[2];

	MUST(cuMemsetD32, found.at, 0, sizeof result / 4);
	run(m, seed, found.at);
	MUST(cuMemcpyDtoH, result, found.at, sizeof result);
	a->sum = result[0];
	a->wrong = result[1];
	a->checked = now();
}

static void receive(struct aioconn *c, struct aiomsg **m)
{
	int got = aioconn_recv(c, m, AIOIPC_FOREVER);

	if (got == -1)
		die("receive");
	if (got == 0) {
		fprintf(stderr, "[%d] %s: the other one ended early\n", (int)getpid(), role);
		exit(1);
	}
}

/* The worker's descriptor becomes its memory. */
static void by_descriptor(struct aiomsg *message, struct memory *m, struct answer *a)
{
	int fd = aiomsg_take_fd(message);
	unsigned first;

	a->got = now();
	MUST(cuMemImportFromShareableHandle, &m->handle, (void *)(intptr_t)fd, CUDA_POSIX_FD);
	close(fd);
	a->imported = now();
	map(m);
	a->mapped = now();
	MUST(cuMemcpyDtoH, &first, m->at, sizeof first);
	a->read = now();
}

/* The bytes come in pieces, and go up to memory of the worker's own. */
static void by_bytes(struct aioconn *c, struct memory *m, struct answer *a)
{
	struct aiomsg *piece;
	const void *data;
	size_t len;

	a->got = now();
	make(m, m->size);
	for (size_t have = 0; have < m->size; have += len) {
		receive(c, &piece);
		data = aiomsg_bytes(piece, &len);
		errno = EMSGSIZE;
		if (len > m->size - have)
			die("a piece");
		MUST(cuMemcpyHtoD, m->at + have, data, len);
		aiomsg_free(piece);
	}
	a->imported = a->mapped = a->read = now();
}

static void serve(struct aioconn *c, struct aiomsg *request)
{
	bool has_fd = aiomsg_fds(request) == 1;
	struct memory m = {0};
	struct answer a;
	uint64_t size;
	uint32_t seed;

	if (aiomsg_unpack(request, "Uu", &size, &seed) == -1)
		die("unpack");
	m.size = (size_t)size;
	if (has_fd)
		by_descriptor(request, &m, &a);
	else
		by_bytes(c, &m, &a);
	check(&m, seed, &a);
	printf("[%d] worker: %zu MiB by %s: %s of %zu words are right\n", (int)getpid(), m.size / MIB,
	       has_fd ? "descriptor" : "bytes", a.wrong ? "not all" : "all", m.size / 4);
	drop(&m);
	if (aioconn_send(c, ANSWER, &a, sizeof a) == -1)
		die("answer");
}

/* CUDA starts when the parent, which has found a GPU, has said something. */
static int worker(void *arg)
{
	struct aioconn *c = aioend_open(arg, NULL);
	struct aiomsg *m;
	int got, device;

	role = "worker";
	if (!c || aioconn_allow_fds(c, 1) == -1)
		die("open");
	while ((got = aioconn_recv(c, &m, AIOIPC_FOREVER)) == 1) {
		if (found.size == 0) {
			if (!have_cuda(&device))
				return 1;
			start_cuda(device);
			if (aioconn_send(c, "") == -1)
				die("ready");
		} else
			serve(c, m);
		aiomsg_free(m);
	}
	if (got == -1)
		die("receive");
	return aioconn_close(c, AIOIPC_FOREVER);
}

/* Has the worker look, and compares what it has found. */
static void ask(struct aioconn *c, const struct answer *mine, struct answer *a)
{
	struct aiomsg *m;

	receive(c, &m);
	if (aiomsg_unpack(m, ANSWER, a, sizeof *a) == -1)
		die("unpack");
	aiomsg_free(m);
	if (a->wrong == 0 && a->sum == mine->sum)
		return;
	fprintf(stderr, "[%d] parent: the worker has read something else\n", (int)getpid());
	exit(1);
}

/* The milliseconds until the worker has seen each word. */
static double send_descriptor(struct aioconn *c, struct memory *m, uint32_t seed, double made)
{
	uint64_t from, sent;
	struct answer mine, a;
	int fd;

	fill(m, seed);
	check(m, seed, &mine);
	from = now();
	MUST(cuMemExportToShareableHandle, &fd, m->handle, CUDA_POSIX_FD, 0);
	sent = now();
	if (aioconn_send_fd(c, fd, "Uu", (uint64_t)m->size, seed) == -1)
		die("send");
	close(fd);
	ask(c, &mine, &a);
	printf("[%d] parent: first word after %.2f ms: make %.2f, export %.2f, hop %.2f, import %.2f, map "
	       "%.2f, read %.2f\n",
	       (int)getpid(), made + ms(from, a.read), made, ms(from, sent), ms(sent, a.got),
	       ms(a.got, a.imported), ms(a.imported, a.mapped), ms(a.mapped, a.read));
	return made + ms(from, a.checked);
}

static double send_bytes(struct aioconn *c, struct memory *m, uint32_t seed)
{
	struct answer mine, a;
	uint64_t from;
	size_t len;
	void *piece;

	fill(m, seed);
	check(m, seed, &mine);
	MUST(cuMemHostAlloc, &piece, PIECE, 0);
	from = now();
	if (aioconn_send(c, "Uu", (uint64_t)m->size, seed) == -1)
		die("send");
	for (size_t sent = 0; sent < m->size; sent += len) {
		len = m->size - sent < PIECE ? m->size - sent : PIECE;
		MUST(cuMemcpyDtoH, piece, m->at + sent, len);
		if (aioconn_send_bytes(c, piece, len) == -1)
			die("send");
	}
	ask(c, &mine, &a);
	MUST(cuMemFreeHost, piece);
	return ms(from, a.checked);
}

static void compare(struct aioconn *c, size_t size, uint32_t seed)
{
	double made, descriptor, bytes;
	uint64_t from = now();
	struct memory m;

	make(&m, size);
	made = ms(from, now());
	descriptor = send_descriptor(c, &m, seed, made);
	bytes = send_bytes(c, &m, seed + 1);
	printf("[%d] parent: %zu MiB, each word checked: by descriptor %.2f ms, by aioconn_send_bytes %.2f "
	       "ms, %.0f times that\n",
	       (int)getpid(), m.size / MIB, descriptor, bytes, bytes / descriptor);
	drop(&m);
}

static void parent(struct aioconn *c, int device, char **sizes)
{
	struct aiomsg *ready;
	char name[100];

	start_cuda(device);
	MUST(cuDeviceGetName, name, sizeof name, device);
	if (aioconn_send(c, "") == -1)
		die("send");
	receive(c, &ready);
	aiomsg_free(ready);
	printf("[%d] parent: %s, the worker is ready\n", (int)getpid(), name);
	for (uint32_t seed = 1; *sizes; sizes++, seed += 2)
		compare(c, (size_t)atoi(*sizes) * MIB, seed);
}

int main(int argc, char **argv)
{
	char *usual[] = {"256", NULL};
	struct aioproc_options o = {.size = sizeof o, .only_ends = true};
	struct aioend *mine, *workers;
	struct aioproc *proc;
	struct aioconn *c;
	int device, status;
	bool have;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (aiosockpair(&mine, &workers) == -1)
		die("aiosockpair");
	proc = aioproc_start_opts(worker, workers, &workers, 1, &o);
	if (!proc)
		die("start");
	aioend_free(workers);
	c = aioend_open(mine, NULL);
	if (!c)
		die("open");

	have = have_cuda(&device);
	if (have)
		parent(c, device, argc > 1 ? argv + 1 : usual);
	if (aioconn_close(c, AIOIPC_FOREVER) == -1)
		die("close");
	if (aioproc_join(proc, &status, AIOIPC_FOREVER) == -1)
		die("join");
	aioproc_free(proc);
	return !have ? NO_CUDA : status != 0;
}
