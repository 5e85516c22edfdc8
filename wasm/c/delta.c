/*
 * The difference of one window of a target against one window of a base, after the method of bsdiff (Percival, "Naive
 * differences of executable code", 2003): exact matches from the suffix array of the base are extended forwards and
 * backwards over bytes that differ now and then; a region so found is told as bytewise differences, the rest as it is.
 * Differs from it in what bounds the time: matches below 8 bytes are not looked up (a bit table of all 8-byte strings of the
 * base answers nearly always without the array), an aligned or inherited match of 64 bytes or more ends the search, also
 * one that begins 8 bytes later, and equal runs inside a region are copies that appear in no stream. delta_twin.ts gives the same bytes in TypeScript.
 */
#include "types.h"

#define MATCH_MIN 8
#define MATCH_SURE 64
/* A difference of so many bytes inside an aligned region is not looked up. */
#define GAP_MAX 8
/* A match must beat the present alignment by this many bytes before the alignment is given up. */
#define GAIN_MIN 8
#define PAIRS 65536
/* Strings of the base that the table knows, where there is no time for the array. */
#define HASH_BYTES 16
#define HASH_STEP 8
/* Of HASH_BYTES so many must be equal to go on with an alignment, and to come back to one. */
#define FOLLOW_MIN 6
#define AGAIN_MIN 10
/* In a table of numbers most bytes are equal with any alignment: of TABLE_LOOK bytes so many are if it is the right one. */
#define TABLE_LOOK 64
#define TABLE_GOOD 56
#define TABLE_GAIN 6
#define TABLE_STEP 4
#define TABLE_REACH 512
#define TABLE_GAP 1024

/* What the TypeScript side lays out; all pointers into its memory. */
struct delta {
    const u8 *base;
    i32 base_bytes;
    const u8 *target;
    i32 target_bytes;
    /* The suffix array of base; 0 while it has not been needed. */
    const i32 *suffixes;
    /* PAIRS + 1 words: where the suffixes with each first two bytes begin. */
    i32 *pairs;
    /* 2^grams_log bits. */
    u8 *grams;
    i32 grams_log;
    /* Whether the tables are filled; the caller clears it when base or suffixes are new. */
    i32 ready;
    /* Equal bytes from which a run is a copy of its own. */
    i32 copy_min;
    /* Where in the base the target is thought to begin, 0 to base_bytes. */
    i32 start;
    /* 2^hashes_log words: 1 + where a string of HASH_BYTES stands in the base, at every HASH_STEP-th place. 0: the array is used. */
    u32 *hashes;
    i32 hashes_log;
    /* Results: entries of 4 numbers; differences grow up from `bytes`, other bytes down from its end. */
    u8 *control;
    i32 control_bytes;
    u8 *bytes;
    i32 diff_bytes;
    i32 extra_bytes;
    /* 0, or where the same differences go as those of words. */
    u8 *words;
};

/* Where the scan stands. */
struct scan {
    i32 at;
    i32 length;
    i32 position;
    /* The bytes told so far end here in target and base; base position minus target position of the last match. */
    i32 told;
    i32 told_base;
    i32 shift;
};

INLINE u32 gram_bit(const struct delta *d, const u8 *at) {
    return (u32)((load64(at) * 0x9E3779B97F4A7C15ull) >> (64 - d->grams_log));
}

INLINE i32 common_prefix(const u8 *a, const u8 *b, i32 max) {
    i32 i = 0;
    for (; i + 8 <= max; i += 8) {
        u64 x = load64(a + i) ^ load64(b + i);
        if (x) return i + __builtin_ctzll(x) / 8;
    }
    while (i < max && a[i] == b[i]) i++;
    return i;
}

/* Fills the bit table: the hash of each 8-byte string of the base. */
static void build_grams(struct delta *d) {
    __builtin_memset(d->grams, 0, (u32)1 << (d->grams_log - 3));
    for (i32 i = 0; i + MATCH_MIN <= d->base_bytes; i++) {
        u32 bit = gram_bit(d, d->base + i);
        d->grams[bit >> 3] |= (u8)(1 << (bit & 7));
    }
}

/* Fills the table of pairs. The last suffix is one byte, below all with the same first byte. */
static void build_pairs(struct delta *d) {
    i32 *pairs = d->pairs;
    i32 n = d->base_bytes, sum = 0;
    for (i32 i = 0; i <= PAIRS; i++) pairs[i] = 0;
    for (i32 i = 0; i + 1 < n; i++) pairs[d->base[i] << 8 | d->base[i + 1]]++;
    for (i32 i = 0; i <= PAIRS; i++) {
        if (i < PAIRS && (i & 255) == 0 && i >> 8 == d->base[n - 1]) sum++;
        i32 count = pairs[i];
        pairs[i] = sum;
        sum += count;
    }
}

/* Not before it is needed: a section of equal bytes needs none. */
static void fill_tables(struct delta *d) {
    build_grams(d);
    if (d->suffixes) build_pairs(d);
    d->ready = 1;
}

/* The longest match of the target at `at`: the longer of the two suffixes around it, the lower one if they are equal. */
static i32 search(const struct delta *d, i32 at, i32 *position) {
    const u8 *text = d->target + at;
    i32 rest = d->target_bytes - at;
    i32 pair = text[0] << 8 | text[1];
    i32 low = d->pairs[pair], high = d->pairs[pair + 1];
    i32 first = low, end = high, best = 0;
    i32 below = 0, above = 0;
    while (low < high) {
        i32 middle = low + (high - low) / 2;
        i32 suffix = d->suffixes[middle];
        i32 max = least(rest, d->base_bytes - suffix);
        i32 known = least(least(below, above), max);
        i32 equal = known + common_prefix(d->base + suffix + known, text + known, max - known);
        if (equal == rest || (equal < max && d->base[suffix + equal] > text[equal])) {
            high = middle;
            above = equal;
        } else {
            low = middle + 1;
            below = equal;
        }
    }
    if (low > first && below > best) {
        best = below;
        *position = d->suffixes[low - 1];
    }
    if (low < end && above > best) {
        best = above;
        *position = d->suffixes[low];
    }
    return best;
}

INLINE u32 hash_slot(const struct delta *d, const u8 *at) {
    u64 sum = load64(at) * 0x9E3779B97F4A7C15ull + load64(at + 8);
    return (u32)((sum ^ sum >> 29) * 0x9E3779B97F4A7C15ull >> (64 - d->hashes_log));
}

/* Of equal strings the first one stays. */
static void build_hashes(struct delta *d) {
    __builtin_memset(d->hashes, 0, (u32)4 << d->hashes_log);
    for (i32 i = 0; i + HASH_BYTES <= d->base_bytes; i += HASH_STEP) {
        u32 *slot = d->hashes + hash_slot(d, d->base + i);
        if (*slot == 0) *slot = (u32)i + 1;
    }
    d->ready = 1;
}

/* The match of the target at `at` that the table knows; 0 if there is none. */
static i32 look_up(struct delta *d, i32 at, i32 *position) {
    i32 rest = d->target_bytes - at;
    if (rest < HASH_BYTES) return 0;
    if (!d->ready) build_hashes(d);
    u32 known = d->hashes[hash_slot(d, d->target + at)];
    if (known == 0) return 0;
    *position = (i32)known - 1;
    i32 max = least(rest, d->base_bytes - *position);
    i32 length = common_prefix(d->base + *position, d->target + at, max);
    return length < HASH_BYTES ? 0 : length;
}

/* Sets length and position of the match at s->at; 0 if it is below MATCH_MIN. Returns 0 if the suffix array is needed. */
INLINE int longest(struct delta *d, struct scan *s) {
    i32 inherited = s->length > MATCH_SURE ? s->length - 1 : 0;
    i32 from = s->position + 1;
    i32 rest = d->target_bytes - s->at;
    s->length = 0;
    if (rest < MATCH_MIN) return 1;
    i32 aligned = s->at + s->shift;
    if (aligned >= 0 && aligned < d->base_bytes) {
        const u8 *base = d->base + aligned, *target = d->target + s->at;
        i32 max = least(rest, d->base_bytes - aligned);
        i32 length = common_prefix(base, target, max);
        if (length >= MATCH_SURE) {
            s->length = length;
            s->position = aligned;
            return 1;
        }
        i32 beyond = least(max - GAP_MAX, MATCH_SURE);
        if (beyond == MATCH_SURE &&
            common_prefix(base + GAP_MAX, target + GAP_MAX, beyond) == MATCH_SURE) return 1;
    }
    if (inherited >= MATCH_SURE) {
        s->length = inherited;
        s->position = from;
        return 1;
    }
    if (!d->ready) fill_tables(d);
    u32 bit = gram_bit(d, d->target + s->at);
    if (!(d->grams[bit >> 3] >> (bit & 7) & 1)) return 1;
    if (!d->suffixes) return 0;
    i32 length = search(d, s->at, &s->position);
    s->length = length < MATCH_MIN ? 0 : length;
    return 1;
}

static void put_number(struct delta *d, u32 value) {
    while (value >= 128) {
        d->control[d->control_bytes++] = (u8)(value | 128);
        value >>= 7;
    }
    d->control[d->control_bytes++] = (u8)value;
}

/* Differences of words where the base has them, from its beginning on, and of bytes before the first and behind the last one. */
static void put_words(struct delta *d, i32 t, i32 b, i32 length) {
    const u8 *target = d->target + t, *base = d->base + b;
    u8 *out = d->words + d->diff_bytes;
    i32 i = 0;
    for (; i < length && (b + i) % 4 != 0; i++) out[i] = (u8)(target[i] - base[i]);
    for (; i + 4 <= length; i += 4) {
        u32 x, y;
        __builtin_memcpy(&x, target + i, 4);
        __builtin_memcpy(&y, base + i, 4);
        x -= y;
        __builtin_memcpy(out + i, &x, 4);
    }
    for (; i < length; i++) out[i] = (u8)(target[i] - base[i]);
}

/* Tells `length` bytes of target at `t` as differences from base at `b`, equal runs as copies, then what follows. */
static void tell(struct delta *d, i32 t, i32 b, i32 length, i32 extra, i32 seek) {
    const u8 *target = d->target + t, *base = d->base + b;
    i32 i = 0;
    do {
        i32 copy = common_prefix(target + i, base + i, length - i);
        if (copy < d->copy_min && i + copy < length) copy = 0;
        i32 from = i + copy, to = from;
        while (to < length) {
            i32 run = common_prefix(target + to, base + to, least(length - to, d->copy_min));
            if (run >= d->copy_min) break;
            to += run + (to + run < length);
        }
        u8 *out = d->bytes + d->diff_bytes;
        for (i32 j = 0; j < to - from; j++) out[j] = (u8)(target[from + j] - base[from + j]);
        if (d->words) put_words(d, t + from, b + from, to - from);
        d->diff_bytes += to - from;
        int last = to == length;
        put_number(d, (u32)copy);
        put_number(d, (u32)(to - from));
        put_number(d, last ? (u32)extra : 0);
        put_number(d, last ? (u32)(seek << 1) ^ (u32)(seek >> 31) : 0);
        i = to;
    } while (i < length);
    u8 *end = d->bytes + d->target_bytes - d->extra_bytes;
    for (i32 j = 0; j < extra; j++) *--end = d->target[t + length + j];
    d->extra_bytes += extra;
}

/* How far the last match is worth extending forwards: where equal bytes outnumber different ones most. */
static i32 extend_forwards(const struct delta *d, const struct scan *s) {
    i32 max = least(s->at - s->told, d->base_bytes - s->told_base);
    i32 score = 0, best = 0, length = 0;
    for (i32 i = 0; i < max; i++) {
        score += d->base[s->told_base + i] == d->target[s->told + i] ? 1 : -1;
        if (score > best) {
            best = score;
            length = i + 1;
        }
    }
    return length;
}

static i32 extend_backwards(const struct delta *d, const struct scan *s) {
    i32 max = least(s->at - s->told, s->position);
    i32 score = 0, best = 0, length = 0;
    for (i32 i = 1; i <= max; i++) {
        score += d->base[s->position - i] == d->target[s->at - i] ? 1 : -1;
        if (score > best) {
            best = score;
            length = i;
        }
    }
    return length;
}

/* The bytes that both extensions claim go to the first up to the point where that is best. Returns its share. */
static i32 split(const struct delta *d, const struct scan *s, i32 forwards, i32 overlap, i32 backwards) {
    i32 score = 0, best = 0, share = 0;
    const u8 *target = d->target + s->told + forwards - overlap;
    const u8 *first = d->base + s->told_base + forwards - overlap;
    const u8 *second = d->base + s->position - backwards;
    for (i32 i = 0; i < overlap; i++) {
        score += (target[i] == first[i]) - (target[i] == second[i]);
        if (score > best) {
            best = score;
            share = i + 1;
        }
    }
    return share;
}

/* Tells everything before the match at s->at and makes that match the last one. */
static void tell_up_to(struct delta *d, struct scan *s) {
    int end = s->at >= d->target_bytes;
    i32 forwards = extend_forwards(d, s);
    i32 backwards = end ? 0 : extend_backwards(d, s);
    i32 overlap = s->told + forwards - (s->at - backwards);
    if (overlap > 0) {
        i32 share = split(d, s, forwards, overlap, backwards);
        forwards += share - overlap;
        backwards -= share;
    }
    i32 extra = s->at - backwards - (s->told + forwards);
    i32 seek = end ? 0 : s->position - backwards - (s->told_base + forwards);
    tell(d, s->told, s->told_base, forwards, extra, seek);
    s->told = s->at - backwards;
    s->told_base = s->position - backwards;
    s->shift = s->position - s->at;
}

INLINE int is_aligned(const struct delta *d, const struct scan *s, i32 at) {
    i32 position = at + s->shift;
    return position >= 0 && position < d->base_bytes && d->base[position] == d->target[at];
}

/* How many of eight bytes are equal. */
INLINE i32 equal_of_8(const u8 *a, const u8 *b) {
    const u64 low = 0x7F7F7F7F7F7F7F7Full;
    u64 x = load64(a) ^ load64(b);
    return __builtin_popcountll(~((((x & low) + low) | x) | low));
}

/* How many of the HASH_BYTES at `at` are equal with this shift; 0 where they do not all lie in base and target. */
INLINE i32 equal_of_16(const struct delta *d, i32 at, i32 shift) {
    i32 position = at + shift;
    if (position < 0 || position + HASH_BYTES > d->base_bytes || at + HASH_BYTES > d->target_bytes) return 0;
    const u8 *base = d->base + position, *target = d->target + at;
    return equal_of_8(base, target) + equal_of_8(base + 8, target + 8);
}

/* How many of `bytes`, a multiple of 8, are equal; 0 where they do not all lie in base and target. */
static i32 equal_of(const struct delta *d, i32 at, i32 shift, i32 bytes) {
    i32 position = at + shift, sum = 0;
    if (position < 0 || position + bytes > d->base_bytes || at + bytes > d->target_bytes) return 0;
    for (i32 i = 0; i < bytes; i += 8) sum += equal_of_8(d->base + position + i, d->target + at + i);
    return sum;
}

/* An alignment near this one that is clearly better: in a table an entry may have come or gone. This one if there is none. */
static i32 better(const struct delta *d, i32 at, i32 shift) {
    i32 own = equal_of(d, at, shift, TABLE_LOOK);
    if (own >= TABLE_GOOD) return shift;
    i32 best = own + TABLE_GAIN, found = shift;
    for (i32 by = TABLE_STEP; by <= TABLE_REACH; by += TABLE_STEP) {
        for (i32 way = -1; way <= 1; way += 2) {
            i32 equal = equal_of(d, at, shift + way * by, TABLE_LOOK);
            if (equal <= best) continue;
            best = equal;
            found = shift + way * by;
        }
    }
    if (found == shift) return shift;
    i32 far = 4 * TABLE_LOOK;
    return equal_of(d, at, found, far) > equal_of(d, at, shift, far) + 2 * TABLE_GAIN ? found : shift;
}

/* Goes on from `at` as long as enough of what is near is equal. Returns where that ends, with a better alignment if there is one. */
static i32 follow(const struct delta *d, i32 at, i32 *shift) {
    i32 look = at + TABLE_LOOK, gap = TABLE_LOOK;
    for (;;) {
        i32 position = at + *shift;
        i32 rest = least(d->target_bytes - at, d->base_bytes - position);
        if (position >= 0 && rest > 0) at += common_prefix(d->base + position, d->target + at, rest);
        if (equal_of_16(d, at, *shift) < FOLLOW_MIN) return at;
        if (at >= look) {
            /* What is no table is looked at less and less. */
            gap = least(2 * gap, TABLE_GAP);
            look = at + gap;
            i32 found = better(d, at, *shift);
            if (found != *shift) {
                *shift = found;
                return at;
            }
        }
        at += 8;
    }
}

/* Ends the present alignment at `at`: another one begins there. */
static void realign(struct delta *d, struct scan *s, i32 at, i32 shift) {
    s->at = at;
    s->position = at + shift;
    tell_up_to(d, s);
}

/*
 * Scans the whole window with the table of strings: an alignment is followed while it is good, and then another is looked for, first
 * the one before, which what was inserted or moved only interrupted.
 */
EXPORT("delta_run_fast")
void delta_run_fast(struct delta *d) {
    struct scan s = { .told_base = d->start, .shift = d->start };
    /* At first what ends alike. */
    i32 before = d->base_bytes - d->target_bytes;
    d->control_bytes = d->diff_bytes = d->extra_bytes = 0;
    while (s.at < d->target_bytes) {
        i32 shift = s.shift;
        i32 at = follow(d, s.at, &shift);
        for (; shift == s.shift; at++) {
            if (at + HASH_BYTES > d->target_bytes) {
                at = d->target_bytes;
                break;
            }
            if (equal_of_16(d, at, s.shift) >= AGAIN_MIN) break;
            if (equal_of_16(d, at, before) >= AGAIN_MIN) {
                shift = before;
                break;
            }
            if (look_up(d, at, &s.position)) {
                shift = s.position - at;
                break;
            }
        }
        if (shift != s.shift && at < d->target_bytes) {
            before = s.shift;
            realign(d, &s, at, shift);
        }
        s.at = at;
    }
    tell_up_to(d, &s);
}

/*
 * Scans the whole window. Returns 1 when all is told, 0 when it must be called again with d->suffixes because the first
 * string was met that may stand elsewhere in the base.
 */
EXPORT("delta_run")
int delta_run(struct delta *d) {
    struct scan s = { .told_base = d->start, .shift = d->start };
    d->control_bytes = d->diff_bytes = d->extra_bytes = 0;
    while (s.at < d->target_bytes) {
        /* Bytes of the new match, up to `seen`, that the present alignment gives too. */
        i32 score = 0;
        s.at += s.length;
        i32 seen = s.at;
        s.length = 0;
        for (; s.at < d->target_bytes; s.at++) {
            if (!longest(d, &s)) return 0;
            for (; seen < s.at + s.length; seen++) score += is_aligned(d, &s, seen);
            if (s.length > 0 && (s.length == score || s.length > score + GAIN_MIN)) break;
            if (seen > s.at) score -= is_aligned(d, &s, s.at);
            else seen = s.at + 1;
        }
        if (s.at >= d->target_bytes || s.length != score) tell_up_to(d, &s);
    }
    return 1;
}
