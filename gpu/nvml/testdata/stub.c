/* A stand-in for the driver's library: one GPU, or with MIG one GPU cut in two.
 * LACKS_NAME and LACKS_INIT leave functions out, as drivers of another age do. */
#include <string.h>

typedef int ret;
typedef void *dev;
typedef struct { unsigned long long total, free, used; } memory;

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, LOST = 15 };

static int whole, slice[2];

#ifndef LACKS_INIT
ret nvmlInit_v2(void) {
#ifdef HANGS
	for (;;)
		;
#endif
	return SUCCESS;
}
#endif
ret nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(ret r) { return r == LOST ? "GPU is lost" : "stub error"; }
ret nvmlDeviceGetCount_v2(unsigned *n) { *n = 1; return SUCCESS; }
ret nvmlDeviceGetHandleByIndex_v2(unsigned i, dev *d) {
#ifdef IS_LOST
	return LOST;
#endif
	if (i)
		return NOT_FOUND;
	*d = &whole;
	return SUCCESS;
}

#ifndef LACKS_NAME
ret nvmlDeviceGetName(dev d, char *s, unsigned n) {
	strncpy(s, d == &whole ? "NVIDIA H100 80GB HBM3" : "NVIDIA H100 80GB HBM3 MIG 3g.40gb", n);
	return SUCCESS;
}
#endif
ret nvmlDeviceGetUUID(dev d, char *s, unsigned n) {
	strncpy(s, d == &whole ? "GPU-11111111-2222-3333-4444-555555555555"
	    : d == &slice[0] ? "MIG-00000000-2222-3333-4444-555555555555"
			     : "MIG-11111111-2222-3333-4444-555555555555", n);
	return SUCCESS;
}
ret nvmlDeviceGetMemoryInfo(dev d, memory *m) {
	m->total = (d == &whole ? 80ull : 40ull) << 30;
	m->free = m->total;
	m->used = 0;
	return SUCCESS;
}
ret nvmlDeviceGetCudaComputeCapability(dev d, int *major, int *minor) {
	*major = 9;
	*minor = 0;
	return d == &whole ? SUCCESS : NOT_SUPPORTED;
}
ret nvmlDeviceGetRemappedRows(dev d, unsigned *fixed, unsigned *lost, unsigned *pending, unsigned *failed) {
	*fixed = *lost = *pending = *failed = 0;
#ifdef PENDING
	*pending = 1;
#endif
	return SUCCESS;
}
ret nvmlDeviceGetMigMode(dev d, unsigned *now, unsigned *later) {
	*now = *later = 0;
#ifdef MIG
	*now = 1;
#endif
	return SUCCESS;
}
ret nvmlDeviceGetMaxMigDeviceCount(dev d, unsigned *n) { *n = 7; return SUCCESS; }
ret nvmlDeviceGetMigDeviceHandleByIndex(dev d, unsigned i, dev *to) {
	if (i != 0 && i != 4)
		return NOT_FOUND;
	*to = &slice[i / 4];
	return SUCCESS;
}
