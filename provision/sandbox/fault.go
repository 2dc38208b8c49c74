package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is something that goes wrong, by name, with an optional argument.
// [Faults] lists the names.
type Fault struct {
	Name string
	Arg  string
}

func (f Fault) String() string {
	if f.Arg == "" {
		return f.Name
	}
	return f.Name + "=" + f.Arg
}

// FaultHelp is one line for the command line's help.
type FaultHelp struct {
	Name string // with the form of its argument
	Help string
}

// Faults lists every fault with one line of help.
func Faults() []FaultHelp {
	return []FaultHelp{
		{"no-valid-host[=FLAVOR|N]", "servers of FLAVOR, the first N servers, or those of the first flavor tried end in ERROR: no valid host"},
		{"boot-error[=N]", "the first N servers (1) go from BUILD to ERROR at the end of their boot"},
		{"reply-lost[=N]", "the first N server creations (1) succeed, but the connection is reset before the reply"},
		{"rate-limit[=N]", "every N-th API request (5th) is answered 429 with Retry-After: 1"},
		{"slow-boot=DURATION[:N]", "a server takes DURATION until it is ACTIVE; with N, only the first N do"},
		{"wrong-host-key[=N]", "the first N servers (1) print another host key on the console than their sshd presents"},
		{"key-mismatch[=N]", "the same as wrong-host-key"},
		{"dns-pending[=DURATION]", "a record set stays PENDING, the name server keeps the old answer (for good)"},
		{"dns-job-slow=DURATION", "Rackspace: jobs of Cloud DNS take DURATION"},
		{"dns-job-error[=N]", "Rackspace: the first N jobs of Cloud DNS (1) end in ERROR, and change nothing"},
		{"dns-delete-half[=N]", "Rackspace: the first N deletions of several records (1) delete one of them and end in ERROR"},
		{"empty-body=N", "Rackspace: every N-th reading request to Cloud DNS and to Cloud Load Balancers is answered 200 without a body"},
		{"dns-lag=DURATION", "the name server answers with a change only DURATION after it was made"},
		{"region-dark[=REGION[:refuse|:hang]]", "no API and no server of REGION (the first) answers"},
		{"balancer-delete-half[=N]", "Rackspace: the first N deletions of a load balancer (1) are accepted, and end in ERROR"},
		{"balancer-reply-empty[=N]", "Rackspace: the first N load balancers (1) are made, and the answer to that has no body"},
		{"balancer-error[=N]", "the first N load balancers (1) end in ERROR"},
		{"balancer-slow=DURATION", "a load balancer takes DURATION until it is ACTIVE"},
		{"part-error[=N]", "the first N parts (1) of load balancers, such as listeners and pools, end in ERROR"},
		{"part-reply-lost[=N]", "the first N parts (1) of load balancers are made or changed, but the connection is reset before the reply"},
		{"balancer-stuck[=N]", "the first N load balancers (1) stay in PENDING_CREATE, and cannot be deleted"},
		{"balancer-busy[=N]", "the first N changes (1) of a load balancer are answered 409, or 422 by Rackspace: it is immutable"},
		{"balancer-reply-lost[=N]", "the first N load balancers (1) are made, but the connection is reset before the reply"},
		{"store-reply-lost[=N]", "the first N private keys (1) are stored by the key manager, or by a load balancer of Rackspace, but the connection is reset before the reply"},
		{"api-500=N", "every N-th reading API request is answered 500"},
	}
}

type faultState struct {
	Fault
	n      int           // how many (or: every how many)
	d      time.Duration // how long
	word   string        // flavor or region
	hang   bool
	seen   int             // requests or servers so far
	marked map[string]bool // no-valid-host: the flavors it is about
}

// ParseFault reads "slow-boot=30s".
func ParseFault(s string) (Fault, error) {
	name, arg, _ := strings.Cut(s, "=")
	f := Fault{Name: strings.TrimSpace(name), Arg: strings.TrimSpace(arg)}
	_, err := f.state()
	return f, err
}

func (f Fault) state() (*faultState, error) {
	st := &faultState{Fault: f, n: 1, marked: map[string]bool{}}
	var err error
	count := func(def int) {
		st.n = def
		if f.Arg != "" {
			if st.n, err = strconv.Atoi(f.Arg); err == nil && st.n < 1 {
				err = errors.New("want a number of at least 1")
			}
		}
	}
	dur := func(needed bool) {
		if f.Arg == "" && !needed {
			return
		}
		if st.d, err = time.ParseDuration(f.Arg); err == nil && st.d <= 0 {
			err = errors.New("want a duration above zero, as in 30s")
		}
	}
	switch f.Name {
	case "no-valid-host":
		if n, e := strconv.Atoi(f.Arg); e == nil {
			if st.n = n; n < 1 {
				err = errors.New("want a flavor, or a number of at least 1")
			}
		} else {
			st.n, st.word = -1, f.Arg
		}
	case "boot-error", "reply-lost", "wrong-host-key", "dns-job-error", "dns-delete-half", "balancer-error", "part-error", "part-reply-lost", "balancer-stuck", "balancer-busy", "balancer-reply-lost", "store-reply-lost", "balancer-delete-half", "balancer-reply-empty":
		count(1)
	case "key-mismatch":
		st.Name = "wrong-host-key"
		count(1)
	case "rate-limit":
		count(5)
	case "api-500", "empty-body":
		if f.Arg == "" {
			err = fmt.Errorf("say every how many: %s=4", f.Name)
		}
		count(1)
	case "slow-boot":
		arg, first, some := strings.Cut(f.Arg, ":")
		f.Arg = arg
		dur(true)
		st.n = -1
		if some && err == nil {
			if st.n, err = strconv.Atoi(first); err == nil && st.n < 1 {
				err = errors.New("want a number of at least 1 after the colon")
			}
		}
	case "dns-lag", "balancer-slow", "dns-job-slow":
		dur(true)
	case "dns-pending":
		dur(false)
	case "region-dark":
		region, mode, _ := strings.Cut(f.Arg, ":")
		if region == "hang" || region == "refuse" {
			region, mode = "", region
		}
		st.word, st.hang = region, mode == "hang"
		if mode != "" && mode != "hang" && mode != "refuse" {
			err = fmt.Errorf("want region-dark=REGION:refuse or :hang")
		}
	default:
		var names []string
		for _, h := range Faults() {
			names = append(names, strings.FieldsFunc(h.Name, func(r rune) bool { return r == '=' || r == '[' })[0])
		}
		return nil, fmt.Errorf("no fault is called %q; there are: %s", f.Name, strings.Join(names, ", "))
	}
	if err != nil {
		return nil, fmt.Errorf("fault %s: %w", f, err)
	}
	return st, nil
}

// SetFault makes f happen from now on, in place of an earlier fault of the same
// name. Several regions may be dark at once.
func (c *Cloud) SetFault(f Fault) error {
	st, err := f.state()
	if err != nil {
		return err
	}
	key := st.Name
	if st.Name == "region-dark" {
		if st.word == "" {
			st.word = c.opts.Regions[0]
		}
		if !slices.Contains(c.opts.Regions, st.word) {
			return fmt.Errorf("fault %s: there is no region %s, only %s", f, st.word, strings.Join(c.opts.Regions, ", "))
		}
		key += "=" + st.word
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[key] = st
	c.relight()
	return nil
}

// ClearFaults ends all faults. What they did stays done (an ERROR server is an
// ERROR server), but DNS changes that were stuck are served after DNSDelay.
func (c *Cloud) ClearFaults() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.faults)
	c.unstick(time.Now())
	c.relight()
}

// take counts one occasion of a fault that hits the first n of them.
func (c *Cloud) take(name string) bool {
	f := c.faults[name]
	if f == nil {
		return false
	}
	f.seen++
	return f.seen <= f.n
}

// every counts one occasion of a fault that hits each n-th of them.
func (c *Cloud) every(name string) bool {
	f := c.faults[name]
	if f == nil {
		return false
	}
	f.seen++
	return f.seen%f.n == 0
}

func (k *call) faulty() (int, any) {
	if k.c.every("rate-limit") {
		if k.s.name == "clouddns" {
			return k.dnsLimited()
		}
		k.header.Set("Retry-After", "1")
		if k.c.opts.Rackspace != nil || k.s.realm() == firstCloud { // https://docs.rackspace.com/docs/cloud-servers/general-api-info/limits: a date, and 413
			at := k.now.Add(time.Second).UTC()
			k.header.Set("Retry-After", at.Format(time.RFC3339))
			return 413, obj{"overLimit": obj{"code": 413, "message": "OverLimit Retry...", "details": "Error Details...", "retryAt": at.Format(time.RFC3339)}}
		}
		if k.s.name == "nova" {
			return 429, obj{"overLimit": obj{"code": 429, "message": "This request was rate-limited.", "retryAfter": "1"}}
		}
		return k.err(429, "Too Many Requests")
	}
	if (k.s.name == "clouddns" || k.s.name == "clb") && k.Method == "GET" && k.c.every("empty-body") {
		return 200, nil
	}
	if (k.Method == "GET" || k.Method == "HEAD") && k.c.every("api-500") {
		return k.err(500, "Unexpected API Error. Please report this at http://bugs.launchpad.net/nova/ and attach the Nova API log if possible.\n<class 'oslo_db.exception.DBConnectionError'>")
	}
	return 0, nil
}

// dark tells whether a region answers; hang means that it does not even refuse.
func (c *Cloud) dark(region string) (dark, hang bool) {
	f := c.faults["region-dark="+region]
	return f != nil, f != nil && f.hang
}

// awaitLight lets a request into a region: at once where all is well, with an
// error where connections are refused, and after the region came back where they hang.
func (c *Cloud) awaitLight(ctx context.Context, region, addr string) error {
	for {
		c.mu.Lock()
		dark, hang := c.dark(region)
		light := c.light
		c.mu.Unlock()
		if !dark {
			return nil
		}
		if !hang {
			return refused("tcp", addr)
		}
		select {
		case <-light:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ctx.Done():
			return errReset
		}
	}
}

// relight brings listeners and connections in line with the darkness of the
// regions. A listener of a refusing region is closed: the kernel refuses better than we could.
func (c *Cloud) relight() {
	close(c.light)
	c.light = make(chan struct{})
	for _, s := range c.services {
		if s.region == "" || c.opts.InMemory || c.ctx.Err() != nil {
			continue
		}
		dark, hang := c.dark(s.region)
		switch refuse := dark && !hang; {
		case refuse && s.ln != nil:
			s.shut()
		case !refuse && s.ln == nil && s.addr != "":
			for i := 0; i < 50 && s.open() != nil; i++ {
				time.Sleep(10 * time.Millisecond) // the port is ours, but the kernel may still hold it
			}
		}
	}
	for _, s := range c.servers {
		if dark, _ := c.dark(s.region); dark {
			s.machine.drop()
		}
	}
}
