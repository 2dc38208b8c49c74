// Package file takes certificates from PEM files in the open.
//
// It turns the paths of a chain and a key, or of one file that holds both, into a *secrets.Certificate, and says what
// speaks against keeping a key so: it lies on a disk, and who may read it. It never writes.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/dripstat/failover/secrets"
)

// maxFile bounds what is read: a chain with its key has a few KiB.
const maxFile = 1 << 20

// Store is files as a backend of secrets. {path} in a name is the path that is asked for.
type Store struct {
	Chain string // PEM: the chain, and the key where Key is empty
	Key   string
	Dir   string // that both are relative to
}

// Certificate reads the files. One that is not there, or not for us to read, says nothing of the certificate.
func (s *Store) Certificate(_ context.Context, path string) (*secrets.Certificate, error) {
	chain, err := s.read(s.Chain, path)
	if err != nil {
		return nil, err
	}
	var key secrets.Value
	if s.Key != "" {
		if key, err = s.read(s.Key, path); err != nil {
			chain.Wipe()
			return nil, err
		}
	}
	c, err := secrets.Read(chain, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", secrets.Fill(s.Chain, path), err)
	}
	return c, nil
}

func (s *Store) at(name, path string) string {
	name = filepath.FromSlash(secrets.Fill(name, path))
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.Dir, name)
}

func (s *Store) read(name, path string) (secrets.Value, error) {
	shown := secrets.Fill(name, path)
	f, err := os.Open(s.at(name, path))
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		hint := "put it there, or name another place in the plan"
		if errors.Is(err, fs.ErrPermission) {
			hint = "make it yours to read"
		}
		return secrets.Value{}, &secrets.Error{Away: true, What: shown + " cannot be read", Hint: hint, Err: err}
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return secrets.Value{}, &secrets.Error{Away: true, What: shown + " is not a file", Err: err}
	}
	if info.Size() > maxFile {
		return secrets.Value{}, fmt.Errorf("%s is larger than %d KiB: that is no certificate", shown, maxFile>>10)
	}
	b := make([]byte, info.Size()+1) // the right size at once: growing would leave copies of a key behind
	n, err := io.ReadFull(f, b)
	if err == nil {
		clear(b)
		return secrets.Value{}, fmt.Errorf("%s grew while it was read", shown)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		clear(b)
		return secrets.Value{}, &secrets.Error{Away: true, What: shown + " cannot be read", Err: err}
	}
	return secrets.NewValue(b[:n]), nil
}

// Remarks warns that the key lies in the open, and when others may read it.
func (s *Store) Remarks(path string) []secrets.Remark {
	name := s.Key
	if name == "" {
		name = s.Chain
	}
	shown := secrets.Fill(name, path)
	out := []secrets.Remark{{Warn: true, What: fmt.Sprintf("the private key lies in the open on this disk (%s)", shown), Hint: "failover seal NAME --cert FILE --key FILE puts it into a sealed file"}}
	if info, err := os.Stat(s.at(name, path)); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		out = append(out, secrets.Remark{Warn: true, What: fmt.Sprintf("others on this machine may use the private key: %s has mode %04o", shown, info.Mode().Perm()), Hint: "chmod 600 " + shown})
	}
	return out
}
