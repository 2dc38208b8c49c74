package age

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"filippo.io/age"

	"github.com/dripstat/failover/secrets"
)

// Store is also where an issuer keeps what it makes.
var _ secrets.Sealed = (*Store)(nil)

// Name is the file as the plan has it.
func (s *Store) Name() string { return s.File }

// Item gives a copy of something that is kept beside the certificates.
func (s *Store) Item(ctx context.Context, name string) (secrets.Value, error) {
	b, err := s.open(ctx)
	if err != nil || b == nil {
		return secrets.Value{}, err
	}
	defer b.Wipe()
	for _, x := range b.c.Items {
		if x.Name == name {
			return secrets.NewValue(bytes.Clone(x.Data)), nil
		}
	}
	return secrets.Value{}, nil
}

// open gives the bundle, nil where there is no file yet.
func (s *Store) open(ctx context.Context) (*Bundle, error) {
	if _, err := os.Stat(s.at(s.File)); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	ids, err := s.Identities(ctx)
	if err != nil {
		return nil, err
	}
	return OpenFile(s.at(s.File), ids...)
}

// Put makes changes in one step: the file is replaced by a whole one, which is on the disk before Put returns. Others who seal into the
// same file, of this process or another, wait meanwhile: nothing of theirs is lost.
func (s *Store) Put(ctx context.Context, changes ...secrets.Entry) error {
	if _, err := s.identities(ctx, true); err != nil { // which may ask a person, before others are kept waiting
		return err
	}
	unlock, err := lock(ctx, s.at(s.File))
	if err != nil {
		return err
	}
	defer unlock()
	b, recipients, err := s.forWriting(ctx)
	if err != nil {
		return err
	}
	defer b.Wipe()
	b.c.Version = version
	for _, x := range changes {
		if x.Chain != nil {
			if err := b.put(x.Name, x.Chain, x.Key.Bytes()); err != nil {
				return err
			}
			continue
		}
		b.c.Items = slices.DeleteFunc(b.c.Items, func(i item) bool { return i.Name == x.Name })
		b.c.Items = append(b.c.Items, item{x.Name, bytes.Clone(x.Item.Bytes())})
	}
	if b.c.Recipients, err = names(recipients); err != nil {
		return err
	}
	return b.write(s.at(s.File), recipients)
}

// forWriting gives the bundle as it is, or a new one, and for whom it is to be sealed.
func (s *Store) forWriting(ctx context.Context) (*Bundle, []age.Recipient, error) {
	ids, err := s.identities(ctx, true)
	if err != nil {
		return nil, nil, err
	}
	b, err := s.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	if b != nil {
		recipients, err := b.remembered(ids)
		return b, recipients, err
	}
	b = &Bundle{c: content{Version: version}}
	if len(s.For) > 0 {
		recipients, err := Recipients(s.For, nil)
		return b, recipients, err
	}
	var recipients []age.Recipient
	for _, id := range ids {
		switch x := id.(type) {
		case *age.X25519Identity:
			recipients = append(recipients, x.Recipient())
		case *age.HybridIdentity:
			recipients = append(recipients, x.Recipient())
		}
	}
	if len(recipients) == 0 {
		return nil, nil, fmt.Errorf("%s is not there yet, and the identity does not tell for whom to seal it: say it in the plan: recipients = [\"age1...\"]", s.File)
	}
	return b, recipients, nil
}

// Ready says whether Put would work: the file opens and may be written, or its folder is there. It writes nothing.
func (s *Store) Ready(ctx context.Context) error {
	b, _, err := s.forWriting(ctx)
	if err != nil {
		return err
	}
	b.Wipe()
	path := s.at(s.File)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s may not be written: %w", s.File, err)
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err == nil && !dir.IsDir() {
		err = errors.New("it is no folder")
	}
	if err != nil {
		return fmt.Errorf("the folder of %s is not there: %w", s.File, err)
	}
	return nil
}
