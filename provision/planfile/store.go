package planfile

import (
	"net/url"
	"slices"
	"strings"

	"github.com/dripstat/failover/provision"
)

// store reads where journals and leases are kept: in a folder, and in etcd beside it.
func (d *decoder) store(x *block) provision.Store {
	var s provision.Store
	f, e := x.only("file"), x.only("etcd")
	if f == nil && e == nil {
		d.errorf(x.at, `add: file { dir = "..." }, or etcd { endpoints = ["https://..."] }`, "the store block does not say where")
	}
	if f != nil {
		s.Dir = f.need("dir")
	}
	if e != nil {
		s.Etcd = d.etcd(e)
	}
	return s
}

func (d *decoder) etcd(b *block) *provision.Etcd {
	e := &provision.Etcd{Endpoints: b.texts("endpoints"), CA: b.text("ca", ""), Cert: b.text("cert", ""), Key: b.text("key", ""),
		Username: b.text("username", ""), Password: b.secret("password"), Prefix: b.text("prefix", "")}
	if len(e.Endpoints) == 0 && b.has("endpoints") && !d.failedAt(b.where("endpoints")) {
		b.wrong("endpoints", "add: "+example("store.etcd", "endpoints"), "is empty")
	}
	for i, end := range e.Endpoints {
		if end == Placeholder {
			continue
		}
		u, err := url.Parse(end)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
			b.wrongItem("endpoints", i, "write: "+`"https://HOST:2379"`, "has %s, which is not https://HOST:PORT", b.show("endpoints", end))
		case u.Scheme == "http" && (e.CA != "" || e.Cert != ""):
			b.wrongItem("endpoints", i, "write https://", "has %s, which is not encrypted, and there are certificates", b.show("endpoints", end))
		case slices.Contains(e.Endpoints[:i], end):
			b.wrongItem("endpoints", i, "take it out", "has %s twice", b.show("endpoints", end))
		}
	}
	for _, pair := range [][2]string{{"cert", "key"}, {"username", "password"}} {
		for i, n := range pair {
			if b.has(n) && !b.has(pair[1-i]) {
				b.wrong(n, "", "needs %s beside it", pair[1-i])
			}
		}
	}
	if strings.HasPrefix(e.Prefix, "/") && strings.Trim(e.Prefix, "/") == "" {
		b.wrong("prefix", `prefix = "failover/"`, "names nothing")
	}
	return e
}
