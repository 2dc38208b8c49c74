package provision

import "testing"

func TestDelivery(t *testing.T) {
	c := Certificate{Name: "edge", Reload: "nginx.service"}
	for _, tt := range []struct {
		server Server
		cert   Certificate
		path   string
		chown  string
		unit   string
		mine   bool
	}{
		{Server{}, Certificate{Name: "edge"}, "/run/failover/tls/edge.pem", "root:root", "", true},
		{Server{Template: "tls-proxy"}, Certificate{Name: "edge", Persist: true}, "/etc/failover/tls/edge.pem", "root:root", ProxyUnit, true},
		{Server{Template: "tls-proxy"}, c, "/run/failover/tls/edge.pem", "root:root", "nginx.service", true},
		{Server{Deliver: &Delivery{Layout: LayoutFiles, Owner: "app"}}, c, "/run/failover/tls/edge", "app:", "", false},
		{Server{Deliver: &Delivery{Layout: LayoutPKCS12, Persist: true, Group: "adm"}}, c, "/etc/failover/tls/edge", "root:adm", "", false},
		{Server{Deliver: &Delivery{Path: "/etc/x/y.pem", Owner: "1000"}}, c, "/etc/x/y.pem", "1000:root", "", false},
		{Server{Deliver: &Delivery{Owner: "app", Group: "www"}}, c, "/run/failover/tls/edge.pem", "app:www", "", false},
	} {
		d := tt.server.Delivery(tt.cert)
		if d.Path != tt.path || d.Chown() != tt.chown || d.Unit != tt.unit || d.Private() != tt.mine || d.Mode != "0600" {
			t.Errorf("%+v: chown %s, private %v; want %+v", d, d.Chown(), d.Private(), tt)
		}
	}
}
