package templates

import (
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// Var is a word that a built-in template understands.
type Var struct {
	Name     string
	Default  string // as shown to people
	Required bool
	Help     string // one line
}

// Names gives the built-in templates.
func Names() []string { return []string{"tls-proxy", "plain"} }

// Vars gives the variables of a built-in template, nil for any other.
func Vars(template string) []Var {
	own := []Var{
		{Name: "setup", Help: "text of a script that is run once, as root, on the first boot; it needs a #! line"},
		{Name: "service", Help: "a command line that systemd keeps running, whatever kills it"},
		{Name: "service_user", Default: "root", Help: "the user that service runs as; made where it does not exist"},
		{Name: "packages", Help: "packages to install first, by comma"},
	}
	switch template {
	case "plain":
		return own
	case "tls-proxy":
		return append([]Var{
			{Name: "upstream", Help: "host:port that requests go to, several by comma; without it only the health path is answered"},
			{Name: "upstream_check", Help: "path that each upstream is asked for; without it a TCP connection is proof enough"},
			{Name: "health", Default: "path of ready.https, or /health", Help: "path that the proxy itself answers: 200 while an upstream lives, else 503; \"\" passes it on"},
			{Name: "per_ip", Default: "50", Help: "connections at once for one client address; more get 429"},
			{Name: "req_rate", Default: "200", Help: "requests in 10 s for one client address; more get 429"},
			{Name: "maxconn", Default: "20000", Help: "connections at once for the whole server"},
			{Name: "https_port", Default: "443", Help: "port for TLS"},
			{Name: "http_port", Default: "80", Help: "port that only sends browsers to https"},
		}, own...)
	}
	return nil
}

// UnknownVarError says that a plan gives a variable that its template has not.
type UnknownVarError struct {
	Template, Name string
	Near           string // what was probably meant, or ""
	Valid          []string
}

// Error names the valid ones.
func (e *UnknownVarError) Error() string {
	s := fmt.Sprintf("template %s has no variable %q", e.Template, e.Name)
	if e.Near != "" {
		s += fmt.Sprintf("; did you mean %q?", e.Near)
	}
	return s + " It takes " + strings.Join(e.Valid, ", ")
}

// VarError says that the value of one variable is wrong. It does not hold the value.
type VarError struct{ Template, Name, What string }

// Error names the variable.
func (e *VarError) Error() string {
	return fmt.Sprintf("variable %q of template %s %s", e.Name, e.Template, e.What)
}

func checkNames(template string, vars map[string]string) error {
	var valid []string
	for _, v := range Vars(template) {
		valid = append(valid, v.Name)
	}
	given := make([]string, 0, len(vars))
	for n := range vars {
		given = append(given, n)
	}
	slices.Sort(given)
	for _, n := range given {
		if !slices.Contains(valid, n) {
			return &UnknownVarError{Template: template, Name: n, Near: nearest(n, valid), Valid: valid}
		}
	}
	return nil
}

// nearest gives what was probably meant by a word that is not among the valid ones.
func nearest(word string, valid []string) string {
	best, at := "", 3
	for _, v := range valid {
		if d := levenshtein.Distance(strings.ToLower(word), v, nil); d < at && d < len(v) {
			best, at = v, d
		}
	}
	return best
}
