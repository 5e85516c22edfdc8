/*
 * Borders of content-defined chunks: a gear hash of the last 32 bytes (Xia and others, "FastCDC", 2016) cuts where its upper
 * bits are zero, with a stricter mask before the wanted size and a laxer one after it, so that sizes crowd around it.
 * docs/FORMAT.md has the table and the masks; chunks_twin.ts gives the same borders in TypeScript.
 */
#include "types.h"

static u32 gear[256];

/* The table of the gear hash: the finalizer of MurmurHash3 (Appleby, public domain) of each byte plus one. */
EXPORT("chunks_start")
void chunks_start(void) {
    for (u32 i = 0; i < 256; i++) {
        u32 h = (i + 1) * 0x9E3779B9u;
        h ^= h >> 16;
        h *= 0x85EBCA6Bu;
        h ^= h >> 13;
        h *= 0xC2B2AE35u;
        gear[i] = h ^ h >> 16;
    }
}

/*
 * Length of the chunk that begins at `bytes`, of which `length` are there: at most `most`, and all of it if no border is
 * found. The first `skip` bytes are in no hash: a border never stands there.
 */
EXPORT("chunk_length")
u32 chunk_length(const u8 *bytes, u32 length, u32 skip, u32 wanted, u32 most, u32 strict, u32 lax) {
    u32 end = length < most ? length : most;
    u32 middle = wanted < end ? wanted : end;
    u32 hash = 0, i = skip;
    for (; i < middle; i++) {
        hash = (hash << 1) + gear[bytes[i]];
        if (!(hash & strict)) return i + 1;
    }
    for (; i < end; i++) {
        hash = (hash << 1) + gear[bytes[i]];
        if (!(hash & lax)) return i + 1;
    }
    return end;
}
