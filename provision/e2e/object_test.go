package e2e

// object is JSON.
type object map[string]any

func (o object) text(names ...string) string {
	v, _ := o.at(names...).(string)
	return v
}

func (o object) at(names ...string) any {
	var v any = map[string]any(o)
	for _, n := range names {
		m, _ := v.(map[string]any)
		v = m[n]
	}
	return v
}

func (o object) list(name string) []object {
	items, _ := o[name].([]any)
	var out []object
	for _, x := range items {
		if m, ok := x.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// entry is what the tests need of an entry of clouds.yaml.
type entry struct {
	Auth struct {
		URL           string `yaml:"auth_url"`
		Username      string `yaml:"username"`
		Password      string `yaml:"password"`
		Project       string `yaml:"project_name"`
		ProjectID     string `yaml:"project_id"`
		UserDomain    string `yaml:"user_domain_name"`
		ProjectDomain string `yaml:"project_domain_name"`
		AppID         string `yaml:"application_credential_id"`
		AppSecret     string `yaml:"application_credential_secret"`
	} `yaml:"auth"`
}
