// Package env takes certificates from environment variables, as CI hands secrets to a job.
//
// It turns the variables of a chain and a key (PEM, PEM with \n for line breaks, or base64) into a
// *secrets.Certificate. It never sets a variable; who starts other processes keeps Names from them.
package env

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/dripstat/failover/secrets"
)

// Store is environment variables as a backend of secrets. {path} in a name is the path that is asked for, in capitals,
// with _ for all that is neither a letter nor a digit.
type Store struct {
	Chain string                      // variable: the chain, and the key where Key is empty
	Key   string                      // variable
	Look  func(string) (string, bool) // nil: os.LookupEnv
}

// Name gives the variable that a name of the plan means for a path.
func Name(name, path string) string {
	return secrets.Fill(name, strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, path))
}

// Names gives the variables that hold a key for path.
func (s *Store) Names(path string) []string {
	if s.Key == "" {
		return []string{Name(s.Chain, path)}
	}
	return []string{Name(s.Key, path)}
}

// Certificate reads the variables. One that is not set, or empty, says nothing of the certificate.
func (s *Store) Certificate(_ context.Context, path string) (*secrets.Certificate, error) {
	chain, err := s.read(s.Chain, path)
	if err != nil {
		return nil, err
	}
	var key secrets.Value
	if s.Key != "" {
		if key, err = s.read(s.Key, path); err != nil {
			return nil, err
		}
	}
	c, err := secrets.Read(chain, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name(s.Chain, path), err)
	}
	return c, nil
}

func (s *Store) read(name, path string) (secrets.Value, error) {
	look := s.Look
	if look == nil {
		look = os.LookupEnv
	}
	v, _ := look(Name(name, path))
	if strings.TrimSpace(v) == "" {
		return secrets.Value{}, &secrets.Error{Away: true, What: fmt.Sprintf("the variable %s is not set", Name(name, path)), Hint: "export it: PEM text, or base64 of it"}
	}
	return secrets.NewValue([]byte(v)), nil
}

// Remarks notes where the key is.
func (s *Store) Remarks(path string) []secrets.Remark {
	return []secrets.Remark{{What: fmt.Sprintf("the private key is in the environment of this process (%s), for every process of this user to read; commands of the plan do not get it", s.Names(path)[0])}}
}
