// Command pando is the one binary of Pando: every service and the admin commands. It only joins them.
package main

import (
	"context"
	"os"

	"github.com/pandodb/pando/services/cli"
	"github.com/pandodb/pando/services/suite"
)

func main() {
	os.Exit(cli.Main(context.Background(), cli.Runners{Serve: suite.Serve}, cli.IO{Args: os.Args[1:], Env: os.Environ(), Out: os.Stdout, Err: os.Stderr}))
}
