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

func uint8Codes(m Metric) map[string]code[uint8, uint8, int64] {
	all := map[string]code[uint8, uint8, int64]{}
	if hasAVX2() {
		all["avx2"] = []code[uint8, uint8, int64]{dotU8AVX2, l2U8AVX2, l1U8AVX2}[m]
	}
	if hasVNNI() {
		all["avx512"] = []code[uint8, uint8, int64]{dotU8AVX512, l2U8AVX512, l1U8AVX512}[m]
	}
	return all
}

func int8Codes(m Metric) map[string]code[int8, int8, int64] {
	all := map[string]code[int8, int8, int64]{}
	if hasAVX2() {
		all["avx2"] = []code[int8, int8, int64]{dotI8AVX2, l2I8AVX2, l1I8AVX2}[m]
	}
	if hasVNNI() {
		all["avx512"] = []code[int8, int8, int64]{dotI8AVX512, l2I8AVX512, l1I8AVX512}[m]
	}
	return all
}

func float16Codes(m Metric) map[string]code[float32, uint16, float32] {
	all := map[string]code[float32, uint16, float32]{}
	if hasF16C() {
		all["avx2"] = []code[float32, uint16, float32]{dotF16AVX2, l2F16AVX2, l1F16AVX2}[m]
	}
	if hasAVX512Half() {
		all["avx512"] = []code[float32, uint16, float32]{dotF16AVX512, l2F16AVX512, l1F16AVX512}[m]
	}
	return all
}

func hammingCodes() map[string]code[uint8, uint8, int64] {
	all := map[string]code[uint8, uint8, int64]{}
	if hasAVX2() {
		all["avx2"] = hammingAVX2
	}
	if hasPopcount() {
		all["avx512"] = hammingAVX512
	}
	return all
}

func commonCodes() map[string]code[uint8, uint8, int64] {
	all := map[string]code[uint8, uint8, int64]{}
	if hasAVX2() {
		all["avx2"] = commonAVX2
	}
	if hasPopcount() {
		all["avx512"] = commonAVX512
	}
	return all
}

func levelCodes(l Levels) map[string]code[int8, uint8, int64] {
	all := map[string]code[int8, uint8, int64]{}
	at := int(l)/2 - 1
	if hasAVX2() {
		all["avx2"] = []code[int8, uint8, int64]{levels2AVX2, levels4AVX2}[at]
	}
	if hasVNNI() {
		all["avx512"] = []code[int8, uint8, int64]{levels2AVX512, levels4AVX512}[at]
	}
	return all
}

func tableCodes(m Metric) map[string]func(q *float32, dim int, columns, out *float32) {
	all := map[string]func(q *float32, dim int, columns, out *float32){}
	if hasAVX2() {
		all["avx2"] = []func(q *float32, dim int, columns, out *float32){dotTableAVX2, l2TableAVX2, l1TableAVX2}[m]
	}
	if hasAVX512() {
		all["avx512"] = []func(q *float32, dim int, columns, out *float32){dotTableAVX512, l2TableAVX512, l1TableAVX512}[m]
	}
	return all
}
