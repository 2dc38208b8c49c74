// Command server is a real Vault for tests: one core in memory, initialised and unsealed, with a root token. It lies in a
// module of its own, for Vault brings the SDKs of all clouds; nothing of it is linked into failover.
//
// It prints one line of JSON, {"address", "token", "key", "ca"}, and serves until its standard input ends. key is the
// unseal key. SIGUSR1 seals it. -tls serves TLS with a certificate of its own, whose authority is ca.
package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	jwt "github.com/hashicorp/vault-plugin-auth-jwt"
	kube "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/credential/userpass"
	"github.com/hashicorp/vault/builtin/logical/pki"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	withTLS := flag.Bool("tls", false, "serve TLS")
	raw := flag.Bool("raw", false, "neither initialise nor unseal it")
	flag.Parse()
	if err := run(*withTLS, *raw); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(withTLS, raw bool) error {
	logger := hclog.New(&hclog.LoggerOptions{Output: io.Discard, Level: hclog.Off})
	storage, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return err
	}
	engines := map[string]logical.Factory{"kv": kv.Factory, "pki": pki.Factory}
	logins := map[string]logical.Factory{"approle": approle.Factory, "userpass": userpass.Factory, "jwt": jwt.Factory, "kubernetes": kube.Factory}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	out := map[string]string{"address": "http://" + listener.Addr().String()}
	if withTLS {
		if listener, out["ca"], err = overTLS(listener); err != nil {
			return err
		}
		out["address"] = "https://" + listener.Addr().String()
	}
	core, err := vault.NewCore(&vault.CoreConfig{Physical: storage, Logger: logger, DisableMlock: true, DisableCache: true, LogicalBackends: engines, CredentialBackends: logins,
		BuiltinRegistry: registry{engines, logins}, RedirectAddr: out["address"]})
	if err != nil {
		return err
	}
	go func() {
		_ = (&http.Server{Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core}), ReadHeaderTimeout: 10 * time.Second}).Serve(listener)
	}()
	if !raw {
		made, err := core.Initialize(context.Background(), &vault.InitParams{
			BarrierConfig:  &vault.SealConfig{SecretShares: 1, SecretThreshold: 1},
			RecoveryConfig: &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}})
		if err != nil {
			return err
		}
		if ok, err := core.Unseal(made.SecretShares[0]); err != nil || !ok {
			return fmt.Errorf("not unsealed: %v", err)
		}
		for until := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if standby, err := core.Standby(); err == nil && !standby {
				break
			}
			if time.Now().After(until) {
				return fmt.Errorf("it does not become active")
			}
		}
		out["token"], out["key"] = made.RootToken, hex.EncodeToString(made.SecretShares[0])
	}
	seal := make(chan os.Signal, 1)
	signal.Notify(seal, syscall.SIGUSR1) // before anybody knows of us
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		close(ended)
	}()
	for {
		select {
		case <-seal:
			if err := core.Seal(out["token"]); err != nil {
				return err
			}
		case <-ended:
			return nil
		}
	}
}

// registry says which plugins are built in.
type registry struct{ engines, logins map[string]logical.Factory }

func (r registry) of(t consts.PluginType) map[string]logical.Factory {
	switch t {
	case consts.PluginTypeSecrets:
		return r.engines
	case consts.PluginTypeCredential:
		return r.logins
	}
	return nil
}

func (r registry) Contains(name string, t consts.PluginType) bool {
	_, ok := r.of(t)[name]
	return ok
}

func (r registry) Get(name string, t consts.PluginType) (func() (interface{}, error), bool) {
	f, ok := r.of(t)[name]
	return func() (interface{}, error) { return f, nil }, ok
}

func (r registry) Keys(t consts.PluginType) []string {
	var out []string
	for n := range r.of(t) {
		out = append(out, n)
	}
	return out
}

func (r registry) DeprecationStatus(name string, t consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, r.Contains(name, t)
}

func overTLS(l net.Listener) (net.Listener, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vault"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return nil, "", err
	}
	return tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}
