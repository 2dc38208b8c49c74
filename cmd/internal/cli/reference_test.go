package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReference regenerates docs/reference and compares.
func TestReference(t *testing.T) {
	dir := t.TempDir()
	root := newRoot(&App{LookEnv: os.LookupEnv})
	root.SetArgs([]string{"reference", "--markdown", filepath.Join(dir, "md"), "--man", filepath.Join(dir, "man"), "--completions", filepath.Join(dir, "completions")})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	want, have := pages(t, filepath.Join(dir, "md")), pages(t, filepath.Join("..", "..", "..", "docs", "reference"))
	if d := cmp.Diff(want, have); d != "" {
		t.Errorf("docs/reference is not what the commands say (-commands +docs):\n%s\nnext: rm -r docs/reference && go run ./cmd/failover reference --markdown docs/reference", d)
	}
	for _, name := range []string{"man/failover.1", "man/failover-seal.1", "completions/failover.bash", "completions/_failover", "completions/failover.fish"} {
		if s, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil || s.Size() == 0 {
			t.Errorf("%s: %v, want a file for the release", name, err)
		}
	}
}

// pages reads a folder of Markdown.
func pages(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s holds no pages (%v)", dir, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = string(b)
	}
	return out
}
