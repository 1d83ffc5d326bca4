package payload

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// Validate tells whether b is a canonical Doc: ErrCorrupt, ErrDepth, ErrUTF8,
// ErrNotFinite or ErrDuplicate say why not. Bytes that pass are safe to read
// with every method of this package. MaxSize is not asked: it binds who makes a
// payload, and what is stored must always be readable.
func Validate(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if Kind(b[0]) != Object || len(b) <= headerSize {
		return ErrCorrupt
	}
	return ValidateValue(b)
}

// ValidateValue tells whether b is exactly one canonical value.
func ValidateValue(b []byte) error {
	rest, err := check(b, 0)
	if err == nil && len(rest) != 0 {
		return ErrCorrupt
	}
	return err
}

// check reads one value and gives what follows it; outer containers enclose it.
func check(b []byte, outer int) ([]byte, error) {
	if len(b) == 0 {
		return nil, ErrCorrupt
	}
	switch Kind(b[0]) {
	case Null:
		return b[1:], nil
	case Bool:
		if len(b) < boolSize || b[1] > 1 {
			return nil, ErrCorrupt
		}
		return b[boolSize:], nil
	case Integer, Double:
		if len(b) < numberSize {
			return nil, ErrCorrupt
		}
		f := math.Float64frombits(binary.LittleEndian.Uint64(b[1:]))
		if Kind(b[0]) == Double && (math.IsNaN(f) || math.IsInf(f, 0)) {
			return nil, ErrNotFinite
		}
		return b[numberSize:], nil
	case String:
		_, rest, err := checkText(b[1:])
		return rest, err
	case List, Object:
		return checkMembers(b, outer+1)
	default:
		return nil, ErrCorrupt
	}
}

func checkText(b []byte) (s string, rest []byte, err error) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) || (w > 1 && b[w-1] == 0) {
		return "", nil, ErrCorrupt
	}
	s, rest = text(b[w:w+int(n)]), b[w+int(n):]
	if !utf8.ValidString(s) {
		return "", nil, ErrUTF8
	}
	return s, rest, nil
}

func checkMembers(b []byte, level int) ([]byte, error) {
	if level > MaxDepth {
		return nil, ErrDepth
	}
	if len(b) < headerSize {
		return nil, ErrCorrupt
	}
	n := uint64(binary.LittleEndian.Uint32(b[1:]))
	if n < headerSize-prefixSize || n > uint64(len(b)-prefixSize) {
		return nil, ErrCorrupt
	}
	object, count := Kind(b[0]) == Object, binary.LittleEndian.Uint32(b[prefixSize:])
	members, rest := b[headerSize:prefixSize+n], b[prefixSize+n:]
	last := ""
	for i := uint32(0); i < count; i++ {
		var err error
		if object {
			var key string
			if key, members, err = checkText(members); err != nil {
				return nil, err
			}
			switch {
			case i > 0 && key == last:
				return nil, ErrDuplicate
			case i > 0 && key < last:
				return nil, ErrCorrupt
			}
			last = key
		}
		if members, err = check(members, level); err != nil {
			return nil, err
		}
	}
	if len(members) != 0 {
		return nil, ErrCorrupt
	}
	return rest, nil
}

// depth counts the levels of lists and objects of a trusted value.
func depth(v Value) int {
	deepest := 0
	switch v.Kind() {
	case List:
		for e := range v.Elements() {
			deepest = max(deepest, depth(e))
		}
	case Object:
		for _, e := range v.Fields() {
			deepest = max(deepest, depth(e))
		}
	default:
		return 0
	}
	return deepest + 1
}
