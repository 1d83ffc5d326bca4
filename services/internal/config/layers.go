package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/json"
	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
)

// layer is one source of values, flat: "service.http_port" -> 6333.
type layer struct {
	name    string
	values  map[string]any
	names   map[string]string // key -> what the user wrote, where that is not name
	lenient bool              // unknown keys are warned of only
}

func (l layer) source(key string) string {
	if n, ok := l.names[key]; ok {
		return n
	}
	return l.name
}

func readLayers(src Sources) ([]layer, error) {
	env := map[string]string{}
	for _, e := range src.Env {
		if name, value, ok := strings.Cut(e, "="); ok {
			env[name] = value
		}
	}
	mode := env["RUN_MODE"]
	if mode == "" {
		mode = "development"
	}
	var out []layer
	var errs []error
	for _, stem := range []string{"config/config", path.Join("config", mode), "config/local"} {
		l, found, err := findFile(src.FS, stem)
		if err != nil {
			errs = append(errs, err)
		} else if found {
			out = append(out, l)
		}
	}
	if src.ConfigPath != "" {
		l, err := namedFile(src)
		if err != nil {
			errs = append(errs, err)
		}
		out = append(out, l)
	}
	out = append(out, envLayer(env, "QDRANT__", true, qdrantNames()), envLayer(env, "PANDO__", false, nil))
	flags := layer{name: "flag", values: src.Flags, names: src.FlagNames}
	return append(out, flags), errors.Join(errs...)
}

// qdrantNames are the variables without a path that Qdrant's command line reads.
func qdrantNames() map[string]string {
	return map[string]string{"QDRANT_URI": "cluster.uri", "QDRANT_BOOTSTRAP": "cluster.bootstrap"}
}

func envLayer(env map[string]string, prefix string, lenient bool, extra map[string]string) layer {
	l := layer{name: prefix, values: map[string]any{}, names: map[string]string{}, lenient: lenient}
	put := func(key, name, value string) {
		l.values[key], l.names[key] = value, name
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if key, ok := extra[name]; ok {
			put(key, name, env[name])
		}
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			put(strings.ToLower(strings.ReplaceAll(rest, "__", ".")), name, env[name])
		}
	}
	return l
}

// findFile looks for stem with one of the known endings. None is fine, two are not: which one wins would be a guess.
func findFile(fsys fs.FS, stem string) (layer, bool, error) {
	if fsys == nil {
		return layer{}, false, nil
	}
	var found []string
	for _, ext := range []string{".yaml", ".yml", ".toml", ".json"} {
		if _, err := fs.Stat(fsys, stem+ext); err == nil {
			found = append(found, stem+ext)
		}
	}
	switch len(found) {
	case 0:
		return layer{}, false, nil
	case 1:
		b, err := fs.ReadFile(fsys, found[0])
		if err != nil {
			return layer{}, false, err
		}
		l, err := parseFile(found[0], b)
		return l, err == nil, err
	}
	return layer{}, false, fmt.Errorf("there are %s: keep one of them", strings.Join(found, " and "))
}

func namedFile(src Sources) (layer, error) {
	read := src.ReadFile
	if read == nil {
		read = func(name string) ([]byte, error) { return fs.ReadFile(src.FS, name) }
	}
	b, err := read(src.ConfigPath)
	if err != nil {
		return layer{}, fmt.Errorf("--config-path: %w", err)
	}
	return parseFile(src.ConfigPath, b)
}

func parseFile(name string, b []byte) (layer, error) {
	var p koanf.Parser = yaml.Parser()
	switch path.Ext(name) {
	case ".toml":
		p = toml.Parser()
	case ".json":
		p = json.Parser()
	}
	k := koanf.New(".")
	if err := k.Load(rawbytes.Provider(b), p); err != nil {
		return layer{}, fmt.Errorf("%s: %w", name, err)
	}
	return layer{name: name, values: k.All()}, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
