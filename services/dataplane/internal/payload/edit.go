package payload

import "slices"

// Merge sets the top-level keys of src in d. A null in src removes the key, as
// the public set-payload call has it. The result shares no bytes with either.
func Merge(d, src Doc) (Doc, error) { return finish(merge(nil, Value(d), Value(src))) }

// SetAt merges obj into the object at the path and makes what is missing on the
// way. Where the path goes by key through something that is no object, an
// object takes its place; where it goes by index through something that is no
// list, an empty list does; an index past the end changes nothing.
func SetAt(d Doc, p Path, obj Doc) (Doc, error) {
	return finish(set(nil, Value(d), p.steps, Value(obj)))
}

// DeleteAt removes the values at the paths, one path after the other. Removing
// every element leaves an empty list. A path that ends at an index removes
// nothing: doing so twice would remove two elements.
func DeleteAt(d Doc, paths []Path) Doc {
	for _, p := range paths {
		if len(d) > 0 {
			d = asDoc(remove(nil, Value(d), p.steps))
		}
	}
	return d
}

// Project keeps what include names (everything if it names nothing) and then
// removes what exclude names. What lies on the way of an included path stays:
// objects and lists with what matched inside them, other values as they are.
// Of a list only [] selects elements, [0] selects none, as in Qdrant.
func Project(d Doc, include, exclude []Path) Doc {
	if len(include) > 0 && len(d) > 0 {
		tails := make([][]step, len(include))
		for i, p := range include {
			tails[i] = p.steps
		}
		d = asDoc(keep(nil, Value(d), tails))
	}
	for _, p := range exclude {
		if len(d) > 0 && !slices.ContainsFunc(p.steps, func(s step) bool { return s.kind == byIndex }) {
			d = asDoc(remove(nil, Value(d), p.steps))
		}
	}
	return d
}

// asDoc turns an object without keys into the empty Doc.
func asDoc(v Value) Doc {
	if v.Len() == 0 {
		return nil
	}
	return Doc(v)
}

// finish applies the limits to what an edit made.
func finish(b []byte) (Doc, error) {
	if len(b) > MaxSize {
		return nil, ErrTooLarge
	}
	if depth(b) > MaxDepth {
		return nil, ErrDepth
	}
	return asDoc(b), nil
}

func appendField(dst []byte, key string, v Value) []byte { return append(appendKey(dst, key), v...) }

// merge adds the object v with the fields of src set in it.
func merge(dst []byte, v, src Value) []byte {
	start, count := len(dst), 0
	dst = open(dst, Object)
	add := func(key string, e Value) {
		dst = appendField(dst, key, e)
		count++
	}
	for key, e := range v.Fields() {
		if _, replaced := src.Get(key); !replaced {
			add(key, e)
		}
	}
	kept := count
	for key, e := range src.Fields() {
		if e.Kind() != Null {
			add(key, e)
		}
	}
	if kept > 0 && count > kept {
		return resort(dst, start, count)
	}
	return shut(dst, start, count)
}

// resort rebuilds the object that ends dst with its fields in order.
func resort(dst []byte, start, count int) []byte {
	var b Builder
	b.BeginObject()
	for key, e := range Value(shut(dst, start, count)[start:]).Fields() {
		b.Key(key)
		b.buf = append(b.buf, e...)
		b.end()
	}
	b.End()
	return append(dst[:start], b.buf...)
}

// set adds v with src merged into it at steps. An absent v is nil.
func set(dst []byte, v Value, steps []step, src Value) []byte {
	if len(steps) == 0 {
		return merge(dst, v, src)
	}
	start, s := len(dst), steps[0]
	if s.kind != byKey {
		dst = open(dst, List)
		i := 0
		for e := range v.Elements() {
			if s.kind == byEach || s.index == i {
				dst = set(dst, e, steps[1:], src)
			} else {
				dst = append(dst, e...)
			}
			i++
		}
		return shut(dst, start, i)
	}
	dst = open(dst, Object)
	count, done := 0, false
	for key, e := range v.Fields() {
		if !done && key >= s.key {
			done = true
			count++
			if key == s.key {
				dst = set(appendKey(dst, key), e, steps[1:], src)
				continue
			}
			dst = set(appendKey(dst, s.key), nil, steps[1:], src)
		}
		dst = appendField(dst, key, e)
		count++
	}
	if !done {
		dst = set(appendKey(dst, s.key), nil, steps[1:], src)
		count++
	}
	return shut(dst, start, count)
}

// remove adds v without what lies at steps.
func remove(dst []byte, v Value, steps []step) []byte {
	start, count, s := len(dst), 0, steps[0]
	last := len(steps) == 1
	switch {
	case s.kind == byKey && v.Kind() == Object:
		dst = open(dst, Object)
		for key, e := range v.Fields() {
			switch {
			case key != s.key:
				dst = appendField(dst, key, e)
			case last:
				continue
			default:
				dst = remove(appendKey(dst, key), e, steps[1:])
			}
			count++
		}
	case s.kind != byKey && v.Kind() == List:
		dst = open(dst, List)
		i := -1
		for e := range v.Elements() {
			i++
			switch {
			case s.kind == byIndex && (last || s.index != i):
				dst = append(dst, e...)
			case last:
				continue
			default:
				dst = remove(dst, e, steps[1:])
			}
			count++
		}
	default:
		return append(dst, v...)
	}
	return shut(dst, start, count)
}

// keep adds v with only what lies at one of tails; v is a container and no
// tail is empty.
func keep(dst []byte, v Value, tails [][]step) []byte {
	start, count := len(dst), 0
	dst = open(dst, v.Kind())
	member := func(key string, keyed bool, e Value, in func(step) bool) {
		whole, deeper := false, [][]step(nil)
		for _, t := range tails {
			if in(t[0]) {
				whole = whole || len(t) == 1
				deeper = append(deeper, t[1:])
			}
		}
		if len(deeper) == 0 {
			return
		}
		if keyed {
			dst = appendKey(dst, key)
		}
		if whole || e.Kind() < List {
			dst = append(dst, e...)
		} else {
			dst = keep(dst, e, deeper)
		}
		count++
	}
	for key, e := range v.Fields() {
		member(key, true, e, func(s step) bool { return s.kind == byKey && s.key == key })
	}
	for e := range v.Elements() {
		member("", false, e, func(s step) bool { return s.kind == byEach })
	}
	return shut(dst, start, count)
}
