package deliver

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// Former gets the certificate that login keys were derived from: the one with this fingerprint, from the places of a certificate
// of the plan, under its own path there or under another one (empty: its own, and where failover seal keeps former ones).
type Former func(ctx context.Context, name, fingerprint, path string) (secrets.Got, error)

// ErrOtherLogin says that a certificate does not give the login key that the servers know.
var ErrOtherLogin = fmt.Errorf("the certificate does not give the login key that the servers know")

// Recall makes a run's login key again and forgets the certificate that it is derived from at once.
func Recall(run, publicKey string, c *secrets.Certificate) (*Login, error) {
	defer c.Key().Wipe()
	l, err := NewLogin(run, c)
	if err != nil {
		return nil, err
	}
	if l.PublicKey() != publicKey {
		return nil, ErrOtherLogin
	}
	return l, nil
}

// LoginRecall performs login.recall.
type LoginRecall struct {
	Keeper *Keeper
	Former Former
}

// Check is Done once this process has the key.
func (h LoginRecall) Check(_ context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	h.Keeper.mu.Lock()
	defer h.Keeper.mu.Unlock()
	for _, l := range h.Keeper.recalled {
		if want := in.Text("public_key"); l.PublicKey() == want {
			return provision.Status{State: provision.Done, Out: provision.Values{"public_key": want}}, nil
		}
	}
	return provision.Status{State: provision.Absent}, nil
}

// Do derives the key.
func (h LoginRecall) Do(ctx context.Context, _ provision.Step, in provision.Values) error {
	got, err := h.Former(ctx, in.Text("certificate"), in.Text("fingerprint"), in.Text("path"))
	if err != nil {
		return err
	}
	l, err := Recall(in.Text("run"), in.Text("public_key"), got.Certificate)
	if err != nil {
		return err
	}
	h.Keeper.mu.Lock()
	defer h.Keeper.mu.Unlock()
	h.Keeper.recalled = append(h.Keeper.recalled, l)
	return nil
}

// LoginReplace performs login.replace.
type LoginReplace struct {
	Keeper *Keeper
	Dial   Dial
	Jump   func(ctx context.Context) (ssh.ClientConfig, error)

	done doneHere
}

// Check is Done after this process has logged in by the new key. A run that is resumed does it again, which does no harm.
func (h *LoginReplace) Check(_ context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	return h.done.status(s.ID, in, "public_key")
}

// replaceKey adds the line $1 to the authorized keys of the user who runs it, and takes those out that hold one of the other
// arguments. The file is replaced as a whole: a broken connection leaves one that lets in whom it let in before.
const replaceKey = `set -eu
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

// Do adds the new key, logs in by it, and only then takes the former ones out: at no moment is there a server that nobody can log in to.
func (h *LoginReplace) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	var a struct {
		Address   string   `json:"address"`
		Port      int      `json:"port"`
		User      string   `json:"user"`
		Via       string   `json:"via"`
		HostKeys  []string `json:"host_keys"`
		Rotated   bool     `json:"rotated"`
		PublicKey string   `json:"public_key"`
		Former    []string `json:"former"`
		Slot      string   `json:"slot"`
	}
	if err := in.Decode(&a); err != nil {
		return err
	}
	any, next := h.Keeper.logins()
	if next == nil || next.PublicKey() != a.PublicKey {
		return fmt.Errorf("the new login key is no longer in memory")
	}
	var jump ssh.ClientConfig
	if a.Via != "" {
		var err error
		if jump, err = h.Jump(ctx); err != nil {
			return err
		}
	}
	t := Target{Address: a.Address, Port: a.Port, User: a.User, Via: a.Via, HostKeys: a.HostKeys, Rotated: a.Rotated}
	ctx, cancel := context.WithTimeout(ctx, 2*(connectFor+commandFor))
	defer cancel()
	if err := t.once(ctx, any, h.Dial, jump, a.PublicKey); err != nil {
		return err
	}
	old := make([]string, 0, len(a.Former))
	for _, line := range a.Former {
		if f := strings.Fields(line); len(f) > 1 && !strings.Contains(a.PublicKey, f[1]) {
			old = append(old, f[1])
		}
	}
	if err := t.once(ctx, next, h.Dial, jump, append([]string{a.PublicKey}, old...)...); err != nil {
		return err
	}
	h.done.add(s.ID)
	return nil
}

// once logs in and replaces keys.
func (t Target) once(ctx context.Context, l *Login, dial Dial, jump ssh.ClientConfig, lines ...string) error {
	client, err := connect(ctx, t, l, dial, jump)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // the answer was read before
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	if out, err := (shell{client: client, patience: t.patience}).run("sh -c "+quote(replaceKey)+" sh "+words(lines...), nil); err != nil {
		return explain("the authorized keys of "+t.User+" could not be replaced", out, err)
	}
	return nil
}
