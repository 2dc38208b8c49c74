package openstack

import (
	"context"
	"regexp"
	"strings"
	"sync"

	"github.com/dripstat/failover/provision"
)

type pulledArgs struct {
	Cloud       string `json:"cloud"`
	Server      string `json:"server"`
	Certificate string `json:"certificate"`
	Fingerprint string `json:"fingerprint"`
}

// checkPulled reads on the console what came of a server's own fetching of its certificate. The lines are those of templates/files/pull.sh.
// An alarm goes before everything else that is there.
func (c *Cloud) checkPulled(ctx context.Context, a pulledArgs) (provision.Status, error) {
	text, early, err := c.console(ctx, a.Server)
	if err != nil || text == "" {
		return early, err
	}
	alarm, failed, fetched := pulledLines(text, a)
	switch {
	case alarm != "":
		return provision.Status{}, &provision.Error{Class: provision.Final,
			What: "ALARM: somebody else may have certificate " + a.Certificate + " and its key: the token that this server was given did not give it to the server",
			Said: alarm,
			Hint: "Vault's audit log tells who used the token; was it nobody of you, revoke the certificate. Was the server only slower than the token lives: deliver { ttl = ... }. " +
				"The server serves nothing: failover abandon",
		}
	case failed != "":
		return provision.Status{}, &provision.Error{Class: provision.Final, What: "the server did not get certificate " + a.Certificate, Said: failed,
			Hint: "mend what it says, then: failover abandon, and run again; its token works once"}
	case fetched:
		return done(provision.Values{"fingerprint": a.Fingerprint})
	}
	return early, nil
}

var pulledLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`failover: (?:(ALARM|FAILED): )?certificate ([A-Za-z0-9._-]+)(: | is in place, SHA-256 )([^\r\n]*)`)
})

// pulledLines gives what a console tells of one certificate. A line that the kernel wrote into does not match; each is printed three times.
func pulledLines(console string, a pulledArgs) (alarm, failed string, fetched bool) {
	for _, m := range pulledLine().FindAllStringSubmatch(console, -1) {
		text := bound(scrub(strings.TrimSpace(printable(m[4]))), 240)
		switch {
		case m[2] != a.Certificate:
		case m[1] == "ALARM":
			alarm = text
		case m[1] == "FAILED":
			failed = text
		case m[1] == "" && m[3] != ": " && a.Fingerprint != "" && strings.HasPrefix(m[4], a.Fingerprint):
			fetched = true
		}
	}
	return alarm, failed, fetched
}
