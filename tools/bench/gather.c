// Gathers as a C programmer would write them: four rows share the query, the
// next four are prefetched, vectors are as wide as the machine's.
#include "gather.h"

typedef float v16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef float v8 __attribute__((vector_size(32)));
typedef float v4 __attribute__((vector_size(16)));

static inline float fold(v16 v)
{
	v8 a = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
	v4 b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
	return (b[0] + b[2]) + (b[1] + b[3]);
}

// lists times n rows; n is a multiple of four, dim of sixteen.
#define GATHER(NAME, TERM, LOCALITY)                                                                          \
	void NAME(const float *q, const float *base, const uint32_t *ids, long lists, long n,       \
		  long dim, long stride, float *out)                                                \
	{                                                                                           \
		for (; lists > 0; lists--)                                                          \
			for (long left = n; left > 0; left -= 4, ids += 4, out += 4) {              \
				const float *r[4], *p[4];                                           \
				v16 acc[4] = {{0}, {0}, {0}, {0}};                                  \
				for (int i = 0; i < 4; i++) {                                       \
					r[i] = base + ids[i] * stride;                              \
					p[i] = left >= 8 ? base + ids[4 + i] * stride : r[i];       \
				}                                                                   \
				for (long at = 0; at < dim; at += 16) {                             \
					v16 x = *(const v16 *)(q + at);                             \
					for (int i = 0; i < 4; i++) {                               \
						v16 y = *(const v16 *)(r[i] + at);                  \
						acc[i] += TERM;                                     \
						__builtin_prefetch(p[i] + at, 0, LOCALITY);                  \
					}                                                           \
				}                                                                   \
				for (int i = 0; i < 4; i++)                                         \
					out[i] = fold(acc[i]);                                      \
			}                                                                           \
	}

// near: the next rows come into the first cache; far: into the second.
GATHER(dot_near, x *y, 3)
GATHER(l2_near, (x - y) * (x - y), 3)
GATHER(dot_far, x *y, 2)
GATHER(l2_far, (x - y) * (x - y), 2)
#pragma GCC optimize("fp-contract=off")
GATHER(dot_apart, x *y, 2)
GATHER(l2_apart, (x - y) * (x - y), 2)
