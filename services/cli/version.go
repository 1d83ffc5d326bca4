package cli

import (
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/pandodb/pando/services/internal/release"
)

func versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print which Pando this is",
		Example: "  pando version\n  pando version --json",
	}
	asJSON := c.Flags().Bool("json", false, "print JSON")
	c.RunE = func(c *cobra.Command, _ []string) error {
		v := struct {
			Version  string `json:"version"`
			API      string `json:"api"`
			Commit   string `json:"commit"`
			Go       string `json:"go"`
			Platform string `json:"platform"`
		}{release.Version, release.API, release.Commit(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
		if *asJSON {
			return json.NewEncoder(c.OutOrStdout()).Encode(v)
		}
		fmt.Fprintf(c.OutOrStdout(), "pando %s, speaks API %s\ncommit %s, %s, %s\n", v.Version, v.API, v.Commit, v.Go, v.Platform)
		return nil
	}
	return c
}
