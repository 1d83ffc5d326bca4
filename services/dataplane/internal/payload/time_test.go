package payload

import (
	"testing"
	"time"
)

func TestMicros(t *testing.T) {
	at := func(s string) int64 {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.UnixMicro()
	}
	for in, same := range map[string]string{
		"2024-02-29T10:11:12Z":          "2024-02-29T10:11:12Z",
		"2024-02-29t10:11:12.5z":        "2024-02-29T10:11:12.5Z",
		"2024-02-29 10:11:12.123456789": "2024-02-29T10:11:12.123456Z",
		"2024-02-29 10:11":              "2024-02-29T10:11:00Z",
		"2024-02-29":                    "2024-02-29T00:00:00Z",
		"2024-02-29T10:11:12+02:30":     "2024-02-29T07:41:12Z",
		"2024-02-29T10:11:12-0230":      "2024-02-29T12:41:12Z",
		"2024-02-29T10:11:12+02":        "2024-02-29T08:11:12Z",
		"0001-01-01T00:00:00Z":          "0001-01-01T00:00:00Z",
		"1969-12-31T23:59:59.999999Z":   "1969-12-31T23:59:59.999999Z",
	} {
		if got, ok := Micros(in); !ok || got != at(same) {
			t.Errorf("Micros(%q) = %d, %v; want %d", in, got, ok, at(same))
		}
	}
	for _, in := range []string{"", "red", "2024", "2024-2-1", "2023-02-29", "2024-13-01", "2024-00-10", "2024-01-00", "2024-01-01T", "2024-01-01T24:00",
		"2024-01-01T10:60", "2024-01-01T10:11:60", "2024-01-01T10:11:12.", "2024-01-01T10:11:12+", "2024-01-01T10:11:12+25", "2024-01-01T10:11:12+01:75",
		"2024-01-01T10:11:12Zx", "2024-01-01x", "２024-01-01"} {
		if got, ok := Micros(in); ok {
			t.Errorf("Micros(%q) = %d, want a refusal", in, got)
		}
	}
}

// What both read, both read alike. The standard library is laxer: an hour of one
// digit, a comma, a zone of 24 hours.
func FuzzMicros(f *testing.F) {
	f.Add("2024-02-29T10:11:12.5+02:30")
	f.Add("1969-12-31T23:59:59Z")
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := Micros(s)
		want, err := time.Parse(time.RFC3339Nano, s)
		if err != nil || !ok {
			return
		}
		if got != want.UnixMicro() {
			t.Errorf("Micros(%q) = %d, %v; want %d", s, got, ok, want.UnixMicro())
		}
	})
}
