package kernel

// The tests hold every implementation that this CPU can run against the law; the
// dispatch alone would show only the widest.

func float32Codes(m Metric) map[string]code[float32, float32, float32] {
	all := map[string]code[float32, float32, float32]{}
	if hasAVX2() {
		all["avx2"] = []code[float32, float32, float32]{dotF32AVX2, l2F32AVX2, l1F32AVX2}[m]
	}
	if hasAVX512() {
		all["avx512"] = []code[float32, float32, float32]{dotF32AVX512, l2F32AVX512, l1F32AVX512}[m]
	}
	return all
}
