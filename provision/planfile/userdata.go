package planfile

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/templates"
)

// userData renders once what will be written onto the server, so that a mistake is found now and not by a
// machine that boots and does nothing.
func (d *decoder) userData(x *block, s *provision.Server, p provision.Plan) {
	vars, unset := x.texted("vars")
	s.Vars = vars
	if s.Template != "" && s.UserData != "" && x.has("template") && x.has("user_data") {
		x.wrong("user_data", "keep one of them", "is given beside template")
		return
	}
	if s.UserData != "" {
		if x.has("vars") {
			x.wrong("vars", "use template = PATH instead of user_data", "has nothing to go into: user_data is sent as it is")
		}
		if _, err := templates.Pack([]byte(s.UserData), 0); err != nil && s.UserData != Placeholder {
			if x.marked["user_data"] { // the error may quote it
				err = errors.New("cloud-init would not understand it, or it is too large")
			}
			x.wrong("user_data", "", "will not do: %v", err)
		}
		return
	}
	if s.Template == Placeholder {
		return
	}
	if s.Template == "" {
		if x.has("vars") {
			x.wrong("vars", `template = "tls-proxy", "plain", or a file of yours`, "has no template to go into")
		}
		return
	}
	in := Input(*s, p, "")
	in.Vars = map[string]string{}
	for k, v := range vars {
		if !unset[k] {
			in.Vars[k] = v
		}
	}
	var out []byte
	var err error
	if slices.Contains(templates.Names(), s.Template) {
		out, err = templates.Render(s.Template, in)
	} else {
		src, ferr := d.readFile(s.Template, x.marked["template"])
		if ferr != nil {
			var ce *callError
			_ = errors.As(ferr, &ce)
			hint := "built-in templates are tls-proxy and plain; anything else is a file beside the plan"
			if n := nearest(s.Template, templates.Names()); n != "" {
				hint = fmt.Sprintf("did you mean %q?", n)
			}
			d.add(x.where("template"), fmt.Sprintf("there is no template %s", x.show("template", s.Template)), ce.what, hint)
			return
		}
		s.TemplateText = string(src)
		for k := range unset {
			in.Vars[k] = Placeholder
		}
		out, err = templates.RenderFile(s.Template, src, in)
	}
	if err == nil && len(unset) == 0 {
		_, err = templates.Pack(out, 0)
	}
	var unknown *templates.UnknownVarError
	var bad *templates.VarError
	switch {
	case err == nil:
	case errors.As(err, &unknown):
		d.errorf(x.keyRange("vars", unknown.Name), meant(unknown.Name, unknown.Valid), "template %s has no variable %q", unknown.Template, unknown.Name)
	case errors.As(err, &bad):
		d.errorf(x.keyRange("vars", bad.Name), "", "%v", err)
	default:
		d.errorf(x.where("template"), "", "the template of %s does not work: %v", x.what, err)
	}
}

// UserData gives what is written onto the servers of a block in one region, checked against max bytes (0:
// what nova takes) as it is sent: packed where that helps. It is given unpacked, for a step holds text.
// s is the block as it is there: Plan.For applies overrides.
func UserData(p provision.Plan, s provision.Server, region string, max int) ([]byte, error) {
	var out []byte
	var err error
	switch {
	case s.UserData != "":
		out = []byte(s.UserData)
	case s.Template == "": // for the host keys, early on the console
		out, err = templates.Render("plain", Input(s, p, region))
	case slices.Contains(templates.Names(), s.Template):
		out, err = templates.Render(s.Template, Input(s, p, region))
	default:
		out, err = templates.RenderFile(s.Template, []byte(s.TemplateText), Input(s, p, region))
	}
	if err != nil {
		return nil, err
	}
	if _, err := templates.Pack(out, max); err != nil {
		return nil, err
	}
	return out, nil
}

// Input is what a server's template is rendered with, in one region.
func Input(s provision.Server, p provision.Plan, region string) templates.Input {
	if region == "" {
		region = p.Home
		if len(p.Regions) > 0 {
			region = p.Regions[0]
		}
		if !word(region) {
			region = "REGION"
		}
	}
	in := templates.Input{Service: p.Service, Region: region, Server: s.Name, Hostname: s.Name + "-1", LoginUser: s.SSH.User, Vars: s.Vars}
	if !word(in.Service) {
		in.Service = "service"
	}
	if c, ok := p.Certificate(s.Certificate); ok {
		end := s.Delivery(c)
		in.Certificate, in.CertificatePath, in.CertificateShared = c.Name, end.Path, !end.Private()
	}
	if s.Ready != nil {
		if u, err := url.Parse(s.Ready.URL); err == nil {
			in.Health, in.Port = u.Path, readyPort(s.Ready)
		}
	}
	return in
}
