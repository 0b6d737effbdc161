/*
 * The part of CUDA's driver interface that gpu.c needs, declared by hand and found in the driver at run time: the demo builds
 * without CUDA's headers, and starts without the driver.
 */
#ifndef DEMO_CUDA_H
#define DEMO_CUDA_H

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

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

#endif
