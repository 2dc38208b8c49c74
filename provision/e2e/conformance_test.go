package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
	"go.yaml.in/yaml/v4"
	"golang.org/x/crypto/ssh"

	"github.com/dripstat/failover/provision/sandbox"
)

var record = flag.Bool("record", false, "write testdata/conformance.txt from what the cloud answers; meant for the rig")

const recorded = "testdata/conformance.txt"

// conform compares what a cloud answers with what was recorded of a real OpenStack.
func conform(t *testing.T, got string) {
	t.Helper()
	want, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); d != "" {
		t.Errorf("%s (-) and this cloud (+) differ:\n%s", recorded, d)
	}
}

// The sandbox answers as a real OpenStack does, in all that failover asks.
func TestSandboxConforms(t *testing.T) {
	c, err := sandbox.Start(t.Context(), sandbox.Options{
		Zones: []sandbox.Zone{{Name: "rig.test."}}, Images: []sandbox.Image{{Name: "stub"}}, AZs: []string{"fake"},
		Flavors: []sandbox.Flavor{{Name: "small", VCPUs: 1, RAMMB: 1024, DiskGB: 4}, {Name: "large", VCPUs: 2, RAMMB: 2048, DiskGB: 8}, {Name: "toobig", VCPUs: 4, RAMMB: 4096, DiskGB: 8}},
		Faults:  []sandbox.Fault{{Name: "no-valid-host", Arg: "toobig"}}, Quota: sandbox.Quota{Instances: 10, Cores: 20, RAMMB: 51200, SecurityGroups: 10, FloatingIPs: 50, Ports: 500, RecordSetRecords: 20},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	var who struct {
		Clouds map[string]entry `yaml:"clouds"`
	}
	if err := yaml.Unmarshal(c.CloudsYAML("sandbox"), &who); err != nil {
		t.Fatal(err)
	}
	e := who.Clouds["sandbox"].Auth
	conform(t, converse(t, account{url: e.URL, user: e.Username, password: e.Password, project: e.Project, ns: c.NameServer()}))
}

// account is who asks, and the name server behind the cloud.
type account struct{ url, user, password, project, ns string }

// conversation holds what was asked and answered, in the form that is compared: statuses, the types of the fields that
// failover reads, what errors say. Ids, times and addresses of the cloud are left out.
type conversation struct {
	*testing.T
	account
	token    string
	tokenUse string
	catalog  map[string]string
	out      strings.Builder
	micro    string
}

type answer struct {
	code   int
	header http.Header
	text   []byte
	body   object
}

func (c *conversation) send(method, url string, body any) answer {
	c.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			c.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(c.Context(), method, url, in)
	if err != nil {
		c.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	if c.tokenUse != "" {
		req.Header.Set("X-Auth-Token", c.tokenUse)
	}
	if c.micro != "" {
		req.Header.Set("X-OpenStack-Nova-API-Version", c.micro)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.Fatal(err)
	}
	a := answer{code: resp.StatusCode, header: resp.Header, text: text}
	_ = json.Unmarshal(text, &a.body)
	return a
}

// quiet asks and tells nothing. Paths are below the API's root of the version that failover uses.
func (c *conversation) quiet(service, method, path string, body any) answer {
	c.Helper()
	u := c.catalog[service]
	if u == "" {
		c.Fatalf("the catalog has no %s", service)
	}
	return c.send(method, u+path, body)
}

// ask asks, and tells what came: fields by the path to them, their type or, with "=" before the path, what they hold.
func (c *conversation) ask(what, service, method, path string, body any, fields ...string) answer {
	c.Helper()
	a := c.quiet(service, method, path, body)
	c.tell(what, a, fields...)
	return a
}

func (c *conversation) tell(what string, a answer, fields ...string) {
	fmt.Fprintf(&c.out, "%s: %d", what, a.code)
	if a.code >= 400 {
		fmt.Fprintf(&c.out, " %s", complaint(a))
	}
	for _, f := range fields {
		name, literal := strings.CutPrefix(f, "=")
		v := dig1(map[string]any(a.body), strings.Split(name, "."))
		if l, ok := v.([]any); ok { // in no order
			slices.SortFunc(l, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		if literal {
			fmt.Fprintf(&c.out, " %s=%v", name, v)
		} else {
			fmt.Fprintf(&c.out, " %s:%s", name, kind(v))
		}
	}
	c.out.WriteByte('\n')
}

func (c *conversation) say(format string, args ...any) { fmt.Fprintf(&c.out, format+"\n", args...) }

// dig1 follows names; a number is a place in a list, "*" its first.
func dig1(v any, names []string) any {
	for _, n := range names {
		switch x := v.(type) {
		case map[string]any:
			v = x[n]
			if n == "*" && len(x) > 0 {
				v = x[slices.Sorted(maps.Keys(x))[0]]
			}
		case []any:
			if v = nil; len(x) > 0 {
				v = x[0]
			}
		default:
			return nil
		}
	}
	return v
}

func kind(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case string:
		if _, err := time.Parse(time.RFC3339, x); err == nil {
			return "time"
		}
		if _, err := time.Parse("2006-01-02T15:04:05.000000", x); err == nil {
			return "micros"
		}
		return "text"
	case bool:
		return "truth"
	case float64:
		return "number"
	case []any:
		if len(x) == 0 {
			return "[]"
		}
		return "list"
	}
	return "object"
}

var (
	anID    = regexp.MustCompile(`[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}`)
	aSchema = regexp.MustCompile(`(Invalid input for field/attribute \w+).*`) // the rest quotes jsonschema's words
	aPort   = regexp.MustCompile(`https?://[^\s"']*`)
	run     = fmt.Sprintf("01CONFORM%d", time.Now().UnixNano())
)

// complaint is what an error holds: the names around its message, and the message.
func complaint(a answer) string {
	text := ""
	switch {
	case a.body == nil && len(bytes.TrimSpace(a.text)) == 0:
		return "(empty)"
	case a.body == nil:
		return "(not JSON)"
	default:
		for _, k := range slices.Sorted(maps.Keys(a.body)) {
			in, _ := a.body[k].(map[string]any)
			switch {
			case k == "request_id" || k == "title":
			case in == nil:
				text += fmt.Sprintf(" %s=%v", k, a.body[k])
			case k == "errors":
				text += " errors"
			default:
				text += fmt.Sprintf(" %s{%s}: %v", k, strings.Join(slices.Sorted(maps.Keys(in)), " "), in["message"])
			}
		}
	}
	text = aSchema.ReplaceAllString(text, "$1 …")
	text = strings.NewReplacer(run, "RUN", strings.ToLower(run), "RUN").Replace(text)
	text = aPort.ReplaceAllString(anID.ReplaceAllString(text, "ID"), "URL")
	return strings.Join(strings.Fields(text), " ")
}

// login gets a token and the catalog.
func (c *conversation) login(password string) answer {
	c.Helper()
	return c.send("POST", c.url+"/auth/tokens", object{"auth": object{
		"identity": object{"methods": []string{"password"}, "password": object{"user": object{"name": c.user, "password": password, "domain": object{"name": "Default"}}}},
		"scope":    object{"project": object{"name": c.project, "domain": object{"name": "Default"}}}}})
}

// converse is the whole suite. What it makes it removes.
func converse(t *testing.T, who account) string {
	t.Helper()
	who.url = strings.TrimSuffix(who.url, "/")
	if !strings.HasSuffix(who.url, "/v3") {
		who.url += "/v3"
	}
	c := &conversation{T: t, account: who, catalog: map[string]string{}}
	c.identity()
	c.compute()
	c.images()
	c.networks()
	c.names()
	return c.out.String()
}

func (c *conversation) identity() {
	c.Helper()
	c.say("# keystone")
	c.tell("a wrong password", c.login("not it"))
	ok := c.login(c.password)
	c.tell("a login", ok, "token.expires_at", "token.user.id", "token.project.id", "token.catalog.*.type", "token.catalog.*.endpoints.*.region_id",
		"token.catalog.*.endpoints.*.interface", "token.catalog.*.endpoints.*.url")
	if ok.code != 201 {
		c.Fatalf("%s", ok.text)
	}
	c.token = ok.header.Get("X-Subject-Token")
	c.tokenUse = c.token
	versions := map[string]string{"compute": "", "image": "/v2", "network": "/v2.0", "dns": "/v2"}
	for _, s := range object(ok.body["token"].(map[string]any)).list("catalog") {
		v, wanted := versions[s.text("type")]
		for _, e := range s.list("endpoints") {
			if wanted && e.text("interface") == "public" && e.text("region_id") == "ORD" {
				u := strings.TrimSuffix(e.text("url"), "/")
				if !strings.HasSuffix(u, v) {
					u += v
				}
				c.catalog[s.text("type")] = u + "/"
			}
		}
	}
	c.tokenUse = "gAAAAABnonsense"
	for _, s := range slices.Sorted(maps.Keys(versions)) {
		path := map[string]string{"compute": "servers", "image": "images", "network": "networks", "dns": "zones"}[s]
		a := c.quiet(s, "GET", path, nil)
		c.say("a wrong token at %s: %d", s, a.code)
	}
	c.tokenUse = c.token
}

// named finds the id of a thing by its name.
func (c *conversation) named(service, path, key, name string) string {
	c.Helper()
	for _, x := range c.quiet(service, "GET", path, nil).body.list(key) {
		if x.text("name") == name {
			return x.text("id")
		}
	}
	c.Fatalf("there is no %s in %s", name, path)
	return ""
}

const noSuch = "00000000-0000-4000-8000-000000000000"

func (c *conversation) compute() {
	c.Helper()
	c.say("\n# nova")
	root := c.ask("its root", "compute", "GET", "", nil, "=version.id", "=version.min_version")
	if v, _ := root.body.at("version", "version").(string); !strings.HasPrefix(v, "2.") {
		c.Errorf("the root names version %q", v)
	}
	c.micro = "2.999"
	c.ask("a version that it has not", "compute", "GET", "flavors", nil)
	c.micro = ""
	c.ask("flavors in 2.1", "compute", "GET", "flavors/detail", nil, "flavors.*.id", "flavors.*.name", "flavors.*.vcpus", "flavors.*.ram", "flavors.*.disk", "flavors.*.OS-FLV-DISABLED:disabled", "flavors.*.extra_specs")
	c.micro = "2.61"
	c.ask("flavors in 2.61", "compute", "GET", "flavors/detail", nil, "flavors.*.extra_specs")
	page := c.ask("one flavor a page", "compute", "GET", "flavors/detail?limit=1", nil, "=flavors_links.*.rel")
	if n := len(page.body.list("flavors")); n != 1 {
		c.Errorf("a page of one has %d flavors", n)
	}
	c.micro = ""
	c.ask("zones", "compute", "GET", "os-availability-zone", nil, "availabilityZoneInfo.*.zoneName", "availabilityZoneInfo.*.zoneState.available")
	c.ask("limits", "compute", "GET", "limits", nil, "limits.absolute.maxTotalInstances", "limits.absolute.totalInstancesUsed", "limits.absolute.maxTotalCores", "limits.absolute.totalCoresUsed",
		"limits.absolute.maxTotalRAMSize", "limits.absolute.totalRAMUsed", "limits.absolute.maxServerGroups", "limits.absolute.totalServerGroupsUsed", "limits.absolute.maxTotalKeypairs")

	name := "failover-" + run
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		c.Fatal(err)
	}
	pub, err := ssh.NewPublicKey(public)
	if err != nil {
		c.Fatal(err)
	}
	key := object{"keypair": object{"name": name, "public_key": strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub)))}}
	c.ask("a key pair that is not there", "compute", "GET", "os-keypairs/"+name, nil)
	c.ask("a key pair is made", "compute", "POST", "os-keypairs", key, "keypair.name", "keypair.public_key")
	c.ask("and made again", "compute", "POST", "os-keypairs", key)
	c.ask("and read", "compute", "GET", "os-keypairs/"+name, nil, "keypair.name", "keypair.public_key")
	c.ask("and listed", "compute", "GET", "os-keypairs", nil, "keypairs.*.keypair.name")
	c.ask("a key pair that is no key", "compute", "POST", "os-keypairs", object{"keypair": object{"name": name + "-x", "public_key": "no key"}})

	c.micro = "2.64"
	group := c.ask("a server group is made", "compute", "POST", "os-server-groups", object{"server_group": object{"name": name, "policy": "anti-affinity"}}, "server_group.id", "server_group.name", "=server_group.policy")
	groupID, _ := group.body.at("server_group", "id").(string)
	again := c.ask("and one more of that name", "compute", "POST", "os-server-groups", object{"server_group": object{"name": name, "policy": "anti-affinity"}}, "server_group.id")
	c.ask("groups are listed", "compute", "GET", "os-server-groups", nil, "server_groups.*.id", "server_groups.*.name")
	againID, _ := again.body.at("server_group", "id").(string)
	c.ask("and removed", "compute", "DELETE", "os-server-groups/"+againID, nil)
	c.ask("and read after that", "compute", "GET", "os-server-groups/"+againID, nil)
	c.ask("and removed again", "compute", "DELETE", "os-server-groups/"+againID, nil)
	c.ask("a policy that is none", "compute", "POST", "os-server-groups", object{"server_group": object{"name": name, "policy": "nonsense"}})
	c.micro = ""

	c.servers(name, groupID)
	c.ask("the server group is removed", "compute", "DELETE", "os-server-groups/"+groupID, nil)
	c.ask("the key pair is removed", "compute", "DELETE", "os-keypairs/"+name, nil)
	c.ask("and removed again", "compute", "DELETE", "os-keypairs/"+name, nil)
}

func (c *conversation) servers(name, groupID string) {
	c.Helper()
	image, network := c.named("image", "images", "images", "stub"), c.named("network", "networks", "networks", "public")
	flavor := map[string]string{}
	for _, f := range []string{"small", "large", "toobig"} {
		flavor[f] = c.named("compute", "flavors", "flavors", f)
	}
	c.micro = "2.52"
	server := func(change object) object {
		s := object{"name": "conform-1", "imageRef": image, "flavorRef": flavor["small"], "networks": []object{{"uuid": network}}, "availability_zone": "fake", "key_name": name,
			"user_data": base64.StdEncoding.EncodeToString([]byte("#cloud-config\n{}\n")), "config_drive": true,
			"metadata": object{"failover_run": run, "failover_slot": "conform-1"}, "tags": []string{"failover", "failover_run=" + run}}
		maps.Copy(s, change)
		for k, v := range s {
			if v == nil {
				delete(s, k)
			}
		}
		return object{"server": s, "os:scheduler_hints": object{"group": groupID}}
	}
	for _, wrong := range []struct {
		what   string
		change object
	}{
		{"a flavor that is none", object{"flavorRef": "no-such"}},
		{"an image that is none", object{"imageRef": noSuch}},
		{"a network that is none", object{"networks": []object{{"uuid": noSuch}}}},
		{"no word of networks", object{"networks": nil}},
		{"a zone that is none", object{"availability_zone": "no-such"}},
		{"a key that is none", object{"key_name": "no-such"}},
		{"a group that is none", object{"security_groups": []object{{"name": "no-such"}}}},
		{"user-data that is no base64", object{"user_data": "abcde"}},
		{"user-data of 65536 characters", object{"user_data": strings.Repeat("QUJD", 16384)}},
		{"a tag of 61 characters", object{"tags": []string{strings.Repeat("x", 61)}}},
		{"a tag with a slash", object{"tags": []string{"a/b"}}},
		{"metadata of 256 characters", object{"metadata": object{"x": strings.Repeat("x", 256)}}},
	} {
		c.ask("a server with "+wrong.what, "compute", "POST", "servers", server(wrong.change))
	}
	made := c.ask("a server is made", "compute", "POST", "servers", server(nil), "server.id", "server.links", "server.security_groups")
	id, _ := made.body.at("server", "id").(string)
	if id == "" {
		c.Fatalf("%s", made.text)
	}
	one := "servers/" + id
	fields := []string{"server.name", "=server.status", "server.created", "server.metadata.failover_run", "server.tags", "server.flavor.original_name", "server.addresses",
		"server.OS-EXT-STS:vm_state", "server.OS-EXT-AZ:availability_zone", "server.OS-SRV-USG:launched_at"}
	c.ask("it is there at once", "compute", "GET", one, nil, "=server.status", "server.OS-SRV-USG:launched_at", "server.metadata.failover_run", "server.tags")
	list := c.quiet("compute", "GET", "servers/detail?limit=1000&tags=failover_run%3D"+run, nil)
	c.say("and in the list of its tag: %d servers", len(list.body.list("servers")))
	c.say("in the list of another tag: %d servers", len(c.quiet("compute", "GET", "servers/detail?tags=failover_run%3Dnobody", nil).body.list("servers")))
	last := c.until(one, 60*time.Second, func(a answer) bool { s := a.body.at("server", "status"); return s == "ACTIVE" || s == "ERROR" })
	c.micro = "2.52"
	c.tell("it becomes", last, append(fields, "server.addresses.public.*.addr", "=server.addresses.public.*.OS-EXT-IPS:type", "=server.OS-EXT-STS:task_state")...)
	c.ask("its console", "compute", "POST", one+"/action", object{"os-getConsoleOutput": object{"length": 1000}}, "output")
	c.ask("the console of no server", "compute", "POST", "servers/"+noSuch+"/action", object{"os-getConsoleOutput": object{"length": 1000}})
	group := c.quiet("compute", "GET", "os-server-groups/"+groupID, nil)
	c.say("its group has %d members", len(group.body.at("server_group", "members").([]any)))

	big := c.ask("a server that no host can hold is made", "compute", "POST", "servers", server(object{"name": "conform-2", "flavorRef": flavor["toobig"]}), "server.id")
	bigID, _ := big.body.at("server", "id").(string)
	c.tell("it becomes", c.until("servers/"+bigID, 60*time.Second, func(a answer) bool { return a.body.at("server", "status") == "ERROR" }), "=server.status", "=server.fault.code", "=server.fault.message",
		"server.addresses", "=server.OS-EXT-STS:task_state", "server.OS-SRV-USG:launched_at")
	for _, s := range c.quiet("compute", "GET", "servers/detail?tags=failover_run%3D"+run, nil).body.list("servers") {
		if s.text("id") == bigID {
			c.say("and in the list: fault=%s", kind(s["fault"]))
		}
	}
	page := c.ask("one server a page", "compute", "GET", "servers/detail?limit=1&tags=failover_run%3D"+run, nil, "=servers_links.*.rel")
	c.say("a page of one has %d", len(page.body.list("servers")))
	c.micro = ""
	c.ask("more than the quota", "compute", "POST", "servers", object{"server": object{"name": "conform-3", "imageRef": image, "flavorRef": flavor["large"], "networks": []object{{"uuid": network}},
		"min_count": 11, "max_count": 11}})

	for _, s := range []struct{ what, id string }{{"the server", id}, {"the one in ERROR", bigID}} {
		c.ask(s.what+" is deleted", "compute", "DELETE", "servers/"+s.id, nil)
		c.say("and is gone: %d", c.until("servers/"+s.id, 60*time.Second, func(a answer) bool { return a.code == 404 }).code)
		c.ask("and deleted again", "compute", "DELETE", "servers/"+s.id, nil)
		c.ask("and read", "compute", "GET", "servers/"+s.id, nil)
	}
}

// until asks until it is so.
func (c *conversation) until(path string, within time.Duration, so func(answer) bool) answer {
	c.Helper()
	for end := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		a := c.quiet("compute", "GET", path, nil)
		if so(a) {
			return a
		}
		if time.Now().After(end) {
			c.Fatalf("%s stays %s", path, a.text)
		}
	}
}

func (c *conversation) images() {
	c.Helper()
	c.say("\n# glance")
	c.ask("an image by name", "image", "GET", "images?limit=1000&name=stub&sort_dir=desc&sort_key=created_at", nil, "images.*.id", "=images.*.name", "=images.*.status", "images.*.min_disk", "images.*.min_ram", "images.*.size", "images.*.created_at")
	c.ask("one of no name", "image", "GET", "images?name=no-such", nil, "images")
	c.ask("one by its id", "image", "GET", "images/"+c.named("image", "images", "images", "stub"), nil, "=name", "=status")
	a := c.quiet("image", "GET", "images/"+noSuch, nil)
	c.say("one of no id: %d", a.code)
}

func (c *conversation) networks() {
	c.Helper()
	c.say("\n# neutron")
	c.ask("networks", "network", "GET", "networks?name=public", nil, "networks.*.id", "=networks.*.status", "networks.*.admin_state_up", "networks.*.shared", "networks.*.router:external", "networks.*.subnets")
	sub := c.ask("some fields of subnets", "network", "GET", "subnets?limit=1000&fields=id&fields=network_id&fields=ip_version", nil, "subnets.*.id", "subnets.*.network_id", "subnets.*.ip_version")
	if l := sub.body.list("subnets"); len(l) > 0 {
		c.say("and no others: %v", slices.Sorted(maps.Keys(l[0])))
	}
	a := c.quiet("network", "GET", "network-ip-availabilities", nil)
	c.say("free addresses, for those who may not: %d", a.code)

	name := "failover-" + run
	made := c.ask("a group is made", "network", "POST", "security-groups", object{"security_group": object{"name": name, "description": "conform [failover_run=" + run + "]"}},
		"security_group.id", "security_group.project_id", "security_group.description", "security_group.security_group_rules.*.id", "=security_group.security_group_rules.*.direction")
	id, _ := made.body.at("security_group", "id").(string)
	if id == "" {
		c.Fatalf("%s", made.text)
	}
	rules, _ := made.body.at("security_group", "security_group_rules").([]any)
	c.say("it has %d rules from the first", len(rules))
	again := c.ask("and one more of that name", "network", "POST", "security-groups", object{"security_group": object{"name": name, "description": ""}}, "security_group.id")
	rule := func(port int, prefix any) object {
		return object{"security_group_id": id, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": port, "port_range_max": port, "remote_ip_prefix": prefix}
	}
	c.ask("rules are made, several at once", "network", "POST", "security-group-rules", object{"security_group_rules": []object{rule(443, nil), rule(22, "192.0.2.7/32")}},
		"security_group_rules.*.id", "security_group_rules.*.remote_ip_prefix")
	c.ask("one of them again", "network", "POST", "security-group-rules", object{"security_group_rule": rule(443, nil)})
	c.ask("all addresses are the same as no prefix", "network", "POST", "security-group-rules", object{"security_group_rule": rule(443, "0.0.0.0/0")}, "=security_group_rule.remote_ip_prefix")
	c.ask("a prefix that is none", "network", "POST", "security-group-rules", object{"security_group_rule": rule(80, "nonsense")})
	c.ask("ports the wrong way round", "network", "POST", "security-group-rules", object{"security_group_rule": object{"security_group_id": id, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 9, "port_range_max": 8}})
	icmp := c.ask("icmp over IPv6", "network", "POST", "security-group-rules", object{"security_group_rule": object{"security_group_id": id, "direction": "ingress", "ethertype": "IPv6", "protocol": "ipv6-icmp"}}, "=security_group_rule.protocol", "security_group_rule.port_range_min")
	icmpID, _ := icmp.body.at("security_group_rule", "id").(string)
	c.ask("the rules of the group", "network", "GET", "security-group-rules?direction=ingress&security_group_id="+id, nil, "security_group_rules.*.id", "=security_group_rules.*.direction")
	c.ask("a rule is removed", "network", "DELETE", "security-group-rules/"+icmpID, nil)
	c.ask("and removed again", "network", "DELETE", "security-group-rules/"+icmpID, nil)
	c.say("two groups of one name: %d", len(c.quiet("network", "GET", "security-groups?name="+name, nil).body.list("security_groups")))
	againID, _ := again.body.at("security_group", "id").(string)
	c.ask("a group is removed", "network", "DELETE", "security-groups/"+againID, nil)
	c.ask("and removed again", "network", "DELETE", "security-groups/"+againID, nil)

	network := c.named("network", "networks", "networks", "public")
	port := c.ask("a port is made", "network", "POST", "ports", object{"port": object{"network_id": network, "security_groups": []string{id}, "name": name}}, "port.id", "port.fixed_ips.*.ip_address", "=port.device_id")
	portID, _ := port.body.at("port", "id").(string)
	c.ask("its group is in use", "network", "DELETE", "security-groups/"+id, nil)
	page := c.ask("one port a page", "network", "GET", "ports?limit=1", nil, "=ports_links.*.rel")
	c.say("a page of one has %d", len(page.body.list("ports")))
	c.ask("the port is removed", "network", "DELETE", "ports/"+portID, nil)
	c.ask("the group is removed", "network", "DELETE", "security-groups/"+id, nil)
	c.ask("a port of no network", "network", "POST", "ports", object{"port": object{"network_id": noSuch}})
	c.ask("a floating address of no network", "network", "POST", "floatingips", object{"floatingip": object{"floating_network_id": noSuch}})
	c.ask("a floating address that is none", "network", "GET", "floatingips/"+noSuch, nil)
	c.ask("floating addresses", "network", "GET", "floatingips?limit=1000", nil, "floatingips")
	c.ask("quotas", "network", "GET", "quotas/"+c.projectID()+"/details.json", nil, "=quota.floatingip.limit", "quota.floatingip.used", "quota.floatingip.reserved", "=quota.security_group.limit", "quota.security_group.used", "quota.port.used")
	c.ask("quotas without use", "network", "GET", "quotas/"+c.projectID(), nil, "=quota.floatingip", "=quota.security_group", "quota.port")
}

func (c *conversation) projectID() string {
	c.Helper()
	a := c.login(c.password)
	id, _ := a.body.at("token", "project", "id").(string)
	return id
}

func (c *conversation) names() {
	c.Helper()
	c.say("\n# designate")
	zone := c.ask("a zone by name", "dns", "GET", "zones?name=rig.test.", nil, "zones.*.id", "=zones.*.name", "zones.*.ttl", "=zones.*.status")
	zones := zone.body.list("zones")
	if len(zones) != 1 {
		c.Fatalf("%s", zone.text)
	}
	c.ask("a zone of nobody", "dns", "GET", "zones?name=nobody.test.", nil, "zones")
	base := "zones/" + zones[0].text("id")
	c.ask("its name servers", "dns", "GET", base+"/nameservers", nil, "nameservers.*.hostname")
	c.ask("record sets of no zone", "dns", "GET", "zones/"+noSuch+"/recordsets", nil)
	sets, name := base+"/recordsets", "conform-"+strings.ToLower(run)+".rig.test."
	c.ask("a set that is not there", "dns", "GET", sets+"?name="+name+"&type=A", nil, "recordsets")
	body := object{"name": name, "type": "A", "ttl": 30, "records": []string{"192.0.2.1"}}
	fields := []string{"=status", "=action", "=ttl", "=records", "=type"}
	made := c.ask("a set is made", "dns", "POST", sets, body, append(fields, "id")...)
	one := sets + "/" + made.body.text("id")
	c.ask("and read at once", "dns", "GET", sets+"?name="+name+"&type=A", nil, "=recordsets.*.status", "=recordsets.*.records")
	c.settled(one, name, "192.0.2.1", fields)
	c.ask("and made again", "dns", "POST", sets, body)
	c.ask("and replaced", "dns", "PUT", one, object{"ttl": 60, "records": []string{"192.0.2.2", "192.0.2.3"}}, fields...)
	c.ask("and replaced while that is on its way", "dns", "PUT", one, object{"ttl": 5, "records": []string{"192.0.2.4"}}, fields...)
	c.settled(one, name, "192.0.2.4", fields)
	c.ask("with what it holds", "dns", "PUT", one, object{"ttl": 5, "records": []string{"192.0.2.4"}}, "=records")
	c.settled(one, name, "192.0.2.4", fields)
	c.ask("with a TTL of null", "dns", "PUT", one, object{"ttl": nil, "records": []string{"192.0.2.4"}}, "=ttl")
	c.settled(one, name, "192.0.2.4", []string{"=ttl"})
	c.ask("with no address", "dns", "PUT", one, object{"ttl": 5, "records": []string{"nonsense"}})
	c.ask("with nothing", "dns", "PUT", one, object{"ttl": 5, "records": []string{}}, fields...)
	c.ask("and with something again", "dns", "PUT", one, object{"ttl": 5, "records": []string{"192.0.2.5"}}, fields...)
	c.settled(one, name, "192.0.2.5", fields)
	c.ask("the quotas", "dns", "GET", "quotas", nil, "=recordset_records")
	var many []string
	for i := range 21 {
		many = append(many, fmt.Sprintf("192.0.2.%d", i+1))
	}
	c.ask("with 21 addresses", "dns", "PUT", one, object{"ttl": 5, "records": many})
	c.ask("another set of 21", "dns", "POST", sets, object{"name": "many-" + name, "type": "A", "records": many})
	c.ask("a name of another zone", "dns", "POST", sets, object{"name": "www.example.org.", "type": "A", "records": []string{"192.0.2.1"}})
	c.ask("a set that is none", "dns", "PUT", sets+"/"+noSuch, object{"ttl": 5, "records": []string{"192.0.2.1"}})
	c.ask("the set is removed", "dns", "DELETE", one, nil, "=status", "=action")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if a := c.quiet("dns", "GET", one, nil); a.code == 404 {
			c.tell("and gone", a)
			break
		} else if time.Now().After(end) {
			c.Fatalf("%s stays", a.text)
		}
	}
	// Designate forgets the set when its worker has sent the removal, not when the name server has it.
	for end := time.Now().Add(10 * time.Second); c.answered(name) != "" && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
	c.served(name, "")
	c.ask("and removed again", "dns", "DELETE", one, nil)
}

// settled waits until designate is done, and the name server has it.
func (c *conversation) settled(one, name, address string, fields []string) {
	c.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		a := c.quiet("dns", "GET", one, nil)
		if a.body.text("status") == "ACTIVE" {
			c.tell("  later", a, fields...)
			break
		}
		if time.Now().After(end) {
			c.Fatalf("%s does not settle: %s", name, a.text)
		}
	}
	c.served(name, address)
}

// served asks the name server: when designate calls a set ACTIVE, it has it.
func (c *conversation) served(name, address string) {
	c.Helper()
	if got := c.answered(name); got != address {
		c.Errorf("designate has finished, and the name server gives %q, not %q", got, address)
	}
}

func (c *conversation) answered(name string) string {
	m := new(mdns.Msg)
	m.SetQuestion(name, mdns.TypeA)
	r, err := mdns.Exchange(m, c.ns)
	if err != nil {
		return err.Error()
	}
	var all []string
	for _, rr := range r.Answer {
		if a, ok := rr.(*mdns.A); ok {
			all = append(all, a.A.String())
		}
	}
	return strings.Join(all, " ")
}
