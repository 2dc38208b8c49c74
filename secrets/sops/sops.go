// Package sops takes certificates from files that SOPS (https://getsops.io) has encrypted.
//
// It turns such a file into a *secrets.Certificate by the user's own sops, which knows the user's keys (age, PGP, cloud
// KMS); linking it would triple this program. What is decrypted goes through a pipe and is written nowhere.
package sops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/exec"
)

// Store is an encrypted file as a backend of secrets. {path} in its name and in fields is the path that is asked for.
type Store struct {
	File       string
	ChainField []string // where in the document (secrets.Pick); empty: "{path}.chain"
	KeyField   string   // empty: "{path}.key"
	Dir        string   // that File is relative to, and where sops runs: it looks for .sops.yaml from there
	Command    string   // empty: sops
	Timeout    time.Duration
	Without    []string // variables of this process's environment that sops does not get
}

// Certificate decrypts the file. A file that is not there, or that sops does not decrypt here, and fields that it does not
// have, say nothing of the certificate.
func (s *Store) Certificate(ctx context.Context, path string) (*secrets.Certificate, error) {
	name := secrets.Fill(s.File, path)
	at := filepath.FromSlash(name)
	if !filepath.IsAbs(at) {
		at = filepath.Join(s.Dir, at)
	}
	if _, err := os.Stat(at); err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, &secrets.Error{Away: true, What: name + " cannot be read", Err: err, Hint: "sops edit " + name + " makes it"}
	}
	command, chain, key := s.Command, s.ChainField, s.KeyField
	if command == "" {
		command = "sops"
	}
	if len(chain) == 0 {
		chain = []string{"{path}.chain"}
	}
	if key == "" {
		key = "{path}.key"
	}
	doc, err := exec.Output(ctx, exec.Command{Words: []string{command, "--decrypt", "--output-type", "json", at}, Dir: s.Dir, Timeout: s.Timeout, Without: s.Without})
	if err != nil {
		return nil, &secrets.Error{What: name, Err: err, Hint: "sops --decrypt " + name + " by hand says more"}
	}
	defer doc.Wipe()
	c, err := secrets.Fields(doc, path, chain, key)
	if err != nil {
		var fe *secrets.FieldError
		return nil, &secrets.Error{What: fmt.Sprintf("%s, %q", name, path), Err: err, Hint: secrets.HintOf(err), Away: errors.As(err, &fe)}
	}
	return c, nil
}
