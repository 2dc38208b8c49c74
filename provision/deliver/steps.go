package deliver

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// Fetch gets a certificate of the plan by its block's name: the one with this fingerprint, from wherever it is to be had.
type Fetch func(ctx context.Context, name, fingerprint string) (secrets.Got, error)

// Keeper holds what a run keeps in this process's memory and nowhere else: the login key and the
// certificates. It is safe for concurrent use.
type Keeper struct {
	Fetch Fetch

	mu       sync.Mutex
	login    *Login
	recalled []*Login // of a run that is over
	certs    map[string]secrets.Got
}

// logins gives all login keys that there are, the one that is derived from what is delivered first, and that one by itself.
func (k *Keeper) logins() (all, login *Login) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all = (&Login{}).or(k.login)
	for _, l := range k.recalled {
		all = all.or(l)
	}
	return all, k.login
}

// Keep puts a certificate that was fetched before, by preflight.
func (k *Keeper) Keep(name string, c secrets.Got) {
	if c.Certificate == nil { // it is issued during the run
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.certs == nil {
		k.certs = map[string]secrets.Got{}
	}
	k.certs[name] = c
}

// certificate is nil where it is not in memory. from is the place that gave it.
func (k *Keeper) certificate(name string) (c *secrets.Certificate, from string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	got := k.certs[name]
	return got.Certificate, "secrets." + got.Ref.Store
}

// Certificate gives one that is in memory; nil where it is not.
func (k *Keeper) Certificate(name string) *secrets.Certificate {
	c, _ := k.certificate(name)
	return c
}

// Forget wipes the private keys.
func (k *Keeper) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.certs {
		c.Certificate.Key().Wipe()
	}
	k.certs, k.login, k.recalled = nil, nil, nil
}

// LoginCreate performs login.create.
type LoginCreate struct{ Keeper *Keeper }

// Check is Done once this process has a key.
func (h LoginCreate) Check(context.Context, provision.Step, provision.Values) (provision.Status, error) {
	h.Keeper.mu.Lock()
	defer h.Keeper.mu.Unlock()
	if h.Keeper.login == nil {
		return provision.Status{State: provision.Absent}, nil
	}
	return provision.Status{State: provision.Done, Out: provision.Values{"public_key": h.Keeper.login.PublicKey()}}, nil
}

// Do derives the key.
func (h LoginCreate) Do(_ context.Context, _ provision.Step, in provision.Values) error {
	c, _ := h.Keeper.certificate(in.Text("certificate"))
	if c == nil {
		return fmt.Errorf("certificate %s is not in memory", in.Text("certificate"))
	}
	l, err := NewLogin(in.Text("run"), c)
	if err != nil {
		return err
	}
	h.Keeper.mu.Lock()
	defer h.Keeper.mu.Unlock()
	if h.Keeper.login == nil {
		h.Keeper.login = l
	}
	return nil
}

// CertificateFetch performs certificate.fetch.
type CertificateFetch struct{ Keeper *Keeper }

// Check is Done when the very certificate that preflight judged is in memory.
func (h CertificateFetch) Check(_ context.Context, _ provision.Step, in provision.Values) (provision.Status, error) {
	c, from := h.Keeper.certificate(in.Text("certificate"))
	if c == nil {
		return provision.Status{State: provision.Absent}, nil
	}
	if want := in.Text("fingerprint"); c.Fingerprint() != want {
		return provision.Status{}, &provision.Error{What: "the secrets backend holds another certificate than the one that preflight judged",
			Said: "SHA-256 " + c.Fingerprint() + ", wanted " + want, Hint: "abandon this run and start a new one"}
	}
	return provision.Status{State: provision.Done, Out: provision.Values{"fingerprint": c.Fingerprint(), "source": from}}, nil
}

// Do fetches it.
func (h CertificateFetch) Do(ctx context.Context, _ provision.Step, in provision.Values) error {
	name := in.Text("certificate")
	c, err := h.Keeper.Fetch(ctx, name, in.Text("fingerprint"))
	if at := in.Text("sealed"); err != nil && at != "" { // issued for this run, and nowhere else
		out := provision.AsError("", err)
		out.Hint = "it was issued for this run and sealed into " + at + ": bring that file here, then: failover resume"
		return out
	}
	if err != nil {
		return err
	}
	h.Keeper.Keep(name, c)
	return nil
}

// Deliver performs certificate.deliver.
type Deliver struct {
	Keeper *Keeper
	Dial   Dial
	// Jump is how a jump host is logged in to: the operator's agent and known_hosts.
	Jump func(ctx context.Context) (ssh.ClientConfig, error)
	// Password gives that of the keystores of a server block ("server.app"); zero where the plan has none.
	Password func(server string) secrets.Value

	done doneHere
}

// doneHere are the steps that this process itself has done: what a server has become by them is asked of nobody again.
type doneHere struct {
	mu    sync.Mutex
	steps map[provision.StepID]bool
}

func (d *doneHere) add(id provision.StepID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.steps == nil {
		d.steps = map[provision.StepID]bool{}
	}
	d.steps[id] = true
}

// status is Done for those, with one of their arguments as what came of them, and Absent for all others.
func (d *doneHere) status(id provision.StepID, in provision.Values, out string) (provision.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.steps[id] {
		return provision.Status{State: provision.Absent}, nil
	}
	return provision.Status{State: provision.Done, Out: provision.Values{out: in.Text(out)}}, nil
}

// Check is Done after this process has delivered and read the digest back. A run that is resumed
// delivers again: the file is replaced by the same bytes, which does no harm.
func (h *Deliver) Check(_ context.Context, s provision.Step, in provision.Values) (provision.Status, error) {
	return h.done.status(s.ID, in, "fingerprint")
}

// Do pushes once.
func (h *Deliver) Do(ctx context.Context, s provision.Step, in provision.Values) error {
	var a struct {
		Certificate string   `json:"certificate"`
		Fingerprint string   `json:"fingerprint"`
		Address     string   `json:"address"`
		Port        int      `json:"port"`
		User        string   `json:"user"`
		Via         string   `json:"via"`
		HostKeys    []string `json:"host_keys"`
		Rotated     bool     `json:"rotated"`
		Layout      string   `json:"layout"`
		Path        string   `json:"path"`
		Owner       string   `json:"owner"`
		Mode        string   `json:"mode"`
		Reload      string   `json:"reload"`
		Command     []string `json:"command"`
		Password    string   `json:"password"`
		Slot        string   `json:"slot"`
	}
	if err := in.Decode(&a); err != nil {
		return err
	}
	c, _ := h.Keeper.certificate(a.Certificate)
	login, _ := h.Keeper.logins()
	if c == nil || len(login.signers) == 0 {
		return fmt.Errorf("certificate %s or the login key is no longer in memory", a.Certificate)
	}
	var jump ssh.ClientConfig
	if a.Via != "" {
		var err error
		if jump, err = h.Jump(ctx); err != nil {
			return err
		}
	}
	var password secrets.Value
	if a.Password != "" {
		if password = h.Password(a.Password); password.IsZero() {
			return &provision.Error{What: a.Password + " of the plan has no password for its keystore any more", Hint: "put it back, or give the plan that the run began with: --plan FILE"}
		}
	}
	layout := provision.Layout(a.Layout)
	files, err := Files(layout, c, password)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range files {
			f.Content.Wipe()
		}
	}()
	user, _, _ := strings.Cut(a.Owner, ":")
	t := Target{Address: a.Address, Port: a.Port, User: a.User, Via: a.Via, HostKeys: a.HostKeys, Rotated: a.Rotated, Path: a.Path, Folder: layout.Folder(),
		Owner: a.Owner, Mode: a.Mode, Shared: a.Owner != "" && a.Owner != "root:root" && user != "0", Reload: a.Reload, Command: a.Command}
	if err := Push(ctx, t, login, files, h.Dial, jump); err != nil {
		return err
	}
	h.done.add(s.ID)
	return nil
}
