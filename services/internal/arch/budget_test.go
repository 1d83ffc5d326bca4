package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strings"
)

// The budget, for hand-written code that is not a test.
const (
	maxFile      = 600
	maxFunction  = 70
	maxInterface = 6
	maxPackage   = 2500
)

func sizes(s source) []violation {
	if s.isTest() {
		return nil
	}
	var out []violation
	if n := s.lines(); n > maxFile {
		out = append(out, violation{"file size", s.path, n, fmt.Sprintf("%d lines, the limit is %d", n, maxFile)})
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			size := s.line(n.End()) - s.line(n.Pos()) + 1 - tableLines(s, n)
			if size > maxFunction && !s.isSuite() {
				out = append(out, violation{"function size", s.path + ":" + n.Name.Name, s.line(n.Pos()), fmt.Sprintf("%d lines, the limit is %d", size, maxFunction)})
			}
		case *ast.TypeSpec:
			if i, ok := n.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > maxInterface {
				out = append(out, violation{"interface size", s.path + ":" + n.Name.Name, s.line(n.Pos()), fmt.Sprintf("%d methods, the limit is %d", i.Methods.NumFields(), maxInterface)})
			}
		}
		return true
	})
	return out
}

// tableLines is the length of the literal that a function ends by returning: a table reads well at any length.
func tableLines(s source, f *ast.FuncDecl) int {
	if f.Body == nil || len(f.Body.List) == 0 {
		return 0
	}
	r, ok := f.Body.List[len(f.Body.List)-1].(*ast.ReturnStmt)
	if !ok || len(r.Results) != 1 {
		return 0
	}
	table, ok := r.Results[0].(*ast.CompositeLit)
	if !ok {
		return 0
	}
	return s.line(table.Rbrace) - s.line(table.Lbrace)
}

// packages holds the rules that need all files of a package.
func packages(sources []source) []violation {
	byPkg := map[string][]source{}
	for _, s := range sources {
		byPkg[s.pkg()] = append(byPkg[s.pkg()], s)
	}
	var out []violation
	for pkg, files := range byPkg {
		lines, documented, product := 0, false, false
		for _, s := range files {
			if s.isTest() {
				continue
			}
			product = true
			lines += s.lines()
			documented = documented || s.file.Doc != nil
		}
		if lines > maxPackage {
			out = append(out, violation{"package size", pkg, lines, fmt.Sprintf("%d lines, the limit is %d", lines, maxPackage)})
		}
		if product && !documented {
			out = append(out, violation{"package comment", pkg, 1, "say what the package is, and what it is not"})
		}
		if name := path.Base(pkg); slices.Contains(badNames(), name) {
			out = append(out, violation{"package name", pkg, 1, name + " says nothing, or is taken by the standard library"})
		}
		out = append(out, globals(files)...)
	}
	return out
}

func badNames() []string {
	return append(strings.Fields("common util utils helper helpers types base misc shared constant constants"),
		strings.Fields(`bufio bytes cmp context crypto embed encoding errors expvar flag fmt hash html image io iter log maps math mime net os
			plugin reflect regexp runtime slices sort strconv strings sync syscall testing text time unicode unique unsafe weak`)...)
}

// globals finds package variables that somebody could write: all but sentinel errors, compiled patterns, embedded
// files, assertions, and tables that no statement of the package touches.
func globals(files []source) []violation {
	var out []violation
	written := assigned(files)
	for _, s := range files {
		if s.isTest() {
			continue
		}
		for _, d := range s.file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR || embedded(g) {
				continue
			}
			for _, spec := range g.Specs {
				v, ok := spec.(*ast.ValueSpec)
				if !ok {
					continue
				}
				for i, name := range v.Names {
					if name.Name == "_" || i < len(v.Values) && fixed(v.Values[i]) && !written[name.Name] {
						continue
					}
					out = append(out, violation{"mutable global", s.path + ":" + name.Name, s.line(name.Pos()), name.Name + ": keep it in a struct, or make it a constant or a function"})
				}
			}
		}
	}
	return out
}

func embedded(g *ast.GenDecl) bool {
	return g.Doc != nil && slices.ContainsFunc(g.Doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// fixed: a value that is made once and has no reason to change, or another package's sentinel under a new name.
func fixed(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.SelectorExpr:
		return strings.HasPrefix(e.Sel.Name, "Err")
	case *ast.CompositeLit, *ast.BasicLit:
		return true
	case *ast.CallExpr:
		for _, f := range [][2]string{{"errors", "New"}, {"fmt", "Errorf"}, {"regexp", "MustCompile"}, {"crc32", "MakeTable"}} {
			if isSelector(e.Fun, f[0], f[1]) {
				return true
			}
		}
	}
	return false
}

// assigned collects the names that any statement of the package writes to, or takes the address of.
func assigned(files []source) map[string]bool {
	out := map[string]bool{}
	note := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
			case *ast.SelectorExpr:
				e = x.X
			case *ast.StarExpr:
				e = x.X
			case *ast.ParenExpr:
				e = x.X
			case *ast.Ident:
				out[x.Name] = true
				return
			default:
				return
			}
		}
	}
	for _, s := range files {
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, l := range n.Lhs {
						note(l)
					}
				}
			case *ast.IncDecStmt:
				note(n.X)
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					note(n.X)
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "delete" || f.Name == "clear") && len(n.Args) > 0 {
					note(n.Args[0])
				}
			}
			return true
		})
	}
	return out
}

// comments looks for words that promise instead of doing.
func comments(s source) []violation {
	var out []violation
	for _, g := range s.file.Comments {
		for _, c := range g.List {
			switch {
			case strings.HasPrefix(c.Text, "//nolint") || strings.Contains(c.Text, "lint:"+"ignore"):
				out = append(out, violation{"nolint", s.path, s.line(c.Pos()), "waivers stand in tools/lint with a reason"})
			case strings.Contains(c.Text, "TODO"), strings.Contains(c.Text, "FIX"+"ME"), strings.Contains(c.Text, "XXX"):
				if s.pkg() != "internal/arch" {
					out = append(out, violation{"todo", s.path, s.line(c.Pos()), "do it, or write an issue"})
				}
			}
		}
	}
	return out
}
