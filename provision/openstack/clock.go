package openstack

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// retryAfter reads the wait that an answer asks for: 429 and 503, and 413 where it names one. Seconds, an
// HTTP date, or ISO 8601 as some clouds write; Reply-After is a misspelling that exists.
func retryAfter(resp *http.Response, now time.Time) (time.Duration, bool) {
	switch resp.StatusCode {
	case 413, 429, 503:
	default:
		return 0, false
	}
	for _, h := range []string{"Retry-After", "Reply-After"} {
		v := strings.TrimSpace(resp.Header.Get(h))
		if v == "" {
			continue
		}
		if s, err := strconv.ParseFloat(v, 64); err == nil && s >= 0 && s < 1e6 {
			return time.Duration(s * float64(time.Second)), true
		}
		at, ok := parseTime(v)
		if !ok {
			continue
		}
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			now = date // the cloud's clock, which the header is by
		}
		return max(at.Sub(now), 0), true
	}
	return 0, false
}

func parseTime(v string) (time.Time, bool) {
	if t, err := http.ParseTime(v); err == nil {
		return t, true
	}
	for _, l := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05"} {
		if t, err := time.Parse(l, v); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// skew keeps what the fastest exchange so far told: the value nearest to none that it allows.
type skew struct {
	ok  bool
	rtt time.Duration
	val time.Duration
}

// add takes an answer's Date, which was cut to whole seconds somewhere between sent and got.
func (s *skew) add(date string, sent, got time.Time) {
	at, err := http.ParseTime(date)
	if err != nil {
		return
	}
	rtt := got.Sub(sent)
	if s.ok && rtt >= s.rtt {
		return
	}
	s.ok, s.rtt, s.val = true, rtt, 0
	least, most := at.Sub(got.Round(0)), at.Add(time.Second).Sub(sent.Round(0))
	switch {
	case least > 0:
		s.val = least.Round(100 * time.Millisecond)
	case most < 0:
		s.val = most.Round(100 * time.Millisecond)
	}
}
