package templates

import (
	"bytes"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
)

//go:embed files
var files embed.FS

// Input is all that a template may know. No secret is ever part of it.
type Input struct {
	Service, Region, Server, Hostname string

	Certificate     string // name in the plan, or ""
	CertificatePath string // where it will be put: a file or a folder; empty: CertificatePath(Certificate, false)
	// CertificateShared says that others than root are to reach it: its folder may then be passed through.
	CertificateShared bool
	Health            string // path of the ready URL
	Port              int    // of the ready URL; 0: 443
	LoginUser         string
	Vars              map[string]string
}

// CertificatePath is where a certificate lands on a server: in memory, or on a disk that outlives a reboot.
func CertificatePath(name string, persist bool) string {
	dir := "/run/failover/tls"
	if persist {
		dir = "/etc/failover/tls"
	}
	return path.Join(dir, name+".pem")
}

// view is what the built-in templates see: an Input whose variables have been checked and taken apart.
type view struct {
	Input
	Template         string
	Proxy            bool
	CertificateDir   string
	CertificateInRun bool
	// CertificateDirMode lets others pass through the folder, not list it; the files' own modes guard what is in them.
	CertificateDirMode string

	Setup, Command, ServiceUser string
	Packages                    []string

	Upstreams           []string
	UpstreamCheck       string
	PerIP, PerIPHard    int
	ReqRate, MaxConn    int
	HTTPPort, HTTPSPort int
}

// Render gives the user-data of a built-in template: cloud-config that has been parsed once.
func Render(name string, in Input) ([]byte, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("there is no built-in template %q; there are %s", name, strings.Join(Names(), " and "))
	}
	v, err := newView(name, in)
	if err != nil {
		return nil, err
	}
	t := template.New(name)
	t.Option("missingkey=error").Funcs(funcs(t))
	for _, f := range []string{"common", "proxy"} {
		b, err := files.ReadFile("files/" + f + ".tmpl")
		if err != nil {
			return nil, err
		}
		if _, err := t.New(f).Parse(string(b)); err != nil {
			return nil, err
		}
	}
	b, err := files.ReadFile("files/" + name + ".tmpl")
	if err != nil {
		return nil, err
	}
	if _, err := t.Parse(string(b)); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, v); err != nil {
		return nil, fmt.Errorf("template %s: %w", name, err)
	}
	if err := checkCloudConfig(out.Bytes()); err != nil {
		return nil, fmt.Errorf("template %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// RenderFile gives the user-data of a template of the user's own. It may use every field of Input, and
// the functions b64, quote, indent, lower, upper, trim, split and join. A variable that the plan does not
// give is an error.
func RenderFile(name string, src []byte, in Input) ([]byte, error) {
	in = in.withDefaults()
	t := template.New(name)
	if _, err := t.Option("missingkey=error").Funcs(funcs(t)).Parse(string(src)); err != nil {
		return nil, fmt.Errorf("template %s does not parse: %w", name, err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, in); err != nil {
		return nil, fmt.Errorf("template %s: %w", name, err)
	}
	return out.Bytes(), nil
}

func (in Input) withDefaults() Input {
	if in.CertificatePath == "" && in.Certificate != "" {
		in.CertificatePath = CertificatePath(in.Certificate, false)
	}
	if in.Port == 0 {
		in.Port = 443
	}
	in.Vars = maps.Clone(in.Vars)
	if in.Vars == nil {
		in.Vars = map[string]string{}
	}
	return in
}

func funcs(t *template.Template) template.FuncMap {
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			var b bytes.Buffer
			err := t.ExecuteTemplate(&b, name, data)
			return strings.Trim(b.String(), "\n"), err
		},
		"indent": func(n int, s string) string {
			lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
			for i, l := range lines {
				if l != "" {
					lines[i] = strings.Repeat(" ", n) + l
				}
			}
			return strings.Join(lines, "\n")
		},
		"b64": func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		// A JSON string is a YAML string too.
		"quote": func(s string) (string, error) {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			err := e.Encode(s)
			return strings.TrimSuffix(b.String(), "\n"), err
		},
		"lower": strings.ToLower,
		"upper": strings.ToUpper,
		"trim":  strings.TrimSpace,
		"split": func(sep, s string) []string { return strings.Split(s, sep) },
		"join":  func(sep string, l []string) string { return strings.Join(l, sep) },
	}
}

func newView(name string, in Input) (view, error) {
	if err := checkNames(name, in.Vars); err != nil {
		return view{}, err
	}
	_, ownHealth := in.Vars["health"]
	in = in.withDefaults()
	v := view{Input: in, Template: name, Proxy: name == "tls-proxy"}
	bad := func(n, what string, a ...any) error {
		return &VarError{Template: name, Name: n, What: fmt.Sprintf(what, a...)}
	}
	if v.Proxy && v.CertificatePath == "" {
		return v, fmt.Errorf("template %s needs a certificate: give the server certificate = certificate.NAME", name)
	}
	if v.CertificatePath != "" {
		if !plainPath(v.CertificatePath) {
			return v, fmt.Errorf("the certificate's path %q may hold letters, digits and / . _ - only", v.CertificatePath)
		}
		v.CertificateInRun = strings.HasPrefix(v.CertificatePath, "/run/failover/")
		if v.CertificateInRun || strings.HasPrefix(v.CertificatePath, "/etc/failover/") {
			v.CertificateDir = path.Dir(v.CertificatePath) // another folder is not ours to give a mode
		}
		v.CertificateDirMode = "0700"
		if v.CertificateShared {
			v.CertificateDirMode = "0711"
		}
	}
	for _, w := range []string{in.Service, in.Region, in.Server} {
		if !plainPath("/" + w) {
			return v, fmt.Errorf("the name %q may hold letters, digits and . _ - only", w)
		}
	}
	vars := in.Vars
	if s := vars["setup"]; s != "" {
		if !strings.HasPrefix(s, "#!") {
			return v, bad("setup", "must begin with a #! line, such as #!/bin/sh")
		}
		v.Setup = s
	}
	if s := strings.TrimSpace(vars["service"]); s != "" {
		v.Command = command(s)
	}
	v.ServiceUser = vars["service_user"]
	if !regexp.MustCompile(`^([a-z_][a-z0-9_-]{0,30})?$`).MatchString(v.ServiceUser) {
		return v, bad("service_user", "is not a user name")
	}
	if v.ServiceUser == "root" {
		v.ServiceUser = ""
	}
	v.Packages = words(vars["packages"])
	for _, p := range v.Packages {
		if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+:_=~-]*$`).MatchString(p) {
			return v, bad("packages", "has a word that is not a package name")
		}
	}
	if !v.Proxy {
		return v, nil
	}
	v.Upstreams = words(vars["upstream"])
	for _, u := range v.Upstreams {
		h, p, err := net.SplitHostPort(u)
		if n, e := strconv.Atoi(p); err != nil || e != nil || n < 1 || n > 65535 || !regexp.MustCompile(`^[A-Za-z0-9._:-]+$`).MatchString(h) {
			return v, bad("upstream", "must be host:port, several by comma")
		}
	}
	v.UpstreamCheck = vars["upstream_check"]
	switch {
	case ownHealth:
		v.Health = vars["health"]
	case v.Health == "" || v.Health == "/" && len(v.Upstreams) > 0:
		// Answering "/" ourselves would hide the service's front page from its users.
		v.Health = map[bool]string{true: "/health", false: ""}[v.Health == ""]
	}
	for n, p := range map[string]string{"health": v.Health, "upstream_check": v.UpstreamCheck} {
		if p != "" && !regexp.MustCompile(`^/[A-Za-z0-9._~/%?&=+:@,-]*$`).MatchString(p) {
			return v, bad(n, "must be a path that begins with /, without spaces")
		}
	}
	v.Health, _, _ = strings.Cut(v.Health, "?")
	if v.UpstreamCheck != "" && len(v.Upstreams) == 0 {
		return v, bad("upstream_check", "needs upstream")
	}
	for _, n := range []struct {
		name          string
		into          *int
		def, min, max int
	}{
		{"per_ip", &v.PerIP, 50, 1, 1_000_000},
		{"req_rate", &v.ReqRate, 200, 1, 10_000_000},
		{"maxconn", &v.MaxConn, 20000, 10, 90_000},
		{"https_port", &v.HTTPSPort, in.Port, 1, 65535},
		{"http_port", &v.HTTPPort, 80, 1, 65535},
	} {
		*n.into = n.def
		if s, ok := vars[n.name]; ok {
			i, err := strconv.Atoi(strings.TrimSpace(s))
			if err != nil || i < n.min || i > n.max {
				return v, bad(n.name, "must be a whole number from %d to %d", n.min, n.max)
			}
			*n.into = i
		}
	}
	if v.HTTPPort == v.HTTPSPort {
		return v, bad("http_port", "is the same as https_port")
	}
	v.PerIPHard = 4 * v.PerIP
	return v, nil
}

func plainPath(p string) bool {
	return regexp.MustCompile(`^/[A-Za-z0-9._/-]*$`).MatchString(p)
}

// words takes a list apart at commas and white space.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}

// command makes a script of a command line. A single command replaces the shell, so that signals and the
// kernel's verdict reach the service itself.
func command(s string) string {
	first, _, _ := strings.Cut(s, " ")
	if !strings.ContainsAny(s, ";&|<>\n(){}`") && !strings.Contains(first, "=") && first != "exec" && first != "cd" {
		s = "exec " + s
	}
	return "#!/bin/sh\n" + s + "\n"
}
