package release

import (
	"regexp"
	"testing"
)

func TestForms(t *testing.T) {
	for form, s := range map[string]string{
		`^[0-9a-f]{40}$`:     Commit(), // clients check the length
		`^\d+\.\d+\.\d+$`:    Version,
		`^1\.19\.\d+$`:       API,
		`^qdrant - .*engine`: Title,
	} {
		if !regexp.MustCompile(form).MatchString(s) {
			t.Errorf("%q is not of the form %s", s, form)
		}
	}
}
