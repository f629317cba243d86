/* The driver's library as a test plays it: an L4 with nothing on it, and an H200 that is cut into two slices, with a
 * program in the second. What is not here is not supported. Forms and numbers are those of NVML's documentation. */
#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

typedef struct {
    const char *uuid, *name;
    unsigned long long total_mib, used_mib, ecc_ever;
    int major, minor, slices, is_slice;
    unsigned pid, pid_mib;
} unit;

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} memory_v2;

typedef struct {
    unsigned gpu, memory;
} utilization;

typedef struct {
    unsigned pid;
    unsigned long long used;
    unsigned instance, part;
} process;

static unit units[] = {
    {"GPU-4b0c2f0e-5d4e-7c66-3f3a-1b6f0a6b9d11", "NVIDIA L4", 23034, 1, 2, 8, 9, 0, 0, 0, 0},
    {"GPU-c1a7e1b2-0a5f-4be2-8c29-3d9be0d2ee03", "NVIDIA H200", 143771, 585, 0, 9, 0, 2, 0, 0, 0},
    {"MIG-5be5d8a6-9b3c-5fd2-9d5d-52e0a8a4b6d4", "NVIDIA H200 MIG 3g.71gb", 71040, 45, 0, 9, 0, 0, 1, 0, 0},
    {"MIG-0c9e7f7e-3b0f-5cf5-b6a4-74a0d3c9f1e5", "NVIDIA H200 MIG 1g.18gb", 16384, 540, 0, 9, 0, 0, 1, 31337, 488},
};

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == NOT_SUPPORTED ? "Not Supported" : "Error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { return snprintf(text, size, "570.86.15") < 0; }
int nvmlSystemGetCudaDriverVersion_v2(int *version) { return *version = 12080, SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { return *count = 2, SUCCESS; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, unit **device) {
    if (index > 1) return INVALID_ARGUMENT;
    *device = &units[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, unit **device) {
    for (unit *one = units; one < units + 4; one++)
        if (!strcmp(one->uuid, uuid)) return *device = one, SUCCESS;
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(unit *device, char *text, unsigned size) { return snprintf(text, size, "%s", device->uuid) < 0; }
int nvmlDeviceGetName(unit *device, char *text, unsigned size) { return snprintf(text, size, "%s", device->name) < 0; }

int nvmlDeviceGetCudaComputeCapability(unit *device, int *major, int *minor) {
    *major = device->major, *minor = device->minor;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(unit *device, unsigned *current, unsigned *pending) {
    if (device->is_slice || !device->slices) return NOT_SUPPORTED;
    *current = *pending = 1;
    return SUCCESS;
}

/* Places for slices, of which most have none. */
int nvmlDeviceGetMaxMigDeviceCount(unit *device, unsigned *count) {
    *count = device->slices ? 7 : 0;
    return SUCCESS;
}

int nvmlDeviceGetMigDeviceHandleByIndex(unit *device, unsigned index, unit **slice) {
    if ((int)index >= device->slices) return NOT_FOUND;
    *slice = device + 1 + index;
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo_v2(unit *device, memory_v2 *memory) {
    const unsigned long long mib = 1 << 20;
    memory->total = device->total_mib * mib;
    memory->reserved = device->is_slice ? 0 : 613 * mib;
    memory->used = device->used_mib * mib;
    memory->free = memory->total - memory->reserved - memory->used;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(unit *device, utilization *rates) {
    if (device->is_slice || device->slices) return NOT_SUPPORTED;
    rates->gpu = rates->memory = 0;
    return SUCCESS;
}

int nvmlDeviceGetEccMode(unit *device, int *current, int *pending) {
    if (device->is_slice) return NOT_SUPPORTED;
    *current = *pending = 1;
    return SUCCESS;
}

int nvmlDeviceGetTotalEccErrors(unit *device, int kind, int counter, unsigned long long *count) {
    if (device->is_slice || kind != 1) return NOT_SUPPORTED;
    *count = counter ? device->ecc_ever : 0;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(unit *device, unsigned *count, process *all) {
    unsigned room = *count, there = device->pid ? 1 : 0;
    *count = there;
    if (room < there) return INSUFFICIENT_SIZE;
    if (there) all->pid = device->pid, all->used = (unsigned long long)device->pid_mib << 20;
    return SUCCESS;
}
