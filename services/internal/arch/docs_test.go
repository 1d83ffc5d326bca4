package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocs: every relative link in the documents leads somewhere, headings included, and the pages that are meant to be
// read at one sitting stay short.
func TestDocs(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	limits := map[string]int{"README.md": 150, "docs/architecture.md": 200, "Makefile": 100}
	var pages []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch name := d.Name(); {
		case d.IsDir() && p != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "testdata" || name == "storage" || name == "data"):
			return filepath.SkipDir
		case strings.HasSuffix(name, ".md"), name == "Makefile":
			pages = append(pages, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, p := range pages {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			t.Fatal(err)
		}
		if limit, ok := limits[filepath.ToSlash(rel)]; ok && strings.Count(string(b), "\n") > limit {
			t.Errorf("%s has more than %d lines", rel, limit)
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			to := p
			if target != "" {
				to = filepath.Join(filepath.Dir(p), target)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s, which is not there", rel, m[1])
			} else if anchor != "" && !hasHeading(t, to, anchor) {
				t.Errorf("%s links to %s, which has no such heading", rel, m[1])
			}
		}
	}
}

// hasHeading compares anchors as code hosts make them: lower case, letters, digits, - and _ kept, spaces to -.
func hasHeading(t *testing.T, page, anchor string) bool {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	drop := regexp.MustCompile(`[^\p{L}\p{N}\-_ ]`)
	for l := range strings.Lines(string(b)) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(l, "#"), " "); ok && strings.HasPrefix(l, "#") {
			if strings.ReplaceAll(drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-") == anchor {
				return true
			}
		}
	}
	return false
}
