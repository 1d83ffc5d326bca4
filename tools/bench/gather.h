#include <stdint.h>

// near and far multiply and add in one operation, apart in two.
void dot_near(const float *q, const float *base, const uint32_t *ids, long lists, long n, long dim, long stride, float *out);
void dot_far(const float *q, const float *base, const uint32_t *ids, long lists, long n, long dim, long stride, float *out);
void dot_apart(const float *q, const float *base, const uint32_t *ids, long lists, long n, long dim, long stride, float *out);
void l2_near(const float *q, const float *base, const uint32_t *ids, long lists, long n, long dim, long stride, float *out);
void l2_far(const float *q, const float *base, const uint32_t *ids, long lists, long n, long dim, long stride, float *out);
void l2_apart(const float *q, const float *base, const uint32_t *ids, long lists, long n, long dim, long stride, float *out);

// stream reads bytes, a multiple of 256, and does next to nothing with them.
uint64_t stream(const void *from, long bytes);
