package simulate

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

var (
	seedFlag  = flag.Int64("seed", -1, "run this one seed and print what happens in it")
	seedsFlag = flag.Int("seeds", 300, "how many seeds to run")
)

// report is what one seed gave.
type report struct {
	problems, trace []string
	seen            tally
	virtual         time.Duration
	oldest          time.Duration
}

// play runs one seed.
func play(t *testing.T, seed uint64, without safeguard) (r report) {
	cryptotest.SetGlobalRandom(t, seed)
	synctest.Test(t, func(*testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		w, err := newWorld(ctx, seed, without)
		if err != nil {
			r.problems = []string{err.Error()}
			cancel()
			return
		}
		w.story()
		r = report{w.problems, w.trace, w.seen, time.Since(w.began), w.oldest}
		time.Sleep(time.Hour) // what is late arrives
		cancel()
		_ = w.box.Close()
	})
	return r
}

func TestSeed(t *testing.T) {
	if *seedFlag < 0 {
		t.Skip("no -seed")
	}
	r := play(t, uint64(*seedFlag), "")
	t.Log("\n" + strings.Join(r.trace, "\n"))
	t.Logf("%+v in %s of virtual time, oldest proof %s", r.seen, r.virtual, r.oldest)
	for _, p := range r.problems {
		t.Error(p)
	}
}

func TestSeeds(t *testing.T) {
	var sum tally
	began := time.Now()
	var oldest time.Duration
	for seed := range uint64(*seedsFlag) {
		r := play(t, seed, "")
		sum.add(r.seen)
		oldest = max(oldest, r.oldest)
		for _, p := range r.problems {
			t.Errorf("seed %d: %s\n\tgo test ./provision/simulate -run TestSeed -seed %d -v", seed, p, seed)
		}
	}
	fmt.Println(time.Since(began), oldest)
	t.Logf("%+v", sum)
}
