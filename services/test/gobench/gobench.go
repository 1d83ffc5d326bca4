// Package gobench runs Go benchmarks that live beside the code they measure, for programs that report figures.
package gobench

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Lines runs the benchmarks of a package that match, for a second each, and gives their lines. dir is the folder of the module.
func Lines(ctx context.Context, dir, pkg, match string) (lines []string, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", match, "-benchtime", "1s", pkg)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	for line := range bytes.Lines(out) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(string(line)), "\t"); ok && strings.HasPrefix(name, "Benchmark") {
			lines = append(lines, strings.TrimSpace(name)+" "+strings.Join(strings.Fields(rest), " "))
		}
	}
	return lines, nil
}
