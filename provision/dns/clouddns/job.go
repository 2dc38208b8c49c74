package clouddns

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dripstat/failover/provision"
	"github.com/gophercloud/gophercloud/v2"
)

// fault is the flat form of every error: of an answer, and of a job that ended in ERROR.
type fault struct {
	Message    string `json:"message"`
	Code       int    `json:"code"`
	Details    string `json:"details"`
	Validation struct {
		Messages []string `json:"messages"`
	} `json:"validationErrors"`
	Failed struct {
		Faults []fault `json:"faults"`
	} `json:"failedItems"`
}

func (f fault) text() string {
	parts := f.Validation.Messages
	for _, p := range []string{f.Message, f.Details} {
		if p != "" {
			parts = append(parts, strings.TrimSuffix(p, "."))
		}
	}
	for _, x := range f.Failed.Faults {
		parts = append(parts, x.text())
	}
	text := strings.Join(strings.Fields(strings.Join(parts, ": ")), " ")
	if len(text) > 300 {
		text = text[:300]
	}
	return text
}

// answer is what a change is answered with, and what asking for its job gives.
type answer struct {
	JobID  string `json:"jobId"`
	Status string `json:"status"`
	Error  *fault `json:"error"`
}

// job sends a change and waits until its job has ended. The status of HTTP says nothing of that: an ERROR is a 200. The
// callback's host is the public one, so the job is asked for below the endpoint of the catalog.
// https://docs.rackspace.com/docs/cloud-dns/v1/general-api-info/synchronous-and-asynchronous-responses
func (z *Zone) job(ctx context.Context, method, what, u string, body any) error {
	o := &gophercloud.RequestOpts{OkCodes: []int{200, 202, 204}, KeepResponseBody: true}
	if body != nil {
		o.JSONBody = body
	}
	resp, err := z.sc.Request(ctx, method, u, o)
	if err != nil {
		return z.explain(false, what, err)
	}
	defer resp.Body.Close()
	var a answer
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || a.JobID == "" {
		return &provision.Error{Thing: "domain " + z.name, What: what + ": Cloud DNS took it, and did not say as which job", Class: provision.Unknown}
	}
	status := z.sc.ServiceURL("status", url.PathEscape(a.JobID)) + "?showDetails=true"
	for wait := pollFirst; ; wait = min(wait*2, pollMost) {
		switch a.Status {
		case "COMPLETED":
			return nil
		case "ERROR":
			if a.Error != nil { // else the first answer said so, and the details have to be asked for
				return z.failed(what, *a.Error)
			}
			wait = 0
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return &provision.Error{Thing: "domain " + z.name, What: what + ": its job " + a.JobID + " is " + strings.ToLower(a.Status), Err: ctx.Err(), Class: provision.Unknown}
		}
		var next answer
		err := z.get(ctx, "ask for job "+a.JobID, status, &next)
		if err != nil && provision.ClassOf(err) == provision.Final {
			e := provision.AsError("", err)
			e.Class = provision.Unknown // the change may be done all the same
			return e
		}
		if err == nil {
			if next.Status == "ERROR" && next.Error == nil {
				next.Error = &fault{Message: "the job says nothing more"}
			}
			a.Status, a.Error = next.Status, next.Error
		}
	}
}

// Busy looks for jobs that change records of the name and have not ended. The service keeps its jobs for a day.
// https://docs.rackspace.com/docs/cloud-dns/v1/general-api-info/synchronous-and-asynchronous-responses: GET /status with
// showRunning; the sample's status is 202, the text's 200. Where it may not be asked, nothing is known of jobs, and nobody waits.
func (z *Zone) Busy(ctx context.Context, name, _ string) (string, error) {
	own, err := z.domain(ctx)
	if err != nil {
		return "", err
	}
	for offset := 0; ; offset += pageSize {
		var page struct {
			Jobs []struct {
				answer
				URL     string `json:"requestUrl"`
				Request string `json:"request"`
			} `json:"asyncResponses"`
		}
		q := url.Values{"showRunning": {"true"}, "showErrors": {"false"}, "showCompleted": {"false"}, "showDetails": {"true"},
			"limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(offset)}}
		if err := z.get(ctx, "look for jobs of "+z.name, z.sc.ServiceURL("status")+"?"+q.Encode(), &page); err != nil {
			if provision.ClassOf(err) == provision.Final {
				return "", nil
			}
			return "", err
		}
		for _, j := range page.Jobs {
			other := j.URL != "" && !strings.Contains(j.URL, "/domains/"+string(own.ID)+"/records")
			elsewhere := j.Request != "" && !strings.Contains(strings.ToLower(j.Request), strings.ToLower(strings.TrimSuffix(name, "."))) // deletions name ids alone
			if j.Status != "COMPLETED" && j.Status != "ERROR" && !other && !elsewhere {
				return "Cloud DNS is at an earlier change, job " + j.JobID, nil
			}
		}
		if len(page.Jobs) < pageSize {
			return "", nil
		}
	}
}

// failed is the error of a job that ended in ERROR. One that the service blames on itself may pass: it is over, and what it has done of
// its change is read before the next attempt.
func (z *Zone) failed(what string, f fault) error {
	e := &provision.Error{Thing: "domain " + z.name, What: what + ": the job ended in ERROR", Said: "Cloud DNS: " + f.text(), Class: provision.Final}
	if f.Code >= 500 {
		e.Class = provision.Transient
	}
	return e
}

func (z *Zone) get(ctx context.Context, what, u string, out any) error {
	for try := 1; ; try++ {
		resp, err := z.sc.Request(ctx, http.MethodGet, u, &gophercloud.RequestOpts{OkCodes: []int{200, 202, 203}, KeepResponseBody: true})
		if err != nil {
			return z.explain(true, what, err)
		}
		err = json.NewDecoder(resp.Body).Decode(out)
		resp.Body.Close()
		if err == nil {
			return nil
		}
		// Cloud DNS has been seen to answer 2xx with nothing in it:
		// https://github.com/pycontribs/pyrax/blob/master/pyrax/clouddns.py (_retry_get)
		if try == emptyMost {
			return &provision.Error{Thing: "domain " + z.name, What: what + ": the answer of Cloud DNS is empty or cannot be read", Class: provision.Transient}
		}
	}
}

// explain makes a *provision.Error. The transport below has read the wait of a 413 already, under either of its names;
// one without a wait is the account's limit, and asking again would not help.
func (z *Zone) explain(read bool, what string, err error) error {
	e := &provision.Error{Thing: "domain " + z.name, What: what, Class: provision.Unknown}
	if read {
		e.Class = provision.Transient
	}
	var u gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &u) {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		e.Err = err
		return e
	}
	var f fault
	if json.Unmarshal(u.Body, &f) == nil {
		if said := f.text(); said != "" {
			e.Said = "Cloud DNS: " + said
		}
	}
	switch u.Actual {
	case 400, 404:
		e.Class = provision.Final
	case 401, 403:
		e.What, e.Class = what+": this user may not", provision.Final
	case 409:
		e.What, e.Class = what+": it exists already", provision.Final
	case 413, 429:
		e.What, e.Class = what+": over a limit", provision.Final
		if at := wait(u.ResponseHeader, time.Now()); at >= 0 {
			e.Class, e.After = provision.Transient, at
		}
	case 503:
		e.Class = provision.Transient
	}
	return e
}

// wait reads Retry-After, which this service's documents call Reply-After: seconds, a date of HTTP, or one of ISO 8601. Less than
// nothing says that neither is there.
func wait(h http.Header, now time.Time) time.Duration {
	for _, name := range []string{"Retry-After", "Reply-After"} {
		v := h.Get(name)
		if v == "" {
			continue
		}
		if d, err := time.ParseDuration(v + "s"); err == nil {
			return max(d, 0)
		}
		for _, form := range []string{http.TimeFormat, time.RFC3339} {
			if at, err := time.Parse(form, v); err == nil {
				return max(at.Sub(now), 0)
			}
		}
		return 0
	}
	return -1
}
