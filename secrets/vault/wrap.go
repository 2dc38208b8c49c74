package vault

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/openbao/openbao/api/v2"

	"github.com/dripstat/failover/secrets"
)

// Wrap has Vault wrap what it keeps at path: instead of the secret comes a token that gives it to whoever uses it first, once, and not after
// ttl. The token needs nothing but the right to read there. What is wrapped stays as it is now, whatever is written to path meanwhile.
//
// Such a token cannot be bound to an address: Vault makes it with the policy response-wrapping and one use, and leaves BoundCIDRs of its entry empty.
// https://github.com/hashicorp/vault/blob/v1.13.0/vault/wrapping.go and https://github.com/openbao/openbao/blob/main/vault/wrapping.go (wrapInCubbyhole)
func (s *Store) Wrap(ctx context.Context, path string, ttl time.Duration) (secrets.Value, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path = strings.Trim(path, "/")
	mount := strings.Trim(s.Mount, "/")
	if mount == "" {
		mount = "secret"
	}
	var token secrets.Value
	err := s.reach(ctx, func() error {
		full := mount + "/" + path
		if s.Version == 2 || s.Version == 0 && s.engine(ctx, mount) == 2 {
			full = mount + "/data/" + path
		}
		req := s.client.NewRequest(http.MethodGet, "/v1/"+full)
		req.WrapTTL = ttl.String()
		limit, cancel := context.WithTimeout(ctx, answerFor)
		defer cancel()
		doc, err := whole(s.client.RawRequestWithContext(limit, req))
		if err != nil {
			return s.refused(ctx, err, "does not wrap "+full, "a policy must allow: path \""+full+"\" { capabilities = [\"read\"] }, with max_wrapping_ttl, if any, of "+ttl.String()+" or more")
		}
		defer doc.Wipe()
		var got struct {
			Wrap struct {
				Path string `json:"creation_path"`
			} `json:"wrap_info"`
		}
		if json.Unmarshal(doc.Bytes(), &got) != nil || got.Wrap.Path == "" {
			return &secrets.Error{Err: &answerError{"Vault at " + s.where + " gave " + full + " without wrapping it"}, Hint: "something between here and Vault drops the header X-Vault-Wrap-TTL"}
		}
		token, err = secrets.Pick(doc.Bytes(), "wrap_info.token", "")
		return err
	})
	return token, err
}

// Spend uses a wrapping token up, and reports whether nobody had before. What was wrapped is not kept.
func (s *Store) Spend(ctx context.Context, token secrets.Value) (fresh bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.reach(ctx, func() error {
		c, err := s.client.CloneWithHeaders() // with the namespace
		if err != nil {
			return err
		}
		c.SetToken(string(token.Bytes()))
		limit, cancel := context.WithTimeout(ctx, answerFor)
		defer cancel()
		doc, err := whole(c.RawRequestWithContext(limit, c.NewRequest(http.MethodPost, "/v1/sys/wrapping/unwrap")))
		doc.Wipe()
		var re *api.ResponseError
		if errors.As(err, &re) && re.StatusCode < http.StatusInternalServerError {
			return nil // it was used, or is too old
		}
		fresh = err == nil
		return err
	})
	return fresh, err
}

// Answered reports whether err is a no of Vault's to a request that it understood: asked again, it would say the same.
func Answered(err error) bool {
	var no *answerError
	return errors.As(err, &no)
}
