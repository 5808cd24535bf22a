/* A libnvidia-ml.so.1 with no GPU behind it: enough for nvidia-ml-py, nvitop and gpustat, and it fails and hangs on request.
 *
 * build: gcc -O2 -Wall -shared -fPIC -fvisibility=hidden -Wl,-soname,libnvidia-ml.so.1 -o libnvidia-ml.so.1 fake_nvml.c -lm -lpthread
 * use:   LD_LIBRARY_PATH=DIR FAKE_NVML_STATE=state.txt python ...
 *
 * The state file is read again whenever it changes (replace it by rename). One statement a line:
 *   count N              driver TEXT            name GPU TEXT          uuid GPU TEXT
 *   gpu GPU KEY VALUE    proc GPU PID MIB       xid GPU CODE
 *   fail FUNCTION CODE [GPU]                    hang FUNCTION MS [GPU]         (FUNCTION without _v2; * is every one)
 * KEY: util memutil used_mib total_mib power_mw limit_mw temp sm_mhz mem_mhz throttle mig ecc_v_corr ecc_v_unc pcie_tx pcie_rx limit_stuck
 * (1: a new power limit is taken and ignored).
 * What is not set follows a slow wave of load.
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#define GPU_LIMIT 64
#define PROC_LIMIT 256
#define FAULT_LIMIT 128
#define XID_LIMIT 256
#define UNSET (-1)
#define MIB (1ull << 20)

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       TIMED_OUT = 10, GPU_IS_LOST = 15, VERSION_MISMATCH = 25 };
enum Key { UTIL, MEMUTIL, USED, TOTAL, POWER, LIMIT, TEMP, SM, MEM_CLOCK, THROTTLE, MIG, ECC_CORRECTED, ECC_UNCORRECTED, PCIE_TX, PCIE_RX, LIMIT_STUCK, KEYS };
static const char *key_names[KEYS] = { "util", "memutil", "used_mib", "total_mib", "power_mw", "limit_mw", "temp", "sm_mhz", "mem_mhz",
                                       "throttle", "mig", "ecc_v_corr", "ecc_v_unc", "pcie_tx", "pcie_rx", "limit_stuck" };

typedef struct Handle { int index; } *Device;
struct Proc { unsigned pid; unsigned long long bytes; };
struct Gpu { long long value[KEYS]; char name[96], uuid[96]; struct Proc procs[PROC_LIMIT]; int proc_count; };
struct Fault { char function[64]; int code, ms, gpu; };
struct Xid { int gpu; unsigned long long code; };
struct State { int gpu_count, fault_count, xid_count; char driver[80]; struct Gpu gpus[GPU_LIMIT]; struct Fault faults[FAULT_LIMIT]; struct Xid xids[XID_LIMIT]; };

static struct Handle handles[GPU_LIMIT];
static struct State *state; /* replaced as a whole, never freed: other threads may be reading the old one */
static pthread_mutex_t reload_lock = PTHREAD_MUTEX_INITIALIZER;
static int init_count, xids_delivered;

static double seconds(void) { struct timespec now; clock_gettime(CLOCK_MONOTONIC, &now); return now.tv_sec + now.tv_nsec / 1e9; }
static void sleep_ms(int ms) { struct timespec pause = { ms / 1000, (ms % 1000) * 1000000L }; nanosleep(&pause, NULL); }

static struct State *default_state(void) {
    struct State *fresh = calloc(1, sizeof *fresh);
    fresh->gpu_count = 8;
    strcpy(fresh->driver, "580.95.05");
    for (int i = 0; i < GPU_LIMIT; i++) {
        struct Gpu *gpu = &fresh->gpus[i];
        for (int key = 0; key < KEYS; key++) gpu->value[key] = UNSET;
        gpu->value[TOTAL] = 143771; gpu->value[LIMIT] = 700000; gpu->value[MEM_CLOCK] = 3201;
        gpu->value[MIG] = gpu->value[ECC_CORRECTED] = gpu->value[ECC_UNCORRECTED] = 0;
        gpu->value[PCIE_TX] = 1200000; gpu->value[PCIE_RX] = 900000;
        strcpy(gpu->name, "NVIDIA H200");
        snprintf(gpu->uuid, sizeof gpu->uuid, "GPU-fa4e0000-0000-4000-8000-%08x%04x", (unsigned)gethostid(), i);
        handles[i].index = i;
    }
    return fresh;
}

static void read_fault(struct State *fresh, const char *line) {
    char verb[64], function[64]; long long value; int gpu = UNSET;
    if (sscanf(line, "%63s %63s %lld %d", verb, function, &value, &gpu) < 3 || fresh->fault_count == FAULT_LIMIT) return;
    struct Fault *fault = &fresh->faults[fresh->fault_count];
    if (!strcmp(verb, "fail")) fault->code = (int)value;
    else if (!strcmp(verb, "hang")) fault->ms = (int)value;
    else return;
    strcpy(fault->function, function);
    fault->gpu = gpu;
    fresh->fault_count++;
}

static void read_line(struct State *fresh, const char *line) {
    char key[64], text[256]; int gpu, number; long long value;
    if (sscanf(line, "count %d", &number) == 1) fresh->gpu_count = number < 0 ? 0 : number < GPU_LIMIT ? number : GPU_LIMIT;
    else if (!strncmp(line, "driver ", 7)) snprintf(fresh->driver, sizeof fresh->driver, "%.79s", line + 7);
    else if (sscanf(line, "name %d %255[^\n]", &gpu, text) == 2 && gpu >= 0 && gpu < GPU_LIMIT) snprintf(fresh->gpus[gpu].name, 96, "%.95s", text);
    else if (sscanf(line, "uuid %d %255s", &gpu, text) == 2 && gpu >= 0 && gpu < GPU_LIMIT) snprintf(fresh->gpus[gpu].uuid, 96, "%.95s", text);
    else if (sscanf(line, "gpu %d %63s %lld", &gpu, key, &value) == 3 && gpu >= 0 && gpu < GPU_LIMIT) {
        for (int i = 0; i < KEYS; i++) if (!strcmp(key, key_names[i])) fresh->gpus[gpu].value[i] = value;
    } else if (sscanf(line, "proc %d %d %lld", &gpu, &number, &value) == 3 && gpu >= 0 && gpu < GPU_LIMIT && fresh->gpus[gpu].proc_count < PROC_LIMIT) {
        fresh->gpus[gpu].procs[fresh->gpus[gpu].proc_count++] = (struct Proc){ number, (unsigned long long)value * MIB };
    } else if (sscanf(line, "xid %d %lld", &gpu, &value) == 2 && gpu >= 0 && gpu < GPU_LIMIT && fresh->xid_count < XID_LIMIT) {
        fresh->xids[fresh->xid_count++] = (struct Xid){ gpu, value };
    } else read_fault(fresh, line);
}

static struct State *current(void) {
    static struct stat seen;
    struct stat now;
    const char *path = getenv("FAKE_NVML_STATE");
    pthread_mutex_lock(&reload_lock);
    if (!state) state = default_state();
    if (path && !stat(path, &now) && (now.st_mtim.tv_sec != seen.st_mtim.tv_sec || now.st_mtim.tv_nsec != seen.st_mtim.tv_nsec
                                      || now.st_size != seen.st_size || now.st_ino != seen.st_ino)) {
        FILE *file = fopen(path, "r");
        if (file) {
            char line[512];
            struct State *fresh = default_state();
            while (fgets(line, sizeof line, file)) { line[strcspn(line, "\n")] = 0; read_line(fresh, line); }
            fclose(file);
            if (xids_delivered > fresh->xid_count) xids_delivered = 0;
            state = fresh; seen = now;
        }
    }
    struct State *found = state;
    pthread_mutex_unlock(&reload_lock);
    return found;
}

/* What the state file wants this call to suffer. */
static int suffer(const char *function, int gpu) {
    struct State *now = current();
    for (int i = 0; i < now->fault_count; i++) {
        struct Fault *fault = &now->faults[i];
        if (strcmp(fault->function, function) && strcmp(fault->function, "*")) continue;
        if (fault->gpu != UNSET && fault->gpu != gpu) continue;
        if (fault->ms) sleep_ms(fault->ms);
        if (fault->code) return fault->code;
    }
    return SUCCESS;
}

static int gate(const char *function, Device device) {
    if (!init_count) return UNINITIALIZED;
    if (device && (device < handles || device >= handles + current()->gpu_count)) return GPU_IS_LOST;
    return suffer(function, device ? device->index : UNSET);
}
#define GATE(function, device) do { int code_ = gate(#function, device); if (code_) return code_; } while (0)

static struct Gpu *gpu_of(Device device) { return &current()->gpus[device->index]; }

static long long get(Device device, enum Key key) {
    struct Gpu *gpu = gpu_of(device);
    if (gpu->value[key] != UNSET) return gpu->value[key];
    long long util = gpu->value[UTIL] != UNSET ? gpu->value[UTIL] : (long long)(50 + 45 * sin(seconds() / 7 + device->index));
    unsigned long long used = 900;
    for (int i = 0; i < gpu->proc_count; i++) used += gpu->procs[i].bytes / MIB;
    switch (key) {
    case UTIL: return util;
    case MEMUTIL: return util / 2;
    case USED: return (long long)used;
    case POWER: return 75000 + util * 5800;
    case TEMP: return 30 + util * 45 / 100;
    case SM: return util > 0 ? 1980 : 345;
    case THROTTLE: return util ? 0 : 1;
    default: return 0;
    }
}

/* One function that gives one number of a GPU. */
#define GIVES(function, type, expression) API int function(Device device, type *out) { GATE(function, device); *out = (expression); return SUCCESS; }
#define GIVES_TEXT(function, text) API int function(Device device, char *out, unsigned size) { \
    GATE(function, device); if (size < strlen(text) + 1) return INSUFFICIENT_SIZE; strcpy(out, text); return SUCCESS; }
#define REFUSES(function) API int function(Device device, unsigned *a, unsigned *b) { (void)device; (void)a; (void)b; return NOT_SUPPORTED; }

API int nvmlInitWithFlags(unsigned flags) { (void)flags; int code = suffer("nvmlInit", UNSET); if (!code) init_count++; return code; }
API int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API int nvmlInit(void) { return nvmlInitWithFlags(0); }
API int nvmlShutdown(void) { if (!init_count) return UNINITIALIZED; init_count--; return SUCCESS; }
API const char *nvmlErrorString(int code) {
    static const struct { int code; const char *text; } texts[] = { { 0, "Success" }, { 1, "Uninitialized" }, { 2, "Invalid Argument" },
        { 3, "Not Supported" }, { 4, "Insufficient Permissions" }, { 6, "Not Found" }, { 7, "Insufficient Size" }, { 9, "Driver Not Loaded" },
        { 10, "Timeout" }, { 15, "GPU is lost" }, { 16, "GPU requires reset" }, { 18, "Driver/library version mismatch" },
        { 25, "Argument Version Mismatch" }, { 999, "Unknown Error" } };
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) if (texts[i].code == code) return texts[i].text;
    return "Error";
}

API int nvmlSystemGetDriverVersion(char *out, unsigned size) { GATE(nvmlSystemGetDriverVersion, 0); snprintf(out, size, "%s", current()->driver); return SUCCESS; }
API int nvmlSystemGetNVMLVersion(char *out, unsigned size) { GATE(nvmlSystemGetNVMLVersion, 0); snprintf(out, size, "13.%s", current()->driver); return SUCCESS; }
API int nvmlSystemGetCudaDriverVersion_v2(int *out) { GATE(nvmlSystemGetCudaDriverVersion, 0); *out = 13000; return SUCCESS; }
API int nvmlSystemGetCudaDriverVersion(int *out) { return nvmlSystemGetCudaDriverVersion_v2(out); }
API int nvmlSystemGetProcessName(unsigned pid, char *out, unsigned size) {
    char path[64]; snprintf(path, sizeof path, "/proc/%u/comm", pid);
    FILE *file = fopen(path, "r"); if (!file) return NOT_FOUND;
    if (!fgets(out, size, file)) out[0] = 0;
    out[strcspn(out, "\n")] = 0; fclose(file); return SUCCESS;
}

API int nvmlDeviceGetCount_v2(unsigned *out) { GATE(nvmlDeviceGetCount, 0); *out = current()->gpu_count; return SUCCESS; }
API int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *out) {
    GATE(nvmlDeviceGetHandleByIndex, 0);
    if ((int)index >= current()->gpu_count) return INVALID_ARGUMENT;
    *out = &handles[index];
    return gate("nvmlDeviceGetHandleByIndex", *out);
}
API int nvmlDeviceGetHandleByUUID(const char *uuid, Device *out) {
    GATE(nvmlDeviceGetHandleByUUID, 0);
    for (int i = 0; i < current()->gpu_count; i++) if (!strcmp(current()->gpus[i].uuid, uuid)) { *out = &handles[i]; return SUCCESS; }
    return NOT_FOUND;
}
GIVES(nvmlDeviceGetIndex, unsigned, device->index)
GIVES(nvmlDeviceGetMinorNumber, unsigned, device->index)
GIVES_TEXT(nvmlDeviceGetName, gpu_of(device)->name)
GIVES_TEXT(nvmlDeviceGetUUID, gpu_of(device)->uuid)
API int nvmlDeviceGetSerial(Device device, char *out, unsigned size) { GATE(nvmlDeviceGetSerial, device); snprintf(out, size, "165%07d", device->index); return SUCCESS; }
typedef struct { char legacy[16]; unsigned domain, bus, slot, device_id, subsystem_id; char bus_id[32]; } PciInfo;
API int nvmlDeviceGetPciInfo_v3(Device device, PciInfo *out) {
    GATE(nvmlDeviceGetPciInfo, device); memset(out, 0, sizeof *out);
    out->bus = (0x18 + device->index * 3) & 0xff; out->device_id = 0x233510de;
    snprintf(out->legacy, 16, "0000:%02X:00.0", out->bus & 0xff); snprintf(out->bus_id, 32, "00000000:%02X:00.0", out->bus & 0xff);
    return SUCCESS;
}

typedef struct { unsigned gpu, memory; } Utilization;
API int nvmlDeviceGetUtilizationRates(Device device, Utilization *out) {
    GATE(nvmlDeviceGetUtilizationRates, device);
    if (get(device, MIG)) return NOT_SUPPORTED; /* as on real hardware */
    out->gpu = get(device, UTIL); out->memory = get(device, MEMUTIL); return SUCCESS;
}
typedef struct { unsigned long long total, free, used; } Memory;
API int nvmlDeviceGetMemoryInfo(Device device, Memory *out) {
    GATE(nvmlDeviceGetMemoryInfo, device);
    out->total = get(device, TOTAL) * MIB; out->used = get(device, USED) * MIB; out->free = out->total - out->used; return SUCCESS;
}
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;
API int nvmlDeviceGetMemoryInfo_v2(Device device, MemoryV2 *out) {
    GATE(nvmlDeviceGetMemoryInfo, device);
    if (out->version != (sizeof *out | 2u << 24)) return VERSION_MISMATCH;
    out->total = get(device, TOTAL) * MIB; out->reserved = 634 * MIB; out->used = get(device, USED) * MIB;
    out->free = out->total - out->used - out->reserved; return SUCCESS;
}
API int nvmlDeviceGetBAR1MemoryInfo(Device device, Memory *out) {
    GATE(nvmlDeviceGetBAR1MemoryInfo, device); *out = (Memory){ 256ull << 30, (256ull << 30) - MIB, MIB }; return SUCCESS;
}

GIVES(nvmlDeviceGetPowerUsage, unsigned, get(device, POWER))
GIVES(nvmlDeviceGetPowerManagementLimit, unsigned, get(device, LIMIT))
GIVES(nvmlDeviceGetEnforcedPowerLimit, unsigned, get(device, LIMIT))
GIVES(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, 700000)
API int nvmlDeviceGetPowerManagementLimitConstraints(Device device, unsigned *lowest, unsigned *highest) {
    GATE(nvmlDeviceGetPowerManagementLimitConstraints, device); *lowest = 200000; *highest = 700000; return SUCCESS;
}
API int nvmlDeviceSetPowerManagementLimit(Device device, unsigned limit_mw) {
    GATE(nvmlDeviceSetPowerManagementLimit, device);
    if (limit_mw < 200000 || limit_mw > 700000) return INVALID_ARGUMENT;
    if (geteuid()) return NO_PERMISSION;
    if (gpu_of(device)->value[LIMIT_STUCK] != 1) gpu_of(device)->value[LIMIT] = limit_mw;
    return SUCCESS;
}
API int nvmlDeviceGetTotalEnergyConsumption(Device device, unsigned long long *out_mj) { /* never falls while util and power are left alone */
    GATE(nvmlDeviceGetTotalEnergyConsumption, device);
    double t = seconds(); struct Gpu *gpu = gpu_of(device);
    if (gpu->value[POWER] != UNSET || gpu->value[UTIL] != UNSET) *out_mj = (unsigned long long)(t * get(device, POWER));
    else *out_mj = (unsigned long long)(75000 * t + 5800 * (50 * t - 315 * cos(t / 7 + device->index)));
    return SUCCESS;
}

API int nvmlDeviceGetTemperature(Device device, unsigned sensor, unsigned *out) {
    GATE(nvmlDeviceGetTemperature, device); if (sensor) return INVALID_ARGUMENT; *out = get(device, TEMP); return SUCCESS;
}
typedef struct { unsigned version, sensor; int temp_c; } TemperatureV1;
API int nvmlDeviceGetTemperatureV(Device device, TemperatureV1 *out) {
    GATE(nvmlDeviceGetTemperature, device);
    if (out->version != (sizeof *out | 1u << 24)) return VERSION_MISMATCH;
    out->temp_c = get(device, TEMP); return SUCCESS;
}
API int nvmlDeviceGetTemperatureThreshold(Device device, unsigned kind, unsigned *out) {
    GATE(nvmlDeviceGetTemperatureThreshold, device); *out = kind == 0 ? 94 : kind == 1 ? 90 : 87; return SUCCESS;
}
API int nvmlDeviceGetClockInfo(Device device, unsigned clock, unsigned *out) {
    GATE(nvmlDeviceGetClockInfo, device); *out = get(device, clock == 2 ? MEM_CLOCK : SM); return SUCCESS;
}
API int nvmlDeviceGetMaxClockInfo(Device device, unsigned clock, unsigned *out) { GATE(nvmlDeviceGetMaxClockInfo, device); *out = clock == 2 ? 3201 : 1980; return SUCCESS; }
GIVES(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, get(device, THROTTLE))
API int nvmlDeviceGetCurrentClocksThrottleReasons(Device device, unsigned long long *out) { return nvmlDeviceGetCurrentClocksEventReasons(device, out); }
API int nvmlDeviceGetEccMode(Device device, unsigned *now, unsigned *next) { GATE(nvmlDeviceGetEccMode, device); *now = *next = 1; return SUCCESS; }
API int nvmlDeviceGetTotalEccErrors(Device device, unsigned type, unsigned counter, unsigned long long *out) {
    GATE(nvmlDeviceGetTotalEccErrors, device); (void)counter; *out = get(device, type ? ECC_UNCORRECTED : ECC_CORRECTED); return SUCCESS;
}
API int nvmlDeviceGetRemappedRows(Device device, unsigned *a, unsigned *b, unsigned *c, unsigned *d) {
    GATE(nvmlDeviceGetRemappedRows, device); *a = *b = *c = *d = 0; return SUCCESS;
}
API int nvmlDeviceGetPcieThroughput(Device device, unsigned counter, unsigned *out) {
    GATE(nvmlDeviceGetPcieThroughput, device); *out = get(device, counter ? PCIE_RX : PCIE_TX); return SUCCESS;
}
API int nvmlDeviceGetMigMode(Device device, unsigned *now, unsigned *next) { GATE(nvmlDeviceGetMigMode, device); *now = *next = get(device, MIG); return SUCCESS; }
GIVES(nvmlDeviceGetMaxMigDeviceCount, unsigned, 7)
GIVES(nvmlDeviceGetPersistenceMode, unsigned, 1)
GIVES(nvmlDeviceGetPerformanceState, unsigned, get(device, UTIL) ? 0 : 8)
GIVES(nvmlDeviceGetDisplayActive, unsigned, 0)
GIVES(nvmlDeviceGetDisplayMode, unsigned, 0)
GIVES(nvmlDeviceGetComputeMode, unsigned, 0)
GIVES(nvmlDeviceGetNumGpuCores, unsigned, 16896)
GIVES(nvmlDeviceGetArchitecture, unsigned, 9)
GIVES(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, 5)
GIVES(nvmlDeviceGetCurrPcieLinkWidth, unsigned, 16)
API int nvmlDeviceGetFanSpeed(Device device, unsigned *out) { (void)out; GATE(nvmlDeviceGetFanSpeed, device); return NOT_SUPPORTED; }
API int nvmlDeviceGetCudaComputeCapability(Device device, int *major, int *minor) { GATE(nvmlDeviceGetCudaComputeCapability, device); *major = 9; *minor = 0; return SUCCESS; }
API int nvmlDeviceGetEncoderUtilization(Device device, unsigned *util, unsigned *period) { GATE(nvmlDeviceGetEncoderUtilization, device); *util = 0; *period = 167000; return SUCCESS; }
API int nvmlDeviceGetDecoderUtilization(Device device, unsigned *util, unsigned *period) { GATE(nvmlDeviceGetDecoderUtilization, device); *util = 0; *period = 167000; return SUCCESS; }
REFUSES(nvmlDeviceGetCurrentDriverModel)
REFUSES(nvmlDeviceGetDriverModel)
REFUSES(nvmlDeviceGetDriverModel_v2)

typedef struct { unsigned pid; unsigned long long bytes; unsigned gpu_instance, compute_instance; } ProcessInfo;
API int nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned *count, ProcessInfo *out) {
    GATE(nvmlDeviceGetComputeRunningProcesses, device);
    struct Gpu *gpu = gpu_of(device);
    unsigned room = *count;
    *count = gpu->proc_count;
    if (!gpu->proc_count) return SUCCESS;
    if (room < *count || !out) return INSUFFICIENT_SIZE;
    for (int i = 0; i < gpu->proc_count; i++) out[i] = (ProcessInfo){ gpu->procs[i].pid, gpu->procs[i].bytes, ~0u, ~0u };
    return SUCCESS;
}
API int nvmlDeviceGetGraphicsRunningProcesses_v3(Device device, unsigned *count, ProcessInfo *out) { (void)device; (void)out; *count = 0; return SUCCESS; }
typedef struct { unsigned pid; unsigned long long stamp_us; unsigned sm, memory, encoder, decoder; } ProcessUtilization;
API int nvmlDeviceGetProcessUtilization(Device device, ProcessUtilization *out, unsigned *count, unsigned long long since_us) {
    GATE(nvmlDeviceGetProcessUtilization, device); (void)since_us;
    struct Gpu *gpu = gpu_of(device);
    unsigned room = *count;
    *count = gpu->proc_count;
    if (!gpu->proc_count) return NOT_FOUND;
    if (!out || room < *count) return INSUFFICIENT_SIZE;
    struct timespec now; clock_gettime(CLOCK_REALTIME, &now);
    for (int i = 0; i < gpu->proc_count; i++)
        out[i] = (ProcessUtilization){ gpu->procs[i].pid, now.tv_sec * 1000000ull, get(device, UTIL) / gpu->proc_count, 0, 0, 0 };
    return SUCCESS;
}

struct EventSet { unsigned long long wanted; };
typedef struct { Device device; unsigned long long type, data; unsigned gpu_instance, compute_instance; } EventData;
API int nvmlEventSetCreate(struct EventSet **out) { *out = calloc(1, sizeof **out); return SUCCESS; }
API int nvmlEventSetFree(struct EventSet *set) { free(set); return SUCCESS; }
API int nvmlDeviceGetSupportedEventTypes(Device device, unsigned long long *out) { GATE(nvmlDeviceGetSupportedEventTypes, device); *out = 1 | 2 | 8; return SUCCESS; }
API int nvmlDeviceRegisterEvents(Device device, unsigned long long wanted, struct EventSet *set) { GATE(nvmlDeviceRegisterEvents, device); set->wanted |= wanted; return SUCCESS; }
API int nvmlEventSetWait_v2(struct EventSet *set, EventData *out, unsigned timeout_ms) {
    (void)set;
    double end = seconds() + timeout_ms / 1e3;
    do {
        struct State *now = current();
        if (xids_delivered < now->xid_count) {
            struct Xid *xid = &now->xids[xids_delivered++];
            *out = (EventData){ &handles[xid->gpu], 8, xid->code, ~0u, ~0u };
            return SUCCESS;
        }
        sleep_ms(100);
    } while (seconds() < end);
    return TIMED_OUT;
}
