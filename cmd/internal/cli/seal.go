package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	agelib "filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/age"
)

type sealOptions struct {
	cert, key, out string
	recipients     []string
	files          []string
	identity       string
	passphrase     bool
	list           bool
	forget         bool
}

// newSeal is `failover seal`: certificates into an age-encrypted bundle.
func newSeal(app *App) *cobra.Command {
	o := &sealOptions{}
	cmd := &cobra.Command{
		Use: "seal NAME --cert FILE --key FILE", Short: "Put a certificate into an age-encrypted bundle, or list one",
		Example: "  failover seal edge --cert fullchain.pem --key key.pem -r age1… -o secrets.age\n  failover seal --list -o secrets.age",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.list {
				return o.show(cmd.Context(), app)
			}
			if len(args) != 1 {
				return usage("failover seal NAME --cert FILE --key FILE", "what shall it be called in the bundle?")
			}
			return o.seal(cmd.Context(), app, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.cert, "cert", "", "PEM file: the leaf and its intermediates")
	f.StringVar(&o.key, "key", "", "PEM file: the private key (leave it out when --cert holds it too)")
	f.StringVarP(&o.out, "out", "o", "secrets.age", "the bundle")
	f.StringArrayVarP(&o.recipients, "recipient", "r", nil, "who may open it: age1…; an existing bundle's own by default")
	f.StringArrayVarP(&o.files, "recipients-file", "R", nil, "file of recipients, one a line")
	f.BoolVarP(&o.passphrase, "passphrase", "p", false, "seal with a passphrase instead of recipients")
	f.StringVarP(&o.identity, "identity", "i", "", "file that opens an existing bundle (default: FAILOVER_AGE_IDENTITY, then the terminal)")
	f.BoolVar(&o.list, "list", false, "list what is in the bundle")
	f.BoolVar(&o.forget, "forget-former", false, "do not keep the certificate that this one replaces (NAME.former): failover deliver needs it once")
	return cmd
}

func (o *sealOptions) seal(ctx context.Context, app *App, name string) error {
	if o.cert == "" {
		return usage("failover seal NAME --cert FILE --key FILE", "--cert is missing")
	}
	chain, err := os.ReadFile(o.cert)
	if err != nil {
		return usage("give the PEM file of the certificate", "%v", err)
	}
	var key []byte
	if o.key != "" {
		if key, err = os.ReadFile(o.key); err != nil {
			return usage("give the PEM file of the private key", "%v", err)
		}
	}
	defer func() { clear(key) }()
	c, err := secrets.ParseCertificate(append([]byte{}, chain...), append([]byte{}, key...))
	var locked *secrets.LockedError
	if errors.As(err, &locked) && app.interactive() {
		if c, err = locked.Open(ctx, pick(o.key, o.cert), app.askSecret()); err == nil {
			clear(key) // from here on, what was read stands for the files
			chain, key = c.ChainPEM(), bytes.Clone(c.Key().Bytes())
		}
	}
	if err != nil {
		return &exitError{code: exitUsage, err: provision.AsError(pick(o.key, o.cert), err)}
	}
	defer c.Key().Wipe()
	to, err := o.sealTo(ctx, app)
	if err != nil {
		return err
	}
	var ids []agelib.Identity
	if _, err := os.Stat(o.out); err == nil {
		if ids, err = o.store(app).Identities(ctx); err != nil {
			return &exitError{code: exitUsage, err: err}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := age.Add(o.out, name, chain, key, to, ids); errors.Is(err, age.ErrNobody) {
		return &exitError{code: exitUsage, err: &provision.Error{What: o.out + " does not exist yet, and " + err.Error(),
			Hint: "-r age1... (age-keygen -o identity.txt makes one), -R FILE with several, or -p for a passphrase"}}
	} else if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	if o.forget {
		if list, err := age.List(o.out, ids...); err == nil && slices.ContainsFunc(list, func(e age.Entry) bool { return e.Name == name+age.Former }) {
			if err := age.Remove(o.out, name+age.Former, ids); err != nil {
				return &exitError{code: exitUsage, err: err}
			}
		}
	}
	_, _ = fmt.Fprintf(app.Out, "sealed %s into %s: %s, expires %s\n", name, o.out, strings.Join(c.Leaf.DNSNames, ", "), c.Leaf.NotAfter.Format("2006-01-02"))
	l := app.look(app.Err)
	for _, p := range c.Inspect(nil, nil, time.Now(), 21*24*time.Hour) {
		f := provision.Finding{Weight: provision.Warn, Check: "certificate", Thing: name, What: p.What}
		if strings.Contains(p.What, "no trusted root") {
			f.Hint = "where clients trust a CA of your own, name it in the plan: certificate { ca = file(\"ca.pem\") }"
		}
		view.WriteFindings(app.Err, l, []provision.Finding{f})
	}
	return nil
}

func (o *sealOptions) sealTo(ctx context.Context, app *App) ([]agelib.Recipient, error) {
	if o.passphrase {
		ask := app.askSecret()
		if ask == nil {
			return nil, usage("seal to a recipient instead: -r age1…", "there is no terminal to ask for a passphrase at")
		}
		pass, err := ask(ctx, "Passphrase for "+o.out)
		if err != nil {
			return nil, err
		}
		defer pass.Wipe()
		again, err := ask(ctx, "The same again")
		if err != nil {
			return nil, err
		}
		defer again.Wipe()
		if !bytes.Equal(pass.Bytes(), again.Bytes()) {
			return nil, usage("seal it again", "the two passphrases differ; nothing was sealed")
		}
		r, err := age.NewPassphrase(pass, 0)
		return []agelib.Recipient{r}, err
	}
	to, err := age.Recipients(o.recipients, o.files)
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	return to, nil
}

func (o *sealOptions) store(app *App) *age.Store {
	return &age.Store{File: o.out, Identity: o.identity, Env: app.LookEnv, Ask: app.askSecret()}
}

func (o *sealOptions) show(ctx context.Context, app *App) error {
	ids, err := o.store(app).Identities(ctx)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	list, err := age.List(o.out, ids...)
	if err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	for _, e := range list {
		_, _ = fmt.Fprintf(app.Out, "%-16s %s  expires %s  SHA-256 %s\n", e.Name, strings.Join(e.Names, ", "), e.NotAfter.Format("2006-01-02"), e.Fingerprint[:16])
	}
	return nil
}
