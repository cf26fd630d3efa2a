/* The part of the stand-in that tells which device is which, and where its node is. */
#include "scenario.h"

#include <string.h>

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *d) {
	nvmlReturn_t met = scenario_meet(__func__, -1);
	if (met != NVML_SUCCESS)
		return met;
	for (int i = 0; i < the_machine.cards; i++)
		if (!strcmp(the_machine.card[i].uuid, uuid) && scenario_shown(i)) {
			d->handle = (struct nvmlDevice_st *)&the_machine.card[i];
			return NVML_SUCCESS;
		}
	return NVML_ERROR_NOT_FOUND;
}
nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t d, unsigned *n) {
	MEET(d);
	if (of(d)->parent >= 0) {
		*n = (unsigned)scenario_place(index_of(d));
		return NVML_SUCCESS;
	}
	*n = 0;
	for (int i = 0; i < index_of(d); i++)
		*n += the_machine.card[i].parent < 0 && scenario_shown(i);
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t d, unsigned *n) {
	MEET(d);
	if (of(d)->parent >= 0)
		return NVML_ERROR_NOT_SUPPORTED;
	*n = (unsigned)scenario_minor(index_of(d));
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t d, unsigned *is) {
	MEET(d);
	*is = of(d)->parent >= 0;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t d, nvmlDevice_t *card) {
	MEET(d);
	if (of(d)->parent < 0)
		return NVML_ERROR_INVALID_ARGUMENT;
	card->handle = (struct nvmlDevice_st *)&the_machine.card[of(d)->parent];
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t d, unsigned *n) {
	MEET(d);
	if (of(d)->parent < 0)
		return NVML_ERROR_NOT_SUPPORTED;
	*n = of(d)->gi.known ? (unsigned)of(d)->gi.value : (unsigned)scenario_place(index_of(d)) + 1;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t d, unsigned *n) {
	MEET(d);
	if (of(d)->parent < 0)
		return NVML_ERROR_NOT_SUPPORTED;
	*n = of(d)->ci.known ? (unsigned)of(d)->ci.value : 0;
	return NVML_SUCCESS;
}
