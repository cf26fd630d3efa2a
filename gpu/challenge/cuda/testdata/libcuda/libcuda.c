// A stand-in for NVIDIA's libcuda.so.1, over OpenCL: the functions of the driver API
// that package cuda calls, with their types and results. A module's PTX is looked at
// and not run; the kernels come from the OpenCL source that it was made from, which
// SOUK_KERNEL_SOURCE names.
//
// CUDA_VISIBLE_DEVICES gives it its UUID. SOUK_CUDA_MEMORY names a file that is all of
// the device's memory: what one process leaves there another finds, as on a card whose
// driver does not scrub.
//
// SOUK_CUDA_SCENARIO makes it fail as drivers do: none, two, old, full, fault, flip.
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

typedef int CUresult;
typedef int CUdevice;
typedef uint64_t CUdeviceptr;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_IMAGE = 200,
	UNSUPPORTED_PTX_VERSION = 222, INVALID_CONTEXT = 201, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700 };

// The parameters of each kernel: p is memory, u a 32-bit number.
static struct kernel {
	const char *name, *params;
	cl_kernel kernel;
} kernels[] = {{"fill", "puuuuuuu", 0}, {"multiply", "pppuu", 0}, {"multiply_half", "pppuu", 0}, {"hash", "pppuu", 0}, {"pair", "puu", 0}};
#define KERNELS (sizeof kernels / sizeof kernels[0])

static struct memory {
	CUdeviceptr base;
	size_t bytes;
	cl_mem mem;
} memories[4096];
static size_t memoryCount;
static CUdeviceptr nextBase = 0x700000000000;

static char *card; // all of its memory; 0: as much as the machine has
static size_t cardBytes, cardUsed;

static int started;
static cl_device_id device;
static cl_context context;
static cl_command_queue queue;
static __thread int current; // a context belongs to a thread
static CUresult sticky;      // what a kernel did wrong: all later calls return it

static int scenario(const char *name) {
	const char *s = getenv("SOUK_CUDA_SCENARIO");
	return s && strcmp(s, name) == 0;
}

static struct memory *find(CUdeviceptr at, size_t bytes) {
	for (size_t i = 0; i < memoryCount; i++)
		if (at >= memories[i].base && at + bytes <= memories[i].base + memories[i].bytes)
			return &memories[i];
	return 0;
}

static CUresult ready(void) {
	if (!started)
		return NOT_INITIALIZED;
	if (!current)
		return INVALID_CONTEXT;
	return sticky;
}

CUresult cuInit(unsigned flags) {
	cl_platform_id platform;
	if (flags || scenario("none") || clGetPlatformIDs(1, &platform, 0) || clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, 0))
		return NO_DEVICE;
	const char *path = getenv("SOUK_CUDA_MEMORY");
	struct stat st;
	int fd = path && *path ? open(path, O_RDWR) : -1;
	if (fd >= 0 && fstat(fd, &st) == 0 && (card = mmap(0, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED)
		return OUT_OF_MEMORY;
	cardBytes = card ? (size_t)st.st_size : 0;
	started = 1;
	return OK;
}

CUresult cuDeviceGetCount(int *count) {
	*count = scenario("two") ? 2 : 1;
	return started ? OK : NOT_INITIALIZED;
}

CUresult cuDeviceGet(CUdevice *d, int ordinal) {
	*d = ordinal;
	return ordinal == 0 ? OK : INVALID_VALUE;
}

CUresult cuDeviceGetName(char *name, int len, CUdevice d) {
	(void)d;
	snprintf(name, len, "Stand-in over OpenCL");
	return OK;
}

CUresult cuDeviceGetUuid_v2(unsigned char *uuid, CUdevice d) {
	(void)d;
	const char *s = getenv("CUDA_VISIBLE_DEVICES");
	unsigned byte;
	int n = 0;
	for (s = s && strncmp(s, "GPU-", 4) == 0 && strlen(s) == 40 ? s + 4 : 0; s && *s && n < 16; s += *s == '-' ? 1 : 2)
		if (*s != '-' && sscanf(s, "%2x", &byte) == 1)
			uuid[n++] = byte;
	for (int i = n < 16 ? 0 : 16; i < 16; i++)
		uuid[i] = i;
	return OK;
}

CUresult cuCtxCreate_v2(void **ctx, unsigned flags, CUdevice d) {
	(void)flags, (void)d;
	cl_int e;
	context = clCreateContext(0, 1, &device, 0, 0, &e);
	if (!e)
		queue = clCreateCommandQueue(context, device, 0, &e);
	*ctx = context;
	current = 1;
	return e ? INVALID_VALUE : OK;
}

CUresult cuCtxSetCurrent(void *ctx) {
	current = ctx == context;
	return current ? OK : INVALID_CONTEXT;
}

CUresult cuCtxDestroy_v2(void *ctx) {
	if (ctx != context)
		return INVALID_CONTEXT;
	for (size_t i = 0; i < memoryCount; i++)
		clReleaseMemObject(memories[i].mem);
	memoryCount = 0;
	sticky = OK;
	clReleaseCommandQueue(queue);
	clReleaseContext(context);
	return OK;
}

CUresult cuCtxSynchronize(void) {
	CUresult r = ready();
	if (r)
		return r;
	return clFinish(queue) ? ILLEGAL_ADDRESS : OK;
}

CUresult cuModuleLoadDataEx(void **module, const char *image, unsigned options, const int *names, void **values) {
	CUresult r = ready();
	if (r)
		return r;
	if (strncmp(image, "// challenge.cl ", 16) || !strstr(image, ".target sm_"))
		return INVALID_IMAGE;
	if (scenario("old")) {
		for (unsigned i = 0; i < options; i++)
			if (names[i] == 5) // CU_JIT_ERROR_LOG_BUFFER
				strcpy(values[i], "ptxas: unsupported .version");
		return UNSUPPORTED_PTX_VERSION;
	}
	FILE *f = fopen(getenv("SOUK_KERNEL_SOURCE") ? getenv("SOUK_KERNEL_SOURCE") : "", "r");
	static char source[1 << 16];
	if (!f)
		return INVALID_IMAGE;
	source[fread(source, 1, sizeof source - 1, f)] = 0;
	fclose(f);
	const char *text = source;
	cl_int e;
	cl_program program = clCreateProgramWithSource(context, 1, &text, 0, &e);
	if (e || clBuildProgram(program, 1, &device, "-cl-std=CL1.2", 0, 0))
		return INVALID_IMAGE;
	for (size_t i = 0; i < KERNELS; i++) {
		char entry[64];
		snprintf(entry, sizeof entry, ".visible .entry %s(", kernels[i].name);
		if (!strstr(image, entry))
			return INVALID_IMAGE;
		kernels[i].kernel = clCreateKernel(program, kernels[i].name, &e);
		if (e)
			return INVALID_IMAGE;
	}
	*module = program;
	return OK;
}

CUresult cuModuleGetFunction(void **function, void *module, const char *name) {
	(void)module;
	for (size_t i = 0; i < KERNELS; i++)
		if (strcmp(kernels[i].name, name) == 0) {
			*function = &kernels[i];
			return OK;
		}
	return NOT_FOUND;
}

CUresult cuMemAlloc_v2(CUdeviceptr *to, size_t bytes) {
	CUresult r = ready();
	if (r)
		return r;
	if (!bytes || memoryCount == sizeof memories / sizeof memories[0] || (scenario("full") && memoryCount > 4))
		return bytes ? OUT_OF_MEMORY : INVALID_VALUE;
	cl_int e;
	size_t from = (cardUsed + 0xfff) & ~0xffful;
	if (card && (from > cardBytes || bytes > cardBytes - from))
		return OUT_OF_MEMORY;
	cl_mem mem = clCreateBuffer(context, card ? CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR : CL_MEM_READ_WRITE, bytes, card ? card + from : 0, &e);
	cardUsed = from + bytes;
	if (e)
		return OUT_OF_MEMORY;
	memories[memoryCount++] = (struct memory){nextBase, bytes, mem};
	*to = nextBase;
	nextBase += (bytes + 0xffff) & ~0xfffful;
	return OK;
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
	CUresult r = ready();
	struct memory *m = find(to, bytes);
	if (r || !m)
		return r ? r : INVALID_VALUE;
	return clEnqueueWriteBuffer(queue, m->mem, 1, to - m->base, bytes, from, 0, 0, 0) ? INVALID_VALUE : OK;
}

CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
	CUresult r = ready();
	struct memory *m = find(from, bytes);
	if (r || !m)
		return r ? r : INVALID_VALUE;
	return clEnqueueReadBuffer(queue, m->mem, 1, from - m->base, bytes, to, 0, 0, 0) ? INVALID_VALUE : OK;
}

// flip changes one bit of a product, as failing memory does.
static void flip(struct memory *m) {
	unsigned char b;
	clEnqueueReadBuffer(queue, m->mem, 1, 1000, 1, &b, 0, 0, 0);
	b ^= 1;
	clEnqueueWriteBuffer(queue, m->mem, 1, 1000, 1, &b, 0, 0, 0);
}

CUresult cuLaunchKernel(struct kernel *k, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
	void *stream, void **params, void **extra) {
	(void)shared, (void)stream;
	CUresult r = ready();
	if (r)
		return r;
	if (gy * gz * by * bz != 1 || bx > 1024 || extra)
		return INVALID_VALUE;
	struct memory *product = 0;
	for (cl_uint i = 0; k->params[i]; i++) {
		if (k->params[i] == 'u') {
			clSetKernelArg(k->kernel, i, 4, params[i]);
			continue;
		}
		struct memory *m = find(*(CUdeviceptr *)params[i], 1);
		if (!m) {
			sticky = ILLEGAL_ADDRESS;
			return OK; // told at the next call that waits
		}
		clSetKernelArg(k->kernel, i, sizeof m->mem, &m->mem);
		product = i == 2 ? m : product;
	}
	if (scenario("fault") && strcmp(k->name, "multiply") == 0) {
		sticky = ILLEGAL_ADDRESS;
		return OK;
	}
	size_t global = (size_t)gx * bx, local = bx;
	if (clEnqueueNDRangeKernel(queue, k->kernel, 1, 0, &global, &local, 0, 0, 0))
		return INVALID_VALUE;
	if (scenario("flip") && strcmp(k->name, "multiply") == 0)
		flip(product);
	return OK;
}

CUresult cuGetErrorName(CUresult r, const char **name) {
	switch (r) {
	case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; return OK;
	case NO_DEVICE: *name = "CUDA_ERROR_NO_DEVICE"; return OK;
	case UNSUPPORTED_PTX_VERSION: *name = "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"; return OK;
	case ILLEGAL_ADDRESS: *name = "CUDA_ERROR_ILLEGAL_ADDRESS"; return OK;
	}
	*name = 0;
	return INVALID_VALUE;
}
