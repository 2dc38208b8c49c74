package sandbox

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// memConn is one end of a connection in memory. It is buffered, which net.Pipe
// is not: TLS and SSH write before they read, on both sides at once.
type memConn struct {
	in, out       *memBuf
	local, remote net.Addr
}

type memBuf struct {
	mu       sync.Mutex
	cond     *sync.Cond
	data     []byte
	closed   bool // by the writer: what is in the buffer can still be read
	broken   bool // by the reader
	deadline time.Time
	timer    *time.Timer
}

func newMemBuf() *memBuf {
	b := &memBuf{}
	b.cond = sync.NewCond(&b.mu)
	return b
}

// memPipe returns both ends; the second one's address is addr.
func memPipe(addr string) (client, server net.Conn) {
	a, b := newMemBuf(), newMemBuf()
	there, _ := net.ResolveTCPAddr("tcp", addr)
	here := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000}
	return &memConn{a, b, here, there}, &memConn{b, a, there, here}
}

func (c *memConn) Read(p []byte) (int, error) {
	b := c.in
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.data) == 0 {
		switch {
		case b.broken:
			return 0, net.ErrClosed
		case b.closed:
			return 0, io.EOF
		case !b.deadline.IsZero() && !time.Now().Before(b.deadline):
			return 0, os.ErrDeadlineExceeded
		}
		b.cond.Wait()
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

func (c *memConn) Write(p []byte) (int, error) {
	b := c.out
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, net.ErrClosed
	}
	if b.broken {
		return 0, io.ErrClosedPipe
	}
	b.data = append(b.data, p...)
	b.cond.Broadcast()
	return len(p), nil
}

func (c *memConn) Close() error {
	for i, b := range []*memBuf{c.in, c.out} {
		b.mu.Lock()
		b.broken, b.closed = b.broken || i == 0, b.closed || i == 1
		if i == 0 && b.timer != nil {
			b.timer.Stop()
		}
		b.cond.Broadcast()
		b.mu.Unlock()
	}
	return nil
}

func (c *memConn) LocalAddr() net.Addr  { return c.local }
func (c *memConn) RemoteAddr() net.Addr { return c.remote }

func (c *memConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetWriteDeadline does nothing: a write never waits.
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }

func (c *memConn) SetReadDeadline(t time.Time) error {
	b := c.in
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
	}
	if b.deadline = t; !t.IsZero() {
		b.timer = time.AfterFunc(time.Until(t), func() {
			b.mu.Lock()
			b.cond.Broadcast()
			b.mu.Unlock()
		})
	}
	b.cond.Broadcast()
	return nil
}

// memListener accepts what dial makes.
type memListener struct {
	addr net.Addr
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func newMemListener(addr string) *memListener {
	a, _ := net.ResolveTCPAddr("tcp", addr)
	return &memListener{addr: a, ch: make(chan net.Conn), done: make(chan struct{})}
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ch:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *memListener) Addr() net.Addr { return l.addr }

func (l *memListener) dial() (net.Conn, error) {
	client, server := memPipe(l.addr.String())
	select {
	case l.ch <- server:
		return client, nil
	case <-l.done:
		return nil, refused("tcp", l.addr.String())
	}
}
