package rackspacetest_test

import (
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision/rackspace/rackspacetest"
	"github.com/dripstat/failover/provision/sandbox"
)

// boxes are the sandboxes that the fixtures are played in. Where a fixture names none, it is played in the first three, which are the
// sides of what the documents contradict each other in.
var boxes = map[string]sandbox.Options{
	"last":    {Rackspace: &sandbox.Rackspace{}},
	"first":   {Rackspace: &sandbox.Rackspace{Offset: true, Old: true}},
	"texts":   {Rackspace: &sandbox.Rackspace{Texts: true, Quick: true}},
	"managed": {Rackspace: &sandbox.Rackspace{Managed: time.Second, RackConnect: "DEPLOYED"}},
	"broken":  {Rackspace: &sandbox.Rackspace{}, Faults: []sandbox.Fault{{Name: "boot-error"}, {Name: "balancer-error"}}},
	"full":    {Rackspace: &sandbox.Rackspace{}, Quota: sandbox.Quota{LoadBalancers: -1}},
	"narrow":  {Rackspace: &sandbox.Rackspace{}, Quota: sandbox.Quota{Members: 1}},
	"flex":    {Flex: true},
}

var sides = []string{"last", "first", "texts"}

// order is that in which the services are played: one needs what another gave.
var order = []string{"identity", "images", "servers", "dns", "balancers"}

// The sandbox answers each request as its fixture says: with its status, without a body where there is none, and with everything that the
// fixture's body has, in its types. It may say more.
func TestSandbox(t *testing.T) {
	played := map[string]bool{}
	for as, o := range boxes {
		t.Run(as, func(t *testing.T) {
			apis := load(t)
			synctest.Test(t, func(t *testing.T) {
				p := newPlayer(t, as, o, apis)
				if as == "flex" {
					p.api(apis["flex"])
				} else {
					for _, name := range order {
						p.api(apis[name])
					}
				}
				for _, k := range p.played {
					played[k] = true
				}
			})
		})
	}
	for _, a := range load(t) {
		each(a, func(key string, _ *rackspacetest.Exchange, x rackspacetest.Answer) {
			if (x.Play.Never == "") != played[key] {
				t.Errorf("%s: played %v, never: %q", key, played[key], x.Play.Never)
			}
		})
	}
}

func load(t *testing.T) map[string]*rackspacetest.API {
	t.Helper()
	apis, err := rackspacetest.Load()
	if err != nil {
		t.Fatal(err)
	}
	return apis
}

// each calls f with every answer, and with its name in full: of the service, the exchange and itself.
func each(a *rackspacetest.API, f func(key string, e *rackspacetest.Exchange, x rackspacetest.Answer)) {
	for i := range a.Exchanges {
		for _, x := range a.Exchanges[i].Answers {
			f(a.Name+": "+a.Exchanges[i].Name+": "+x.Name, &a.Exchanges[i], x)
		}
	}
	for _, x := range a.Faults {
		f(a.Name+": any: "+x.Name, nil, x)
	}
}

// player sends the requests of the fixtures to a sandbox.
type player struct {
	t      *testing.T
	as     string
	box    *sandbox.Cloud
	bases  map[string]string // where each service is
	values map[string]string // in the place of names in braces
	played []string
}

func newPlayer(t *testing.T, as string, o sandbox.Options, apis map[string]*rackspacetest.API) *player {
	t.Helper()
	o.InMemory = true
	if o.Flex {
		o.Regions = []string{"DFW3"}
	} else {
		o.Regions = []string{"ORD"}
	}
	o.Zones = []sandbox.Zone{{Name: "example.com.", Records: []sandbox.Record{{Name: "www.example.com.", Type: "A", TTL: 600, Values: []string{"192.0.2.8", "192.0.2.9"}}}}}
	box, err := sandbox.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { box.Close() })
	p := &player{t: t, as: as, box: box, bases: map[string]string{}, values: map[string]string{"account": box.Account(), "username": box.Username(), "api_key": box.APIKey(), "password": "made-up", "project": box.Project(), "flavor": "io1-30", "name": "none"}}
	if o.Flex {
		p.values["password"] = box.APIKey() // which is taken as one
		p.bases["flex"] = strings.ReplaceAll(box.FlexURL(), "{region}", "DFW3")
		return p
	}
	p.secrets()
	p.bases["identity"] = strings.TrimSuffix(box.RackspaceURL(), "/")
	var in struct {
		Access struct {
			Token   struct{ ID string }
			Catalog []struct {
				Name      string
				Endpoints []struct{ PublicURL string }
			} `json:"serviceCatalog"`
		}
	}
	login := apis["identity"].Exchange("log in with an API key").Request
	_, _, text := p.send(apis["identity"], login, login.Query, p.values)
	if err := json.Unmarshal(text, &in); err != nil {
		t.Fatal(err)
	}
	p.values["token"] = in.Access.Token.ID
	for _, e := range in.Access.Catalog {
		if name := map[string]string{"cloudServersOpenStack": "servers", "cloudImages": "images", "cloudDNS": "dns", "cloudLoadBalancers": "balancers"}[e.Name]; name != "" {
			p.bases[name] = e.Endpoints[0].PublicURL
		}
	}
	images := apis["images"].Exchange("list images").Request
	_, _, text = p.send(apis["images"], images, "name=Debian+12+(Bookworm)", p.values)
	var list struct{ Images []struct{ ID string } }
	if err := json.Unmarshal(text, &list); err != nil || len(list.Images) != 1 {
		t.Fatalf("%s %v", text, err)
	}
	p.values["image"] = list.Images[0].ID
	return p
}

// secrets are made anew for each test.
func (p *player) secrets() {
	maps.Copy(p.values, made(p.t))
}

// made gives keys and a certificate, in the forms that are sent; the same for all tests.
func made(t *testing.T) map[string]string {
	t.Helper()
	once.Do(func() { secretsOf = makeSecrets(t) })
	return secretsOf
}

var (
	once      sync.Once
	secretsOf map[string]string
)

func makeSecrets(t *testing.T) map[string]string {
	t.Helper()
	ca, err := sandbox.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	chain, key, err := ca.IssueRSA("www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	leaf, rest := pem.Decode(chain)
	block, _ := pem.Decode(key)
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"certificate": string(pem.EncodeToMemory(leaf)), "intermediate": string(rest), "chain": string(chain), "pkcs8": string(key),
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private.(*rsa.PrivateKey))})),
		"public_key":  strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))}
}

func (p *player) api(a *rackspacetest.API) {
	for i := range a.Exchanges {
		e := &a.Exchanges[i]
		for _, x := range e.Answers {
			p.answer(a, a.Name+": "+e.Name+": "+x.Name, e, x)
		}
		for _, x := range a.Faults {
			if x.Play.On == e.Name {
				p.answer(a, a.Name+": any: "+x.Name, e, x)
			}
		}
	}
}

// answer plays one, where this sandbox is to give it.
func (p *player) answer(a *rackspacetest.API, key string, e *rackspacetest.Exchange, x rackspacetest.Answer) {
	in := x.Play.As
	if len(in) == 0 {
		in = sides
		if a.Name == "flex" {
			in = []string{"flex"}
		}
	}
	if x.Play.Never != "" || !slices.Contains(in, p.as) {
		return
	}
	p.played = append(p.played, key)
	for _, f := range x.Play.Faults {
		fault, err := sandbox.ParseFault(f)
		if err == nil {
			err = p.box.SetFault(fault)
		}
		if err != nil {
			p.t.Fatal(err)
		}
		defer p.box.ClearFaults()
	}
	values := maps.Clone(p.values)
	maps.Copy(values, x.Play.With)
	query := e.Request.Query
	for _, o := range e.Request.Optional {
		if name, ok := strings.CutPrefix(o, "?"); ok {
			query = without(query, name)
		}
	}
	if x.Play.Query != "" {
		query = x.Play.Query
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		status, header, text := p.send(a, e.Request, query, values)
		var got any
		valid := len(text) == 0 || json.Unmarshal(text, &got) == nil
		wait := status != x.Status
		for at, want := range x.Play.Until {
			wait = wait || fmt.Sprint(part(got, at)) != want
		}
		if wait && time.Now().Before(end) {
			continue
		}
		var want any
		if len(x.Body) > 0 {
			if err := json.Unmarshal(x.Body, &want); err != nil {
				p.t.Fatal(err)
			}
		}
		lacks := slices.DeleteFunc(rackspacetest.Lacks(rackspacetest.Shape(want), rackspacetest.Shape(got)), func(s string) bool {
			return slices.ContainsFunc(x.Play.Lacking, func(l string) bool { return s == l || strings.HasPrefix(s, l+" ") })
		})
		switch {
		case wait:
			p.t.Errorf("%s: %d %s", key, status, text)
		case len(lacks) > 0 || !valid:
			p.t.Errorf("%s: the sandbox lacks %q: %s", key, lacks, text)
		case len(x.Body) == 0 && len(text) > 0:
			p.t.Errorf("%s: the sandbox says %s", key, text)
		}
		for name, v := range x.Header {
			if form(header.Get(name)) != form(strings.ReplaceAll(v, "{soon}", "2030-01-02T03:04:05Z")) {
				p.t.Errorf("%s: %s: %q", key, name, header.Get(name))
			}
		}
		for name, at := range x.Play.Keep {
			p.values[name] = fmt.Sprint(part(got, at))
		}
		return
	}
}

// form tells the ways to say when apart.
func form(s string) string {
	if _, err := strconv.Atoi(s); err == nil {
		return "seconds"
	}
	if _, err := time.Parse(time.RFC3339, s); err == nil {
		return "date"
	}
	return map[bool]string{true: "none", false: "text"}[s == ""]
}

// part gives "servers.0.status" of a value. Numbers are as they are written.
func part(v any, at string) any {
	for _, k := range strings.Split(at, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[k]
		case []any:
			n, err := strconv.Atoi(k)
			if err != nil || n >= len(x) {
				return nil
			}
			v = x[n]
		default:
			return nil
		}
	}
	if n, ok := v.(float64); ok {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return v
}

func without(query, name string) string {
	v, _ := url.ParseQuery(query)
	v.Del(name)
	out, _ := url.QueryUnescape(v.Encode()) // names in braces stay so
	return out
}

// send sends a request with values in the place of names in braces.
func (p *player) send(a *rackspacetest.API, r rackspacetest.Request, query string, values map[string]string) (int, http.Header, []byte) {
	p.t.Helper()
	fill := func(s string, escape func(string) string) string {
		for name, v := range values {
			s = strings.ReplaceAll(s, "{"+name+"}", escape(v))
		}
		return s
	}
	plain := func(s string) string { return s }
	u := p.bases[a.Name] + fill(r.Path, url.PathEscape)
	if query != "" {
		u += "?" + fill(query, plain)
	}
	body := fill(string(r.Body), func(s string) string {
		text, _ := json.Marshal(s)
		return strings.Trim(string(text), `"`)
	})
	req, err := http.NewRequestWithContext(p.t.Context(), r.Method, u, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("X-Auth-Token", values["token"])
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.box.RoundTripper().RoundTrip(req)
	if err != nil {
		p.t.Fatalf("%s %s: %v", r.Method, u, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, text
}
