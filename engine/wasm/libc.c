/* What the engine needs of a C library, for WebAssembly without one: memory, the copies that compilers emit calls
 * of, and two functions of generic.c's. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory: free blocks in order of address, first fit, neighbours joined ---- */

enum { UNIT = 64, PAGE = 65536 }; /* every block begins at a multiple of UNIT, with its header in the UNIT before */

typedef struct block {
    size_t size; /* bytes, the header's UNIT included */
    struct block *next;
} block;

extern unsigned char __heap_base;
static block *first_free;
static uintptr_t heap_end; /* 0 before the first call */

static block *after(const block *b) { return (block *)((uintptr_t)b + b->size); }

/* Put a block among the free ones. */
static void give(block *b) {
    block **at = &first_free;
    while (*at && *at < b) at = &(*at)->next;
    b->next = *at;
    *at = b;
    if (b->next && after(b) == b->next) {
        b->size += b->next->size;
        b->next = b->next->next;
    }
    for (block *p = first_free; p; p = p->next) {
        if (after(p) != b) continue;
        p->size += b->size;
        p->next = b->next;
        return;
    }
}

/* `size` more bytes from the host; 0 where it has none. */
static int grow(size_t size) {
    if (!heap_end) heap_end = ((uintptr_t)&__heap_base + UNIT - 1) / UNIT * UNIT;
    const uintptr_t have = (uintptr_t)__builtin_wasm_memory_size(0) * PAGE, room = have - heap_end;
    if (size > room) {
        const size_t pages = (size - room + PAGE - 1) / PAGE;
        if (__builtin_wasm_memory_grow(0, pages) == SIZE_MAX) return 0;
    }
    const uintptr_t end = (uintptr_t)__builtin_wasm_memory_size(0) * PAGE;
    if (end <= heap_end || end - heap_end < size) return 0;
    block *b = (block *)heap_end;
    b->size = (end - heap_end) / UNIT * UNIT;
    heap_end += b->size;
    give(b);
    return 1;
}

void *malloc(size_t size) {
    if (size > SIZE_MAX / 2) return NULL;
    const size_t need = (size + UNIT - 1) / UNIT * UNIT + UNIT;
    for (;;) {
        for (block **at = &first_free; *at; at = &(*at)->next) {
            block *b = *at;
            if (b->size < need) continue;
            if (b->size > need) { /* the rest stays free */
                block *rest = (block *)((uintptr_t)b + need);
                *rest = (block){b->size - need, b->next};
                b->size = need;
                *at = rest;
            } else {
                *at = b->next;
            }
            return (unsigned char *)b + UNIT;
        }
        if (!grow(need)) return NULL;
    }
}

void *calloc(size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return NULL;
    void *memory = malloc(count * size);
    return memory ? memset(memory, 0, count * size) : NULL;
}

void free(void *memory) {
    if (memory) give((block *)((unsigned char *)memory - UNIT));
}

/* ---- copies ---- */

#if defined(__wasm_bulk_memory__)
void *memcpy(void *restrict to, const void *restrict from, size_t size) { return __builtin_memcpy(to, from, size); }
void *memmove(void *to, const void *from, size_t size) { return __builtin_memmove(to, from, size); }
void *memset(void *to, int value, size_t size) { return __builtin_memset(to, value, size); }
#else
typedef uint32_t word __attribute__((aligned(1), may_alias));

void *memmove(void *to, const void *from, size_t size) {
    unsigned char *t = to;
    const unsigned char *f = from;
    if ((uintptr_t)to - (uintptr_t)from >= size) { /* no byte is overwritten before it is read */
        size_t i = 0;
        for (; i + 4 <= size; i += 4) *(word *)(t + i) = *(const word *)(f + i);
        for (; i < size; i++) t[i] = f[i];
    } else {
        size_t i = size;
        for (; i >= 4; i -= 4) *(word *)(t + i - 4) = *(const word *)(f + i - 4);
        for (; i; i--) t[i - 1] = f[i - 1];
    }
    return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size) { return memmove(to, from, size); }

void *memset(void *to, int value, size_t size) {
    unsigned char *t = to;
    const uint32_t four = (unsigned char)value * 0x01010101u;
    size_t i = 0;
    for (; i + 4 <= size; i += 4) *(word *)(t + i) = four;
    for (; i < size; i++) t[i] = (unsigned char)value;
    return to;
}
#endif

int memcmp(const void *a, const void *b, size_t size) {
    const unsigned char *x = a, *y = b;
    for (size_t i = 0; i < size; i++)
        if (x[i] != y[i]) return x[i] - y[i];
    return 0;
}

int strcmp(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return (unsigned char)*a - (unsigned char)*b;
}

/* ---- two functions, in double: the float nearest to the truth but for a few ---- */

/* e^x for |x| <= 200: x = n ln 2 + f with |f| <= 0.347, and f^13 / 13! is under 2e-16. */
static double exponential(double x) {
    const double scaled = x * 1.4426950408889634;
    const int n = (int)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    const double f = x - n * 0.6931471805599453;
    double sum = 1;
    for (int i = 12; i > 0; i--) sum = sum * f / i + 1;
    union {
        uint64_t bits;
        double value;
    } power = {.bits = (uint64_t)(1023 + n) << 52};
    return sum * power.value;
}

float expf(float x) {
    if (x != x) return x;
    return (float)exponential(x < -200 ? -200 : x > 200 ? 200 : x); /* beyond +-104 a float is 0 or infinite */
}

/* 1 - 2 / (e^2x + 1): within 1e-15 of the truth. */
float tanhf(float x) {
    if (x != x) return x;
    const double e = exponential(x < -20 ? -40 : x > 20 ? 40 : 2.0 * x);
    return (float)(1 - 2 / (e + 1));
}
