package arch

// exception lets one place break one rule.
type exception struct {
	rule, at, reason string
}

func exceptions() []exception {
	const ctxInStream = "grpc's stream interfaces have a method Context() and no other way to pass one down"
	return []exception{
		{"context in a struct", "internal/rpc/chain.go", ctxInStream},
		{"context in a struct", "internal/rpc/pipe.go", ctxInStream},
		{"interface size", "internal/vfs/vfs.go:FS", "the one seam to disks names every act on a folder, as pebble's does"},
		{"interface size", "internal/vfs/vfs.go:File", "the one seam to disks names every act on a file, as pebble's does"},
		{"package size", "dataplane/internal/rest/dialect", "one dialect: its codec and the table of every message that differs; apart, the rules would be exported"},
		{"mutable global", "internal/release/release.go:linked", "the linker's -X can set nothing but a variable; no code writes it"},
	}
}

// rules lists every name a violation may have.
func rules() []string {
	return []string{"planes", "towers", "floors", "engine knows no protobuf", "pure", "etcd", "os", "net", "opentelemetry", "test code",
		"file size", "function size", "interface size", "package size", "package name", "package comment",
		"sleep", "init", "mutable global", "context in a struct", "global log", "nolint", "todo", "skip"}
}
