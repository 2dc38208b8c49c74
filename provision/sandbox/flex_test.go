package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Each region's identity service knows that region alone, and its token is good nowhere else; nor is that of the older service, which is for
// Cloud DNS.
func TestFlexRegionsKnowNothingOfEachOther(t *testing.T) {
	o := fast()
	o.Flex = true
	c := start(t, o)
	do := func(method, url, token, body string) (int, http.Header, []byte) {
		t.Helper()
		r, err := http.NewRequest(method, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Auth-Token", token)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		out, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header, out
	}
	login := func(region, password string) (int, string, []byte) {
		code, h, body := do("POST", strings.Replace(c.FlexURL(), "{region}", region, 1)+"/auth/tokens", "", fmt.Sprintf(
			`{"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": %q, "password": %q, "domain": {"name": %q}}}}, "scope": {"project": {"name": %q, "domain": {"name": %[3]q}}}}}`,
			c.Username(), password, c.Domain(), c.Project()))
		return code, h.Get("X-Subject-Token"), body
	}
	tokens := map[string]string{}
	for _, region := range c.Regions() {
		code, token, body := login(region, c.APIKey()) // as the password
		var got struct {
			Token struct {
				Catalog []struct {
					Type      string
					Endpoints []struct {
						URL    string
						Region string `json:"region_id"`
					}
				}
			}
		}
		if err := json.Unmarshal(body, &got); code != 201 || err != nil {
			t.Fatalf("%s: %d %v %s", region, code, err, body)
		}
		tokens[region] = token
		types := ""
		for _, e := range got.Token.Catalog {
			types += e.Type + " "
			for _, p := range e.Endpoints {
				if p.Region != region || e.Type == "identity" && !strings.HasSuffix(p.URL, "/"+region+"/v3") {
					t.Errorf("the catalog of %s has %s of %s at %s", region, e.Type, p.Region, p.URL)
				}
			}
		}
		if types != "identity compute image network load-balancer key-manager " {
			t.Errorf("%s has %s", region, types)
		}
	}
	code, _, body := do("POST", c.RackspaceURL()+"tokens", "", fmt.Sprintf(`{"auth": {"RAX-KSKEY:apiKeyCredentials": {"username": %q, "apiKey": %q}}}`, c.Username(), c.APIKey()))
	var older struct {
		Access struct{ Token struct{ ID string } }
	}
	if err := json.Unmarshal(body, &older); code != 200 || err != nil || bytes.Contains(body, []byte("cloudServersOpenStack")) {
		t.Fatalf("%d %v %s", code, err, body)
	}
	tokens["older"] = older.Access.Token.ID
	at := map[string]string{"DFW3": c.url("nova", "DFW3") + "/v2.1/flavors", "SJC3": c.url("neutron", "SJC3") + "/v2.0/networks", "older": c.url("clouddns", "") + "/v1.0/" + c.Account() + "/domains"}
	for of, token := range tokens {
		for where, url := range at {
			want := 401
			if of == where {
				want = 200
			}
			if code, _, body := do("GET", url, token, ""); code != want {
				t.Errorf("the token of %s at %s: %d, want %d: %s", of, where, code, want, body)
			}
		}
	}
	if code, _, _ := login("DFW3", "0123456789abcdef0123456789abcdef"); code != 401 {
		t.Errorf("a wrong API key: %d", code)
	}
	if code, _, _ := login("LAX3", c.APIKey()); code != 404 {
		t.Errorf("a region that is none: %d", code)
	}
	if _, _, body := do("GET", c.url("nova", "SJC3")+"/v2.1/flavors", tokens["SJC3"], ""); !bytes.Contains(body, []byte("gp.0.4.8")) || bytes.Contains(body, []byte("gp.5.")) {
		t.Errorf("flavors of SJC3: %s", body)
	}
}
