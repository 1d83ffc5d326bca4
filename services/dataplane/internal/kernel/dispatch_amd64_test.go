package kernel

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/cpu"
)

// TestRequires: the generator notes what each function requires; without any one
// of that, the dispatch must not choose it.
func TestRequires(t *testing.T) {
	chosenBy := []struct {
		name string
		has  func() bool
	}{
		{`F32AVX512$`, hasAVX512}, {`F16AVX512$`, hasAVX512Half}, {`[UI]8AVX512$`, hasVNNI}, {`(hamming|common)AVX512$`, hasPopcount},
		{`TableAVX512$`, hasAVX512}, {`levels[24]AVX512$`, hasVNNI},
		{`F16AVX2$`, hasF16C}, {`AVX2$`, hasAVX2},
	}
	flags := map[string]*bool{
		"AVX2": &cpu.X86.HasAVX2, "F16C": &cpu.X86.HasF16C, "BMI2": &cpu.X86.HasBMI2,
		"AVX512F": &cpu.X86.HasAVX512F, "AVX512BW": &cpu.X86.HasAVX512BW, "AVX512VL": &cpu.X86.HasAVX512VL,
		"AVX512VNNI": &cpu.X86.HasAVX512VNNI, "AVX512VPOPCNTDQ": &cpu.X86.HasAVX512VPOPCNTDQ,
	}
	// AVX and its operating system's part come with AVX2; the rest has every CPU that Go runs on or that has AVX2.
	implied := "AVX CMOV MMX+"
	text, err := os.ReadFile("kernel_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	functions := regexp.MustCompile(`// func (\w+)\(.*\n// Requires: (.*)`).FindAllStringSubmatch(string(text), -1)
	if len(functions) != strings.Count(string(text), "TEXT ") {
		t.Fatalf("%d functions say what they require", len(functions))
	}
	for _, f := range functions {
		var has func() bool
		for _, c := range chosenBy {
			if has == nil && regexp.MustCompile(c.name).MatchString(f[1]) {
				has = c.has
			}
		}
		for _, feature := range strings.Split(f[2], ", ") {
			flag := flags[feature]
			if flag == nil {
				if !strings.Contains(implied, feature) {
					t.Errorf("%s requires %s, which nothing asks for", f[1], feature)
				}
				continue
			}
			was := *flag
			*flag = false
			if has() {
				t.Errorf("%s is chosen without %s", f[1], feature)
			}
			*flag = was
		}
	}
}
