package cli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/planfile"
)

// newValidate is `failover validate`: offline, without credentials.
func newValidate(app *App) *cobra.Command {
	var s shared
	cmd := &cobra.Command{
		Use: "validate [PLAN]", Short: "Check a plan, offline and without credentials", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				s.plan = args[0]
			}
			plan, err := app.load(s, true)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(app.Out, "%s is a valid plan: %s\n", planName(plan), describePlan(plan))
			return nil
		},
	}
	s.addPlan(cmd)
	return cmd
}

func describePlan(p provision.Plan) string {
	var servers []string
	for _, s := range p.Servers {
		servers = append(servers, fmt.Sprintf("%d %s", s.Count, s.Name))
	}
	var records []string
	for _, z := range p.Zones {
		for _, r := range z.Records {
			records = append(records, strings.TrimSuffix(z.FQDN(r), ".")+" "+r.Type)
		}
	}
	out := "service " + p.Service
	if len(servers) > 0 {
		out += "; servers: " + strings.Join(servers, ", ")
	}
	if len(records) > 0 {
		out += "; moves " + strings.Join(records, ", ")
	}
	return out
}

func (o *runOptions) completeRegion(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	out := []string{"any\tthe first of the plan's regions that passes preflight"}
	path, err := planPath(o.shared.plan)
	if err == nil {
		regions, _ := planfile.Names(path)
		out = append(regions, out...)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// planFiles gives the HCL files that a path means.
func planFiles(path string) ([]string, error) {
	if strings.HasSuffix(path, ".hcl") {
		return []string{path}, nil
	}
	files, err := filepath.Glob(filepath.Join(path, "*.hcl"))
	if err == nil && len(files) == 0 {
		err = usage("name a .hcl file or a folder that has some", "%s holds no *.hcl", path)
	}
	return files, err
}
