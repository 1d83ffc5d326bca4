package api

import (
	"strings"
	"unicode/utf8"

	"github.com/pandodb/pando/services/internal/fault"
)

// checkName holds what a name of a collection or an alias may be: 1 to 255 bytes that every file system takes.
func checkName(what, name string) error {
	switch {
	case name == "":
		return fault.New(fault.Validation, "Validation error in body: %s name must not be empty", what)
	case len(name) > 255:
		return fault.New(fault.Validation, "Validation error in body: %s name is longer than 255 bytes", what)
	case !utf8.ValidString(name):
		return fault.New(fault.Validation, "Validation error in body: %s name is not UTF-8", what)
	}
	bad := strings.IndexFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f || strings.ContainsRune(`<>:"/\|?*`, r) })
	if bad >= 0 {
		r, _ := utf8.DecodeRuneInString(name[bad:])
		return fault.New(fault.Validation, "Validation error in body: %s name cannot contain %q", what, r)
	}
	if name == "." || name == ".." {
		return fault.New(fault.Validation, "Validation error in body: %s name cannot be %q", what, name)
	}
	return nil
}
