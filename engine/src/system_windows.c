/* Windows 7 and later. */
#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#undef _WIN32_WINNT /* some compilers say the latest */
#define _WIN32_WINNT 0x0601
#include "system.h"

#include <malloc.h>
#include <stdlib.h>
#include <windows.h>

enum { CACHE_LINE = 64 };

float *gan_i_allocate(uint64_t floats) {
    return floats > SIZE_MAX / sizeof(float) - CACHE_LINE ? NULL : gan_i_allocate_bytes((size_t)floats * sizeof(float));
}

void *gan_i_allocate_bytes(size_t size) { return _aligned_malloc(size ? size : 1, CACHE_LINE); }

void gan_i_free(void *memory) { _aligned_free(memory); }

static gan_status read_whole(HANDLE handle, size_t size, unsigned char *to) {
    size_t done = 0;
    while (done <= size) { /* the last read finds the end, and uses the byte beyond */
        const size_t left = size + 1 - done;
        DWORD got = 0;
        if (!ReadFile(handle, to + done, left < 1u << 30 ? (DWORD)left : 1u << 30, &got, NULL)) return GAN_ERROR_FILE;
        if (!got) return done == size ? GAN_OK : GAN_ERROR_CORRUPT;
        done += got;
    }
    return GAN_ERROR_CORRUPT;
}

/* `path` is UTF-8. */
static HANDLE open_file(const char *path) {
    const int units = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, NULL, 0);
    WCHAR *wide = units > 0 ? malloc(sizeof *wide * (size_t)units) : NULL;
    if (!wide) return INVALID_HANDLE_VALUE;
    MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, wide, units);
    const DWORD shared = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    HANDLE handle = CreateFileW(wide, GENERIC_READ, shared, NULL, OPEN_EXISTING, FILE_FLAG_SEQUENTIAL_SCAN, NULL);
    free(wide);
    return handle;
}

gan_status gan_i_read_file(const char *path, void **data, size_t *size) {
    HANDLE handle = open_file(path);
    LARGE_INTEGER bytes;
    if (handle == INVALID_HANDLE_VALUE) return GAN_ERROR_FILE;
    gan_status status = GAN_ERROR_FILE;
    if (GetFileType(handle) == FILE_TYPE_DISK && GetFileSizeEx(handle, &bytes)) {
        *size = (size_t)bytes.QuadPart;
        *data = (uint64_t)bytes.QuadPart < SIZE_MAX - 8 ? gan_i_allocate_bytes(*size + 1) : NULL;
        status = *data ? read_whole(handle, *size, *data) : GAN_ERROR_MEMORY;
        if (status != GAN_OK) gan_i_free(*data);
    }
    CloseHandle(handle);
    return status;
}

struct gan_monitor {
    SRWLOCK lock;
    CONDITION_VARIABLE wake;
};

gan_monitor *gan_i_monitor_new(void) {
    gan_monitor *monitor = malloc(sizeof *monitor);
    if (!monitor) return NULL;
    InitializeSRWLock(&monitor->lock);
    InitializeConditionVariable(&monitor->wake);
    return monitor;
}

void gan_i_monitor_free(gan_monitor *monitor) { free(monitor); }
void gan_i_enter(gan_monitor *monitor) { AcquireSRWLockExclusive(&monitor->lock); }
int gan_i_try_enter(gan_monitor *monitor) { return TryAcquireSRWLockExclusive(&monitor->lock); }
void gan_i_leave(gan_monitor *monitor) { ReleaseSRWLockExclusive(&monitor->lock); }
void gan_i_wait(gan_monitor *monitor) { SleepConditionVariableSRW(&monitor->wake, &monitor->lock, INFINITE, 0); }
void gan_i_wake_all(gan_monitor *monitor) { WakeAllConditionVariable(&monitor->wake); }

typedef struct beginning {
    void (*run)(void *);
    void *arg;
} beginning;

/* Windows 10 and later only, so it is looked up. */
static void name_thread(void) {
    typedef HRESULT(WINAPI * describe)(HANDLE, PCWSTR);
    const FARPROC found = GetProcAddress(GetModuleHandleW(L"kernel32.dll"), "SetThreadDescription");
    describe set;
    memcpy(&set, &found, sizeof set);
    if (set) set(GetCurrentThread(), L"gan");
}

static DWORD WINAPI begin(void *memory) {
    const beginning b = *(beginning *)memory;
    free(memory);
    name_thread();
    b.run(b.arg);
    return 0;
}

int gan_i_thread_start(gan_thread *thread, void (*run)(void *), void *arg) {
    beginning *b = malloc(sizeof *b);
    if (!b) return 0;
    *b = (beginning){run, arg};
    HANDLE handle = CreateThread(NULL, 0, begin, b, 0, NULL);
    if (!handle) free(b);
    thread->id = (uintptr_t)handle;
    return handle != NULL;
}

void gan_i_thread_join(gan_thread thread) {
    WaitForSingleObject((HANDLE)thread.id, INFINITE);
    CloseHandle((HANDLE)thread.id);
}

void gan_i_yield(void) { SwitchToThread(); }

/* The cores of this process's group that have a bit in `mask`; 0 if Windows doesn't know. */
static DWORD physical_cores(DWORD_PTR mask) {
    DWORD size = 0, cores = 0;
    GetLogicalProcessorInformation(NULL, &size);
    SYSTEM_LOGICAL_PROCESSOR_INFORMATION *all = malloc(size ? size : 1);
    if (all && size && GetLogicalProcessorInformation(all, &size))
        for (DWORD i = 0; i < size / sizeof *all; i++)
            cores += all[i].Relationship == RelationProcessorCore && (all[i].ProcessorMask & mask);
    free(all);
    return cores;
}

int gan_i_usable_cores(void) {
    DWORD_PTR process, whole;
    DWORD cores = 0;
    if (GetProcessAffinityMask(GetCurrentProcess(), &process, &whole)) cores = physical_cores(process);
    if (!cores) cores = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS); /* threads in several groups */
    return cores < 1 ? 1 : cores > 1024 ? 1024 : (int)cores;
}

uint32_t gan_i_arm_processor(void) { return 0; }
uint64_t gan_i_last_level_cache(void) { return 0; }

uint64_t gan_i_memory(void) {
    MEMORYSTATUSEX about = {.dwLength = sizeof about};
    return GlobalMemoryStatusEx(&about) ? about.ullTotalPhys : 0;
}

unsigned gan_i_forks(void) { return 0; } /* Windows doesn't fork */
#else
typedef int gan_i_no_windows;
#endif
