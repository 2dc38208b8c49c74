package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

const long = `failover re-provisions a service in another region and moves its name there.

It reads a plan (failover.hcl), checks everything that can be checked, creates servers through
OpenStack, puts the TLS certificate on them over SSH, proves over real TLS that they serve, and only
then moves DNS. Every change is journaled before it is made: a run that stops can be resumed or undone.`

const examples = `  failover --region ORD --sandbox --yes     the whole job, here, with no account
  failover --region ORD --sandbox=rackspace the same on Rackspace's first cloud
  failover init                             write a plan to begin with
  failover --region ORD --dry-run           what would happen; changes nothing
  failover --region ORD                     the night itself
  failover --region any --yes               the first region of the plan that can take it`

// newRoot gives the command tree. Nothing is read, dialled or started before a command runs.
func newRoot(app *App) *cobra.Command {
	o := &runOptions{app: app}
	var tellVersion bool
	root := &cobra.Command{
		Use: "failover --region REGION", Short: "Re-provision a service in another region, with its certificate and its name",
		Long: long, Example: examples, Args: noCommand, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if tellVersion {
				return writeVersion(app.Out)
			}
			if o.region == "" && !cmd.Flags().Changed("region") {
				return usage("failover --region REGION, or failover --help", "which region to go to? --region is missing")
			}
			return o.run(cmd.Context())
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = false
	f := root.Flags()
	f.StringVar(&o.region, "region", "", "region to serve from; any: the first of the plan's regions that passes preflight")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would happen, and change nothing")
	o.shared.add(root)
	o.store.add(root)
	f.BoolVar(&o.yes, "yes", false, "go on without asking")
	f.StringVar(&o.me, "me", "", "the address that the cloud sees you come from, for rules that say \"from me\"")
	f.Var(&o.sandbox.kind, "sandbox", "run against a cloud of two regions inside this process; needs no account. openstack, or --sandbox=rackspace, --sandbox=flex")
	f.Lookup("sandbox").NoOptDefVal = string(sandboxOpenStack)
	f.StringArrayVar(&o.sandbox.faults, "fault", nil, "with --sandbox: practise a fault, e.g. no-valid-host, reply-lost, slow-boot=30s (failover sandbox --list-faults)")
	f.BoolVar(&tellVersion, "version", false, "the same as failover version")
	_ = root.RegisterFlagCompletionFunc("region", o.completeRegion)
	_ = root.RegisterFlagCompletionFunc("fault", completeFault)
	_ = root.RegisterFlagCompletionFunc("sandbox", cobra.FixedCompletions(sandboxKinds(), cobra.ShellCompDirectiveNoFileComp))
	_ = root.MarkFlagFilename("plan", "hcl", "json")

	group := func(title string, commands ...*cobra.Command) {
		root.AddGroup(&cobra.Group{ID: title, Title: title})
		for _, c := range commands {
			c.GroupID = title
		}
		root.AddCommand(commands...)
	}
	group("Before the night:", newInit(app), newValidate(app), newFmt(app), newSeal(app), newCheck(app), newSandbox(app))
	group("Once a run has begun:", newStatus(app), newRuns(app), newResume(app), newAbandon(app), newBack(app), newDeliver(app))
	group("Else:", newVersion(app), newReference(app, root))
	root.SetHelpCommandGroupID("Else:")
	root.SetCompletionCommandGroupID("Else:")
	return root
}

// noCommand says what was meant, perhaps, by a word that is no command: one that is spelled nearly so, or a region.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := fmt.Sprintf("failover --region %s, if that is a region; failover --help lists the commands", args[0])
	if cmd.SuggestionsMinimumDistance = 2; len(cmd.SuggestionsFor(args[0])) > 0 {
		hint = "failover " + cmd.SuggestionsFor(args[0])[0] + ", or failover --help"
	}
	return usage(hint, "unknown command %q", args[0])
}

// shared are the flags that every command that reads a plan has. json is false where a command has no events.
type shared struct {
	plan string
	vars []string
	json bool
}

func (s *shared) add(cmd *cobra.Command) {
	s.addPlan(cmd)
	cmd.Flags().BoolVar(&s.json, "json", false, "one JSON event a line on standard output")
}

func (s *shared) addPlan(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.plan, "plan", "", "plan file or folder (default: failover.hcl, or the *.hcl here)")
	f.StringArrayVar(&s.vars, "var", nil, "set a variable of the plan: --var per_ip=80")
}
