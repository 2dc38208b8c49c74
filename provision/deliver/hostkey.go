package deliver

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// Which of a server's two host keys is meant: the one that it is born with, in user-data, and its own, from the first session on.
const (
	firstKey = "failover first host key v1"
	ownKey   = "failover host key v1"
)

// hostKey derives a host key of one slot of a run from the private key of a certificate, as NewLogin does the login key. It gives
// the line of a known key and the PEM of the private half.
func hostKey(which, run, slot string, c *secrets.Certificate) (public string, private secrets.Value, err error) {
	seed, err := hkdf.Key(sha256.New, c.Key().Bytes(), []byte(run), which+" "+slot, ed25519.SeedSize)
	if err != nil {
		return "", private, err
	}
	defer clear(seed)
	key := ed25519.NewKeyFromSeed(seed)
	defer clear(key)
	line, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return "", private, err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return "", private, err
	}
	defer clear(block.Bytes)
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(line))), secrets.NewValue(pem.EncodeToMemory(block)), nil
}

// FirstHostKey performs server.create by another handler. Where the step names a certificate in host_key, the throwaway host key
// is put into user-data right before the request, and nowhere else: neither graph nor journal holds it.
type FirstHostKey struct {
	Handler
	Keeper *Keeper
	// Merge adds a host key (PEM, and line of a known key) to user-data.
	Merge func(userData []byte, private, public string) ([]byte, error)
}

// without gives the arguments that the other handler knows; what came in is the run's and stays as it is.
func without(in provision.Values) provision.Values {
	out := maps.Clone(in)
	delete(out, "host_key")
	return out
}

// Check is the other handler's.
func (h FirstHostKey) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	return h.Handler.Check(ctx, s, without(in))
}

// Do adds the key, and creates.
func (h FirstHostKey) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	name := in.Text("host_key")
	if name == "" {
		return h.Handler.Do(ctx, s, in)
	}
	c, _ := h.Keeper.certificate(name)
	if c == nil {
		return fmt.Errorf("certificate %s is not in memory", name)
	}
	public, private, err := hostKey(firstKey, in.Text("run"), in.Text("slot"), c)
	if err != nil {
		return err
	}
	defer private.Wipe()
	data, err := h.Merge([]byte(in.Text("user_data")), string(private.Bytes()), public)
	if err != nil {
		return &provision.Error{What: "the first host key cannot be added to user-data: " + err.Error(), Class: provision.Final}
	}
	with := without(in)
	with["user_data"] = string(data)
	return h.Handler.Do(ctx, s, with)
}

// HostKeyRotate performs hostkey.rotate.
type HostKeyRotate struct {
	Keeper *Keeper
	Dial   Dial
	Jump   func(ctx context.Context) (ssh.ClientConfig, error)

	mu    sync.Mutex
	asked map[provision.StepID]time.Time // when the server was told
}

// rotatePace is how long it is waited between two looks, and settle how long an sshd may go on with its former key.
const (
	rotatePace = time.Second
	settle     = 10 * time.Second
)

// rotateKey puts the ed25519 host key of its input into place where its public half is $1, and lets sshd take it. sshd reads host
// keys as it starts and as it is reloaded; sessions live on. What there is of other types was made on the server, and
// nobody knows it. restorecon is for SELinux.
const rotateKey = `set -eu
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

// rotation is one server's, with both of its keys.
type rotation struct {
	target     Target
	jump       ssh.ClientConfig
	login      *Login
	first, own string // public
	private    secrets.Value
}

// rotation derives the keys of a step.
func (h *HostKeyRotate) rotation(ctx context.Context, in provision.Values) (rotation, error) {
	var r rotation
	var a struct {
		Certificate string `json:"certificate"`
		Fingerprint string `json:"fingerprint"`
		Run         string `json:"run"`
		Slot        string `json:"slot"`
		Address     string `json:"address"`
		Port        int    `json:"port"`
		User        string `json:"user"`
		Via         string `json:"via"`
	}
	if err := in.Decode(&a); err != nil {
		return r, err
	}
	c, _ := h.Keeper.certificate(a.Certificate)
	r.login, _ = h.Keeper.logins()
	if c == nil || len(r.login.signers) == 0 {
		return r, fmt.Errorf("certificate %s or the login key is no longer in memory", a.Certificate)
	}
	var gone secrets.Value
	var err error
	if r.first, gone, err = hostKey(firstKey, a.Run, a.Slot, c); err != nil {
		return r, err
	}
	gone.Wipe()
	if r.own, r.private, err = hostKey(ownKey, a.Run, a.Slot, c); err != nil {
		return r, err
	}
	if a.Via != "" {
		if r.jump, err = h.Jump(ctx); err != nil {
			return r, err
		}
	}
	r.target = Target{Address: a.Address, Port: a.Port, User: a.User, Via: a.Via, HostKeys: []string{r.own, r.first}, Rotated: true}
	return r, nil
}

// presented gives a connection to a server that has one of its two keys, and whether it is its own.
func (r rotation) presented(ctx context.Context, dial Dial) (*ssh.Client, bool, error) {
	own := false
	r.target.met = func(k ssh.PublicKey) {
		own = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))) == r.own
	}
	client, err := connect(ctx, r.target, r.login, dial, r.jump)
	return client, own, err
}

// Check is Done once a new connection is met with the server's own key. Only who had a session under the throwaway key, or the
// certificate's key, can know it: a run that is resumed tells the server from another one by that alone.
func (h *HostKeyRotate) Check(ctx context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	r, err := h.rotation(ctx, in)
	if err != nil {
		return provision.Status{}, err
	}
	defer r.private.Wipe()
	client, own, err := r.presented(ctx, h.Dial)
	if err != nil {
		if e := provision.AsError("", err); e.Class == provision.Transient { // it boots yet, or sshd starts
			return provision.Status{State: provision.Working, Seen: strings.TrimSuffix(e.What+": "+e.Said, ": "), Again: rotatePace}, nil
		}
		return provision.Status{}, err
	}
	_ = client.Close()
	if own {
		return provision.Status{State: provision.Done, Out: provision.Values{"host_keys": []any{r.own}}}, nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if at, ok := h.asked[s.ID]; ok && time.Since(at) < settle {
		return provision.Status{State: provision.Working, Seen: "sshd has its new key, and presents the former one yet", Again: rotatePace}, nil
	}
	return provision.Status{State: provision.Absent}, nil
}

// Do gives the server its own key, in a session with one that has the throwaway key.
func (h *HostKeyRotate) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	ctx, cancel := context.WithTimeout(ctx, connectFor+3*commandFor)
	defer cancel()
	r, err := h.rotation(ctx, in)
	if err != nil {
		return err
	}
	defer r.private.Wipe()
	client, own, err := r.presented(ctx, h.Dial)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // the answer was read before
	stop := context.AfterFunc(ctx, func() { _ = client.Close() })
	defer stop()
	if own {
		return nil
	}
	sh := shell{client: client, patience: r.target.patience}
	sudo, err := sh.elevation(r.target.User)
	if err != nil {
		return err
	}
	out, err := sh.run(sudo+"sh -c "+quote(rotateKey)+" sh "+quote(r.own), bytes.NewReader(r.private.Bytes()))
	var gone *ssh.ExitMissingError
	if err != nil && !errors.As(err, &gone) { // an sshd that takes its sessions along has been told all the same
		return explain("the server's own host key could not be put into place", unless(out, []File{{Content: r.private}}), err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.asked == nil {
		h.asked = map[provision.StepID]time.Time{}
	}
	h.asked[s.ID] = time.Now()
	return nil
}
