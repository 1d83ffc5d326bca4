package analysis

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

func compatible(s string) string { return norm.NFKC.String(s) }

// fold writes what ASCII can spell without marks, and leaves everything else.
func fold(s string) string {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] < utf8.RuneSelf
	}
	if plain {
		return s
	}
	var out strings.Builder
	for _, r := range norm.NFC.String(s) {
		if r < utf8.RuneSelf {
			out.WriteRune(r)
		} else if spelled, ok := ascii(r); ok {
			out.WriteString(spelled)
		} else {
			out.WriteRune(r)
		}
	}
	return out.String()
}

// ascii spells a letter: its decomposition without marks, or by convention.
func ascii(r rune) (string, bool) {
	var buf [4 * utf8.UTFMax]byte
	kept := buf[:0]
	for _, d := range norm.NFKD.String(string(r)) {
		switch {
		case unicode.Is(unicode.Mn, d):
		case d < utf8.RuneSelf:
			kept = append(kept, byte(d))
		default:
			s, ok := letter(d)
			if !ok {
				return "", false
			}
			kept = append(kept, s...)
		}
	}
	return string(kept), len(kept) > 0
}

// letter spells the Latin letters that Unicode does not decompose.
func letter(r rune) (string, bool) {
	switch r {
	case 'Æ':
		return "AE", true
	case 'æ':
		return "ae", true
	case 'Œ':
		return "OE", true
	case 'œ':
		return "oe", true
	case 'ß':
		return "ss", true
	case 'ẞ':
		return "SS", true
	case 'Ø':
		return "O", true
	case 'ø':
		return "o", true
	case 'Ð', 'Đ':
		return "D", true
	case 'ð', 'đ':
		return "d", true
	case 'Þ':
		return "TH", true
	case 'þ':
		return "th", true
	case 'Ł':
		return "L", true
	case 'ł':
		return "l", true
	case 'Ħ':
		return "H", true
	case 'ħ':
		return "h", true
	case 'Ŧ':
		return "T", true
	case 'ŧ':
		return "t", true
	case 'ı':
		return "i", true
	case 'Ŋ':
		return "N", true
	case 'ŋ':
		return "n", true
	}
	return "", false
}
