package deliver

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strconv"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// File is one file of a layout. Name is empty for a layout that is one file.
type File struct {
	Name    string
	Content secrets.Value
}

// Names of files in a folder. Those of PEM are certbot's: https://eff-certbot.readthedocs.io/en/stable/using.html#where-are-my-certificates
const (
	leafFile     = "cert.pem"
	issuersFile  = "chain.pem"
	chainFile    = "fullchain.pem"
	keyFile      = "privkey.pem"
	keystoreFile = "keystore.p12"
	passwordFile = "keystore.password"
)

// Files gives a certificate in a layout. password is of PKCS#12; where it is zero, one is made and is a file too. The
// caller wipes the contents.
func Files(l provision.Layout, c *secrets.Certificate, password secrets.Value) ([]File, error) {
	switch l {
	case "", provision.LayoutBundle:
		return []File{{Content: c.Bundle()}}, nil
	case provision.LayoutFiles:
		full := c.ChainPEM()
		leaf := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Leaf.Raw})
		return []File{
			{leafFile, secrets.NewValue(leaf)},
			{issuersFile, secrets.NewValue(bytes.Clone(full[len(leaf):]))},
			{chainFile, secrets.NewValue(full)},
			{keyFile, secrets.NewValue(bytes.Clone(c.Key().Bytes()))}, // a copy: what is delivered is wiped, the certificate stays
		}, nil
	case provision.LayoutPKCS12:
		return keystore(c, password)
	}
	return nil, &provision.Error{What: fmt.Sprintf("this failover knows no layout %q", l), Hint: "use the newer one that began this run", Class: provision.Final}
}

// keystore is PKCS#12 with AES-256 and SHA-256, which Java reads from 8u301, 11.0.12 and 17 on, and OpenSSL from 1.1.1 on.
// Nothing that an older Java reads protects a key. go-pkcs12 wants the password as a string, which cannot be
// wiped; it opens this one file, whose place is guarded by its mode.
func keystore(c *secrets.Certificate, password secrets.Value) ([]File, error) {
	t, err := c.TLS()
	if err != nil {
		return nil, err
	}
	var out []File
	if password.IsZero() {
		password = newPassword()
		out = append(out, File{passwordFile, password})
	}
	der, err := pkcs12.Modern2023.Encode(t.PrivateKey, c.Leaf, c.Chain[1:], string(password.Bytes()))
	if err != nil {
		return nil, &provision.Error{What: "the certificate cannot be written as PKCS#12", Class: provision.Final} // no cause: it may quote what it was given
	}
	return append([]File{{keystoreFile, secrets.NewValue(der)}}, out...), nil
}

// newPassword has 192 bits, and only letters, digits, - and _: it goes through shells and property files as it is.
func newPassword() secrets.Value {
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // never fails: https://pkg.go.dev/crypto/rand#Read
	defer clear(raw)
	out := make([]byte, base64.RawURLEncoding.EncodedLen(len(raw)))
	base64.RawURLEncoding.Encode(out, raw)
	return secrets.NewValue(out)
}

// receive puts its standard input into place: $1 is the file or the folder, $2 its owner, $3 the mode of each file,
// $4 the umask for folders that are missing, $5 the mode of a folder layout, or - for a single file. Then come name, size and SHA-256
// of each file, in the order of their bytes.
//
// Where a connection breaks, sshd closes the standard input of what runs, and nothing tells that from the end: so
// everything is written aside first, and what does not have its digest is thrown away. Only a rename puts it into use;
// of a folder, that of a link to it, so that no reader sees the key of one certificate and the chain of another.
// The content never is an argument. It is POSIX sh with GNU mv, mktemp and sha256sum, as every image with systemd has them.
const receive = `set -eu
p=$1 own=$2 mode=$3 mask=$4 as=$5; shift 5
d=${p%/*} n=${p##*/}
if [ -d "$p" ] && [ ! -L "$p" ]; then echo "$p is a folder that failover did not make" >&2; exit 73; fi
umask "$mask"; mkdir -p "$d"; umask 077
t=$(mktemp -d "$d/.$n.failover-XXXXXX")
trap "rm -rf \"$t\" \"$t.link\"" EXIT
trap "exit 74" HUP INT TERM PIPE
cat > "$t/in"
at=0
while [ $# -gt 0 ]; do
  at=$((at+$2))
  head -c "$at" "$t/in" | tail -c "$2" > "$t/$1"
  if [ "$(sha256sum < "$t/$1")" != "$3  -" ]; then echo "what arrived is cut off or changed" >&2; exit 75; fi
  chown "$own" "$t/$1"; chmod "$mode" "$t/$1"
  one=$1; shift 3
done
rm "$t/in"
sync "$t"/* "$t" 2>/dev/null || sync
if [ "$as" = - ]; then
  mv -fT "$t/$one" "$p"
else
  chown "$own" "$t"; chmod "$as" "$t"
  ln -s "${t##*/}" "$t.link"
  mv -fT "$t.link" "$p"
  trap - EXIT
fi
sync "$d" 2>/dev/null || sync
for old in "$d/.$n.failover-"*; do
  if [ "$old" != "$t" ] || [ "$as" = - ]; then rm -rf "$old"; fi
done`

// install gives the command that puts files into place, and the bytes for its standard input.
func install(t Target, files []File) (command string, stdin []*bytes.Reader) {
	mask, as := "077", "-"
	if t.Shared {
		mask = "066"
	}
	if t.Folder {
		as = folderMode(t.Mode)
	}
	arg := []string{t.Path, t.Owner, t.Mode, mask, as}
	for _, f := range files {
		name := f.Name
		if name == "" {
			name = "file"
		}
		b := f.Content.Bytes()
		arg = append(arg, name, strconv.Itoa(len(b)), digest(b))
		stdin = append(stdin, bytes.NewReader(b))
	}
	return "sh -c " + quote(receive) + " sh " + words(arg...), stdin
}

// folderMode lets those into a folder who may read the files in it.
func folderMode(mode string) string {
	bits, err := strconv.ParseUint(mode, 8, 12)
	if err != nil {
		return "0700"
	}
	return fmt.Sprintf("%04o", 0o700|bits&0o044|bits&0o044>>2)
}

func digest(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
