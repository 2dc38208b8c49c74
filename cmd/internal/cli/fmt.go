package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/provision/planfile"
)

// newFmt is `failover fmt`: as terraform fmt does.
func newFmt(app *App) *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use: "fmt [FILE|FOLDER|-]...", Short: "Format plans in place", Args: cobra.ArbitraryArgs,
		Long: "Formats plans in place and lists those that changed. With --check nothing is written, and the exit code is 1 where something would change. - formats standard input.",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 && args[0] == "-" {
				return app.formatStream(app.In, app.Out)
			}
			if len(args) == 0 {
				args = []string{"."}
			}
			return app.formatFiles(args, check)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "only list files that are not formatted")
	return cmd
}

func (a *App) formatStream(in io.Reader, out io.Writer) error {
	src, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	b, err := planfile.Format("<stdin>", src)
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

func (a *App) formatFiles(paths []string, check bool) error {
	changed := false
	for _, p := range paths {
		files, err := planFiles(p)
		if err != nil {
			return err
		}
		for _, f := range files {
			src, err := os.ReadFile(f)
			if err != nil {
				return usage("name a .hcl file", "%v", err)
			}
			out, err := planfile.Format(f, src)
			if err != nil {
				return err
			}
			if bytes.Equal(src, out) {
				continue
			}
			changed = true
			_, _ = fmt.Fprintln(a.Out, f)
			if !check {
				if err := replaceFile(f, out); err != nil {
					return err
				}
			}
		}
	}
	if check && changed {
		return &exitError{code: exitFailed, quiet: true, err: errors.New("not formatted")}
	}
	return nil
}
