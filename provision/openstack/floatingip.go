package openstack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
)

type floatingArgs struct {
	Cloud   string `json:"cloud"`
	Server  string `json:"server"`
	OnPort  string `json:"port"` // instead of Server
	Network string `json:"network"`
	Service string `json:"service"`
	Run     string `json:"run"`
	Slot    string `json:"slot"`
}

type floatingIP struct {
	ID          string `json:"id"`
	Address     string `json:"floating_ip_address"`
	Port        string `json:"port_id"`
	Description string `json:"description"`
}

type port struct {
	ID      string `json:"id"`
	Device  string `json:"device_id"`
	Network string `json:"network_id"`
	Fixed   []struct {
		Address string `json:"ip_address"`
	} `json:"fixed_ips"`
}

func (p port) ipv4() string {
	for _, f := range p.Fixed {
		if a, err := netip.ParseAddr(f.Address); err == nil && a.Is4() {
			return f.Address
		}
	}
	return ""
}

// collect reads a list of neutron's to its end.
func collect[T any](ctx context.Context, s service, what, path, key string, id func(T) string, pairs ...string) ([]T, error) {
	all := []T{}
	marker := ""
	for {
		q := append([]string{"limit", "1000"}, pairs...)
		if marker != "" {
			q = append(q, "marker", marker)
		}
		page := map[string]json.RawMessage{}
		if err := s.get(ctx, what, s.url(path+query(q...)), &page); err != nil {
			return nil, err
		}
		var items []T
		var links []struct {
			Rel string `json:"rel"`
		}
		if err := json.Unmarshal(page[key], &items); err != nil {
			return nil, &provision.Error{What: what + ": the answer of " + s.name + " cannot be read", Class: provision.Final}
		}
		_ = json.Unmarshal(page[key+"_links"], &links) // absent where there is one page
		all = append(all, items...)
		more := false
		for _, l := range links {
			more = more || l.Rel == "next"
		}
		if !more || len(items) == 0 || id(items[len(items)-1]) == marker {
			return all, nil
		}
		marker = id(items[len(items)-1])
	}
}

func (c *Cloud) listFloating(ctx context.Context) ([]floatingIP, error) {
	s, err := c.service(ctx, "network")
	if err != nil {
		return nil, err
	}
	return collect(ctx, s, "list floating IPs", "floatingips", "floatingips", func(f floatingIP) string { return f.ID })
}

func (c *Cloud) listPorts(ctx context.Context) ([]port, error) {
	s, err := c.service(ctx, "network")
	if err != nil {
		return nil, err
	}
	return collect(ctx, s, "list ports", "ports", "ports", func(p port) string { return p.ID },
		"fields", "id", "fields", "device_id", "fields", "network_id", "fields", "fixed_ips")
}

// findFloating finds the slot's address by its mark, in a list that all slots share.
func (c *Cloud) findFloating(ctx context.Context, a floatingArgs) (floatingIP, bool, error) {
	all, err := c.fips.get(ctx, pace, time.Time{}, c.listFloating)
	if err != nil {
		return floatingIP{}, false, err
	}
	for _, f := range all {
		if strings.Contains(f.Description, mark(a.Run, a.Slot)+"]") {
			return f, true, nil
		}
	}
	return floatingIP{}, false, nil
}

func (c *Cloud) checkFloating(ctx context.Context, a floatingArgs) (provision.Status, error) {
	if out, ok := c.just(FloatingIPCreate, a.Run+"/"+a.Slot); ok {
		return done(out)
	}
	f, ok, err := c.findFloating(ctx, a)
	switch {
	case err != nil:
		return provision.Status{}, err
	case !ok:
		return absent()
	case f.Port == "":
		return provision.Status{State: provision.Absent, Seen: f.Address + " is not on the server yet"}, nil
	}
	return done(provision.Values{"id": f.ID, "address": f.Address})
}

// serverPort finds the port that an address goes onto, in a list that all servers share.
func (c *Cloud) serverPort(ctx context.Context, serverID string) (port, error) {
	now := time.Now()
	for _, after := range []time.Time{{}, now} {
		all, err := c.ports.get(ctx, pace, after, c.listPorts)
		if err != nil {
			return port{}, err
		}
		for _, p := range all {
			if p.Device == serverID && p.ipv4() != "" {
				return p, nil
			}
		}
	}
	return port{}, &provision.Error{What: fmt.Sprintf("server %s has no port with an IPv4 address", serverID), Class: provision.Transient, After: pace}
}

func (c *Cloud) createFloating(ctx context.Context, a floatingArgs) error {
	s, err := c.service(ctx, "network")
	if err != nil {
		return err
	}
	body := map[string]any{"port_id": a.OnPort}
	if a.OnPort == "" {
		p, err := c.serverPort(ctx, a.Server)
		if err != nil {
			return err
		}
		body = map[string]any{"port_id": p.ID, "fixed_ip_address": p.ipv4()}
	}
	there, ok, err := c.findFloating(ctx, a)
	if err != nil {
		return err
	}
	var out struct {
		IP floatingIP `json:"floatingip"`
	}
	if ok {
		err = s.put(ctx, "put floating IP "+there.Address+" in its place", s.url("floatingips/"+url.PathEscape(there.ID)), map[string]any{"floatingip": body}, &out)
	} else {
		body["floating_network_id"] = a.Network
		body["description"] = describeFor("", a.Run, a.Slot)
		err = s.post(ctx, "create a floating IP", s.url("floatingips"), map[string]any{"floatingip": body}, &out)
	}
	if err != nil {
		c.fips.drop()
		return err
	}
	c.remember(FloatingIPCreate, a.Run+"/"+a.Slot, provision.Values{"id": out.IP.ID, "address": out.IP.Address})
	return nil
}

// checkNoFloating looks by id, or by the mark that the description carries where the id is not known.
func (c *Cloud) checkNoFloating(ctx context.Context, a deleteArgs) (provision.Status, error) {
	s, err := c.service(ctx, "network")
	if err != nil {
		return provision.Status{}, err
	}
	if a.ID == "" {
		f, ok, err := c.findFloating(ctx, floatingArgs{Run: a.Run, Slot: a.Slot})
		if err != nil {
			return provision.Status{}, err
		}
		if !ok {
			return c.noneSeen(FloatingIPDelete, a.key())
		}
		c.noisy(FloatingIPDelete, a.key())
		return provision.Status{State: provision.Absent, Seen: f.Address}, nil
	}
	var got struct {
		IP floatingIP `json:"floatingip"`
	}
	none, err := s.missing(ctx, "read floating IP "+a.ID, s.url("floatingips/"+url.PathEscape(a.ID)), &got)
	switch {
	case err != nil:
		return provision.Status{}, err
	case none:
		return done(provision.Values{"id": a.ID})
	case a.Run != "" && !strings.Contains(got.IP.Description, mark(a.Run, "")):
		return provision.Status{}, notOurs("floating IP", a.ID, a.Run)
	}
	return absent()
}

func (c *Cloud) deleteFloating(ctx context.Context, a deleteArgs) error {
	s, err := c.service(ctx, "network")
	if err != nil {
		return err
	}
	c.forget(FloatingIPCreate, a.Run+"/"+a.Slot)
	id := a.ID
	if id == "" {
		f, ok, err := c.findFloating(ctx, floatingArgs{Run: a.Run, Slot: a.Slot})
		if err != nil || !ok {
			return err
		}
		id = f.ID
	}
	defer c.fips.drop()
	return s.remove(ctx, "delete floating IP "+id, s.url("floatingips/"+url.PathEscape(id)))
}
