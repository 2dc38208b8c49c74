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
	docs := filepath.Join("..", "..", "..", "docs", "reference")
	for _, kind := range [][3]string{{"md", docs, "*.md"}, {"man", filepath.Join(docs, "man"), "*.1"}} {
		want, have := pages(t, filepath.Join(dir, kind[0]), kind[2]), pages(t, kind[1], kind[2])
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("docs/reference is not what the commands say (-commands +docs):\n%s\nnext: rm -r docs/reference && go run ./cmd/failover reference --markdown docs/reference --man docs/reference/man", d)
		}
	}
	for _, name := range []string{"completions/failover.bash", "completions/_failover", "completions/failover.fish"} {
		if s, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil || s.Size() == 0 {
			t.Errorf("%s: %v, want a file for the release", name, err)
		}
	}
}

// pages reads a folder's pages.
func pages(t *testing.T, dir, pattern string) map[string]string {
	t.Helper()
	out := map[string]string{}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
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
