package cli

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/dripstat/failover/cmd/internal/view"
	"github.com/dripstat/failover/provision"
	"github.com/dripstat/failover/provision/preflight"
	"github.com/dripstat/failover/secrets"
)

// checkOptions are those of `failover check`.
type checkOptions struct {
	app    *App
	shared shared
	region string
	me     string
	strict bool
}

// newCheck is `failover check`: preflight alone, for every region, and every place of every certificate.
func newCheck(app *App) *cobra.Command {
	o := &checkOptions{app: app}
	cmd := &cobra.Command{
		Use: "check", Short: "Say whether a run would begin tonight, in every region, and where the certificates are to be had", Args: cobra.NoArgs,
		Long: `Reads all that preflight reads, for every region of the plan, and tries every place that a certificate may
come from, not only the first that has it. It changes nothing; meant for CI, every night.

Exit code 0: a run would begin in every region. 3: in one at least it would be refused.`,
		Example: `  failover check
  failover check --region ORD --strict
  failover check --json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	o.shared.add(cmd)
	f := cmd.Flags()
	f.StringVar(&o.region, "region", "", "check this region alone")
	f.StringVar(&o.me, "me", "", "the address that the cloud sees you come from, for rules that say \"from me\"")
	f.BoolVar(&o.strict, "strict", false, "warnings, and places that do not have their certificate, are refusals too")
	_ = cmd.RegisterFlagCompletionFunc("region", (&runOptions{app: app}).completeRegion)
	_ = cmd.MarkFlagFilename("plan", "hcl", "json")
	return cmd
}

func (o *checkOptions) run(ctx context.Context) error {
	plan, err := o.app.load(o.shared, false)
	if err != nil {
		return err
	}
	plan.Operator = pick(o.me, plan.Operator)
	regions, err := o.regions(plan)
	if err != nil {
		return err
	}
	var report view.Check
	report.Service, report.Plan = plan.Service, planName(plan)
	tried := map[string][]secrets.Tried{}
	defer func() {
		for _, list := range tried {
			forget(list)
		}
	}()
	var unknown error
	for _, region := range regions {
		s, err := o.app.newSite(plan, region, o.app.box)
		if err != nil {
			return err
		}
		key := func(name string) string { return name + " " + regional(plan, name, region) }
		for _, c := range plan.Certificates {
			if _, ok := tried[key(c.Name)]; !ok {
				tried[key(c.Name)] = s.tryAll(ctx, c.Name)
				report.Places = append(report.Places, places(c, tried[key(c.Name)], regional(plan, c.Name, region), time.Now())...)
			}
		}
		src := s.sources()
		src.Certificate = func(_ context.Context, name string) (secrets.Got, error) { return secrets.Choose(tried[key(name)]) }
		facts, err := s.survey(ctx, src)
		s.close()
		var ee *exitError
		switch {
		case errors.As(err, &ee): // a region that the cloud does not know: the others are worth knowing of all the same
			unknown = err
			facts.Findings = []provision.Finding{{Weight: provision.Refuse, Check: "identity", Thing: "region " + region, What: err.Error()}}
		case err != nil:
			return err
		}
		report.Regions = append(report.Regions, verdict(region, facts))
	}
	if o.shared.json {
		o.tell(report)
	} else {
		view.WriteCheck(o.app.Out, o.app.look(o.app.Out), report)
	}
	switch {
	case unknown != nil:
		return unknown
	case report.Refused(o.strict):
		return &exitError{code: exitRefused, quiet: true, err: errors.New("preflight refused")}
	}
	return nil
}

// regions are all that a run may go to.
func (o *checkOptions) regions(plan provision.Plan) ([]string, error) {
	if o.region != "" && o.region != "any" {
		return []string{o.region}, nil
	}
	regions := slices.DeleteFunc(slices.Clone(plan.Regions), func(r string) bool { return r == plan.Home })
	if len(regions) == 0 {
		return nil, usage(`failover check --region REGION, or regions = ["ORD", "DFW"] in the plan`, "the plan names no region besides home")
	}
	return regions, nil
}

// regional gives the region for a certificate that has a place of its own in each, else "".
func regional(plan provision.Plan, certificate, region string) string {
	c, _ := plan.Certificate(certificate)
	for _, ref := range c.From {
		if st, _ := plan.SecretStore(ref.Store); st.Barbican != nil {
			return region
		}
	}
	return ""
}

// tryAll asks every place of a certificate, as patiently as a run would.
func (s *site) tryAll(ctx context.Context, name string) []secrets.Tried {
	rungs, err := s.ladder(name)
	if err != nil {
		return []secrets.Tried{{Err: err}}
	}
	out := make([]secrets.Tried, len(rungs))
	for i, r := range rungs {
		limit, cancel := context.WithTimeout(ctx, checkPlace)
		out[i] = r.Try(limit, i < len(rungs)-1)
		cancel()
	}
	return out
}

// checkPlace bounds one place of a check; preflight as a whole takes as long in a run.
const checkPlace = 20 * time.Second

func forget(list []secrets.Tried) {
	for _, t := range list {
		if t.Certificate != nil {
			t.Certificate.Key().Wipe()
		}
	}
}

// places says of each place whether a run would be content with it.
func places(c provision.Certificate, tried []secrets.Tried, region string, now time.Time) []provision.Place {
	var out []provision.Place
	first := ""
	for _, t := range tried {
		p := provision.Place{Certificate: c.Name, Source: "secrets." + t.Ref.Store, Region: region}
		if t.Err != nil {
			f := provision.Finding{Weight: provision.Refuse, Check: "certificate", Thing: "certificate." + c.Name, What: t.Err.Error(), Hint: secrets.HintOf(t.Err), Pos: c.Pos}
			if secrets.Elsewhere(t.Err) {
				f.Weight = provision.Warn
			}
			p.Findings = []provision.Finding{f}
			out = append(out, p)
			continue
		}
		p.Findings = preflight.CertificateFindings(c, t, now)
		p.Works = !slices.ContainsFunc(p.Findings, func(f provision.Finding) bool { return f.Weight == provision.Refuse })
		if t.Offer != nil {
			p.Issue = true
			out = append(out, p)
			continue
		}
		p.NotAfter, p.Fingerprint = &t.Certificate.Leaf.NotAfter, t.Certificate.Fingerprint()
		switch {
		case first == "":
			first = p.Fingerprint
		case first != p.Fingerprint:
			p.Findings = append(p.Findings, provision.Finding{Weight: provision.Noted, Check: "certificate", Thing: "certificate." + c.Name, Pos: c.Pos,
				What: p.Source + " has another certificate than the place before it"})
		}
		out = append(out, p)
	}
	return out
}

func verdict(region string, f provision.Facts) provision.Verdict {
	v := provision.Verdict{Region: region, Works: !f.Refused(), Checks: f.Checks, Findings: f.Findings, Sources: map[string]string{}}
	for name, c := range f.Certificates {
		v.Sources[name] = c.Source
	}
	return v
}

func (o *checkOptions) tell(c view.Check) {
	v, now := view.NewJSON(o.app.Out), time.Now().UTC()
	for i := range c.Places {
		v.Tell(provision.Event{V: provision.EventVersion, Time: now, Type: provision.PlaceTried, Place: &c.Places[i]})
	}
	for i := range c.Regions {
		v.Tell(provision.Event{V: provision.EventVersion, Time: now, Type: provision.RegionSeen, Verdict: &c.Regions[i]})
	}
}
