package scan

import (
	"math"
	"strconv"
)

// number finds the end of the JSON number at src[i]. If it is none, ok is
// false and end is where it goes wrong.
func number(src []byte, i int) (end int, ok bool) {
	if i < len(src) && src[i] == '-' {
		i++
	}
	if i < len(src) && src[i] == '0' {
		i++
	} else if i, ok = digits(src, i); !ok {
		return i, false
	}
	if i < len(src) && src[i] == '.' {
		if i, ok = digits(src, i+1); !ok {
			return i, false
		}
	}
	if i < len(src) && src[i]|0x20 == 'e' {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		if i, ok = digits(src, i); !ok {
			return i, false
		}
	}
	return i, true
}

// digits passes one or more digits.
func digits(src []byte, i int) (end int, ok bool) {
	from := i
	for i < len(src) && src[i]-'0' <= 9 {
		i++
	}
	return i, i > from
}

// tens holds the powers of ten that a float64 represents exactly.
func tens() [23]float64 {
	return [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
		1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}
}

// appendFloats reads numbers separated by commas from src[i], the first byte
// after the opening bracket, up to and with the closing one. Each is rounded
// correctly to float32; those beyond its range become infinite and set over.
// ok is false if there is anything else in the array, or no end.
func appendFloats(dst []float32, src []byte, i int) (out []float32, end int, over, ok bool) {
	pow := tens()
	for i < len(src) {
		for i < len(src) && isSpace(src[i]) {
			i++
		}
		f, next, good := float(src, i, &pow)
		if !good {
			return dst, i, false, false
		}
		over = over || math.IsInf(float64(f), 0)
		dst = append(dst, f)
		for i = next; i < len(src) && isSpace(src[i]); i++ {
		}
		if i == len(src) {
			break
		}
		if src[i] == ']' {
			return dst, i + 1, over, true
		}
		if src[i] != ',' {
			break
		}
		i++
	}
	return dst, i, false, false
}

// float reads one number. Up to 2^53 as digits and 10^22 as power the value is
// one exact float64 operation away (Clinger 1990), and rounding that once more
// to float32 is wrong only if the float64 lies just between two float32
// values; those, and all longer numbers, go to strconv.
func float(src []byte, i int, pow *[23]float64) (f float32, end int, ok bool) {
	start := i
	negative := i < len(src) && src[i] == '-'
	if negative {
		i++
	}
	mantissa, exponent := uint64(0), 0
	first := i
	for ; i < len(src) && src[i]-'0' <= 9; i++ {
		mantissa = mantissa*10 + uint64(src[i]-'0')
	}
	length := i - first
	if length == 0 || length > 1 && src[first] == '0' {
		return 0, i, false
	}
	if i < len(src) && src[i] == '.' {
		i++
		first = i
		for ; i < len(src) && src[i]-'0' <= 9; i++ {
			mantissa = mantissa*10 + uint64(src[i]-'0')
		}
		if i == first {
			return 0, i, false
		}
		exponent = first - i
		length += i - first
	}
	if i < len(src) && src[i]|0x20 == 'e' {
		var e int
		if e, i, ok = power(src, i+1); !ok {
			return 0, i, false
		}
		exponent += e
	}
	// 19 digits never overflow a uint64; leading zeros only make this stricter.
	if length > 19 || mantissa > 1<<53 || exponent < -22 || exponent > 22 {
		return slow(src[start:i]), i, true
	}
	d := float64(mantissa)
	if exponent < 0 {
		d /= pow[-exponent]
	} else {
		d *= pow[exponent]
	}
	const below = 1<<29 - 1 // bits of a float64 that a float32 does not have
	if math.Float64bits(d)&below == 1<<28 {
		return slow(src[start:i]), i, true
	}
	if negative {
		d = -d
	}
	return float32(d), i, true
}

// power reads what follows the e of an exponent. It stops counting where no
// finite number can be any more.
func power(src []byte, i int) (e, end int, ok bool) {
	negative := i < len(src) && src[i] == '-'
	if negative || i < len(src) && src[i] == '+' {
		i++
	}
	first := i
	for ; i < len(src) && src[i]-'0' <= 9; i++ {
		if e < 1<<20 {
			e = e*10 + int(src[i]-'0')
		}
	}
	if negative {
		e = -e
	}
	return e, i, i > first
}

// slow rounds a number of correct grammar; beyond the range it is infinite.
func slow(text []byte) float32 {
	f, _ := strconv.ParseFloat(string(text), 32)
	return float32(f)
}
