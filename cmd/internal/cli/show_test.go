package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/deliver"
	"github.com/dripstat/failover/provision/planfile"
	"github.com/dripstat/failover/provision/rackspace"
	"github.com/dripstat/failover/provision/sandbox"
	"github.com/dripstat/failover/provision/store/etcd"
	"github.com/dripstat/failover/secrets"
	"github.com/dripstat/failover/secrets/acme"
	"github.com/dripstat/failover/secrets/vault"
)

// holders are all exported structs that hold a secret, each by a pointer to an empty one.
var holders = map[string]any{
	"cli.App": &App{}, "secrets.Certificate": &secrets.Certificate{}, "secrets.LockedError": &secrets.LockedError{}, "secrets.Tried": &secrets.Tried{}, "secrets.Got": &secrets.Got{},
	"secrets.LadderError": &secrets.LadderError{}, "secrets.Entry": &secrets.Entry{}, "acme.Store": &acme.Store{}, "provision.ACMEStore": &provision.ACMEStore{},
	"provision.Etcd": &provision.Etcd{}, "provision.OpenStack": &provision.OpenStack{}, "provision.VaultLogin": &provision.VaultLogin{}, "provision.VaultStore": &provision.VaultStore{},
	"provision.RFC2136": &provision.RFC2136{}, "provision.Delivery": &provision.Delivery{}, "provision.Plan": &provision.Plan{}, "provision.Rackspace": &provision.Rackspace{}, "rackspace.Credentials": &rackspace.Credentials{},
	"deliver.File": &deliver.File{}, "deliver.Keeper": &deliver.Keeper{}, "deliver.Login": &deliver.Login{}, "deliver.Wrapped": &deliver.Wrapped{},
	"etcd.Options": &etcd.Options{}, "vault.Login": &vault.Login{}, "vault.AppRole": &vault.AppRole{}, "vault.Userpass": &vault.Userpass{}, "vault.JWT": &vault.JWT{},
}

// Every exported struct with a field of a secret is among the holders: a new one is tried by the tests below from its first day on.
func TestAllHoldersAreKnown(t *testing.T) {
	var missing []string
	found := 0
	for _, dir := range []string{"secrets", "provision", "cmd"} {
		err := filepath.WalkDir(filepath.Join(top, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "secretstest") || strings.Contains(path, "vaulttest") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok || !spec.Name.IsExported() {
					return true
				}
				s, ok := spec.Type.(*ast.StructType)
				if !ok {
					return true
				}
				for _, field := range s.Fields.List {
					if secretType(field.Type, f.Name.Name) {
						found++
						if name := f.Name.Name + "." + spec.Name.Name; holders[name] == nil && !slices.Contains(missing, name) {
							missing = append(missing, name)
						}
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(missing) > 0 || found < 12 {
		t.Errorf("add to holders: %v (%d fields were found)", missing, found)
	}
}

// secretType reports whether a field holds a secret itself, and is no function that gives one.
func secretType(e ast.Expr, pkg string) bool {
	switch x := e.(type) {
	case *ast.StarExpr:
		return secretType(x.X, pkg)
	case *ast.ArrayType:
		return secretType(x.Elt, pkg)
	case *ast.MapType:
		return secretType(x.Value, pkg)
	case *ast.Ident:
		return pkg == "secrets" && (x.Name == "Value" || x.Name == "Certificate")
	case *ast.SelectorExpr:
		p, _ := x.X.(*ast.Ident)
		return p != nil && p.Name == "secrets" && (x.Sel.Name == "Value" || x.Sel.Name == "Certificate" || x.Sel.Name == "Got")
	}
	return false
}

// fill puts a secret into every place for one, as deep as types go; a struct's own fields are reached, other packages' hidden ones are not.
func fill(v reflect.Value, secret func() secrets.Value, depth int) (n int) {
	if depth == 0 || !v.CanSet() {
		return 0
	}
	if v.Type() == reflect.TypeFor[secrets.Value]() {
		v.Set(reflect.ValueOf(secret()))
		return 1
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			n += fill(v.Field(i), secret, depth-1)
		}
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct && strings.Contains(v.Type().Elem().PkgPath(), "dripstat") {
			v.Set(reflect.New(v.Type().Elem()))
			n += fill(v.Elem(), secret, depth-1)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			n += fill(v.Index(0), secret, depth-1)
		}
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String && v.Type().Elem().Kind() == reflect.Struct {
			e := reflect.New(v.Type().Elem()).Elem()
			n += fill(e, secret, depth-1)
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf("k").Convert(v.Type().Key()), e)
		}
	}
	return n
}

// loaded gives things with a real key inside, as they are in the middle of a run.
func loaded(t testing.TB, chain, key []byte) map[string]any {
	t.Helper()
	no := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := secrets.ParseCertificate(bytes.Clone(chain), bytes.Clone(key))
	no(err)
	login, err := deliver.NewLogin("01RUN", c)
	no(err)
	files, err := deliver.Files(provision.LayoutFiles, c, secrets.Value{})
	no(err)
	got := secrets.Got{Tried: secrets.Tried{Certificate: c}}
	keeper := &deliver.Keeper{}
	keeper.Keep("edge", got)
	block, _ := pem.Decode(key)
	sealed, err := x509.EncryptPEMBlock(rand.Reader, block.Type, block.Bytes, []byte("x"), x509.PEMCipherAES128) //nolint:staticcheck // as people have it
	no(err)
	_, locked := secrets.ParseCertificate(bytes.Clone(chain), pem.EncodeToMemory(sealed))
	return map[string]any{"certificate": c, "certificate by value": *c, "login": login, "login by value": *login, "files": files, "got": got, "keeper": keeper, "locked": locked,
		"value": c.Key(), "pointer": new(c.Key()), "app": &App{said: map[string]secrets.Value{"k": c.Key()}}, "ladder": &secrets.LadderError{Tried: []secrets.Tried{{Certificate: c, Err: locked}}}}
}

// private gives the needles of a key that are not its public half as well: PKCS#8 of an EC key ends with that, and so does a certificate.
func private(t *testing.T, chain, key []byte) needles {
	t.Helper()
	look := secretsOf(t, key)
	leaf, _ := pem.Decode(chain)
	for name, line := range look {
		raw, err := base64.StdEncoding.DecodeString(string(line))
		if strings.HasPrefix(name, "PEM line") && err == nil && bytes.Contains(leaf.Bytes, raw) {
			delete(look, name)
		}
	}
	if len(look) < 10 {
		t.Fatalf("only %d forms are left", len(look))
	}
	return look
}

// Nothing that holds a secret shows it, whatever way it is printed.
func TestHoldersShowNothing(t *testing.T) {
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := ca.Issue("www.shop.test")
	if err != nil {
		t.Fatal(err)
	}
	look := private(t, chain, key)
	const canary = "canary-5d1c-in-a-plan"
	look.forms("canary", []byte(canary))
	things := loaded(t, chain, key)
	filled := 0
	for name, empty := range holders {
		v := reflect.New(reflect.TypeOf(empty).Elem())
		filled += fill(v.Elem(), func() secrets.Value { return secrets.NewValue([]byte(canary)) }, 8)
		things[name], things[name+" by value"] = v.Interface(), v.Elem().Interface()
	}
	if filled < 15 {
		t.Errorf("only %d places for a secret were filled", filled)
	}
	for name, x := range things {
		var out bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			fmt.Fprintf(&out, verb+"\n", x)
			fmt.Fprintf(&out, verb+"\n", []any{x})
			fmt.Fprintf(&out, verb+"\n", struct{ X any }{x})
		}
		if b, err := json.Marshal(x); err == nil {
			out.Write(b)
		}
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("m", "x", x)
		}
		for _, hit := range look.in(out.Bytes(), 1) {
			t.Errorf("%s shows the secret (%s)", name, hit)
		}
	}
}

const childPanic = "FAILOVER_TEST_PANIC"

// panics is a process that has everything in memory and dies of it. What it holds comes by standard input.
func panics(what string) int {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return 9
	}
	chain, key, _ := bytes.Cut(text, []byte("====\n"))
	things := loaded(&testing.B{}, chain, key)
	x := things[what]
	go func() { // a goroutine that holds it as an argument, for the traces of all
		func(x any, k secrets.Value) { time.Sleep(time.Hour); runtime.KeepAlive(x); runtime.KeepAlive(k) }(x, things["value"].(secrets.Value))
	}()
	time.Sleep(10 * time.Millisecond)
	panic(x)
}

// What a process prints when it panics, with the traces of all goroutines, shows no key; and it leaves no core behind.
func TestPanicShowsNothing(t *testing.T) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := ca.Renew(k, time.Hour, "www.shop.test")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	look := private(t, chain, key)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for what := range loaded(t, chain, key) {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Dir, cmd.Stdin = dir, bytes.NewReader(slices.Concat(chain, []byte("====\n"), key))
			cmd.Env = append(os.Environ(), childPanic+"="+what, "GOTRACEBACK=crash")
			out, err := cmd.CombinedOutput()
			if err == nil || !bytes.Contains(out, []byte("panic: ")) || !bytes.Contains(out, []byte("goroutine ")) {
				t.Fatalf("it does not panic: %v\n%s", err, out)
			}
			for _, hit := range look.in(out, 1) {
				t.Errorf("the panic shows the key (%s)\n%s", hit, out)
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A plan with secrets in it shows none either, as it is read.
func TestPlanShowsNothing(t *testing.T) {
	b := newBench(t, nil, endings()[4].edits()...)
	plan, err := planfile.Load(b.path("failover.hcl"), planfile.Options{Env: b.app.LookEnv})
	b.no(err)
	if string(plan.Servers[0].Deliver.Password.Bytes()) != b.env["KEYSTORE_PASSWORD"] {
		t.Fatal("the password is not there")
	}
	text, err := json.Marshal(plan)
	b.no(err)
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %v", plan, plan, plan, *plan.Servers[0].Deliver), string(text)} {
		if strings.Contains(s, "7f3a") {
			t.Errorf("it shows the password: %s", s)
		}
	}
}
