package payload

import (
	"encoding/binary"
	"math"
)

// AppendNull adds a null.
func AppendNull(dst []byte) []byte { return append(dst, byte(Null)) }

// AppendBool adds a Bool.
func AppendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, byte(Bool), 1)
	}
	return append(dst, byte(Bool), 0)
}

// AppendInt adds an Integer.
func AppendInt(dst []byte, n int64) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, byte(Integer)), uint64(n))
}

// AppendDouble adds a Double; f must be finite.
func AppendDouble(dst []byte, f float64) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, byte(Double)), math.Float64bits(f))
}

// AppendString adds a String; s must be UTF-8.
func AppendString(dst []byte, s string) []byte { return appendKey(append(dst, byte(String)), s) }

func appendKey(dst []byte, key string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(key))), key...)
}

// SizeOf is the length of a value of that kind in bytes, without the members of a
// list or object; n is the length of a string.
func SizeOf(k Kind, n int) int {
	switch k {
	case Null:
		return 1
	case Bool:
		return boolSize
	case Integer, Double:
		return numberSize
	case String:
		return 1 + textSize(n)
	default:
		return headerSize
	}
}

// KeySize is how many bytes a key takes in front of its value.
func KeySize(key string) int { return textSize(len(key)) }

func textSize(n int) int {
	size := n + 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// open begins a list or object whose members follow; shut completes it.
func open(dst []byte, k Kind) []byte {
	return append(dst, byte(k), 0, 0, 0, 0, 0, 0, 0, 0)
}

// shut fills in the sizes of the container that begins at start.
func shut(dst []byte, start, count int) []byte {
	binary.LittleEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-prefixSize))
	binary.LittleEndian.PutUint32(dst[start+prefixSize:], uint32(count))
	return dst
}

// Writer makes a Doc out of fields that come in the order of their keys, as
// those of other Docs do. It checks nothing. The zero Writer is ready.
type Writer struct {
	buf   []byte
	count int
}

// Field adds a field; key is greater than the one before, v is canonical.
func (w *Writer) Field(key string, v Value) {
	if w.count == 0 {
		w.buf = open(w.buf, Object)
	}
	w.buf = appendField(w.buf, key, v)
	w.count++
}

// Doc gives the payload, which now owns the Writer's memory.
func (w *Writer) Doc() Doc {
	if w.count == 0 {
		return nil
	}
	return Doc(shut(w.buf, 0, w.count))
}
