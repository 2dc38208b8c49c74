package cli

import (
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newReference is hidden: it writes man pages and the Markdown reference; CI compares them with docs/reference.
func newReference(app *App, root *cobra.Command) *cobra.Command {
	var man, markdown string
	cmd := &cobra.Command{
		Use: "reference", Short: "Write man pages and the Markdown reference", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			root.DisableAutoGenTag = true
			root.InitDefaultCompletionCmd()
			if man != "" {
				epoch := time.Unix(0, 0).UTC() // pages of one version are the same whenever they are made
				if err := doc.GenManTree(root, &doc.GenManHeader{Title: "FAILOVER", Section: "1", Source: "failover", Manual: "failover", Date: &epoch}, filepath.Clean(man)); err != nil {
					return err
				}
			}
			if markdown != "" {
				return doc.GenMarkdownTree(root, filepath.Clean(markdown))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&man, "man", "", "folder for man pages")
	cmd.Flags().StringVar(&markdown, "markdown", "", "folder for Markdown")
	return cmd
}
