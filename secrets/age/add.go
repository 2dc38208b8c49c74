package age

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/dripstat/failover/secrets"
)

// Add puts a certificate into the file at path, under a name; an entry of that name is replaced, the
// others are kept. The file is made where there is none, and then recipients say for whom; later they may
// be left out, and those that the file remembers are used. ids open an existing file. A certificate whose
// key does not belong to it is refused.
func Add(path, name string, chainPEM, keyPEM []byte, recipients []age.Recipient, ids []age.Identity) error {
	fresh := &Bundle{}
	if err := fresh.put(name, chainPEM, keyPEM); err != nil {
		return err
	}
	fresh.Wipe()
	unlock, err := lock(context.Background(), path)
	if err != nil {
		return err
	}
	defer unlock()
	b := &Bundle{c: content{Version: version}}
	_, err = os.Stat(path)
	switch {
	case err == nil:
		if b, err = OpenFile(path, ids...); err != nil {
			return err
		}
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	defer b.Wipe()
	if len(recipients) == 0 {
		if recipients, err = b.remembered(ids); err != nil {
			return err
		}
	}
	if b.c.Recipients, err = names(recipients); err != nil {
		return err
	}
	if err := b.put(name, chainPEM, keyPEM); err != nil {
		return err
	}
	return b.write(path, recipients)
}

// put adds a certificate, or replaces the one of that name.
func (b *Bundle) put(name string, chainPEM, keyPEM []byte) error {
	if !goodName(name) {
		return fmt.Errorf("%q is not a good name: letters, digits, . - _ * and /", name)
	}
	c, err := secrets.ParseCertificate(bytes.Clone(chainPEM), bytes.Clone(keyPEM))
	if err != nil {
		return err
	}
	key := c.Key()
	defer key.Wipe()
	b.c.Version = version
	b.retire(name, c)
	b.c.Entries = append(b.c.Entries, entry{name, c.ChainPEM(), bytes.Clone(key.Bytes()), time.Now().UTC().Truncate(time.Second)})
	return nil
}

// Former is put behind the name of an entry that another one has replaced.
const Former = ".former"

// retire makes room for a certificate under a name. The one that it replaces is kept beside it, where it has another key: servers
// of a run that is over let in whoever has that one, and only so can the new one be delivered to them.
func (b *Bundle) retire(name string, c *secrets.Certificate) {
	i := slices.IndexFunc(b.c.Entries, func(e entry) bool { return e.Name == name })
	if i < 0 {
		return
	}
	old := b.c.Entries[i]
	b.c.Entries = slices.Delete(b.c.Entries, i, i+1)
	if strings.HasSuffix(name, Former) || bytes.Equal(bytes.TrimSpace(old.Key), bytes.TrimSpace(c.Key().Bytes())) {
		return
	}
	b.c.Entries = slices.DeleteFunc(b.c.Entries, func(e entry) bool { return e.Name == name+Former })
	old.Name = name + Former
	b.c.Entries = append(b.c.Entries, old)
}

// Remove takes a certificate out of the file at path.
func Remove(path, name string, ids []age.Identity) error {
	unlock, err := lock(context.Background(), path)
	if err != nil {
		return err
	}
	defer unlock()
	b, err := OpenFile(path, ids...)
	if err != nil {
		return err
	}
	defer b.Wipe()
	if _, err := b.Get(name); err != nil {
		return err
	}
	recipients, err := b.remembered(ids)
	if err != nil {
		return err
	}
	b.c.Entries = slices.DeleteFunc(b.c.Entries, func(e entry) bool { return e.Name == name })
	return b.write(path, recipients)
}

func (b *Bundle) write(path string, recipients []age.Recipient) error {
	plain, err := json.Marshal(b.c)
	if err != nil {
		return errors.New("the bundle cannot be written") // json's message may hold values
	}
	defer clear(plain)
	var out bytes.Buffer
	var dst io.Writer = &out
	var a io.WriteCloser
	if b.armored {
		a = armor.NewWriter(&out)
		dst = a
	}
	w, err := age.Encrypt(dst, recipients...)
	if err != nil {
		return fmt.Errorf("it cannot be sealed: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if a != nil {
		if err := a.Close(); err != nil {
			return err
		}
	}
	return replace(path, out.Bytes())
}

// replace puts a whole file in the place of the old one, which stays until the new one is on the disk.
// (renameio does the same, and does not exist on Windows.)
func replace(path string, data []byte) (err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // a link stays a link
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".sealed-*") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	handOn(f, path)
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if d, derr := os.Open(filepath.Dir(path)); err == nil && derr == nil {
		_ = d.Sync() // the name, too; not every system can
		_ = d.Close()
	}
	return err
}
