/*
 * Suffix array in linear time: SA-IS (Nong, Zhang, Chan: "Two Efficient Algorithms for Linear Time Suffix Array
 * Construction", 2009), with levels in a loop instead of recursion. The string of each deeper level and its suffix array
 * live inside the array of the level above, so the array itself (4 bytes for each of the n text bytes) is nearly all of
 * the memory. Beside it: `buckets`, the larger of 256 and n/2+1 words, shared by all levels, and `types`, one bit for
 * each character of each level, n/4+64 bytes. Suffixes are compared as if a character below all others ended the text.
 *
 * Words: a suffix is S if it is less than the one after it, else L; the leftmost S of a run is LMS. The order of the LMS
 * suffixes decides that of all others, which two passes over the array induce.
 */
#include "types.h"

/* Each level has at most half the characters of the one above. */
#define LEVELS_MAX 32
#define EMPTY (-1)

/* One level: a text of `n` characters below `k`, bytes in the first level and words in the others. */
struct level {
    const u8 *bytes;
    const i32 *words;
    i32 n;
    i32 k;
    i32 lms;
    u8 *types;
};

INLINE i32 at(const struct level *l, i32 i) {
    return l->bytes ? l->bytes[i] : l->words[i];
}

INLINE int is_s(const struct level *l, i32 i) {
    return l->types[i >> 3] >> (i & 7) & 1;
}

INLINE int is_lms(const struct level *l, i32 i) {
    return i > 0 && is_s(l, i) && !is_s(l, i - 1);
}

/* Fills the type bits and counts the LMS characters. The last character is L: the end of the text is below it. */
static void classify(struct level *l) {
    i32 lms = 0, next = at(l, l->n - 1);
    int s = 0;
    for (i32 i = 0; i < (l->n + 7) / 8; i++) l->types[i] = 0;
    for (i32 i = l->n - 2; i >= 0; i--) {
        i32 c = at(l, i);
        int now = c < next || (c == next && s);
        if (now) l->types[i >> 3] |= (u8)(1 << (i & 7));
        lms += s && !now;
        s = now;
        next = c;
    }
    l->lms = lms;
}

/* Where the suffixes of each first character begin (ends = 0) or end (ends = 1) in the array. */
static void bucket_borders(const struct level *l, i32 *buckets, int ends) {
    i32 sum = 0;
    for (i32 c = 0; c < l->k; c++) buckets[c] = 0;
    for (i32 i = 0; i < l->n; i++) buckets[at(l, i)]++;
    for (i32 c = 0; c < l->k; c++) {
        i32 size = buckets[c];
        sum += size;
        buckets[c] = ends ? sum : sum - size;
    }
}

/* With the LMS suffixes in their places at the ends of the buckets, puts all others where they belong. */
INLINE void induce_text(const struct level *l, i32 *sa, i32 *buckets) {
    bucket_borders(l, buckets, 0);
    sa[buckets[at(l, l->n - 1)]++] = l->n - 1;
    for (i32 i = 0; i < l->n; i++) {
        i32 v = sa[i];
        if (v <= 0) continue;
        i32 before = at(l, v - 1);
        /* v is L or a leftmost S: what stands before it and is not less is L. */
        if (before >= at(l, v)) sa[buckets[before]++] = v - 1;
    }
    bucket_borders(l, buckets, 1);
    for (i32 i = l->n - 1; i >= 0; i--) {
        i32 v = sa[i];
        if (v <= 0) continue;
        i32 before = at(l, v - 1), c = at(l, v);
        if (before < c || (before == c && is_s(l, v - 1))) sa[--buckets[before]] = v - 1;
    }
}

/* Two copies, so that the compiler knows in each which sort of character it reads. */
static void induce(const struct level *l, i32 *sa, i32 *buckets) {
    struct level copy = *l;
    if (l->bytes) {
        copy.words = 0;
        induce_text(&copy, sa, buckets);
    } else {
        copy.bytes = 0;
        induce_text(&copy, sa, buckets);
    }
}

/* Whether the LMS substrings at a and b are equal: characters up to and with the next LMS character. */
static int same_substring(const struct level *l, i32 a, i32 b) {
    for (i32 i = 0;; i++) {
        if (a + i >= l->n || b + i >= l->n) return 0;
        if (at(l, a + i) != at(l, b + i) || is_s(l, a + i) != is_s(l, b + i)) return 0;
        if (i > 0 && (is_lms(l, a + i) || is_lms(l, b + i))) {
            return is_lms(l, a + i) && is_lms(l, b + i);
        }
    }
}

/* Sorts the LMS substrings, names them, and leaves the names in text order in the last words of sa. Returns their count. */
static i32 name_substrings(const struct level *l, i32 *sa, i32 *buckets) {
    i32 found = 0, names = 0, previous = -1;
    for (i32 i = 0; i < l->n; i++) sa[i] = EMPTY;
    bucket_borders(l, buckets, 1);
    for (i32 i = l->n - 1; i > 0; i--) {
        if (is_lms(l, i)) sa[--buckets[at(l, i)]] = i;
    }
    induce(l, sa, buckets);
    for (i32 i = 0; i < l->n; i++) {
        if (is_lms(l, sa[i])) sa[found++] = sa[i];
    }
    /* Two LMS characters are never neighbours, so half the position is a place of its own. */
    for (i32 i = found; i < l->n; i++) sa[i] = EMPTY;
    for (i32 i = 0; i < found; i++) {
        i32 v = sa[i];
        if (previous < 0 || !same_substring(l, previous, v)) names++;
        previous = v;
        sa[found + (v >> 1)] = names - 1;
    }
    i32 to = l->n;
    for (i32 i = l->n - 1; i >= found; i--) {
        if (sa[i] != EMPTY) sa[--to] = sa[i];
    }
    return names;
}

/* With the order of the LMS suffixes (by their number in the text) in the first words of sa, sorts all suffixes. */
static void finish_level(const struct level *l, i32 *sa, i32 *buckets) {
    i32 *positions = sa + l->n - l->lms;
    i32 to = l->lms;
    for (i32 i = l->n - 1; i > 0; i--) {
        if (is_lms(l, i)) positions[--to] = i;
    }
    for (i32 i = 0; i < l->lms; i++) sa[i] = positions[sa[i]];
    for (i32 i = l->lms; i < l->n; i++) sa[i] = EMPTY;
    bucket_borders(l, buckets, 1);
    for (i32 i = l->lms - 1; i >= 0; i--) {
        i32 v = sa[i];
        sa[i] = EMPTY;
        sa[--buckets[at(l, v)]] = v;
    }
    induce(l, sa, buckets);
}

/* Fills sa[0..n) with the positions of the suffixes of text in ascending order. n > 0; see the top for the work memory. */
EXPORT("suffix_sort")
void suffix_sort(const u8 *text, i32 n, i32 *sa, i32 *buckets, u8 *types) {
    struct level levels[LEVELS_MAX];
    i32 depth = 0;
    levels[0] = (struct level){ .bytes = text, .n = n, .k = 256, .types = types };
    for (;;) {
        struct level *l = &levels[depth];
        classify(l);
        i32 names = name_substrings(l, sa, buckets);
        const i32 *text1 = sa + l->n - l->lms;
        if (names == l->lms) {
            for (i32 i = 0; i < l->lms; i++) sa[text1[i]] = i;
            break;
        }
        u8 *after = l->types + (l->n + 7) / 8;
        levels[++depth] = (struct level){ .words = text1, .n = l->lms, .k = names, .types = after };
    }
    for (; depth >= 0; depth--) finish_level(&levels[depth], sa, buckets);
}
