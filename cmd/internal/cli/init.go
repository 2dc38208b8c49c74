package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/templates"
)

// newInit is `failover init`.
func newInit(app *App) *cobra.Command {
	var service, cloud string
	var balancer bool
	cmd := &cobra.Command{
		Use: "init [FILE]", Short: "Write a commented plan to begin with", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path := "failover.hcl"
			if len(args) == 1 {
				path = args[0]
			}
			if !slices.Contains(sandboxKinds(), cloud) {
				return usage("failover init --cloud openstack, --cloud rackspace, or --cloud flex", "there is no plan for a cloud %q", cloud)
			}
			if balancer && cloud == string(sandboxFlex) {
				return usage("failover init --load-balancer, and the cloud block of failover init --cloud flex", "there is no plan for both")
			}
			if service == "" {
				service = serviceName()
			}
			plan := templates.Starter(cloud, service)
			if balancer {
				plan = templates.BalancerStarter(cloud, service)
			}
			switch err := writeNew(path, plan, 0o644); {
			case errors.Is(err, fs.ErrExist):
				return usage("failover init OTHER.hcl, or move it away first", "%s exists already; it was not touched", path)
			case err != nil:
				return usage("failover init FILE, where it can be written", "%v", err)
			}
			_, _ = fmt.Fprintf(app.Out, "wrote %s\nnext: edit it, then\n  failover validate\n  failover seal edge --cert fullchain.pem --key key.pem -r age1... -o secrets.age\n  failover --region REGION --dry-run\n", path)
			return nil
		},
	}
	cmd.Flags().StringVar(&service, "service", "", "name of the service (default: the folder's name)")
	cmd.Flags().StringVar(&cloud, "cloud", string(sandboxOpenStack), "what the plan is for: openstack, rackspace (its first cloud), or flex (its OpenStack Flex)")
	_ = cmd.RegisterFlagCompletionFunc("cloud", cobra.FixedCompletions(sandboxKinds(), cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().BoolVar(&balancer, "load-balancer", false, "a plan whose TLS ends on a load balancer, so that no server has the key")
	return cmd
}

// serviceName makes a name of the folder's: lower case letters, digits and dashes.
func serviceName() string {
	wd, err := os.Getwd()
	if err != nil {
		return "myservice"
	}
	name := strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, filepath.Base(wd)), "-")
	if name == "" {
		return "myservice"
	}
	return name
}
