// Package age keeps certificates with their keys in one file, sealed with age (https://age-encryption.org).
//
// It turns such a file and an identity into a *secrets.Certificate, and a certificate into a new version of
// the file, which replaces the old one in one step. The public keys that it was sealed for are kept inside,
// so that adding to it needs nothing else. It never writes a key in the open, and no error holds one.
package age

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/dripstat/failover/secrets"
)

const (
	version = 1
	// maxFile bounds what is read into memory.
	maxFile    = 16 << 20
	magic      = "age-encryption.org/"
	armorBegin = "-----BEGIN AGE ENCRYPTED FILE-----"
	// passphrase stands among recipients for a file that is sealed with one.
	passphrase = "passphrase"
)

// content is what lies inside. Byte slices, for they can be wiped; JSON shows them as base64.
type content struct {
	Version    int      `json:"version"`
	Recipients []string `json:"recipients"`
	Entries    []entry  `json:"entries"`
	Items      []item   `json:"items,omitempty"`
}

type entry struct {
	Name  string    `json:"name"`
	Chain []byte    `json:"chain"`
	Key   []byte    `json:"key"`
	Added time.Time `json:"added,omitzero"`
}

// item is something secret that is no certificate.
type item struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
}

// Bundle is an opened file. Wipe it after use.
type Bundle struct {
	c       content
	armored bool
}

// Open reads a bundle with the identities that may open it.
func Open(r io.Reader, ids ...age.Identity) (*Bundle, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("the sealed file cannot be read: %w", err)
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("the sealed file is larger than %d MiB", maxFile>>20)
	}
	plain, armored, err := decrypt(raw, ids)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	b := &Bundle{armored: armored}
	if json.Unmarshal(plain, &b.c) != nil || b.c.Version == 0 {
		b.Wipe()
		return nil, &wrongFileError{"what is sealed in this file was not made by failover seal"}
	}
	if b.c.Version > version {
		b.Wipe()
		return nil, fmt.Errorf("this file is of version %d, and this failover knows version %d: a newer failover made it", b.c.Version, version)
	}
	return b, nil
}

// OpenFile is Open for a file.
func OpenFile(path string, ids ...age.Identity) (*Bundle, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no sealed file %s; failover seal NAME --cert FILE --key FILE -o %s makes it: %w", path, path, os.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := Open(f, ids...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

func decrypt(raw []byte, ids []age.Identity) (plain []byte, armored bool, err error) {
	src, armored, err := reader(raw)
	if err != nil {
		return nil, armored, err
	}
	if len(ids) == 0 {
		return nil, armored, ErrNoIdentity
	}
	r, err := age.Decrypt(src, ids...)
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		if slices.Contains(none.StanzaTypes, "scrypt") {
			return nil, armored, &wrongIdentityError{"it is sealed with a passphrase, and this is not the one"}
		}
		return nil, armored, &wrongIdentityError{"it is sealed for other identities than the one given"}
	case err != nil:
		return nil, armored, &wrongFileError{"the file is damaged or cut off: its header does not read as age"}
	}
	// The right size at once: growing would leave copies of keys behind.
	buf := make([]byte, 0, len(raw)+512)
	for {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, armored, nil
		}
		if err != nil || len(buf) == cap(buf) {
			clear(buf)
			return nil, armored, &wrongFileError{"the file is damaged or cut off: its end is missing or was changed"}
		}
	}
}

// reader takes the armor off.
func reader(raw []byte) (io.Reader, bool, error) {
	head := bytes.TrimLeft(raw, " \t\r\n")
	switch {
	case bytes.HasPrefix(head, []byte(armorBegin)):
		return armor.NewReader(bytes.NewReader(head)), true, nil
	case bytes.HasPrefix(raw, []byte(magic)):
		return bytes.NewReader(raw), false, nil
	case len(raw) == 0:
		return nil, false, &wrongFileError{"the file is empty"}
	case bytes.Contains(raw[:min(len(raw), 4096)], []byte("PRIVATE KEY")):
		return nil, false, &wrongFileError{"this is a private key in the open, not a sealed file; failover seal NAME --cert FILE --key FILE seals it"}
	}
	return nil, false, &wrongFileError{"this is not an age file"}
}

// ErrNoIdentity says that there was nothing to open a file with.
var ErrNoIdentity = errors.New("no identity to open it with: give secrets { age { identity = PATH } } in the plan, or FAILOVER_AGE_IDENTITY (a path, or the AGE-SECRET-KEY-1... itself), or run it in a terminal, which asks")

type wrongIdentityError struct{ what string }

func (e *wrongIdentityError) Error() string { return e.what }

// wrongFileError says that what lies there is not what should lie there: no other place makes up for that unasked.
type wrongFileError struct{ what string }

func (e *wrongFileError) Error() string { return e.what }

// Wrong reports whether a file did not open because its identity or passphrase was another one.
func Wrong(err error) bool {
	var w *wrongIdentityError
	return errors.As(err, &w)
}

// Names gives the certificates of the bundle.
func (b *Bundle) Names() []string {
	out := make([]string, len(b.c.Entries))
	for i, e := range b.c.Entries {
		out[i] = e.Name
	}
	return out
}

// Recipients gives the public keys that the bundle was sealed for, or "passphrase".
func (b *Bundle) Recipients() []string { return slices.Clone(b.c.Recipients) }

// Get gives one certificate.
func (b *Bundle) Get(name string) (*secrets.Certificate, error) {
	for _, e := range b.c.Entries {
		if e.Name == name {
			c, err := secrets.ParseCertificate(e.Chain, e.Key)
			var locked *secrets.LockedError
			if errors.As(err, &locked) {
				return nil, fmt.Errorf("certificate %q: %w", name, err)
			}
			if err != nil {
				return nil, fmt.Errorf("certificate %q: %w", name, &wrongFileError{err.Error()})
			}
			return c, nil
		}
	}
	has := "it is empty"
	if n := b.Names(); len(n) > 0 {
		has = "it holds " + strings.Join(n, ", ")
	}
	return nil, fmt.Errorf("there is no certificate %q in this bundle; %s", name, has)
}

// Wipe overwrites the keys.
func (b *Bundle) Wipe() {
	for _, e := range b.c.Entries {
		clear(e.Key)
	}
	for _, x := range b.c.Items {
		clear(x.Data)
	}
	b.c.Entries, b.c.Items = nil, nil
}

// Entry is what may be shown of a certificate of a bundle.
type Entry struct {
	Name        string    `json:"name"`
	Subject     string    `json:"subject"`
	Names       []string  `json:"names"`
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"fingerprint"`
}

// List says what a file holds.
func List(path string, ids ...age.Identity) ([]Entry, error) {
	b, err := OpenFile(path, ids...)
	if err != nil {
		return nil, err
	}
	defer b.Wipe()
	var out []Entry
	for _, n := range b.Names() {
		c, err := b.Get(n)
		if err != nil {
			return nil, err
		}
		k := c.Key()
		out = append(out, Entry{n, c.Leaf.Subject.String(), c.Leaf.DNSNames, c.Leaf.NotAfter, c.Fingerprint()})
		k.Wipe()
	}
	return out, nil
}

func goodName(s string) bool {
	return len(s) <= 200 && regexp.MustCompile(`^[A-Za-z0-9*]([A-Za-z0-9._*/-]*[A-Za-z0-9*])?$`).MatchString(s)
}
