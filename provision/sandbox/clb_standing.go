package sandbox

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"time"
)

// Standing is a load balancer of Rackspace's that is there from the start, of protocol HTTP and without TLS.
type Standing struct {
	Region  string
	Name    string
	Members []string // address:port; they get traffic
}

// seedBalancers makes them as a request would.
func (c *Cloud) seedBalancers() error {
	for _, s := range c.opts.Standing {
		nodes := []obj{}
		for _, m := range s.Members {
			host, port, err := net.SplitHostPort(m)
			n, perr := strconv.Atoi(port)
			if err != nil || perr != nil {
				return fmt.Errorf("member %q of load balancer %q is no address:port", m, s.Name)
			}
			nodes = append(nodes, obj{"address": host, "port": n, "condition": "ENABLED", "type": "PRIMARY"})
		}
		body, err := json.Marshal(obj{"loadBalancer": obj{"name": s.Name, "protocol": "HTTP", "port": 80, "algorithm": "ROUND_ROBIN", "virtualIps": []obj{{"type": "PUBLIC"}}, "nodes": nodes}})
		if err != nil {
			return err
		}
		if status, val := clbCreate(&call{c: c, region: s.Region, now: c.started, body: body}); status != 202 {
			return fmt.Errorf("load balancer %q in %s: %v", s.Name, s.Region, val)
		}
	}
	for _, b := range c.balancers {
		b.busy = time.Time{}
	}
	return nil
}
