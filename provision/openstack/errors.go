package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/dripstat/failover/provision"
	"github.com/gophercloud/gophercloud/v2"
)

const maxSaid = 300

// errVersion: the cloud does not offer the microversion that was asked for.
var errVersion = errors.New("this version of the API is not offered")

// status gives the HTTP status of an error, 0 where there was no answer.
func status(err error) int {
	var u gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &u) {
		return u.Actual
	}
	return 0
}

// explain makes the one kind of error that leaves this package. what is what was being done, in our words.
func explain(service, method, what string, err error) error {
	if err == nil {
		return nil
	}
	var pe *provision.Error
	if errors.As(err, &pe) {
		return err
	}
	read := method == http.MethodGet || method == http.MethodHead
	e := &provision.Error{What: what, Class: provision.Final}
	var re *gophercloud.ErrUnableToReauthenticate
	if errors.As(err, &re) {
		e.What += ": the token is no longer accepted, and a new one was refused"
		var inner *provision.Error
		if errors.As(re.ErrReauth, &inner) {
			e.Said, e.Class, e.After = inner.Said, inner.Class, inner.After
		}
		return e
	}
	var u gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &u) {
		noAnswer(e, read, service, err)
		return e
	}
	e.Said = said(service, u.Body)
	e.After, _ = retryAfter(&http.Response{StatusCode: u.Actual, Header: u.ResponseHeader}, time.Now())
	low := strings.ToLower(e.Said)
	reason := ""
	switch u.Actual {
	case 400:
		reason = "the request was not accepted"
	case 401:
		reason, e.Hint = "the credentials are not accepted", "check user, password, project and domain"
	case 403:
		reason = "this user may not"
		e.Hint = roles(service)
		if strings.Contains(low, "quota") {
			reason, e.Hint = "over quota", "delete what is not needed, or have the quota raised"
		}
	case 404:
		reason = "it does not exist"
	case 406:
		e.Err, e.Said = errVersion, ""
	case 409:
		reason = "it is in conflict with what is there"
		// Octavia's answer while it works on the load balancer: nothing was changed.
		// https://opendev.org/openstack/octavia/src/branch/stable/zed/octavia/common/exceptions.py (ImmutableObject, LBPendingStateError)
		if service == "octavia" && (strings.Contains(low, "immutable") || strings.Contains(low, "invalid state")) {
			reason, e.Class = "it is being changed", provision.Transient
		}
		if strings.Contains(low, "quota") {
			reason, e.Hint = "over quota", "delete what is not needed, or have the quota raised"
		}
	case 413, 429:
		reason = "too many requests"
		if u.Actual == 429 || e.After > 0 {
			e.Class = provision.Transient
		} else if u.Actual == 413 { // Rackspace's clouds answer it to both: a rate names when it ends, a limit of the account does not
			reason, e.Hint = "over the account's limit", "delete what is not needed, or have the limit raised"
		}
		if strings.Contains(low, "quota") {
			reason = "over quota"
		}
	case 503:
		reason, e.Class = "the service is not available", provision.Transient
	default:
		reason = fmt.Sprintf("unexpected answer %d", u.Actual)
		if u.Actual >= 500 {
			reason, e.Class = fmt.Sprintf("the service failed (%d)", u.Actual), provision.Unknown
			if read {
				e.Class = provision.Transient
			}
		}
	}
	if reason != "" {
		e.What += ": " + reason
	}
	return e
}

// roles says which role a service wants by its default policy.
// https://docs.openstack.org/octavia/latest/configuration/policy.html
// https://docs.openstack.org/barbican/latest/admin/access_control.html
func roles(service string) string {
	switch service {
	case "octavia":
		return "this user wants the role load-balancer_member in this project; on clouds with the newer defaults, member"
	case "barbican":
		return "this user wants the role creator in this project; on clouds with the newer defaults, member"
	}
	return ""
}

// noAnswer classes a request that got no answer.
func noAnswer(e *provision.Error, read bool, service string, err error) {
	var op *net.OpError
	var out timeoutError
	var un unsent
	e.Class = provision.Unknown
	if read {
		e.Class = provision.Transient
	}
	reason := ""
	switch {
	case errors.As(err, &un):
		reason, e.Class = "it was not sent: "+un.Error(), provision.Transient
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			e.Err, reason = un.error, "it was not sent"
		}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Class = provision.Unknown
		e.Err = context.Canceled
		if errors.Is(err, context.DeadlineExceeded) {
			e.Err = context.DeadlineExceeded
			reason = service + " did not answer in time"
		}
	case errors.As(err, &out):
		reason = service + " gave " + out.Error()
	case !transientNet(err):
		reason, e.Class = cut(scrub(bottom(err))), provision.Final
		if strings.Contains(reason, "certificate") {
			e.Hint = "if the cloud has a CA of its own, give it as cacert"
		}
	case errors.As(err, &op) && op.Op == "dial", errors.Is(err, syscall.ECONNREFUSED):
		reason, e.Class = service+" cannot be reached: "+cut(scrub(bottom(err))), provision.Transient
	default:
		reason = cut(scrub(bottom(err)))
	}
	if reason != "" {
		e.What += ": " + reason
	}
}

// bottom leaves out what http.Client says around an error: the method and the whole URL.
func bottom(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return err.Error()
}

// said finds the provider's message in a fault body: {"badRequest": {"message": ...}}, {"NeutronError":
// {...}}, {"error": {...}}, {"message": ...}, or text with or without markup.
func said(service string, body []byte) string {
	var v any
	text := ""
	if json.Unmarshal(body, &v) == nil {
		text = message(v, 0)
	} else {
		text = patterns().tags.ReplaceAllString(string(body), " ")
	}
	text = cut(scrub(text))
	if text == "" {
		return ""
	}
	return service + ": " + text
}

func message(v any, deep int) string {
	switch x := v.(type) {
	case string:
		return x
	case map[string]any:
		for _, k := range []string{"message", "detail", "faultstring", "title"} {
			if s, ok := x[k].(string); ok && s != "" {
				if more, ok := x["errors"].(map[string]any); ok && k == "message" && deep == 0 { // designate's schema errors
					if m := message(more, 1); m != "" {
						s += ": " + m
					}
				}
				return s
			}
		}
		if deep < 4 {
			for _, y := range x {
				if _, flat := y.(string); flat {
					continue
				}
				if s := message(y, deep+1); s != "" {
					return s
				}
			}
		}
	case []any:
		for _, y := range x {
			if s := message(y, deep+1); s != "" {
				return s
			}
		}
	}
	return ""
}

type scrubbers struct{ tags, fields, long *regexp.Regexp }

var patterns = sync.OnceValue(func() scrubbers {
	return scrubbers{
		tags:   regexp.MustCompile(`<(?:style|script|title)[^>]*>[^<]*</[^>]*>|<[^>]*>`),
		fields: regexp.MustCompile(`(?i)((?:password|adminpass|secret|token|user_data|passcode)["']?\s*[:=]\s*)["']?[^"',\s}]+`),
		// A schema error quotes the value that it refuses: user-data, keys, tokens.
		long: regexp.MustCompile(`[A-Za-z0-9+/=_.-]{48,}`),
	}
})

// scrub takes out what might be a secret or somebody's user-data.
func scrub(s string) string {
	p := patterns()
	s = p.fields.ReplaceAllString(s, "${1}(…)")
	return p.long.ReplaceAllString(s, "(…)")
}

// cut gives one printable line of bounded length.
func cut(s string) string { return bound(s, maxSaid) }

func bound(s string, n int) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
