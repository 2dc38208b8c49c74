package steps

import (
	"slices"
	"testing"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/secrets"
)

// On a cloud without a console a server is created with a throwaway host key, and gets its own before the certificate.
func TestWithoutConsole(t *testing.T) {
	plan, facts := onePlan()
	plan.Clouds = []provision.Cloud{{Name: "main", Rackspace: &provision.Rackspace{}}}
	plan.Certificates = []provision.Certificate{{Name: "edge", From: []secrets.Ref{{Store: "vault", Path: "edge"}}, Names: []string{"www.example.com"}}}
	plan.Servers[0].Certificate, plan.Servers[0].SSH.User = "edge", "root"
	facts.Certificates = map[string]provision.CertificateFacts{"edge": {Fingerprint: "f00d", Source: "secrets.vault", NotAfter: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)}}
	g := build(t, plan, facts)
	golden(t, "no-console", g)
	server, _ := g.Step("server/web-1")
	for _, id := range []provision.StepID{fetchID("edge"), loginID} { // of a run that is resumed they begin anew: the server waits for them itself
		if !slices.Contains(server.Needs, id) {
			t.Errorf("%s does not wait for %s, which its host key is derived from", server.ID, id)
		}
	}
	if _, ok := server.With["host_key"]; !ok {
		t.Error("the server is created without a host key")
	}
	plan.Servers[0].Certificate = ""
	server, _ = build(t, plan, facts).Step("server/web-1")
	if _, ok := server.With["host_key"]; ok {
		t.Error("a server that nobody logs in to has a host key in its user-data")
	}
}
