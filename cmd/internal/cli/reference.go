package cli

import (
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newReference is hidden: it writes man pages, the Markdown reference and completions. docs/reference is
// compared with what it writes by reference_test.go; the rest is made for a release and not kept.
func newReference(_ *App, root *cobra.Command) *cobra.Command {
	var man, markdown, completions string
	cmd := &cobra.Command{
		Use: "reference", Short: "Write man pages, the Markdown reference and completions", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			root.DisableAutoGenTag = true
			root.InitDefaultCompletionCmd()
			for _, w := range []struct {
				dir   string
				write func(dir string) error
			}{
				{man, func(dir string) error {
					epoch := time.Unix(0, 0).UTC() // pages of one version are the same whenever they are made
					return doc.GenManTree(root, &doc.GenManHeader{Title: "FAILOVER", Section: "1", Source: "failover", Manual: "failover", Date: &epoch}, dir)
				}},
				{markdown, func(dir string) error { return doc.GenMarkdownTree(root, dir) }},
				{completions, func(dir string) error {
					if err := root.GenBashCompletionFileV2(filepath.Join(dir, "failover.bash"), true); err != nil {
						return err
					}
					if err := root.GenZshCompletionFile(filepath.Join(dir, "_failover")); err != nil {
						return err
					}
					return root.GenFishCompletionFile(filepath.Join(dir, "failover.fish"), true)
				}},
			} {
				if w.dir == "" {
					continue
				}
				if err := os.MkdirAll(w.dir, 0o755); err != nil {
					return err
				}
				if err := w.write(filepath.Clean(w.dir)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&man, "man", "", "folder for man pages")
	cmd.Flags().StringVar(&markdown, "markdown", "", "folder for Markdown")
	cmd.Flags().StringVar(&completions, "completions", "", "folder for the completions of bash, zsh and fish")
	return cmd
}
