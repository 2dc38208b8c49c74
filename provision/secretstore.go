package provision

import (
	"time"

	"github.com/dripstat/failover/secrets"
)

// SecretStore is where certificates are kept. Kind is the backend's folder below secrets/.
type SecretStore struct {
	Name string
	Pos  Pos
	Kind string // "age"; which of these is set
	Age  *AgeStore
	Exec *ExecStore
	File *FileStore
	Env  *EnvStore
	SOPS *SOPSStore
	// Vault is HashiCorp's Vault or OpenBao.
	Vault *VaultStore
	// Barbican is OpenStack's key manager.
	Barbican *BarbicanStore
	// ACME is an authority that issues.
	ACME *ACMEStore
}

// AgeStore is a bundle sealed with age.
type AgeStore struct {
	File       string   // path of the bundle
	Identity   string   // path of an identity file; empty: FAILOVER_AGE_IDENTITY, then the terminal
	Recipients []string // for whom it is made where there is none yet; none: Identity
}

// ACMEStore is a directory of ACME (RFC 8555) that issues by DNS-01, and where the result is sealed.
type ACMEStore struct {
	Directory string // URL
	Email     string
	CA        string // path of a PEM file, of the directory's own TLS
	Seal      string // secrets block (age)
	KeyType   string // p256, p384, rsa2048, rsa3072, rsa4096
	Chain     string // common name of the root to prefer
	Renew     time.Duration
	KID       string // of an external account
	HMAC      secrets.Value
}

// VaultPKI is a PKI engine of a Vault that issues, and where the result is sealed.
type VaultPKI struct {
	Mount   string
	Role    string
	TTL     time.Duration // 0: the role's
	Issue   bool          // Vault makes the key; else it signs a request for one that is made here
	KeyType string        // as of ACMEStore; empty: what the role wants
	Seal    string        // secrets block (age)
	Renew   time.Duration
}

// ExecStore is commands that print certificates. {path} in a word is the path that a certificate has there.
type ExecStore struct {
	Run        []string // prints chain and key, or JSON that holds them
	Chain, Key []string // instead: one prints the chain, one the key
	ChainField []string // of JSON
	KeyField   string
	Timeout    time.Duration
}

// FileStore is PEM files in the open. {path} in a name is the path that a certificate has there.
type FileStore struct {
	Chain string
	Key   string // empty: Chain holds the key too
}

// EnvStore is environment variables, with PEM or base64. {path} in a name is the path, as a part of such a name.
type EnvStore struct {
	Chain string
	Key   string // empty: Chain holds the key too
}

// SOPSStore is a file that the user's own sops decrypts. {path} in it and in fields is the path.
type SOPSStore struct {
	File       string
	ChainField []string
	KeyField   string
	Timeout    time.Duration
}

// BarbicanStore is the key manager of a cloud, of the region that is gone to, or of any other that need not be avoided.
// Chain and Key name two secrets, with {path} for a certificate's path; both empty: the path is a certificate container.
type BarbicanStore struct {
	Cloud      string
	Chain, Key string
}

// VaultStore is a KV engine of a Vault. What is empty is taken from the environment (BAO_ADDR, VAULT_ADDR and their like).
type VaultStore struct {
	Addresses  []string // tried in turn
	Namespace  string
	CA         string // path of a PEM file
	Mount      string
	Version    int // 0: found out
	ChainField []string
	KeyField   string
	Login      VaultLogin
	PKI        *VaultPKI // issue instead of reading
}

// VaultLogin is how Vault is logged in to. Method is the block's name; empty: Token, else the environment's.
type VaultLogin struct {
	Method   string // approle, userpass, jwt, kubernetes
	Mount    string
	Token    secrets.Value // of Vault's own; of jwt, what somebody else has signed
	File     string        // that holds the token of jwt or kubernetes
	Role     string        // role_id of approle
	Username string
	Secret   secrets.Value // secret_id or password
	Wrapped  bool          // Secret is a response-wrapping token
}
