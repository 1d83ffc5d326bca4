#include "gather.h"

typedef uint64_t v8 __attribute__((vector_size(64), aligned(8), may_alias));

uint64_t stream(const void *from, long bytes)
{
	const v8 *v = from;
	v8 a = {0}, b = {0}, c = {0}, d = {0};
	for (long i = 0; i < bytes / 64; i += 4) {
		a ^= v[i];
		b ^= v[i + 1];
		c ^= v[i + 2];
		d ^= v[i + 3];
	}
	a ^= b ^ c ^ d;
	return a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
}
