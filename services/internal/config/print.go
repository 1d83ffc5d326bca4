package config

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Print writes every key that has a value as YAML that Load would read again, each with the place it came from.
// Secrets are masked.
func (l *Loaded) Print(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	table := keys()
	for _, path := range sortedKeys(l.values) {
		k, _ := lookup(table, path)
		s := l.values[path]
		if k.class == noEffect {
			s.source += ", no effect"
		}
		if k.secret && s.value != "" {
			s.value = "(hidden)"
		}
		if err := put(root, strings.Split(path, "."), s); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(root); err != nil {
		return err
	}
	return enc.Close()
}

// put adds one value, making the sections above it.
func put(at *yaml.Node, path []string, s setting) error {
	for _, name := range path[:len(path)-1] {
		at = section(at, name)
	}
	value := &yaml.Node{}
	v := s.value
	if v == Off {
		v = nil
	}
	if err := value.Encode(v); err != nil {
		return err
	}
	value.Style |= yaml.FlowStyle // a list on one line leaves room for the comment
	value.LineComment = s.source
	at.Content = append(at.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: path[len(path)-1]}, value)
	return nil
}

func section(at *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(at.Content); i += 2 {
		if at.Content[i].Value == name {
			return at.Content[i+1]
		}
	}
	n := &yaml.Node{Kind: yaml.MappingNode}
	at.Content = append(at.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, n)
	return n
}

// LevelOff is above every level that is used.
const LevelOff = slog.Level(100)

// Level is log_level for slog; trace is debug. Of a filter such as INFO,raft=debug the general part counts.
func (c *Config) Level() slog.Level {
	l, err := parseLevel(c.LogLevel)
	if err != nil {
		return slog.LevelInfo
	}
	return l
}

func parseLevel(s string) (slog.Level, error) {
	for part := range strings.SplitSeq(s, ",") {
		if strings.Contains(part, "=") {
			continue
		}
		switch strings.ToLower(strings.TrimSpace(part)) {
		case "trace", "debug":
			return slog.LevelDebug, nil
		case "info":
			return slog.LevelInfo, nil
		case "warn", "warning":
			return slog.LevelWarn, nil
		case "error":
			return slog.LevelError, nil
		case "off":
			return LevelOff, nil
		}
		return 0, fmt.Errorf("unknown level %q", part)
	}
	return slog.LevelInfo, nil
}
