package arch

import (
	"go/ast"
	"strconv"
	"strings"
)

// Sets of packages, relative to services/. A name stands for the tree below it.

func planes() []string { return []string{"controlplane", "dataplane", "healthcheck"} }

func towerA() []string {
	return []string{"dataplane/internal/rest", "dataplane/internal/api", "dataplane/internal/coordinator"}
}

func towerB() []string {
	return []string{"dataplane/internal/peer", "dataplane/internal/node", "dataplane/internal/replica", "dataplane/internal/transfer",
		"dataplane/internal/shard", "dataplane/internal/index", "dataplane/internal/segment", "dataplane/internal/oplog"}
}

// engine holds the packages below the edges: no protobuf, no grpc.
func engine() []string {
	return append(pure(), "dataplane/internal/replica", "dataplane/internal/shard", "dataplane/internal/index", "dataplane/internal/segment",
		"dataplane/internal/oplog", "controlplane/internal/store", "internal/vfs")
}

// pure holds the packages that are functions of their arguments.
func pure() []string {
	return []string{"internal/topology", "internal/book", "controlplane/internal/placement", "controlplane/internal/evidence",
		"healthcheck/internal/verdict", "dataplane/internal/filter",
		"dataplane/internal/kernel", "dataplane/internal/replica/core", "dataplane/internal/line", "dataplane/internal/query", "dataplane/internal/op",
		"dataplane/internal/point", "dataplane/internal/payload", "dataplane/internal/shard/optimize"}
}

// mayImport gives the packages outside of the standard library and of the pure set that a pure package may use.
func mayImport(pkg, imp string) bool {
	switch {
	case within(pkg, "dataplane/internal/filter/analysis"):
		return within(imp, "github.com/blevesearch/bleve/v2/analysis/lang", "github.com/blevesearch/snowballstem", "github.com/clipperhouse/uax29", "golang.org/x/text/unicode")
	case within(pkg, "dataplane/internal/filter"):
		return within(imp, "github.com/RoaringBitmap/roaring")
	case within(pkg, "dataplane/internal/kernel"):
		return imp == "golang.org/x/sys/cpu"
	}
	return false
}

// impure lists the parts of the standard library that a pure package does without. Seeded sources of math/rand are
// passed in as functions.
func impure(imp string) bool {
	return within(imp, "context", "os", "net", "log", "syscall", "math/rand", "io/fs", "runtime", "sync", "flag")
}

func imports(s source) []violation {
	var out []violation
	for _, spec := range s.file.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has refused it already
		}
		add := func(rule, text string) {
			out = append(out, violation{rule, s.path, s.line(spec.Pos()), imp + ": " + text})
		}
		own, isOwn := strings.CutPrefix(imp, module)
		if isOwn {
			ownImport(s, own, add)
		}
		if !s.isTest() {
			productImport(s, imp, own, isOwn, add)
		}
	}
	return out
}

// ownImport holds for test files as well.
func ownImport(s source, own string, add func(rule, text string)) {
	pkg := s.pkg()
	for _, a := range planes() {
		for _, b := range planes() {
			if a != b && within(pkg, a) && within(own, b) {
				add("planes", "a plane never imports another")
			}
		}
	}
	if within(pkg, towerA()...) && within(own, towerB()...) || within(pkg, towerB()...) && within(own, towerA()...) {
		add("towers", "requests and shards meet in the facade only")
	}
	if within(pkg, "internal") && !within(own, "internal") {
		add("floors", "the ground floor knows no plane and no command")
	}
	if !within(pkg, "cmd", "cli", "suite", "test") && within(own, "cli", "cmd", "suite", "test") {
		add("floors", "nothing below imports the commands")
	}
}

func productImport(s source, imp, own string, isOwn bool, add func(rule, text string)) {
	pkg := s.pkg()
	wire := within(imp, "github.com/pandodb/pando/gen/go", "google.golang.org/protobuf", "github.com/grpc-ecosystem") ||
		within(imp, "google.golang.org/grpc") && !within(pkg, "controlplane/internal/store/etcdstore") // etcd's client answers with its codes
	if wire && within(pkg, engine()...) {
		add("engine knows no protobuf", "the edges translate")
	}
	if within(pkg, pure()...) {
		std := !strings.Contains(strings.Split(imp, "/")[0], ".")
		switch {
		case isOwn && !within(own, pure()...), !isOwn && !std && !mayImport(pkg, imp), std && impure(imp):
			add("pure", "a pure package uses the standard library without its clocks, disks and threads, and other pure ones")
		}
	}
	if within(imp, "go.etcd.io/etcd", "go.etcd.io/raft", "go.etcd.io/bbolt") && !within(pkg, "controlplane/internal/member", "controlplane/internal/store/etcdstore") {
		add("etcd", "only member and etcdstore know it")
	}
	if within(imp, "os", "syscall") && !within(pkg, "internal/vfs", "internal/boot", "internal/config", "internal/serve", "cli", "cmd", "controlplane/internal/member", "test") {
		add("os", "files are reached through vfs; environment and arguments through config")
	}
	if imp == "net" && !within(pkg, "internal/serve", "internal/rpc", "internal/boot", "dataplane/internal/rest", "controlplane/internal/member", "suite", "test") {
		add("net", "sockets belong to serve, connections to rpc")
	}
	if within(imp, "go.opentelemetry.io") && !within(pkg, "internal/boot", "internal/rpc", "dataplane/internal/rest", "suite", "test") && !isFacade(pkg) {
		add("opentelemetry", "the facades adapt it; the engine offers a struct of funcs")
	}
	if within(imp, "testing", "go.uber.org/goleak", "pgregory.net/rapid", "github.com/google/go-cmp", "github.com/cockroachdb/datadriven", "github.com/anishathalye/porcupine") && !s.isSuite() {
		add("test code", "this is for tests and suites")
	}
	floorsOfGround(pkg, imp, own, isOwn, add)
	if imp == "log" {
		add("global log", "slog.Logger is passed")
	}
}

// floorsOfGround: boot ► rpc ► fault; topology and vfs stand on nothing.
func floorsOfGround(pkg, imp, own string, isOwn bool, add func(rule, text string)) {
	if !isOwn {
		return
	}
	allowed := map[string]string{
		"internal/topology": "",
		"internal/vfs":      "internal/vfs",
		"internal/fault":    "",
		"internal/release":  "",
		"internal/config":   "",
		"internal/rpc":      "internal/fault",
		"internal/serve":    "internal/rpc internal/fault",
		"internal/links":    "internal/rpc internal/fault internal/book internal/topology internal/vfs",
		"internal/boot":     "internal/rpc internal/fault internal/release",
	}
	for tree, to := range allowed {
		if within(pkg, tree) && !within(own, strings.Fields(to)...) {
			add("floors", tree+" may import only: "+to)
		}
	}
}

func isFacade(pkg string) bool {
	for _, p := range planes() {
		if pkg == p {
			return true
		}
	}
	return false
}

// calls looks at expressions and declarations.
func calls(s source) []violation {
	var out []violation
	add := func(rule string, n ast.Node, text string) {
		out = append(out, violation{rule, s.path, s.line(n.Pos()), text})
	}
	isPure := within(s.pkg(), pure()...) && !s.isTest()
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			if isPure {
				add("pure", n, "no goroutines in a pure package")
			}
		case *ast.FuncDecl:
			if n.Name.Name == "init" && n.Recv == nil {
				add("init", n, "say it where it is used")
			}
		case *ast.StructType:
			for _, f := range n.Fields.List {
				if isSelector(f.Type, "context", "Context") && !s.isTest() {
					add("context in a struct", f, "pass it as the first argument")
				}
			}
		case *ast.SelectorExpr:
			selector(s, n, isPure, add)
		}
		return true
	})
	return out
}

func selector(s source, n *ast.SelectorExpr, isPure bool, add func(string, ast.Node, string)) {
	x, ok := n.X.(*ast.Ident)
	if !ok {
		return
	}
	name := n.Sel.Name
	switch x.Name {
	case "time":
		switch name {
		case "Sleep":
			add("sleep", n, "wait for an event, or use testing/synctest")
		case "Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick":
			if isPure {
				add("pure", n, "time is an argument of a pure package")
			}
		}
	case "slog":
		switch name {
		case "Debug", "Info", "Warn", "Error", "Log", "LogAttrs", "Default", "SetDefault", "With",
			"DebugContext", "InfoContext", "WarnContext", "ErrorContext":
			add("global log", n, "slog.Logger is passed")
		}
	case "t", "b", "f", "tb":
		if s.isTest() || s.isSuite() {
			switch name {
			case "Skip", "Skipf", "SkipNow":
				add("skip", n, "a test runs or does not exist")
			}
		}
	}
}

func isSelector(e ast.Expr, pkg, name string) bool {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg && sel.Sel.Name == name
}
