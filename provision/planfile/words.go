package planfile

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/agext/levenshtein"

	"github.com/dripstat/failover/provision"
)

// nearest gives what was probably meant by a word that is not among the valid ones, or "".
func nearest(word string, valid []string) string {
	best, at := "", 4
	for _, v := range valid {
		d := levenshtein.Distance(strings.ToLower(word), strings.ToLower(v), nil)
		if d < at && (d <= 1 || d <= 2 && len(v) >= 4 || d <= len(v)/3) {
			best, at = v, d
		}
	}
	return best
}

// meant is the hint for an unknown word.
func meant(word string, valid []string) string {
	if n := nearest(word, valid); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	if len(valid) == 0 {
		return ""
	}
	return "valid here: " + strings.Join(valid, ", ")
}

// duration reads "90s", "5m", "1h30m", "21d".
func duration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if days, err := strconv.ParseFloat(n, 64); err == nil && days >= 0 && days <= 36500 {
			return time.Duration(days * 24 * float64(time.Hour)), nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf(`is not a time such as "90s", "5m", "1h" or "21d"`)
	}
	return d, nil
}

// size reads "60GiB", "40GB", "512MiB" into bytes.
func size(s string) (float64, error) {
	m := regexp.MustCompile(`^\s*([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([A-Za-z]+)\s*$`).FindStringSubmatch(s)
	unit := map[string]float64{"mb": 1e6, "gb": 1e9, "tb": 1e12, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
	if m == nil || unit[strings.ToLower(m[2])] == 0 {
		return 0, fmt.Errorf(`is not a size such as "60GiB" or "40GB"`)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("must be more than nothing")
	}
	return n * unit[strings.ToLower(m[2])], nil
}

// mebibytes rounds up: what is asked for is a least.
func mebibytes(bytes float64) int { return int(math.Ceil(bytes / (1 << 20))) }

// gigabytes is for disks. Clouds call GiB what vendors call GB: both mean the flavor's own number.
func gigabytes(bytes float64, text string) int {
	unit := float64(1e9)
	if strings.Contains(strings.ToLower(text), "ib") {
		unit = 1 << 30
	}
	return int(math.Ceil(bytes / unit))
}

// openRule reads "443/tcp from any", "8000-8100/tcp from 10.0.0.0/8", "icmp from any".
func openRule(s string) (provision.OpenRule, error) {
	var r provision.OpenRule
	w := strings.Fields(s)
	if len(w) != 3 || w[1] != "from" {
		return r, fmt.Errorf(`is not of the form "443/tcp from any"`)
	}
	ports, proto, ok := strings.Cut(w[0], "/")
	if !ok && w[0] == "icmp" {
		ports, proto, ok = "", "icmp", true
	}
	r.Protocol = proto
	switch {
	case !ok || proto != "tcp" && proto != "udp" && proto != "icmp":
		return r, fmt.Errorf(`needs a protocol: "443/tcp from any"; there are tcp, udp and icmp`)
	case proto == "icmp" && ports != "":
		return r, fmt.Errorf(`gives icmp a port; write "icmp from any"`)
	case proto != "icmp":
		from, to, isRange := strings.Cut(ports, "-")
		if !isRange {
			to = from
		}
		var err error
		if r.Port, err = port(from); err != nil {
			return r, err
		}
		if r.PortMax, err = port(to); err != nil {
			return r, err
		}
		if r.Port > r.PortMax {
			return r, fmt.Errorf("has a range of ports that goes backwards")
		}
	}
	r.From = w[2]
	if r.From != "any" && r.From != "me" && r.From != "balancers" && !addressOrCIDR(r.From) {
		return r, fmt.Errorf(`must come from any, from me, from balancers, from an address or from a network such as 10.0.0.0/8`)
	}
	return r, nil
}

func port(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 65535 {
		return 0, fmt.Errorf("has a port that is not from 1 to 65535")
	}
	return n, nil
}

func addressOrCIDR(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	p, err := netip.ParsePrefix(s)
	return err == nil && p == p.Masked()
}

// dnsName accepts names as they are in zones: letters, digits, hyphens, a leading * or _.
func dnsName(s string) bool {
	if len(s) > 253 || s == "" {
		return false
	}
	for i, l := range strings.Split(s, ".") {
		if i == 0 && l == "*" {
			continue
		}
		if len(l) > 63 || !regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?$`).MatchString(l) {
			return false
		}
	}
	return true
}

// hostPort accepts host, host:port, an address, [v6]:port.
func hostPort(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	h, p, err := net.SplitHostPort(s)
	if err != nil {
		return dnsName(strings.TrimSuffix(s, "."))
	}
	if _, err := port(p); err != nil {
		return false
	}
	_, err = netip.ParseAddr(h)
	return err == nil || dnsName(strings.TrimSuffix(h, "."))
}

// word accepts what may become part of names of servers, tags and paths.
func word(s string) bool {
	return len(s) <= 63 && regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`).MatchString(s)
}
