package validate

import (
	"strings"
	"unicode"
)

// Key checks the path of a payload key. Its grammar:
//
//	path    = segment { "." segment }
//	segment = name { "[" [ digits ] "]" }
//	name    = 1*( letter | digit | "_" | "-" ) | '"' 1*( any but '"' ) '"'
func Key(path string) error {
	rest := path
	for {
		var ok bool
		if rest, ok = segment(rest); !ok {
			return unable("Invalid json path: %.64q", path)
		}
		if rest == "" {
			return nil
		}
		if rest[0] != '.' {
			return unable("Invalid json path: %.64q", path)
		}
		rest = rest[1:]
	}
}

// segment cuts one segment off.
func segment(s string) (rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		end := strings.IndexByte(s[1:], '"')
		if end < 1 {
			return s, false
		}
		s = s[end+2:]
	} else {
		end := strings.IndexFunc(s, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsNumber(r) && r != '_' && r != '-'
		})
		if end < 0 {
			end = len(s)
		}
		if end == 0 {
			return s, false
		}
		s = s[end:]
	}
	for strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 || strings.Trim(s[1:end], "0123456789") != "" || end > 10 {
			return s, false
		}
		s = s[end+1:]
	}
	return s, true
}

// Keys checks several paths.
func Keys(paths []string) error {
	for _, p := range paths {
		if err := Key(p); err != nil {
			return err
		}
	}
	return nil
}
