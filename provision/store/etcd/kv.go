package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dripstat/failover/provision/store"
)

// The messages of the gateway that are used; bytes travel as base64, 64-bit numbers as strings.
type (
	kv struct {
		Key            []byte `json:"key"`
		Value          []byte `json:"value"`
		CreateRevision int64  `json:"create_revision,string"`
		ModRevision    int64  `json:"mod_revision,string"`
	}
	rangeRequest struct {
		Key      []byte `json:"key"`
		RangeEnd []byte `json:"range_end,omitempty"`
		KeysOnly bool   `json:"keys_only,omitempty"`
	}
	rangeResponse struct {
		KVs []kv `json:"kvs"`
	}
	compare struct {
		Key            []byte  `json:"key"`
		Target         string  `json:"target"`
		Result         string  `json:"result"`
		CreateRevision *string `json:"create_revision,omitempty"`
		ModRevision    *string `json:"mod_revision,omitempty"`
		Value          *[]byte `json:"value,omitempty"`
	}
	op struct {
		Put    *putRequest   `json:"request_put,omitempty"`
		Delete *rangeRequest `json:"request_delete_range,omitempty"`
		Range  *rangeRequest `json:"request_range,omitempty"`
	}
	putRequest struct {
		Key   []byte `json:"key"`
		Value []byte `json:"value"`
	}
	txnRequest struct {
		Compare []compare `json:"compare"`
		Success []op      `json:"success"`
		Failure []op      `json:"failure,omitempty"`
	}
	txnResponse struct {
		Succeeded bool `json:"succeeded"`
		Responses []struct {
			Range rangeResponse `json:"response_range"`
		} `json:"responses"`
	}
)

func number(n int64) *string { s := strconv.FormatInt(n, 10); return &s }

func absent(key []byte) compare {
	return compare{Key: key, Target: "CREATE", Result: "EQUAL", CreateRevision: number(0)}
}

// The chunks of a key lie from key+"/" to key+"0", "0" being what follows "/".
const (
	chunkDigits = 20
	// maxChunk keeps a request below etcd's 1.5 MiB, base64 and all.
	maxChunk = 512 << 10
)

func chunkKey(key string, at int) string { return fmt.Sprintf("%s/%0*d", key, chunkDigits, at) }

func (s *Store) rangeOf(ctx context.Context, key, end string, keysOnly bool) ([]kv, error) {
	var out rangeResponse
	_, err := s.client.call(ctx, "/v3/kv/range", rangeRequest{Key: []byte(key), RangeEnd: []byte(end), KeysOnly: keysOnly}, &out)
	return out.KVs, err
}

// Read gives a value, joined from its chunks where it was appended to.
func (s *Store) Read(ctx context.Context, key string) ([]byte, error) {
	e := s.end(key)
	e.mu.Lock()
	defer e.mu.Unlock()
	return s.read(ctx, key, e)
}

func (s *Store) read(ctx context.Context, key string, e *end) ([]byte, error) {
	full := s.prefix + key
	var out txnResponse
	if _, err := s.client.call(ctx, "/v3/kv/txn", txnRequest{Success: []op{
		{Range: &rangeRequest{Key: []byte(full)}},
		{Range: &rangeRequest{Key: []byte(full + "/"), RangeEnd: []byte(full + "0")}},
	}}, &out); err != nil {
		return nil, err
	}
	if len(out.Responses) != 2 {
		return nil, errors.New("etcd: the answer has not the form of a txn's")
	}
	b := []byte{}
	one, chunks := out.Responses[0].Range.KVs, out.Responses[1].Range.KVs
	for _, c := range chunks {
		if string(c.Key) != chunkKey(full, len(b)) {
			return nil, fmt.Errorf("etcd: %s: the chunk %s does not begin where the last one ended, at %d", key, c.Key, len(b))
		}
		b = append(b, c.Value...)
	}
	if !e.appended {
		e.known, e.at = true, len(b)
	}
	switch {
	case len(chunks) > 0:
		return b, nil
	case len(one) > 0:
		return append(b, one[0].Value...), nil
	}
	return nil, fmt.Errorf("%s: %w", key, store.ErrNotFound)
}

// Swap is one Txn: compare, then put or delete, else read what is there.
func (s *Store) Swap(ctx context.Context, key string, old, next []byte) error {
	full := []byte(s.prefix + key)
	t := txnRequest{Compare: []compare{absent(full)}, Failure: []op{{Range: &rangeRequest{Key: full}}}}
	if old != nil {
		t.Compare[0] = compare{Key: full, Target: "VALUE", Result: "EQUAL", Value: &old}
	}
	t.Success = []op{{Put: &putRequest{Key: full, Value: next}}}
	if next == nil {
		t.Success = []op{{Delete: &rangeRequest{Key: full}}}
	}
	var out txnResponse
	unsure, err := s.client.call(ctx, "/v3/kv/txn", t, &out)
	if err != nil || out.Succeeded {
		return err
	}
	var have []kv
	if len(out.Responses) > 0 {
		have = out.Responses[0].Range.KVs
	}
	// An attempt whose answer was lost may have done it already.
	if unsure && (next == nil && len(have) == 0 || next != nil && len(have) > 0 && bytes.Equal(have[0].Value, next)) {
		return nil
	}
	if old == nil {
		return fmt.Errorf("%s: %w", key, store.ErrExists)
	}
	return fmt.Errorf("%s: %w", key, store.ErrChanged)
}

// Append creates the chunk that begins at the end. A chunk that is there already is taken for ours where b
// begins with it: a request whose answer was lost.
func (s *Store) Append(ctx context.Context, key string, b []byte) error {
	e := s.end(key)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.known {
		if _, err := s.read(ctx, key, e); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	for len(b) > 0 {
		part := b
		if len(part) > maxChunk {
			part = b[:maxChunk]
			if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
				part = b[:i+1]
			}
		}
		n, err := s.chunk(ctx, key, e.at, part)
		if err != nil { // the next reading finds the end anew
			e.appended = false
			return err
		}
		e.at, e.appended = e.at+n, true
		b = b[n:]
	}
	return nil
}

// chunk creates one chunk and gives its length: that of part, or of the one that an earlier attempt made.
func (s *Store) chunk(ctx context.Context, key string, at int, part []byte) (int, error) {
	full := []byte(chunkKey(s.prefix+key, at))
	s.mu.Lock()
	f := s.fence
	s.mu.Unlock()
	for range 5 {
		t := txnRequest{Compare: []compare{absent(full)}, Success: []op{{Put: &putRequest{Key: full, Value: part}}},
			Failure: []op{{Range: &rangeRequest{Key: full}}}}
		if f != nil {
			f.mu.Lock()
			t.Compare = append(t.Compare, compare{Key: []byte(s.prefix + f.key), Target: "MOD", Result: "EQUAL", ModRevision: number(f.rev)})
			f.mu.Unlock()
			t.Failure = append(t.Failure, op{Range: &rangeRequest{Key: []byte(s.prefix + f.key)}})
		}
		var out txnResponse
		if _, err := s.client.call(ctx, "/v3/kv/txn", t, &out); err != nil {
			return 0, err
		}
		if out.Succeeded {
			return len(part), nil
		}
		if f != nil && len(out.Responses) == 2 {
			if lease := out.Responses[1].Range.KVs; len(lease) == 0 || !f.mine(lease[0].Value) {
				return 0, fmt.Errorf("%s: %w", key, store.ErrFenced)
			} else if len(out.Responses[0].Range.KVs) == 0 { // a heartbeat of ours moved it
				f.mu.Lock()
				f.rev = lease[0].ModRevision
				f.mu.Unlock()
				continue
			}
		}
		if len(out.Responses) == 0 || len(out.Responses[0].Range.KVs) == 0 {
			continue
		}
		if have := out.Responses[0].Range.KVs[0].Value; len(have) > 0 && bytes.HasPrefix(part, have) {
			return len(have), nil
		}
		return 0, fmt.Errorf("%s: %w", key, store.ErrChanged)
	}
	return 0, fmt.Errorf("%w: the lease of %s moves too often", store.ErrAway, key)
}

// List gives keys; the chunks of one are one.
func (s *Store) List(ctx context.Context, prefix string) ([]string, error) {
	from := s.prefix + prefix
	kvs, err := s.rangeOf(ctx, from, after(from), true)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, k := range kvs {
		key := strings.TrimPrefix(string(k.Key), s.prefix)
		if i := strings.LastIndexByte(key, '/'); i >= 0 && isChunk(key[i+1:]) {
			key = key[:i]
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

func isChunk(name string) bool {
	if len(name) != chunkDigits {
		return false
	}
	return strings.Trim(name, "0123456789") == ""
}

// after gives the first key that does not begin with prefix.
func after(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return "\x00"
}
