package dialect

import (
	"slices"
	"strings"
	"unicode"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// enum holds the tokens of one enum.
type enum struct {
	tokens  map[protoreflect.EnumNumber]string
	numbers map[string]protoreflect.EnumNumber
}

func (c *Codec) addEnums(list protoreflect.EnumDescriptors) {
	for i := range list.Len() {
		ed := list.Get(i)
		e := &enum{tokens: map[protoreflect.EnumNumber]string{}, numbers: map[string]protoreflect.EnumNumber{}}
		for j := range ed.Values().Len() {
			v := ed.Values().Get(j)
			token := tokenOf(ed.FullName(), string(v.Name()))
			e.tokens[v.Number()] = token
			if !placeholder(ed.FullName(), string(v.Name())) {
				e.numbers[token] = v.Number()
			}
		}
		c.enums[ed.FullName()] = e
	}
}

// tokenOf is how REST writes an enum value: as lower-case words, but for the
// few enums that it writes as they are.
func tokenOf(enum protoreflect.FullName, value string) string {
	switch enum {
	case "qdrant.Distance", "qdrant.ReplicaState":
		return value
	case "pando.cluster.v1.RaftInfo.Role":
		return pascal(strings.TrimPrefix(value, "ROLE_"))
	case "qdrant.FieldType":
		value = strings.TrimPrefix(value, "FieldType")
	case "qdrant.BinaryQuantizationQueryEncoding.Setting":
		return strings.ToLower(value) // scalar4bits
	}
	if enum.Parent() != "qdrant" && value == strings.ToUpper(value) {
		// Our own packages prefix each value with the enum's name.
		return strings.TrimPrefix(strings.ToLower(value), snake(string(enum.Name()))+"_")
	}
	return snake(value)
}

// placeholder tells the zero values that stand for none: they are neither read nor printed.
func placeholder(enum protoreflect.FullName, value string) bool {
	if enum == "qdrant.Datatype" && value == "Default" {
		return true
	}
	switch value {
	case "UnknownDistance", "MemoryUnknown", "UnknownType", "Unknown", "UnknownCollectionStatus", "UnknownQuantization",
		"UnknownUpdateStatus":
		return true
	}
	return strings.HasSuffix(value, "_UNSPECIFIED")
}

// snake turns OneAndHalfBits into one_and_half_bits, and RRF into rrf.
func snake(s string) string {
	var b strings.Builder
	for i, r := range s {
		if unicode.IsUpper(r) && i > 0 && unicode.IsLower(rune(s[i-1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// pascal turns PRE_CANDIDATE into PreCandidate.
func pascal(s string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(s, "_") {
		b.WriteString(word[:1] + strings.ToLower(word[1:]))
	}
	return b.String()
}

// real tells whether a value has a token.
func (e *enum) real(n protoreflect.EnumNumber) bool {
	_, ok := e.numbers[e.tokens[n]]
	return ok
}

// token is the text of a value; a number that a newer peer knows is spelt as unknown.
func (e *enum) token(n protoreflect.EnumNumber) string {
	if t, ok := e.tokens[n]; ok {
		return t
	}
	return "unknown"
}

func (e *enum) list() string {
	tokens := make([]string, 0, len(e.numbers))
	for t := range e.numbers {
		tokens = append(tokens, "`"+t+"`")
	}
	slices.Sort(tokens)
	return strings.Join(tokens, ", ")
}
