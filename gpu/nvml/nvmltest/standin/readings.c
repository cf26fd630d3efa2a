/* The part of the stand-in that measures: power, clocks, heat, errors, processes. */
#include "scenario.h"

#include <string.h>

/* READING defines a function that answers with one number of a card. */
#define READING(function, type, field)                                  \
	nvmlReturn_t function(nvmlDevice_t d, type *to) {                \
		MEET(d);                                                \
		if (!of(d)->field.known)                                \
			return NVML_ERROR_NOT_SUPPORTED;                \
		*to = (type)of(d)->field.value;                         \
		return NVML_SUCCESS;                                    \
	}

/* choose answers with the one of n numbers that a selector picks. */
static nvmlReturn_t choose(const number *from, unsigned n, unsigned which, unsigned *to) {
	if (which >= n)
		return NVML_ERROR_INVALID_ARGUMENT;
	if (!from[which].known)
		return NVML_ERROR_NOT_SUPPORTED;
	*to = (unsigned)from[which].value;
	return NVML_SUCCESS;
}

READING(nvmlDeviceGetPowerUsage, unsigned, power)
READING(nvmlDeviceGetEnforcedPowerLimit, unsigned, power_limit)
READING(nvmlDeviceGetPcieReplayCounter, unsigned, pcie_replays)
READING(nvmlDeviceGetComputeMode, nvmlComputeMode_t, compute_mode)
READING(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, throttle)
READING(nvmlDeviceGetRetiredPagesPendingStatus, nvmlEnableState_t, retired_pending)

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t d, unsigned long long *mj) {
	MEET(d);
	if (!of(d)->energy.known)
		return NVML_ERROR_NOT_SUPPORTED;
	*mj = of(d)->energy.value + (unsigned long long)(of(d)->power.value * scenario_seconds());
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t d, nvmlClockType_t type, unsigned *mhz) {
	MEET(d);
	number n[] = { of(d)->sm_clock, of(d)->sm_clock, of(d)->mem_clock };
	return choose(n, 3, type, mhz);
}
nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t d, nvmlClockType_t type, unsigned *mhz) {
	MEET(d);
	number n[] = { of(d)->sm_clock_max, of(d)->sm_clock_max, of(d)->mem_clock_max };
	return choose(n, 3, type, mhz);
}
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, nvmlTemperatureSensors_t sensor, unsigned *c) {
	MEET(d);
	return choose(&of(d)->temperature, 1, sensor, c);
}
nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t d, nvmlTemperatureThresholds_t type, unsigned *c) {
	MEET(d);
	number n[] = { of(d)->shutdown, of(d)->slowdown, of(d)->mem_max, of(d)->gpu_max };
	return choose(n, 4, type, c);
}
nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t d, nvmlMarginTemperature_t *m) {
	MEET(d);
	if (m->version != nvmlMarginTemperature_v1)
		return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	if (!of(d)->margin.known)
		return NVML_ERROR_NOT_SUPPORTED;
	m->marginTemperature = (int)of(d)->margin.value;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t d, nvmlUtilization_t *u) {
	MEET(d);
	if (!of(d)->gpu_util.known)
		return NVML_ERROR_NOT_SUPPORTED;
	u->gpu = (unsigned)of(d)->gpu_util.value;
	u->memory = (unsigned)of(d)->mem_util.value;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t d, nvmlEnableState_t *current, nvmlEnableState_t *pending) {
	MEET(d);
	if (!of(d)->ecc_mode.known)
		return NVML_ERROR_NOT_SUPPORTED;
	*current = *pending = (nvmlEnableState_t)of(d)->ecc_mode.value;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t d, nvmlMemoryErrorType_t type, nvmlEccCounterType_t counter,
					 unsigned long long *n) {
	MEET(d);
	if (counter != NVML_VOLATILE_ECC)
		return NVML_ERROR_NOT_SUPPORTED;
	number errors = type == NVML_MEMORY_ERROR_TYPE_CORRECTED ? of(d)->ecc_corrected : of(d)->ecc_uncorrected;
	if (!errors.known)
		return NVML_ERROR_NOT_SUPPORTED;
	*n = errors.value;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t d, nvmlPageRetirementCause_t cause, unsigned *n,
				       unsigned long long *addresses) {
	MEET(d);
	number pages = cause == NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR ? of(d)->retired_dbe : of(d)->retired_sbe;
	if (!pages.known)
		return NVML_ERROR_NOT_SUPPORTED;
	unsigned room = *n;
	*n = (unsigned)pages.value;
	if (room < *n)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	for (unsigned i = 0; i < *n; i++)
		addresses[i] = 0x1000 * i;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t d, unsigned *correctable, unsigned *uncorrectable, unsigned *pending,
				       unsigned *failed) {
	MEET(d);
	card *c = of(d);
	if (!c->remapped_correctable.known)
		return NVML_ERROR_NOT_SUPPORTED;
	*correctable = (unsigned)c->remapped_correctable.value;
	*uncorrectable = (unsigned)c->remapped_uncorrectable.value;
	*pending = (unsigned)c->remap_pending.value;
	*failed = (unsigned)c->remap_failed.value;
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t d, int count, nvmlFieldValue_t *values) {
	MEET(d);
	for (int i = 0; i < count; i++) {
		number n = { 0, 0 };
		if (values[i].fieldId == NVML_FI_DEV_GET_GPU_RECOVERY_ACTION)
			n = of(d)->recovery_action;
		else if (values[i].fieldId == NVML_FI_DEV_MEMORY_TEMP)
			n = of(d)->memory_temperature;
		values[i].nvmlReturn = n.known ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
		values[i].valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
		memset(&values[i].value, 0xEE, sizeof values[i].value); /* what the type does not cover is anything */
		values[i].value.uiVal = (unsigned)n.value;
	}
	return NVML_SUCCESS;
}

/* processes fills in count entries, or says how many there are. */
static nvmlReturn_t processes(card *c, number count, unsigned *n, nvmlProcessInfo_t *infos) {
	if (!count.known)
		return NVML_ERROR_NOT_SUPPORTED;
	unsigned room = *n;
	*n = (unsigned)count.value;
	if (room < *n)
		return NVML_ERROR_INSUFFICIENT_SIZE;
	for (unsigned i = 0; i < *n; i++) {
		memset(&infos[i], 0, sizeof infos[i]);
		infos[i].pid = 4000 + i;
		infos[i].usedGpuMemory = c->process_memory.known ? (unsigned long long)c->process_memory.value
								 : (unsigned long long)NVML_VALUE_NOT_AVAILABLE;
		infos[i].gpuInstanceId = infos[i].computeInstanceId = 0xFFFFFFFF;
	}
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t d, unsigned *n, nvmlProcessInfo_t *infos) {
	MEET(d);
	return processes(of(d), of(d)->compute_processes, n, infos);
}
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t d, unsigned *n, nvmlProcessInfo_t *infos) {
	MEET(d);
	return processes(of(d), of(d)->graphics_processes, n, infos);
}
