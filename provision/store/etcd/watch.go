package etcd

import (
	"context"
	"encoding/json"
)

// Watch receives after each change of a key or of its chunks, until the stream ends.
func (s *Store) Watch(ctx context.Context, key string) (<-chan struct{}, error) {
	type create struct {
		Key      []byte `json:"key"`
		RangeEnd []byte `json:"range_end"`
	}
	full := s.prefix + key
	// The range holds the key itself and, with the next character after "/", its chunks.
	body, err := s.client.stream(ctx, "/v3/watch", map[string]create{"create_request": {[]byte(full), []byte(full + "0")}})
	if err != nil {
		return nil, err
	}
	ticks := make(chan struct{}, 1)
	go func() {
		defer close(ticks)
		defer body.Close()
		for dec := json.NewDecoder(body); ; {
			var answer struct {
				Result struct {
					Canceled bool `json:"canceled"`
				} `json:"result"`
				Error any `json:"error"`
			}
			if dec.Decode(&answer) != nil || answer.Error != nil || answer.Result.Canceled {
				return
			}
			select { // a tick that was not taken yet stands for this one too
			case ticks <- struct{}{}:
			default:
			}
		}
	}()
	return ticks, nil
}
