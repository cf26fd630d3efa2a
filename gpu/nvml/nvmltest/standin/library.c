/* A stand-in for libnvidia-ml.so.1: the functions that souk calls, with the types
 * of NVIDIA's own header, over the machine of a scenario. */
#include "scenario.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int told[MAX_CARDS]; /* the Xid that the event set had last */

/* TELL answers with a number, if the card has it. */
#define TELL(to, n)                               \
	do {                                      \
		if (!(n).known)                   \
			return NVML_ERROR_NOT_SUPPORTED; \
		*(to) = (n).value;                \
		return NVML_SUCCESS;              \
	} while (0)

static nvmlReturn_t say(char *to, unsigned size, const char *what, int unterminated) {
	if (!*what)
		return NVML_ERROR_NOT_SUPPORTED;
	if (unterminated) {
		memset(to, 'A', size);
		return NVML_SUCCESS;
	}
	snprintf(to, size, "%s", what);
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlInit_v2(void) {
	scenario_read();
	memset(told, 0, sizeof told);
	nvmlReturn_t met = scenario_meet(__func__, -1);
	if (met != NVML_SUCCESS)
		return met;
	return the_machine.init.known ? (nvmlReturn_t)the_machine.init.value : NVML_SUCCESS;
}
nvmlReturn_t nvmlShutdown(void) { return scenario_meet(__func__, -1); }
const char *nvmlErrorString(nvmlReturn_t r) {
	static char text[32];
	snprintf(text, sizeof text, "stand-in error %d", (int)r);
	return text;
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *s, unsigned n) { return say(s, n, the_machine.driver, 0); }
nvmlReturn_t nvmlSystemGetNVMLVersion(char *s, unsigned n) { return say(s, n, the_machine.library, 0); }
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *v) { TELL(v, the_machine.cuda); }
nvmlReturn_t nvmlSystemGetConfComputeState(nvmlConfComputeSystemState_t *s) {
	if (!the_machine.cc_feature.known)
		return NVML_ERROR_NOT_SUPPORTED;
	s->environment = the_machine.cc_environment.value;
	s->ccFeature = the_machine.cc_feature.value;
	s->devToolsMode = the_machine.cc_devtools.value;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlSystemGetConfComputeGpusReadyState(unsigned *ready) { TELL(ready, the_machine.cc_ready); }

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *n) {
	scenario_read();
	nvmlReturn_t met = scenario_meet(__func__, -1);
	if (met != NVML_SUCCESS)
		return met;
	*n = 0;
	for (int i = 0; i < the_machine.cards; i++)
		*n += the_machine.card[i].parent < 0 && scenario_shown(i);
	if (the_machine.count.known)
		*n = (unsigned)the_machine.count.value;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned at, nvmlDevice_t *d) {
	for (int i = 0; i < the_machine.cards; i++) {
		if (the_machine.card[i].parent >= 0 || !scenario_shown(i) || at-- > 0)
			continue;
		d->handle = (struct nvmlDevice_st *)&the_machine.card[i];
		return scenario_meet(__func__, i);
	}
	return NVML_ERROR_INVALID_ARGUMENT;
}
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *s, unsigned n) {
	MEET(d);
	return say(s, n, of(d)->name, of(d)->unterminated);
}
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *s, unsigned n) {
	MEET(d);
	return say(s, n, of(d)->uuid, of(d)->unterminated);
}
nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, nvmlPciInfo_t *p) {
	MEET(d);
	memset(p, 0, sizeof *p);
	return say(p->busId, sizeof p->busId, of(d)->bus, 0);
}
nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t d, int *major, int *minor) {
	MEET(d);
	if (!of(d)->major.known)
		return NVML_ERROR_NOT_SUPPORTED;
	*major = (int)of(d)->major.value;
	*minor = (int)of(d)->minor.value;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t d, nvmlMemory_t *m) {
	MEET(d);
	card *c = of(d);
	if (!c->memory_total.known)
		return NVML_ERROR_NOT_SUPPORTED;
	m->total = c->memory_total.value;
	m->used = c->memory_used.value + c->memory_reserved.value; /* the first version does not part them */
	m->free = m->total - m->used;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, nvmlMemory_v2_t *m) {
	MEET(d);
	card *c = of(d);
	if (m->version != nvmlMemory_v2)
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (!c->memory_total.known)
		return NVML_ERROR_NOT_SUPPORTED;
	m->total = c->memory_total.value;
	m->used = c->memory_used.value;
	m->reserved = c->memory_reserved.value;
	m->free = m->total - m->used - m->reserved;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned *current, unsigned *pending) {
	MEET(d);
	if (!of(d)->mig_mode.known)
		return NVML_ERROR_NOT_SUPPORTED;
	*current = of(d)->mig_mode.value;
	*pending = of(d)->mig_pending.known ? of(d)->mig_pending.value : of(d)->mig_mode.value;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t d, unsigned *n) {
	MEET(d);
	*n = of(d)->mig_mode.known ? 7 : 0;
	return NVML_SUCCESS;
}
/* Slices are told with a gap before each, as a machine has on which some were removed. */
nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t d, unsigned at, nvmlDevice_t *slice) {
	MEET(d);
	unsigned n = 0, all = 0;
	for (int i = 0; i < the_machine.cards; i++)
		all += the_machine.card[i].parent == index_of(d) && scenario_shown(i);
	for (int i = 0; i < the_machine.cards; i++) {
		if (the_machine.card[i].parent != index_of(d) || !scenario_shown(i))
			continue;
		n++;
		if (at == (2 * all <= 7 ? 2 * n - 1 : n - 1)) {
			slice->handle = (struct nvmlDevice_st *)&the_machine.card[i];
			return NVML_SUCCESS;
		}
	}
	return NVML_ERROR_NOT_FOUND;
}

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t d, unsigned link, nvmlEnableState_t *up) {
	MEET(d);
	if (link >= (unsigned)of(d)->links)
		return of(d)->links ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_NOT_SUPPORTED;
	*up = of(d)->link[link][0] ? NVML_FEATURE_ENABLED : NVML_FEATURE_DISABLED;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t d, unsigned link, nvmlPciInfo_t *p) {
	MEET(d);
	if (link >= (unsigned)of(d)->links)
		return NVML_ERROR_INVALID_ARGUMENT;
	memset(p, 0, sizeof *p);
	return say(p->busId, sizeof p->busId, of(d)->link[link], 0);
}

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
	set->handle = (struct nvmlEventSet_st *)told;
	return scenario_meet(__func__, -1);
}
nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
	(void)set;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t d, unsigned long long *types) {
	MEET(d);
	*types = nvmlEventTypeXidCriticalError;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t d, unsigned long long types, nvmlEventSet_t set) {
	(void)set;
	MEET(d);
	return types == nvmlEventTypeXidCriticalError ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
}
nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *e, unsigned ms) {
	(void)set, (void)ms;
	nvmlReturn_t met = scenario_meet(__func__, -1);
	if (met != NVML_SUCCESS)
		return met;
	for (int i = 0; i < the_machine.cards; i++) {
		number xid = the_machine.card[i].xid;
		if (!xid.known || told[i] == xid.value)
			continue;
		told[i] = (int)xid.value;
		memset(e, 0, sizeof *e);
		e->device.handle = (struct nvmlDevice_st *)&the_machine.card[i];
		e->eventType = nvmlEventTypeXidCriticalError;
		e->eventData = xid.value;
		e->gpuInstanceId = e->computeInstanceId = 0xFFFFFFFF;
		return NVML_SUCCESS;
	}
	return NVML_ERROR_TIMEOUT;
}

double scenario_seconds(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}
