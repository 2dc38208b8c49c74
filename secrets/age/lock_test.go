package age

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"filippo.io/age"

	"github.com/dripstat/failover/secrets"
)

// Several who seal into one file at the same moment, each with a handle of its own as processes have it, lose nothing of each other's,
// and leave no lock.
func TestSealedAtTheSameMoment(t *testing.T) {
	dir := t.TempDir()
	id, public := identity(t)
	path := filepath.Join(dir, "issued.age")
	recipients, err := Recipients([]string{public}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ids := []age.Identity{id}
	if err := os.WriteFile(filepath.Join(dir, "id.txt"), []byte(id.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	begin := make(chan struct{})
	const each = 8
	for i := range each {
		chain, key := pair(t, fmt.Sprintf("www%d.shop.test", i))
		wg.Go(func() {
			<-begin
			if err := Add(path, fmt.Sprintf("edge%d", i), chain, key, recipients, ids); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			<-begin
			s := &Store{Dir: dir, File: "issued.age", Identity: "id.txt", For: []string{public}, Env: func(string) (string, bool) { return "", false }}
			if err := s.Put(t.Context(), secrets.Entry{Name: fmt.Sprintf("order%d", i), Item: secrets.NewValue([]byte("x"))}); err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	wg.Wait()
	b, err := OpenFile(path, ids...)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.c.Entries) != each || len(b.c.Items) != each {
		t.Errorf("%d certificates and %d orders of %d each are there", len(b.c.Entries), len(b.c.Items), each)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 2 {
		t.Errorf("in the folder: %v %v", left, err)
	}
}
