package quant

import "golang.org/x/sys/cpu"

// levels runs test with what this CPU has, without its 512-bit code, and in pure Go.
func levels(test func(level string)) {
	was := cpu.X86
	defer func() { cpu.X86 = was }()
	test("all")
	cpu.X86.HasAVX512F = false
	test("AVX2")
	cpu.X86.HasAVX2 = false
	test("pure Go")
}
