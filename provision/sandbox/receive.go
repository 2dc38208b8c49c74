package sandbox

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"software.sslmate.com/src/go-pkcs12"
)

// ReceiveScript is one of three scripts that the servers' sh knows: it puts what comes on stdin into place, whole or
// not at all, as one file or as a folder whose files change together. Its arguments are
// PATH OWNER MODE UMASK AS, after a name for $0, and NAME SIZE SHA256 for each file.
//
// The servers know, each with or without "sudo -n " before it:
//
//	true
//	id -u
//	sh -c ReceiveScript sh PATH OWNER MODE UMASK AS (NAME SIZE SHA256)...
//	sh -c ReplaceKeyScript sh KEY OLD...
//	sh -c RotateKeyScript sh PUBLIC
//	sha256sum PATH...
//	cat PATH...
//	test -e PATH
//	systemctl reload-or-restart UNIT
//	systemctl is-active UNIT
//
// and those of Options.Commands, which do nothing. Anything else ends with status 127.
const ReceiveScript = `set -eu
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

// ReplaceKeyScript is another one: it adds its first argument to the login user's authorized keys and takes out lines that hold
// one of the others.
const ReplaceKeyScript = `set -eu
f=$HOME/.ssh/authorized_keys new=$1; shift
umask 077
t=$(mktemp "$HOME/.ssh/.authorized_keys.XXXXXX")
trap "rm -f \"$t\"" EXIT
cat "$f" > "$t"
grep -qxF "$new" "$t" || echo "$new" >> "$t"
for old in "$@"; do
  grep -vF "$old" "$t" > "$t.less" || [ $? -eq 1 ]
  cat "$t.less" > "$t"; rm "$t.less"
done
sync "$t" 2>/dev/null || sync
mv -f "$t" "$f"`

func (m *machine) replaceKeys(user string, arg []string, fail failFunc) int {
	k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(arg[0]))
	if err != nil {
		return fail(1, "sandbox: no key: %v", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users[user] = append(slices.DeleteFunc(m.users[user], func(have ssh.PublicKey) bool {
		line := string(ssh.MarshalAuthorizedKey(have))
		return bytes.Equal(have.Marshal(), k.Marshal()) || slices.ContainsFunc(arg[1:], func(old string) bool { return strings.Contains(line, old) })
	}), k)
	return 0
}

type failFunc func(status int, format string, a ...any) int

// knows reports whether a user or a group exists.
func (m *machine) knows(name string) bool {
	_, login := m.users[name]
	return login || name == "" || slices.Contains([]string{"root", "haproxy", "www-data", "nobody", "ssl-cert", "adm", "0"}, name) || slices.Contains(m.c.opts.Users, name)
}

func (m *machine) receive(user string, arg []string, stdin io.Reader, fail failFunc) int {
	if len(arg) < 8 || len(arg)%3 != 2 {
		return fail(2, "sh: 2: parameter not set")
	}
	place, owner, mode, as := arg[0], arg[1], arg[2], arg[4]
	if home := "/home/" + user; user != "root" && !strings.HasPrefix(place, home) && !strings.HasPrefix(place, "/tmp") {
		return fail(1, "mkdir: cannot create directory ‘%s’: Permission denied", path.Dir(place))
	}
	data, err := io.ReadAll(io.LimitReader(stdin, 16<<20))
	if err != nil {
		return fail(1, "cat: -: %v", err)
	}
	u, g, _ := strings.Cut(owner, ":")
	bits, err := strconv.ParseUint(mode, 8, 12)
	if err != nil {
		return fail(1, "chmod: invalid mode: ‘%s’", mode)
	}
	files := map[string][]byte{}
	for f := arg[5:]; len(f) > 0; f = f[3:] {
		size, err := strconv.Atoi(f[1])
		if err != nil || size < 0 || size > len(data) {
			return fail(75, "what arrived is cut off or changed")
		}
		sum := sha256.Sum256(data[:size])
		if hex.EncodeToString(sum[:]) != f[2] {
			return fail(75, "what arrived is cut off or changed")
		}
		files[f[0]], data = data[:size], data[size:]
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.knows(u) || !m.knows(g) {
		return fail(1, "chown: invalid user: ‘%s’", owner)
	}
	if user != "root" && u != user {
		return fail(1, "chown: changing ownership of '%s': Operation not permitted", place)
	}
	if as == "-" {
		for _, b := range files {
			m.write(place, b, owner, os.FileMode(bits))
		}
		return 0
	}
	for name := range m.files { // the link leads elsewhere now
		if strings.HasPrefix(name, place+"/") {
			delete(m.files, name)
		}
	}
	for name, b := range files {
		m.put(place+"/"+name, b, owner, os.FileMode(bits))
	}
	m.loadFolder(place, files)
	return 0
}

// loadFolder takes a folder of PEM files or a keystore into use, as a service would that knows either. The caller holds m.mu.
func (m *machine) loadFolder(place string, files map[string][]byte) {
	if key := files["privkey.pem"]; key != nil {
		m.load(place, slices.Concat(files["fullchain.pem"], []byte("\n"), key))
		return
	}
	passwords := m.c.opts.Keystores // what services there were told in their own way
	if own := files["keystore.password"]; own != nil {
		passwords = []string{string(bytes.TrimSpace(own))}
	}
	for _, p := range passwords {
		key, leaf, issuers, err := pkcs12.DecodeChain(files["keystore.p12"], p)
		if err != nil {
			continue
		}
		cert := tls.Certificate{PrivateKey: key, Leaf: leaf, Certificate: [][]byte{leaf.Raw}}
		for _, x := range issuers {
			cert.Certificate = append(cert.Certificate, x.Raw)
		}
		m.use(place, &cert)
		return
	}
	m.badPEM = place
}
