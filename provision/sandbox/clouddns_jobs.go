package sandbox

import (
	"strings"
	"time"
)

// dnsJob is a change that was accepted: 202 at once, done later.
type dnsJob struct {
	id, verb, url, request string
	ends                   time.Time
	do                     func(now time.Time) (response any, fail *dnsFail)
	done                   bool
	response               any
	fail                   *dnsFail
}

// dnsFail is what an ERROR job says.
type dnsFail struct {
	Message string `json:"message"`
	Code    int    `json:"code"`
	Details string `json:"details,omitempty"`
	Items   any    `json:"failedItems,omitempty"` // of a deletion
}

// undeleted is the end of a deletion of which a part was not done: whatever became of each, all of it is the service's own fault.
// https://docs.rackspace.com/docs/cloud-dns/v1/general-api-info/faults (deleteFault)
func undeleted(z *zone, record string) *dnsFail {
	return &dnsFail{Message: "One or more items could not be deleted.", Code: 500, Details: "See errors list for details.",
		Items: obj{"faults": []obj{{"message": "Object not Found.", "code": 404, "details": "Domain ID: " + z.id + "; Record ID: " + record}}}}
}

// work ends the jobs that are due.
func (z *zone) work(now time.Time) {
	for _, j := range z.jobs {
		if !j.done && !now.Before(j.ends) {
			j.done = true
			if j.fail == nil {
				j.response, j.fail = j.do(j.ends)
			}
		}
	}
}

// accept makes a job of a change and answers with it.
func (k *call) accept(z *zone, do func(now time.Time) (any, *dnsFail)) (int, any) {
	j := &dnsJob{id: uuid(), verb: k.Method, url: k.self(k.URL.RequestURI()), request: string(k.body), ends: k.now.Add(k.c.opts.DNSDelay / 2), do: do}
	if f := k.c.faults["dns-job-slow"]; f != nil {
		j.ends = k.now.Add(f.d)
	}
	if k.c.take("dns-job-error") {
		j.fail = &dnsFail{Message: "Internal error", Code: 500, Details: "simulated"}
	}
	if k.c.first().Quick { // as of release 1.0.35 a job may be over in the very first answer
		j.ends = k.now
	}
	z.jobs = append(z.jobs, j)
	z.settle(k.now)
	return 202, k.jobView(j, false)
}

func (k *call) jobView(j *dnsJob, details bool) obj {
	// The host of a callback is the public one, whoever asked: clients that go by it do not arrive.
	v := obj{"jobId": j.id, "callbackUrl": "http://dns.api.rackspacecloud.com/v1.0/" + k.c.account + "/status/" + j.id + "?showDetails=true", "status": "RUNNING",
		"requestUrl": j.url, "verb": j.verb}
	if details {
		v["request"] = j.request
	}
	switch {
	case !j.done:
	case j.fail != nil:
		v["status"] = "ERROR"
		if details {
			v["error"] = j.fail
		}
	default:
		v["status"] = "COMPLETED"
		if details && j.response != nil {
			v["response"] = j.response
		}
	}
	return v
}

func jobShow(k *call) (int, any) {
	for _, z := range k.c.zones {
		z.settle(k.now)
		for _, j := range z.jobs {
			if j.id != k.vars["job"] {
				continue
			}
			status := 202
			if j.done {
				status = 200
			}
			return status, k.jobView(j, strings.EqualFold(k.URL.Query().Get("showDetails"), "true")) // libcloud writes it as Python does
		}
	}
	return k.err(404, "Job %s does not exist", k.vars["job"])
}

// jobList takes all for wanted where nothing is said. Its status is the one of the sample in the documents, or that of their text.
func jobList(k *call) (int, any) {
	q := k.URL.Query()
	show := func(name string) bool { return !strings.EqualFold(q.Get(name), "false") }
	all := []obj{}
	for _, z := range k.c.zoneList() {
		z.settle(k.now)
		for _, j := range z.jobs {
			if !j.done && show("showRunning") || j.done && (j.fail == nil && show("showCompleted") || j.fail != nil && show("showErrors")) {
				all = append(all, k.jobView(j, strings.EqualFold(q.Get("showDetails"), "true")))
			}
		}
	}
	status, out := pages(k, "asyncResponses", all)
	if status == 200 && !k.c.first().Old {
		status = 202
	}
	return status, out
}
