package age

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"filippo.io/age"

	"github.com/dripstat/failover/secrets"
)

// EnvIdentity is the variable that holds an identity, or the path of a file of them.
const EnvIdentity = "FAILOVER_AGE_IDENTITY"

// Store is a bundle as a backend of secrets. What opened it is remembered, so that a person is asked once.
type Store struct {
	File     string                                                     // of the bundle
	Identity string                                                     // path of an identity file; may be empty
	For      []string                                                   // recipients of a file that is not there yet; none: Identity's own
	Dir      string                                                     // that both are relative to
	Env      func(string) (string, bool)                                // nil: os.LookupEnv
	Ask      func(ctx context.Context, q string) (secrets.Value, error) // nil: there is nobody to ask

	mu  sync.Mutex
	ids []age.Identity
}

// Certificate gives the one that is kept under a name. A file that is not there, does not open with what there is to
// open it, or has no such name, is no reason not to look elsewhere; one that was changed is.
func (s *Store) Certificate(ctx context.Context, name string) (*secrets.Certificate, error) {
	c, err := s.certificate(ctx, name)
	var wrong *wrongFileError
	var locked *secrets.LockedError
	if err != nil && !errors.As(err, &wrong) && !errors.As(err, &locked) {
		err = &secrets.Error{Away: true, Err: err}
	}
	return c, err
}

func (s *Store) certificate(ctx context.Context, name string) (*secrets.Certificate, error) {
	ids, err := s.Identities(ctx)
	if err != nil {
		return nil, err
	}
	b, err := OpenFile(s.at(s.File), ids...)
	if err != nil {
		return nil, err
	}
	defer b.Wipe() // the certificate holds a copy of its own
	c, err := b.Get(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.File, err)
	}
	return c, nil
}

func (s *Store) at(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.Dir, path)
}

// Identities gives what may open the bundle: of the plan, of the environment, or of a person, in this
// order. For a bundle that is sealed with a passphrase only a person will do.
func (s *Store) Identities(ctx context.Context) ([]age.Identity, error) {
	return s.identities(ctx, false)
}

// identities also gives, when making, those of a file that is not there yet.
func (s *Store) identities(ctx context.Context, making bool) ([]age.Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids != nil {
		return s.ids, nil
	}
	ids, err := s.find(ctx, making)
	if err == nil {
		s.ids = ids
	}
	return ids, err
}

func (s *Store) find(ctx context.Context, making bool) ([]age.Identity, error) {
	env := s.Env
	if env == nil {
		env = os.LookupEnv
	}
	sealed, err := SealedWithPassphrase(s.at(s.File))
	if err != nil && (!making || !errors.Is(err, os.ErrNotExist)) {
		return nil, err
	}
	if sealed {
		return s.askPassphrase(ctx, s.File)
	}
	if s.Identity != "" {
		return s.fromFile(ctx, s.at(s.Identity), "identity of the plan")
	}
	if v, ok := env(EnvIdentity); ok && v != "" {
		if strings.HasPrefix(strings.TrimSpace(strings.ToUpper(v)), "AGE-SECRET-KEY-") {
			ids, err := Identities(secrets.NewValue([]byte(v)))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", EnvIdentity, err)
			}
			return ids, nil
		}
		if strings.ContainsAny(v, "\n\r") || strings.Contains(v, "PRIVATE KEY") {
			return nil, fmt.Errorf("%s holds neither a path nor an AGE-SECRET-KEY-1", EnvIdentity)
		}
		return s.fromFile(ctx, v, EnvIdentity)
	}
	if s.Ask == nil {
		return nil, fmt.Errorf("%s: %w", s.File, ErrNoIdentity)
	}
	v, err := s.Ask(ctx, fmt.Sprintf("Identity for %s (AGE-SECRET-KEY-1..., or the path of its file)", s.File))
	if err != nil {
		return nil, err
	}
	defer v.Wipe()
	text := strings.TrimSpace(string(v.Bytes()))
	if text == "" {
		return nil, fmt.Errorf("%s: %w", s.File, ErrNoIdentity)
	}
	if !strings.HasPrefix(strings.ToUpper(text), "AGE-SECRET-KEY-") {
		return s.fromFile(ctx, text, "the answer")
	}
	return Identities(v)
}

func (s *Store) askPassphrase(ctx context.Context, what string) ([]age.Identity, error) {
	if s.Ask == nil {
		return nil, fmt.Errorf("%s is sealed with a passphrase, and there is no terminal to ask for it: seal it for a recipient (failover seal NAME ... -r age1...) to open it without one", what)
	}
	v, err := s.Ask(ctx, "Passphrase of "+what)
	if err != nil {
		return nil, err
	}
	defer v.Wipe()
	p, err := NewPassphrase(v, 0)
	if err != nil {
		return nil, err
	}
	return []age.Identity{p}, nil
}

// fromFile reads an identity file, which may itself be sealed with a passphrase. from says who named it:
// a path that came out of the environment or a prompt may be a secret put in the wrong place.
func (s *Store) fromFile(ctx context.Context, path, from string) ([]age.Identity, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		shown := " " + path
		if !strings.HasPrefix(from, "identity") {
			shown = ""
		}
		return nil, fmt.Errorf("%s: the identity file%s cannot be read: %w", from, shown, err)
	}
	defer clear(raw)
	if _, _, err := reader(raw); err == nil {
		ids, err := s.askPassphrase(ctx, "the identity file")
		if err != nil {
			return nil, err
		}
		plain, _, err := decrypt(raw, ids)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
		raw = plain
	}
	ids, err := Identities(secrets.NewValue(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return ids, nil
}

// SealedWithPassphrase looks at a file's header.
func SealedWithPassphrase(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("there is no sealed file %s; failover seal NAME --cert FILE --key FILE -o %s makes it: %w", path, path, os.ErrNotExist)
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return false, err
	}
	r, _, err := reader(raw)
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	head, err := age.ExtractHeader(r)
	if err != nil {
		return false, fmt.Errorf("%s: %w", path, &wrongFileError{"the file is damaged or cut off: its header does not read as age"})
	}
	return bytes.Contains(head, []byte("\n-> scrypt ")), nil
}
