package cli

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// outliveReader lets this process live when who reads its output has died, as tee does at the ^C that asks a run to stop: from now on a
// write to it fails, where it would end the process by SIGPIPE in the middle of a change. The signal is listened to, not
// ignored, since commands that are run would inherit that.
func outliveReader() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// stops are the signals that ask a command to stop: SIGTERM, and SIGINT and SIGHUP (a closed terminal) where whoever started the process has
// not had them ignored, as nohup does, and a script that runs a command in the background.
var stops = sync.OnceValue(func() []os.Signal {
	list := []os.Signal{syscall.SIGTERM}
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			list = append(list, s)
		}
	}
	return list
})

// signals gives a channel that closes at the first signal that asks to stop, and a context that ends at the second.
func (a *App) signals(parent context.Context) (ctx context.Context, stop <-chan struct{}, release func()) {
	ctx, cancel := context.WithCancel(parent)
	asked := make(chan struct{})
	ch := make(chan os.Signal, 4)
	a.hears.Add(1)
	signal.Notify(ch, stops()...)
	go func() {
		n := 0
		for {
			select {
			case <-ctx.Done():
				return
			case <-ch:
				if n++; n == 1 {
					close(asked)
				} else {
					cancel()
				}
			}
		}
	}()
	return ctx, asked, func() { signal.Stop(ch); a.hears.Add(-1); cancel() }
}

// tidy has something removed where a signal ends the process: one that comes before a run begins, which hears them itself, or
// after it. done ends that.
func (a *App) tidy(remove func()) (done func()) {
	ch, quit := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(ch, stops()...)
	outliveReader() // it ends by itself
	a.tidies.Add(1)
	go func() {
		for {
			select {
			case <-quit:
				return
			case s := <-ch:
				if a.hears.Load() > 0 {
					continue
				}
				remove()
				if restore := a.restore.Load(); restore != nil {
					(*restore)()
				}
				signal.Reset(s)
				dieOf(s)
			}
		}
	}()
	return func() {
		signal.Stop(ch)
		close(quit)
		a.tidies.Add(-1)
	}
}
