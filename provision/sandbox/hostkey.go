package sandbox

import (
	"io"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// RotateKeyScript is the third script that the servers' sh knows: it makes the key of its input the server's ed25519 host key,
// where the public half is its argument, and lets sshd take it.
const RotateKeyScript = `set -eu
f=/etc/ssh/ssh_host_ed25519_key
umask 077
t=$(mktemp /etc/ssh/.failover-XXXXXX)
trap "rm -f \"$t\" \"$t.pub\"" EXIT
trap "exit 74" HUP INT TERM PIPE
cat > "$t"
ssh-keygen -y -P "" -f "$t" > "$t.pub"
if [ "$(cut -d " " -f 1,2 "$t.pub")" != "$1" ]; then echo "what arrived is cut off or changed" >&2; exit 75; fi
chmod 644 "$t.pub"
sync "$t" "$t.pub" 2>/dev/null || sync
mv -f "$t" "$f"
mv -f "$t.pub" "$f.pub"
sync /etc/ssh 2>/dev/null || sync
if command -v restorecon >/dev/null; then restorecon "$f" "$f.pub"; fi
systemctl reload-or-restart ssh 2>/dev/null || systemctl reload-or-restart sshd 2>/dev/null || service ssh restart`

func (m *machine) rotateKey(user, public string, stdin io.Reader, fail failFunc) int {
	if user != "root" {
		return fail(1, "mktemp: failed to create file via template ‘/etc/ssh/.failover-XXXXXX’: Permission denied")
	}
	data, err := io.ReadAll(io.LimitReader(stdin, 1<<16))
	if err != nil {
		return fail(1, "cat: -: %v", err)
	}
	k, err := ssh.ParsePrivateKey(data)
	if err != nil {
		return fail(255, "Load key \"/etc/ssh/.failover-Qm3xTz\": invalid format")
	}
	if strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.PublicKey()))) != public {
		return fail(75, "what arrived is cut off or changed")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hostKeys = append(slices.DeleteFunc(slices.Clone(m.hostKeys), func(have ssh.Signer) bool { return have.PublicKey().Type() == k.PublicKey().Type() }), k)
	m.put("/etc/ssh/ssh_host_ed25519_key", data, "root", 0o600)
	return 0
}
