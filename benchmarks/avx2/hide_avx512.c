/* Hide AVX-512, AVX-VNNI and AMX from a program and from the programs that it
 * starts.  This is an audit module of the dynamic linker (LD_AUDIT,
 * rtld-audit(7)).
 *
 * The environment variable GAN_CPUID_LIST names a file with the addresses of
 * `cpuid` instructions, one "file address" per line; run.sh writes it.  When a
 * library is loaded, before any of its code runs, each of its `cpuid`
 * instructions is replaced by a breakpoint.  The breakpoint's handler executes
 * `cpuid` and clears the bits of the hidden features. Libraries execute `cpuid`
 * only when they start, so nothing else becomes slower. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

/* Bits of leaf 7: everything whose name begins with AVX512, AVX-VNNI, AVX-IFMA,
 * AVX-NE-CONVERT, AVX-VNNI-INT8, AMX. */
enum {
    EBX_0 = 1 << 16 | 1 << 17 | 1 << 21 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 30 | 1u << 31,
    ECX_0 = 1 << 1 | 1 << 6 | 1 << 11 | 1 << 12 | 1 << 14,
    EDX_0 = 1 << 2 | 1 << 3 | 1 << 8 | 1 << 22 | 1 << 23 | 1 << 24 | 1 << 25,
    EAX_1 = 1 << 4 | 1 << 5 | 1 << 21 | 1 << 23,
    EDX_1 = 1 << 4 | 1 << 5 | 1 << 19
};

static void answer(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned leaf = (unsigned)registers[REG_RAX], part = (unsigned)registers[REG_RCX];
    unsigned a, b, c, d;
    __cpuid_count(leaf, part, a, b, c, d);
    if (leaf == 7 && part == 0) b &= ~(unsigned)EBX_0, c &= ~(unsigned)ECX_0, d &= ~(unsigned)EDX_0;
    if (leaf == 7 && part == 1) a &= ~(unsigned)EAX_1, d &= ~(unsigned)EDX_1;
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
}

unsigned la_version(unsigned version) {
    const struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &action, NULL);
    return version;
}

static void fail(const char *file, const char *why) {
    fprintf(stderr, "hide_avx512: %s: %s\n", file, why);
    abort();
}

/* `cpuid` (0f a2) becomes `int3; nop` (cc 90). */
static void set_breakpoint(const char *file, unsigned char *at) {
    if (at[0] != 0x0f || at[1] != 0xa2)
        fail(file, "no cpuid at a listed address; delete the list, and run.sh "
                   "writes it again");
    unsigned char *page = (unsigned char *)((size_t)at & ~(size_t)4095);
    const size_t size = (size_t)(at + 2 - page);
    if (mprotect(page, size, PROT_READ | PROT_WRITE | PROT_EXEC)) fail(file, "its code can't be written");
    at[0] = 0xcc, at[1] = 0x90;
    if (mprotect(page, size, PROT_READ | PROT_EXEC)) fail(file, "its code can't be protected");
}

unsigned la_objopen(struct link_map *map, Lmid_t space, uintptr_t *cookie) {
    (void)space, (void)cookie;
    char self[4096] = "";
    const char *name = map->l_name;
    if (!*name) name = realpath("/proc/self/exe", self) ? self : ""; /* the program itself */
    const char *slash = strrchr(name, '/'), *file = slash ? slash + 1 : name, *list = getenv("GAN_CPUID_LIST");
    FILE *lines = list ? fopen(list, "r") : NULL;
    if (!lines) fail("GAN_CPUID_LIST", "names no list");
    char of[1024];
    unsigned long address;
    while (fscanf(lines, "%1023s %lx", of, &address) == 2)
        if (!strcmp(of, file)) set_breakpoint(file, (unsigned char *)map->l_addr + address);
    fclose(lines);
    return 0;
}
