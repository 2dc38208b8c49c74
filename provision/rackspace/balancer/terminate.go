package balancer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// terminateArgs are those of cloudbalancer.terminate.
type terminateArgs struct {
	Cloud       string `json:"cloud"`
	Balancer    ident  `json:"balancer"`
	Certificate string `json:"certificate"`
	Fingerprint string `json:"fingerprint"`
	Port        int    `json:"port"`
	Plain       bool   `json:"plain"` // plain HTTP goes on to be answered

	Nodes []provision.StandingMember `json:"nodes"` // for cloudbalancer.unterminate alone
}

func (a terminateArgs) change() string {
	return "terminate " + string(a.Balancer) + " " + a.Fingerprint
}

// terminates reads how TLS ends. There is nothing to read before it does: 404, where other settings are empty objects.
func (r *Region) terminates(ctx context.Context, id ident) (termination, error) {
	var got struct {
		Termination termination `json:"sslTermination"`
	}
	_, err := r.get(ctx, "read how TLS ends at load balancer "+string(id), &got, nil, "loadbalancers", url.PathEscape(string(id)), "ssltermination")
	return got.Termination, err
}

func (r *Region) checkTerminates(ctx context.Context, a terminateArgs) (provision.Status, error) {
	_, st, ok, err := r.changeable(ctx, a.Balancer)
	if err != nil || !ok {
		return st, err
	}
	t, err := r.terminates(ctx, a.Balancer)
	if err != nil {
		return provision.Status{}, err
	}
	has := fingerprint(t.Certificate)
	if has == "" && r.was(a.change()) { // it does not show one, and took ours
		has = a.Fingerprint
	}
	if has != a.Fingerprint || t.Port != a.Port || !bool(t.Enabled) || !a.Plain && !bool(t.Only) {
		return provision.Status{State: provision.Absent}, nil
	}
	return done(provision.Values{"fingerprint": a.Fingerprint})
}

// fingerprint is that of the first certificate in PEM; empty where there is none.
func fingerprint(text string) string {
	b, _ := pem.Decode([]byte(text))
	if b == nil {
		return ""
	}
	sum := sha256.Sum256(b.Bytes)
	return hex.EncodeToString(sum[:])
}

// terminate sends the certificate with its key, in one request over TLS, and lets nothing but TLS in from then on, unless plain HTTP is to stay.
// https://docs.rackspace.com/docs/cloud-load-balancers/v1/api-reference/ssl-termination
func terminate(keys Keys) func(*Region, context.Context, terminateArgs) error {
	return func(r *Region, ctx context.Context, a terminateArgs) error {
		cert := keys(a.Certificate)
		if cert == nil || cert.Fingerprint() != a.Fingerprint {
			return fmt.Errorf("certificate %s is no longer in memory", a.Certificate)
		}
		body, err := terminationBody(cert, a.Port, a.Plain)
		if err != nil {
			return &provision.Error{What: "certificate " + a.Certificate, Err: err, Class: provision.Final}
		}
		defer body.Wipe()
		if err := r.writeRaw(ctx, http.MethodPut, "end TLS at the load balancer", body.Bytes(), "loadbalancers", url.PathEscape(string(a.Balancer)), "ssltermination"); err != nil {
			if e := provision.AsError("", err); e.Class == provision.Final && e.Said == "" && e.Hint == "" {
				e.Hint = "why it was not taken is not shown, since that might quote the key; the control panel tells of the same certificate: is its chain whole and in order, and the key one of RSA?"
				return e
			}
			return err
		}
		r.accepted(a.change())
		return nil
	}
}

// terminationBody is the request, written by hand into a buffer that is wiped: no copy of a key is left in one of encoding/json's. The
// name of the key is written small here, and not in certificate mappings; clients have it wrong.
// https://github.com/pycontribs/pyrax/blob/master/pyrax/cloudloadbalancers.py (add_ssl_termination)
func terminationBody(cert *secrets.Certificate, port int, plain bool) (secrets.Value, error) {
	key, err := rsaPEM(cert)
	if err != nil {
		return secrets.Value{}, err
	}
	defer key.Wipe()
	var leaf, rest bytes.Buffer
	for i, x := range cert.Chain {
		to := &rest
		if i == 0 {
			to = &leaf
		}
		_ = pem.Encode(to, &pem.Block{Type: "CERTIFICATE", Bytes: x.Raw}) // a buffer takes everything
	}
	lines := bytes.Count(key.Bytes(), []byte("\n")) + bytes.Count(leaf.Bytes(), []byte("\n")) + bytes.Count(rest.Bytes(), []byte("\n"))
	out := make([]byte, 0, len(key.Bytes())+leaf.Len()+rest.Len()+lines+256) // as large as it gets: growing would leave copies
	out = append(out, `{"sslTermination":{"enabled":true,"secureTrafficOnly":`...)
	out = strconv.AppendBool(out, !plain)
	out = append(out, `,"securePort":`...)
	out = strconv.AppendInt(out, int64(port), 10)
	text := func(name string, pem []byte) {
		out = append(out, `,"`...)
		out = append(out, name...)
		out = append(out, `":"`...)
		for _, ch := range pem { // nothing in PEM needs escaping but line ends
			if ch == '\n' {
				out = append(out, '\\')
				ch = 'n'
			}
			out = append(out, ch)
		}
		out = append(out, '"')
	}
	text("certificate", leaf.Bytes())
	text("privatekey", key.Bytes())
	if rest.Len() > 0 {
		text("intermediateCertificate", rest.Bytes())
	}
	return secrets.NewValue(append(out, `}}`...)), nil
}

// ErrNotRSA says that a certificate's key is of a kind that the service does not take.
var ErrNotRSA = errors.New("its key is not RSA, and Rackspace's load balancers take no other")

// rsaPEM is the key in the form that the documents show, "RSA PRIVATE KEY" (PKCS #1), whichever it is kept in. What PKCS #8 wraps is that form.
func rsaPEM(cert *secrets.Certificate) (secrets.Value, error) {
	if cert.Leaf.PublicKeyAlgorithm != x509.RSA {
		return secrets.Value{}, ErrNotRSA
	}
	plain := cert.Key()
	b, _ := pem.Decode(plain.Bytes())
	if b == nil {
		return secrets.Value{}, errors.New("its key is not in memory")
	}
	defer clear(b.Bytes)
	der := b.Bytes
	if b.Type != "RSA PRIVATE KEY" {
		var wrapped struct {
			Version   int
			Algorithm asn1.RawValue
			Key       []byte
		}
		if _, err := asn1.Unmarshal(b.Bytes, &wrapped); err != nil {
			return secrets.Value{}, errors.New("its key is neither PKCS #1 nor PKCS #8")
		}
		der = wrapped.Key
		defer clear(wrapped.Key)
	}
	var out bytes.Buffer
	out.Grow(2*len(der) + 128)
	_ = pem.Encode(&out, &pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})
	return secrets.NewValue(out.Bytes()), nil
}

// The versions of TLS that can be turned off.
// https://docs.rackspace.com/docs/disable-tls1-for-cloud-load-balancers
var oldVersions = []string{"TLS_10", "TLS_11"}

func (r *Region) checkVersions(ctx context.Context, a changeArgs) (provision.Status, error) {
	_, st, ok, err := r.changeable(ctx, a.Balancer)
	if err != nil || !ok {
		return st, err
	}
	t, err := r.terminates(ctx, a.Balancer)
	if err != nil {
		return provision.Status{}, err
	}
	shown := map[string]string{}
	for _, p := range t.Protocols {
		shown[p.Name] = p.Status
	}
	sent := r.was("versions " + string(a.Balancer))
	for _, v := range oldVersions {
		if status, ok := shown[v]; ok && status != "DISABLED" || !ok && !sent {
			return provision.Status{State: provision.Absent}, nil
		}
	}
	return done(provision.Values{})
}

func (r *Region) turnOff(ctx context.Context, a changeArgs) error {
	protocols := []any{}
	for _, v := range oldVersions {
		protocols = append(protocols, map[string]any{"securityProtocolName": v, "securityProtocolStatus": "DISABLED"})
	}
	err := r.write(ctx, http.MethodPut, "turn versions before TLS 1.2 off", map[string]any{"sslTermination": map[string]any{"securityProtocols": protocols}}, nil,
		"loadbalancers", url.PathEscape(string(a.Balancer)), "ssltermination")
	if err == nil {
		r.accepted("versions " + string(a.Balancer))
	}
	return err
}

func (r *Region) checkRedirects(ctx context.Context, a changeArgs) (provision.Status, error) {
	b, st, ok, err := r.changeable(ctx, a.Balancer)
	switch {
	case err != nil || !ok:
		return st, err
	case b.Redirect != nil && bool(*b.Redirect), b.Redirect == nil && r.was("redirect "+string(a.Balancer)): // not in every sample
		return done(provision.Values{})
	}
	return provision.Status{State: provision.Absent}, nil
}

// redirect wants TLS to end there already, on port 443 and for all traffic.
func (r *Region) redirect(ctx context.Context, a changeArgs) error {
	err := r.write(ctx, http.MethodPut, "send plain HTTP to HTTPS", map[string]any{"loadBalancer": map[string]any{"httpsRedirect": true}}, nil, "loadbalancers", url.PathEscape(string(a.Balancer)))
	if err == nil {
		r.accepted("redirect " + string(a.Balancer))
	}
	return err
}
