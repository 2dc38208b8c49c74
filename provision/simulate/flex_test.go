package simulate

import (
	"net/http"
	"strings"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/openstack"
	"github.com/dripstat/failover/secrets"
)

// flexToo marks what was found since there are plans for OpenStack Flex and renewals.
const flexToo = "with Flex and renewals: "

// foundBefore says whether the seed is one that failed once, before there were dice that these marks stand for: it keeps its story.
func (w *world) foundBefore(marks ...string) bool {
	for _, f := range found {
		if f.seed != w.seed {
			continue
		}
		for _, m := range marks {
			if strings.HasPrefix(f.what, m) {
				return false
			}
		}
		return true
	}
	return false
}

// flex says whether the cloud is Rackspace's OpenStack Flex: an identity service for each region, floating addresses from an external network
// that servers cannot be put into, and no designate: zones are kept by the first cloud's Cloud DNS.
func (w *world) flex() bool { return len(w.plan.Clouds) > 1 }

// keepsRecords says whether zones are at Cloud DNS, which knows records and no record sets.
func (w *world) keepsRecords() bool { return w.plan.Zones[0].Provider.CloudDNS != nil }

// toFlex takes some plans that are not at the first cloud there.
func (w *world) toFlex() {
	d := w.dice("flex")
	if w.foundBefore(flexToo, standsToo, followsToo) || w.legacy() || d.IntN(10) > 0 { // of five in six: one in twelve of all
		return
	}
	w.seen.Flex++
	w.plan.Clouds = append(w.plan.Clouds, provision.Cloud{Name: "rax", Rackspace: &provision.Rackspace{}})
	s := &w.plan.Servers[0]
	s.FloatingIP = w.external()
	for i := range w.plan.Balancers {
		w.plan.Balancers[i].FloatingIP = w.external()
	}
	w.toCloudDNS(d, "rax")
}

var flexRungs = []string{"gp.5.2.4", "gp.5.4.8", "gp.5.4.16"}

// external is the network of floating addresses.
func (w *world) external() string {
	if w.flex() {
		return "PUBLICNET"
	}
	return "public"
}

// connectFlex gives a process its region there.
func (w *world) connectFlex(o openstack.Options) (*openstack.Cloud, error) {
	return openstack.New("main", provision.OpenStack{AuthURLs: []string{w.box.FlexURL()}, Username: w.box.Username(), Password: secrets.NewValue([]byte(w.box.APIKey())),
		Project: w.box.Project(), Domain: w.box.Domain()}, region, o)
}

// connectZones gives a process the cloud that keeps the plan's zone.
func (w *world) connectZones(rt http.RoundTripper, main *openstack.Cloud) (*openstack.Cloud, error) {
	if !w.flex() {
		return main, nil
	}
	return w.connectFirst("rax", w.options(rt, home))
}
