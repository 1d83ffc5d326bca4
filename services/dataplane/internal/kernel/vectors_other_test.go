//go:build !amd64

package kernel

func float32Codes(Metric) map[string]code[float32, float32, float32] { return nil }

func uint8Codes(Metric) map[string]code[uint8, uint8, int64] { return nil }

func int8Codes(Metric) map[string]code[int8, int8, int64] { return nil }

func float16Codes(Metric) map[string]code[float32, uint16, float32] { return nil }

func hammingCodes() map[string]code[uint8, uint8, int64] { return nil }

func commonCodes() map[string]code[uint8, uint8, int64] { return nil }

func levelCodes(Levels) map[string]code[int8, uint8, int64] { return nil }

func tableCodes(Metric) map[string]func(q *float32, dim int, columns, out *float32) { return nil }
