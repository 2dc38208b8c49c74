package sandbox

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// pullPlan is what user-data says of a certificate that the server is to fetch out of a response wrapping of Vault's.
type pullPlan struct {
	Certificate, Fingerprint, Token string
	Addresses                       []string
	CA, Namespace                   string
	Paths                           map[string]int
	Chain                           []string
	Key                             string
	TTL                             int
	Layout, Path, Owner, Mode       string
}

// pullIn finds the plan in a boothook: the one line of its script that differs from server to server.
func pullIn(script []byte) *pullPlan {
	_, rest, ok := bytes.Cut(script, []byte("plan = json.loads(r'''"))
	if !ok {
		return nil
	}
	text, _, _ := bytes.Cut(rest, []byte("'''"))
	var p pullPlan
	if json.Unmarshal(text, &p) != nil {
		return nil
	}
	return &p
}

// pull does what the script does, against the Vault that it names, really, and prints what the script prints. Of fields it knows plain names.
func (m *machine) pull(p *pullPlan) {
	name := "certificate " + p.Certificate
	for until := time.Now().Add(time.Duration(p.TTL) * time.Second); ; time.Sleep(200 * time.Millisecond) {
		m.mu.Lock()
		stopped := m.stopped
		m.mu.Unlock()
		if stopped {
			return
		}
		alarm, failed, again := m.pullOnce(p)
		switch {
		case again != "" && time.Now().Before(until):
			continue
		case alarm != "":
			m.say("failover: ALARM: " + name + ": " + alarm)
		case failed != "" || again != "":
			m.say("failover: FAILED: " + name + ": " + failed + again)
		default:
			m.say("failover: " + name + " is in place, SHA-256 " + p.Fingerprint)
		}
		return
	}
}

// say prints on the console.
func (m *machine) say(line string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said = append(m.said, line)
}

func (m *machine) consoleSaid() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.said)
}

func (m *machine) pullOnce(p *pullPlan) (alarm, failed, again string) {
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.CA != "" {
		tlsConfig.RootCAs = x509.NewCertPool()
		tlsConfig.RootCAs.AppendCertsFromPEM([]byte(p.CA))
	}
	transport := &http.Transport{TLSClientConfig: tlsConfig}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	ask := func(address, verb, token, body string, into any) (no string, err error) {
		req, err := http.NewRequest(http.MethodPost, address+"/v1/sys/wrapping/"+verb, strings.NewReader(body))
		if err != nil {
			return "", err
		}
		for k, v := range map[string]string{"X-Vault-Token": token, "X-Vault-Namespace": p.Namespace} {
			if v != "" {
				req.Header.Set(k, v)
			}
		}
		res, err := client.Do(req)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		switch {
		case err != nil:
			return "", err
		case res.StatusCode == 400 || res.StatusCode == 403 || res.StatusCode == 404:
			return strconv.Itoa(res.StatusCode), nil
		case res.StatusCode != 200:
			return "", fmt.Errorf("%s answers %d", address, res.StatusCode)
		}
		return "", json.Unmarshal(text, into)
	}
	for _, address := range p.Addresses {
		var look struct {
			Data struct {
				Path string `json:"creation_path"`
			}
		}
		body, _ := json.Marshal(map[string]string{"token": p.Token})
		used := "the wrapping token was used before, or is older than " + strconv.Itoa(p.TTL) + " s (Vault: "
		no, err := ask(address, "lookup", "", string(body), &look)
		if err != nil {
			again = "Vault at " + address + " is not reached"
			continue
		}
		if no != "" {
			return used + no + ")", "", ""
		}
		version, ok := p.Paths[look.Data.Path]
		if !ok {
			return fmt.Sprintf("the wrapping was made at %q", look.Data.Path), "", ""
		}
		var doc struct{ Data map[string]any }
		if no, err = ask(address, "unwrap", p.Token, "", &doc); err != nil || no != "" {
			return used + no + ")", "", ""
		}
		fields := doc.Data
		if version == 2 {
			fields, _ = fields["data"].(map[string]any)
		}
		return "", m.install(p, fields), ""
	}
	return "", "", again
}

// install puts what was fetched in place, or says why not.
func (m *machine) install(p *pullPlan, fields map[string]any) (failed string) {
	var chain []byte
	for _, f := range p.Chain {
		chain = append(chain, strings.TrimSpace(text(fields[f]))+"\n"...)
	}
	key := []byte(strings.TrimSpace(text(fields[p.Key])) + "\n")
	leaf, _ := pem.Decode(chain)
	if leaf == nil {
		return "what was wrapped has no text at " + strings.Join(p.Chain, ", ")
	}
	if sum := sha256.Sum256(leaf.Bytes); hex.EncodeToString(sum[:]) != p.Fingerprint {
		return "Vault holds another certificate by now (SHA-256 " + hex.EncodeToString(sum[:]) + ") than the run began with"
	}
	if _, err := tls.X509KeyPair(chain, key); err != nil {
		return "the key that was wrapped does not belong to the certificate"
	}
	mode, _ := strconv.ParseUint(p.Mode, 8, 12)
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.Layout == "bundle" {
		m.write(p.Path, slices.Concat(chain, key), p.Owner, os.FileMode(mode))
		return ""
	}
	end := len(pem.EncodeToMemory(leaf))
	files := map[string][]byte{"cert.pem": chain[:end], "chain.pem": chain[end:], "fullchain.pem": chain, "privkey.pem": key}
	for name, b := range files {
		m.put(path.Join(p.Path, name), b, p.Owner, os.FileMode(mode))
	}
	m.loadFolder(p.Path, files)
	return ""
}
