package openstack

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestWatch: 200 servers that are created over 650 ms and boot in 10 s are all seen within a second of
// being ACTIVE, by one list a second.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		born := map[string]time.Time{}
		lists := 0
		w := newWatch(func(context.Context) ([]server, error) {
			time.Sleep(50 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			lists++
			var out []server
			for id, at := range born {
				s := server{ID: id, Status: "BUILD", Metadata: map[string]string{"failover_slot": id}}
				if time.Since(at) >= 10*time.Second {
					s.Status = "ACTIVE"
				}
				out = append(out, s)
			}
			return out, nil
		})
		t0 := time.Now()
		var wg sync.WaitGroup
		slots := make(chan struct{}, 16)
		var worst, last time.Duration
		for i := range 200 {
			wg.Go(func() {
				id := string(rune('a'+i%26)) + time.Duration(i).String()
				if _, _, _, err := w.look(t.Context()); err != nil {
					t.Error(err)
				}
				slots <- struct{}{}
				time.Sleep(50 * time.Millisecond)
				<-slots
				mu.Lock()
				born[id] = time.Now()
				mu.Unlock()
				w.made(id, id)
				for {
					list, at, again, err := w.look(t.Context())
					if err != nil {
						t.Error(err)
					}
					found := false
					for _, s := range list {
						if s.ID != id {
							continue
						}
						found = true
						if s.Status == "ACTIVE" {
							mu.Lock()
							worst = max(worst, time.Since(born[id].Add(10*time.Second)))
							last = max(last, time.Since(t0))
							mu.Unlock()
							return
						}
					}
					if _, ok := w.expected(id, at, func(string) bool { return false }); !found && !ok {
						t.Errorf("%s looks absent", id)
						return
					}
					if again <= 0 || again > 1500*time.Millisecond {
						t.Errorf("again %v", again)
					}
					time.Sleep(again)
				}
			})
		}
		wg.Wait()
		if worst > time.Second+50*time.Millisecond {
			t.Errorf("seen %v after it was ACTIVE", worst)
		}
		if limit := 50*time.Millisecond + 650*time.Millisecond + 10*time.Second + 150*time.Millisecond; last > limit {
			t.Errorf("all seen after %v, want %v", last, limit)
		}
		if lists > 14 {
			t.Errorf("%d lists in %v", lists, last)
		}
	})
}

func TestWatchLostReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(func(context.Context) ([]server, error) { return nil, nil })
		none := func(string) bool { return false }
		w.unanswered("a")
		_, at, _, _ := w.look(t.Context())
		if _, ok := w.expected("a", at, none); !ok {
			t.Error("absent right after a create whose reply was lost")
		}
		time.Sleep(unsure + time.Second)
		_, at, _, _ = w.look(t.Context())
		if _, ok := w.expected("a", at, none); ok {
			t.Error("still expected")
		}
		w.made("b", "id")
		if _, ok := w.expected("b", at, none); !ok {
			t.Error("absent by a list that is older than the create")
		}
		if _, ok := w.expected("b", at, func(string) bool { return true }); ok {
			t.Error("expected though we deleted it")
		}
	})
}

func TestOnceSharesAndForgetsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o once[int]
		calls := 0
		fn := func(ctx context.Context) (int, error) {
			calls++
			n := calls
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return 0, ctx.Err()
			}
			return n, nil
		}
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if v, err := o.get(t.Context(), fn); v != 1 || err != nil {
					t.Error(v, err)
				}
			})
		}
		wg.Wait()
		var left once[int]
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := left.get(ctx, fn); err == nil {
			t.Error("no error")
		}
		synctest.Wait()
		if v, err := left.get(t.Context(), fn); v != 3 || err != nil {
			t.Error(v, err)
		}
	})
}
