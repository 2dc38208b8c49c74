package sandbox

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"time"
)

// load takes a certificate chain with its key into use. The caller holds m.mu.
func (m *machine) load(path string, data []byte) {
	cert, err := tls.X509KeyPair(data, data)
	if err != nil {
		m.badPEM = path
		return
	}
	m.use(path, &cert)
}

// use serves a certificate from now on. The caller holds m.mu.
func (m *machine) use(path string, cert *tls.Certificate) {
	if m.badPEM == path {
		m.badPEM = ""
	}
	m.certs = slices.DeleteFunc(m.certs, func(c *loadedCert) bool { return c.path == path })
	m.certs = append(m.certs, &loadedCert{path, cert})
}

// certificate is chosen as haproxy chooses: the one for the name that the client
// asks for, or else the first.
func (m *machine) certificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range slices.Backward(m.certs) {
		if h.SupportsCertificate(c.cert) == nil {
			return c.cert, nil
		}
	}
	return m.certs[0].cert, nil
}

// serve answers every path, over TLS or plain. The caller holds m.mu.
func (m *machine) serve(l net.Listener, secure bool) {
	srv := &http.Server{
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: m.certificate},
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
		ConnState: func(conn net.Conn, st http.ConnState) {
			switch st {
			case http.StateNew:
				if !m.track(conn) {
					conn.Close()
				}
			case http.StateClosed, http.StateHijacked:
				m.untrack(conn)
			}
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			m.mu.Lock()
			ill := m.ill
			m.mu.Unlock()
			if ill != 0 {
				w.WriteHeader(ill)
				return
			}
			w.Header().Set("X-Served-By", m.s.name)
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			fmt.Fprintf(w, "%s in %s serves %s\n", m.s.name, m.s.region, r.URL.Path)
		}),
	}
	m.web = append(m.web, srv)
	m.c.wg.Go(func() {
		if secure {
			srv.ServeTLS(l, "", "")
		} else {
			srv.Serve(l)
		}
	})
}
