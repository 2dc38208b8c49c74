package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/provision/sandbox"
)

// newSandbox is `failover sandbox`: the same sandbox, alone, for other processes to speak to.
func newSandbox(app *App) *cobra.Command {
	var o struct {
		list               bool
		dir                string
		kind               sandboxKind
		faults             []string
		latency, boot, dns time.Duration
	}
	o.kind = sandboxOpenStack
	cmd := &cobra.Command{
		Use: "sandbox", Short: "Serve the sandbox until ^C, for other programs to speak to", Args: cobra.NoArgs,
		Long: "Serves two regions of OpenStack-shaped APIs and a name server on loopback until ^C, and writes clouds.yaml for them;\nwith --cloud rackspace those of Rackspace's first cloud, and a file of credentials; with --cloud flex those of its OpenStack Flex, and both files.\nServers there have no way in from other processes; failover --sandbox is the whole thing in one.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.list {
				for _, f := range sandbox.Faults() {
					_, _ = fmt.Fprintf(app.Out, "%-36s %s\n", f.Name, f.Help)
				}
				return nil
			}
			so := sandbox.Options{Latency: o.latency, Boot: o.boot, DNSDelay: o.dns,
				Zones: []sandbox.Zone{{Name: "dripstat.test.", Records: []sandbox.Record{{Name: "collector.dripstat.test.", Type: "A", TTL: 60, Values: []string{homeAddress}}}}}}
			if o.kind.shape(&so); o.kind != sandboxOpenStack {
				so.Zones[0].Records[0].TTL = 300 // Cloud DNS takes no less
			}
			for _, s := range o.faults {
				f, err := sandbox.ParseFault(s)
				if err != nil {
					return &exitError{code: exitUsage, err: err}
				}
				so.Faults = append(so.Faults, f)
			}
			return app.serveSandbox(cmd.Context(), so, o.dir)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.list, "list-faults", false, "list the faults that can be practised, and end")
	f.StringVar(&o.dir, "dir", ".", "folder for clouds.yaml, or rackspace_cloud_credentials")
	f.Var(&o.kind, "cloud", "which cloud: openstack, rackspace (its first cloud), or flex (its OpenStack Flex)")
	_ = cmd.RegisterFlagCompletionFunc("cloud", cobra.FixedCompletions(sandboxKinds(), cobra.ShellCompDirectiveNoFileComp))
	f.StringArrayVar(&o.faults, "fault", nil, "a fault to begin with")
	f.DurationVar(&o.latency, "latency", 0, "added to every API request")
	f.DurationVar(&o.boot, "boot", 2*time.Second, "from create to ACTIVE")
	f.DurationVar(&o.dns, "dns", 300*time.Millisecond, "from an accepted change to the name server's answer")
	return cmd
}

func (a *App) serveSandbox(parent context.Context, so sandbox.Options, dir string) error {
	c, err := sandbox.Start(parent, so)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the process ends
	var clouds []string
	leave := func(file string, text []byte, how string) error {
		path := filepath.Join(dir, file)
		clouds = append(clouds, how+path)
		if err := writeNew(path, text, 0o600); err != nil {
			return usage("remove it, where it is of a sandbox that was killed; or give another folder: --dir DIR", "%v", err)
		}
		return nil
	}
	if so.Rackspace == nil {
		if err := leave("clouds.yaml", c.CloudsYAML("sandbox", "main"), "sandbox, main in "); err != nil {
			return err
		}
		defer os.Remove(filepath.Join(dir, "clouds.yaml")) //nolint:errcheck // nothing is left behind
	}
	if so.Rackspace != nil || so.Flex {
		const file = "rackspace_cloud_credentials"
		if err := leave(file, fmt.Appendf(nil, "[rackspace_cloud]\nusername = %s\napi_key = %s\n", c.Username(), c.APIKey()), "export RS_AUTH_URL="+c.RackspaceURL()+" RAX_CREDS_FILE="); err != nil {
			return err
		}
		defer os.Remove(filepath.Join(dir, file)) //nolint:errcheck // nothing is left behind
	}
	key, algo, _ := c.TSIG()
	_, _ = fmt.Fprintf(a.Out, "name server  %s (zone dripstat.test; TSIG key %s, %s)\nclouds       %s\nregions      %s\n^C ends it\n",
		c.NameServer(), key, algo, strings.Join(clouds, "\n             "), strings.Join(c.Regions(), ", "))
	_, stop, release := a.signals(parent)
	defer release()
	<-stop
	return nil
}

func completeFault(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var out []string
	for _, f := range sandbox.Faults() {
		out = append(out, f.Name+"\t"+f.Help)
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
