package simulate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

var (
	seedFlag  = flag.Int64("seed", -1, "run this one seed and print what happens in it")
	seedsFlag = flag.Int("seeds", 200, "how many seeds to run; FAILOVER_SEEDS says it too")
	fromFlag  = flag.Uint64("from", 0, "the first of them")
)

// raced says that the race detector watches.
var raced bool

// found are seeds that failed once, and what was wrong. What a seed means changes with the dice: those up to 1859 were
// found before requests took a time of their own, the others up to 105233 before looks became rarer, and their bugs
// have tests where they were mended.
//
// Those of plans for Rackspace's cloud say so: all others were found before there were any.
var found = []struct {
	seed uint64
	what string
}{
	{3, "undoing removed servers while the name servers still gave their addresses"},
	{12, "a run whose undoing had ended was resumed by another operator"},
	{101, "an undoing was resumed after the run itself had been gone on with"},
	{287, "a run of which nothing was to be undone went on after that was said"},
	{542, "slow reads and one empty list made a second server, though the first one's id was known"},
	{1105, "a create waited behind a rate limit and left after the lease had expired"},
	{1274, "a request left in the second in which the lease expired"},
	{1859, "a restored name looked finished while its move was still on the way to the name servers"},
	{6513, "undoing took the id of a failed attempt for that of the next, whose answer was lost"},
	{7129, "a process died while it cleared a failed attempt away; the next one forgot to, and undoing took the wrong id"},
	{10038483, "a process that had shared what it knew took away the mark of what another of its machine had not"},
	{10108735, "a process without its lease said that what it had made was cleared away, after its successor had made it anew"},
	{50040930, "a create that nobody knew the answer of was sent again after two empty lists with a read between them that hung"},
	{50075542, "the same after lists that lagged, a read that hung and one empty list"},
	{50358218, "what a process at work added after another had merged for it was not found by the next, as its mark was gone"},
	{50761992, rackspaceToo + "a process that went on chose those that it had proven first, and removed one that served"},
	{9001840, rackspaceToo + "half of a set that was to go was left, and looked like somebody else's"},
	{72003456, flexToo + "a delivery that was given up was resumed after its run was undone, and left a private key in the key manager"},
	{72000965, flexToo + "a delivery was resumed after another one was done, and brought the former certificate back"},
	{72000639, flexToo + "a delivery that had found SSH open, as another one had left it, was taken back and left it open"},
	{5359, flexToo + "a delivery that had not come to open SSH was taken back, and left it open, as another one had before it"},
	{100459926, followsToo + "a line that was slow was added after a successor's: the disk of the simulation did not compare, as store/file does"},
	{105233, "a process that had lost its lease joined its line to one that its successor had torn"},
	{1, "going back, servers were removed a TTL after the record was restored, not after the name servers agreed"},
	{33, "a name that nothing proves went home while home did not answer"},
	{2023360, "an attempt ran out of time before it had looked for what it sent, and the next one sent again after one empty list"},
	{2034504, "a set that was restored to nothing was journaled as null, and the next process waited for one empty value"},
	{2034995, "a lowered TTL that was on its way when its process died arrived after its undoing had looked"},
}

// report is what one seed gave.
type report struct {
	problems, trace []string
	seen            tally
	virtual         time.Duration
	oldest          time.Duration
}

// play runs one seed; told is how it is told.
func play(t *testing.T, seed uint64, without safeguard) report { return run(t, seed, without, false) }

func told(t *testing.T, seed uint64) report { return run(t, seed, "", true) }

func run(t *testing.T, seed uint64, without safeguard, telling bool) (r report) {
	t.Helper()
	issue(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // goroutines fall in one order only on one processor
	cryptotest.SetGlobalRandom(t, seed)
	synctest.Test(t, func(*testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		w, err := newWorld(ctx, seed, without, telling)
		if err != nil {
			r.problems = []string{err.Error()}
			return
		}
		w.story()
		time.Sleep(10 * time.Minute) // what is late arrives
		w.mu.Lock()
		defer w.mu.Unlock()
		r = report{w.problems, w.trace, w.seen, time.Since(w.began), w.oldest}
	})
	return r
}

// TestSeed runs one seed and tells its story.
func TestSeed(t *testing.T) {
	if *seedFlag < 0 {
		t.Skip("-seed N runs one")
	}
	r := told(t, uint64(*seedFlag))
	t.Log("\n" + strings.Join(r.trace, "\n"))
	t.Logf("%+v in %s of virtual time, oldest proof %s", r.seen, r.virtual, r.oldest)
	for _, p := range r.problems {
		t.Error(p)
	}
}

// TestFound runs what failed once.
func TestFound(t *testing.T) {
	for _, f := range found {
		complain(t, line{Seed: f.seed, Problems: play(t, f.seed, "").problems})
	}
}

// TestRepeats: the same seed gives the same story, to the last line. In those beside the first ones several steps wait for one rate limit, for
// one list, or for one login that hangs, and go on at once; in 3399 one step dials twice.
func TestRepeats(t *testing.T) {
	if raced {
		t.Skip("the race detector shuffles")
	}
	for _, seed := range []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 64, 273, 425, 514, 3399, 70000410, 70000795, 70000903, 70000917, 70001108, 70001259} {
		if first, again := told(t, seed).trace, told(t, seed).trace; !slices.Equal(first, again) {
			t.Errorf("seed %d does not repeat", seed)
		}
	}
}

// line is what a worker says of a seed: that it begins, then what it gave.
type line struct {
	Seed     uint64
	Ended    bool
	Problems []string
	Seen     tally
	Oldest   time.Duration
}

// share tells a worker which seeds are its own: from/step/end.
const share = "FAILOVER_SIMULATE_SHARE"

// TestSeeds runs many. A bubble has one clock, and what a seed does must not depend on how goroutines fall on
// processors: each worker is a process with one.
func TestSeeds(t *testing.T) {
	if s := os.Getenv(share); s != "" {
		work(t, s)
		return
	}
	n := *seedsFlag
	if s := os.Getenv("FAILOVER_SEEDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	if raced {
		n = min(n, 40)
	}
	began := time.Now()
	workers := uint64(max(1, min(runtime.NumCPU(), n/50)))
	var mu sync.Mutex
	var sum tally
	var oldest time.Duration
	done := 0
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			var last line
			err := worker(t, fmt.Sprintf("%d/%d/%d", *fromFlag+i, workers, *fromFlag+uint64(n)), func(l line) {
				last = l
				if !l.Ended {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				done++
				sum.add(l.Seen)
				oldest = max(oldest, l.Oldest)
				complain(t, l)
			})
			if err != nil {
				complain(t, line{Seed: last.Seed, Problems: []string{err.Error()}})
			}
		})
	}
	wg.Wait()
	if done != n && !t.Failed() {
		t.Errorf("%d of %d seeds ran", done, n)
	}
	if n >= 100 && slices.Contains([]int{sum.Faults, sum.Crashes, sum.Resumes, sum.Abandons, sum.Takeovers, sum.Done, sum.Failed, sum.Backs, sum.Away, sum.Moved, sum.Flex, sum.Renewals, sum.Renewed, sum.GivenUp, sum.Followed}, 0) {
		t.Errorf("something never happened: %+v", sum)
	}
	t.Logf("%d seeds in %s by %d workers: %+v, oldest proof %s", done, time.Since(began).Round(time.Second), workers, sum, oldest)
}

func complain(t *testing.T, l line) {
	t.Helper()
	for _, p := range l.Problems {
		t.Errorf("seed %d: %s\n\tgo test ./provision/simulate -run TestSeed -seed %d -v", l.Seed, p, l.Seed)
	}
}

// worker runs a share of the seeds in a process of its own, and gives what it says.
func worker(t *testing.T, seeds string, told func(line)) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestSeeds$", "-test.timeout=0")
	cmd.Env = append(os.Environ(), share+"="+seeds, "GOMAXPROCS=1", "GOGC=800")
	var said, complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for sc := bufio.NewScanner(out); sc.Scan(); {
		var l line
		if json.Unmarshal(sc.Bytes(), &l) == nil {
			told(l)
		} else {
			said.WriteString(sc.Text() + "\n")
		}
	}
	if err := cmd.Wait(); err != nil {
		said.Write(complaints.Bytes())
		return fmt.Errorf("%w: %s", err, said.Bytes()[:min(said.Len(), 4000)])
	}
	return nil
}

func work(t *testing.T, seeds string) {
	var from, step, end uint64
	if _, err := fmt.Sscanf(seeds, "%d/%d/%d", &from, &step, &end); err != nil {
		t.Fatal(err)
	}
	enc := json.NewEncoder(os.Stdout)
	for seed := from; seed < end; seed += step {
		_ = enc.Encode(line{Seed: seed})
		r := play(t, seed, "")
		_ = enc.Encode(line{Seed: seed, Ended: true, Problems: r.problems, Seen: r.seen, Oldest: r.oldest})
	}
}
