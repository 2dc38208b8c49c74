package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Set by the linker in a release: -X .../cli.tag=v1.2.3 and so on.
var tag, commit, date string

// version gives the release, or what Go recorded of the working tree.
func version() string {
	if tag != "" {
		return tag
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" && b.Main.Version != "(devel)" {
		return b.Main.Version
	}
	return "dev"
}

func newVersion(app *App) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show version, commit and date", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return writeVersion(app.Out) },
	}
}

func writeVersion(w io.Writer) error {
	c, d := commit, date
	if b, ok := debug.ReadBuildInfo(); ok {
		for _, s := range b.Settings {
			switch {
			case s.Key == "vcs.revision" && c == "":
				c = s.Value
			case s.Key == "vcs.time" && d == "":
				d = s.Value
			}
		}
	}
	_, err := fmt.Fprintf(w, "failover %s\ncommit   %s\ndate     %s\n%s %s/%s\n", version(), pick(c, "unknown"), pick(d, "unknown"), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
