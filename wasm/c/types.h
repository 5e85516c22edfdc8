/*
 * The few types and helpers that all modules share. There is no C library: memory.copy and memory.fill of WebAssembly
 * stand behind the compiler's own calls. Pointers come from the TypeScript side, which lays out the memory.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;

#define EXPORT(name) __attribute__((export_name(name)))
#define INLINE static inline __attribute__((always_inline))

/* Eight bytes from any address, first byte lowest. */
INLINE u64 load64(const u8 *at) {
    u64 value;
    __builtin_memcpy(&value, at, sizeof value);
    return value;
}

INLINE i32 least(i32 a, i32 b) {
    return a < b ? a : b;
}
