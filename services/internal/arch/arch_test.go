package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

const module = "github.com/pandodb/pando/services/"

// source is one Go file; path is relative to services/.
type source struct {
	path string
	file *ast.File
	fset *token.FileSet
	text string
}

func (s source) pkg() string  { return path.Dir(s.path) }
func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// isSuite: a conformance suite (storetest, fstest) or the tests that drive whole processes.
func (s source) isSuite() bool {
	return strings.HasSuffix(path.Base(s.pkg()), "test") || within(s.pkg(), "test")
}

func (s source) line(p token.Pos) int { return s.fset.Position(p).Line }

func (s source) lines() int { return strings.Count(s.text, "\n") }

// violation of one rule at one place.
type violation struct {
	rule string
	at   string // path of a file or a package, and for some rules ":name"
	line int
	text string
}

func (v violation) String() string { return fmt.Sprintf("%s:%d: %s: %s", v.at, v.line, v.rule, v.text) }

// check runs all rules.
func check(sources []source) []violation {
	var out []violation
	for _, s := range sources {
		out = append(out, imports(s)...)
		out = append(out, sizes(s)...)
		out = append(out, calls(s)...)
		out = append(out, comments(s)...)
	}
	out = append(out, packages(sources)...)
	return out
}

func parse(name, text string) (source, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	return source{name, f, fset, text}, err
}

func within(pkg string, trees ...string) bool {
	return slices.ContainsFunc(trees, func(t string) bool { return pkg == t || strings.HasPrefix(pkg, t+"/") })
}

func TestHouse(t *testing.T) {
	root := filepath.Join("..", "..")
	var sources []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "testdata" {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		s, err := parse(filepath.ToSlash(rel), string(b))
		if err != nil {
			return err
		}
		if !ast.IsGenerated(s.file) {
			sources = append(sources, s)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(sources) < 20 {
		t.Fatalf("only %d files found: this test looks in the wrong place", len(sources))
	}

	used := map[exception]bool{}
	for _, v := range check(sources) {
		i := slices.IndexFunc(exceptions(), func(e exception) bool { return e.rule == v.rule && e.at == v.at })
		if i < 0 {
			t.Error(v)
			continue
		}
		used[exceptions()[i]] = true
	}
	for _, e := range exceptions() {
		if !used[e] {
			t.Errorf("the exception {%s, %s} is not needed any more: remove it", e.rule, e.at)
		}
		if len(e.reason) < 20 {
			t.Errorf("the exception {%s, %s} needs a reason", e.rule, e.at)
		}
	}
}

// TestRulesFire: every archive in testdata is a small tree; its comment lists, one a line, the violations "rule at"
// that must come out, and no others.
func TestRulesFire(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) < 4 {
		t.Fatalf("%d archives, %v", len(archives), err)
	}
	fired := map[string]bool{}
	for _, name := range archives {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var sources []source
		for _, f := range a.Files {
			s, err := parse(f.Name, expand(string(f.Data)))
			if err != nil {
				t.Fatal(err)
			}
			sources = append(sources, s)
		}
		var got, want []string
		for _, v := range check(sources) {
			got = append(got, v.rule+" "+v.at)
			fired[v.rule] = true
		}
		for l := range strings.Lines(string(a.Comment)) {
			if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
				want = append(want, l)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got\n  %s\nwant\n  %s", name, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
	}
	for _, r := range rules() {
		if !fired[r] {
			t.Errorf("no archive makes the rule %q fire", r)
		}
	}
}

// expand replaces a line "//lines N" by N empty comment lines, so that fixtures of size stay small.
func expand(s string) string {
	var b strings.Builder
	for l := range strings.Lines(s) {
		var n int
		if _, err := fmt.Sscanf(strings.TrimSpace(l), "//lines %d", &n); err == nil {
			b.WriteString(strings.Repeat("//\n", n))
			continue
		}
		b.WriteString(l)
	}
	return b.String()
}
