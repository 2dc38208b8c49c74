package age

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"filippo.io/age"

	"github.com/dripstat/failover/secrets"
)

// Recipients reads public keys (age1...), and files of them, one a line.
func Recipients(keys, files []string) ([]age.Recipient, error) {
	var out []age.Recipient
	add := func(k string) error {
		r, err := recipient(k)
		if err != nil {
			return err
		}
		out = append(out, r)
		return nil
	}
	for _, k := range keys {
		if err := add(strings.TrimSpace(k)); err != nil {
			return nil, err
		}
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("the recipients file cannot be read: %w", err)
		}
		found := len(out)
		s := bufio.NewScanner(bytes.NewReader(b))
		for n := 1; s.Scan(); n++ {
			l := strings.TrimSpace(s.Text())
			if l == "" || strings.HasPrefix(l, "#") {
				continue
			}
			if err := add(l); err != nil {
				return nil, fmt.Errorf("%s line %d: %w", f, n, err)
			}
		}
		if len(out) == found {
			return nil, fmt.Errorf("%s holds no recipient (age1...)", f)
		}
	}
	return out, nil
}

func recipient(k string) (age.Recipient, error) {
	const how = "age-keygen -o identity.txt makes an identity and shows its recipient"
	switch {
	case strings.HasPrefix(k, "AGE-SECRET-KEY-"), strings.HasPrefix(strings.ToUpper(k), "AGE-SECRET-KEY-"):
		return nil, errors.New("that is an identity, which is secret; its recipient begins with age1 (age-keygen -y IDENTITY-FILE shows it)")
	case strings.HasPrefix(k, "ssh-"):
		return nil, errors.New("ssh keys are not taken as recipients: " + how)
	case strings.HasPrefix(k, "age1pq1"):
		r, err := age.ParseHybridRecipient(k)
		if err != nil {
			return nil, fmt.Errorf("%q is not a recipient", k)
		}
		return r, nil
	case strings.HasPrefix(k, "age1"):
		r, err := age.ParseX25519Recipient(k)
		if err != nil {
			return nil, fmt.Errorf("%q is not a recipient: a letter is wrong or missing", k)
		}
		return r, nil
	}
	return nil, errors.New("a recipient begins with age1: " + how)
}

// ErrNobody says that a bundle is to be made and nobody is named who may open it.
var ErrNobody = errors.New("nobody is named who may open it")

// names gives recipients as they are remembered.
func names(rs []age.Recipient) ([]string, error) {
	if len(rs) == 0 {
		return nil, ErrNobody
	}
	var out []string
	for _, r := range rs {
		switch x := r.(type) {
		case *Passphrase, *age.ScryptRecipient:
			if len(rs) > 1 {
				return nil, errors.New("a passphrase and recipients cannot be mixed: choose one")
			}
			out = append(out, passphrase)
		case fmt.Stringer:
			out = append(out, x.String())
		default:
			return nil, fmt.Errorf("a recipient of type %T cannot be remembered", r)
		}
	}
	return out, nil
}

// remembered gives the recipients that the file was sealed for last.
func (b *Bundle) remembered(ids []age.Identity) ([]age.Recipient, error) {
	if len(b.c.Recipients) == 1 && b.c.Recipients[0] == passphrase {
		for _, id := range ids {
			if p, ok := id.(*Passphrase); ok {
				return []age.Recipient{p}, nil
			}
		}
		return nil, errors.New("the file is sealed with a passphrase: give it again")
	}
	return Recipients(b.c.Recipients, nil)
}

// Passphrase seals and opens with something that a person remembers.
type Passphrase struct {
	r *age.ScryptRecipient
	i *age.ScryptIdentity
}

// NewPassphrase takes a passphrase. workFactor is the exponent of scrypt's cost; 0 is age's own, about a second.
func NewPassphrase(v secrets.Value, workFactor int) (*Passphrase, error) {
	if v.IsZero() {
		return nil, errors.New("the passphrase is empty")
	}
	r, err := age.NewScryptRecipient(string(v.Bytes()))
	if err != nil {
		return nil, errors.New("the passphrase cannot be used")
	}
	i, err := age.NewScryptIdentity(string(v.Bytes()))
	if err != nil {
		return nil, errors.New("the passphrase cannot be used")
	}
	if workFactor > 0 {
		r.SetWorkFactor(workFactor)
	}
	return &Passphrase{r, i}, nil
}

// Wrap is age.Recipient's.
func (p *Passphrase) Wrap(fileKey []byte) ([]*age.Stanza, error) { return p.r.Wrap(fileKey) }

// WrapWithLabels keeps age from mixing it with other recipients.
func (p *Passphrase) WrapWithLabels(fileKey []byte) ([]*age.Stanza, []string, error) {
	return p.r.WrapWithLabels(fileKey)
}

// Unwrap is age.Identity's.
func (p *Passphrase) Unwrap(s []*age.Stanza) ([]byte, error) { return p.i.Unwrap(s) }

// NewIdentity makes an identity: the text of its file, and its recipient.
func NewIdentity() (file secrets.Value, public string, err error) {
	i, err := age.GenerateX25519Identity()
	if err != nil {
		return secrets.Value{}, "", err
	}
	public = i.Recipient().String()
	return secrets.NewValue([]byte("# public key: " + public + "\n" + i.String() + "\n")), public, nil
}

// Identities reads identities from text: AGE-SECRET-KEY-1..., one a line. Its errors hold none of it.
func Identities(v secrets.Value) ([]age.Identity, error) {
	text := v.Bytes()
	if bytes.Contains(text, []byte("OPENSSH PRIVATE KEY")) || bytes.Contains(text, []byte("RSA PRIVATE KEY")) {
		return nil, errors.New("ssh keys are not taken as identities: age-keygen -o identity.txt makes one")
	}
	ids, err := age.ParseIdentities(bytes.NewReader(bytes.TrimSpace(text)))
	if err != nil {
		if bytes.HasPrefix(bytes.TrimSpace(text), []byte("age1")) {
			return nil, errors.New("that is a recipient, which is public; an identity begins with AGE-SECRET-KEY-1")
		}
		return nil, errors.New("that is not an identity: it begins with AGE-SECRET-KEY-1, one a line") // age's message may quote the text
	}
	return ids, nil
}
