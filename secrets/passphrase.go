package secrets

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // old keys are encrypted so, and read once
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // the default of PBKDF2 in RFC 8018
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/scrypt"
)

// LockedError says that a private key is encrypted with a passphrase of its own. Unlock makes the certificate.
type LockedError struct {
	certs []*x509.Certificate
	key   Value // PEM, encrypted
}

// Error says what to do where there is nobody to ask.
func (e *LockedError) Error() string {
	return "the private key is encrypted with a passphrase of its own, and there is no terminal to ask for it at: keep the plain key in a place that is sealed (openssl pkey -in KEY | failover seal ... --key /dev/stdin)"
}

// errPassphrase says that a passphrase opens nothing.
var errPassphrase = errors.New("the passphrase does not open the private key")

// Unlock opens the key: PKCS#8 with PBES2 (RFC 8018), as openssl has written it since 1.0, and the older form with a DEK-Info
// header. It does not wipe the passphrase, and may be called again.
func (e *LockedError) Unlock(passphrase Value) (*Certificate, error) {
	b, _ := pem.Decode(e.key.Bytes())
	if b == nil {
		return nil, errPassphrase
	}
	var plain []byte
	typ := b.Type
	var err error
	if b.Headers["DEK-Info"] != "" {
		plain, err = x509.DecryptPEMBlock(b, passphrase.Bytes()) //nolint:staticcheck // it is deprecated to write such keys; people have them
		if err != nil {
			err = errPassphrase
		}
	} else {
		typ = "PRIVATE KEY"
		plain, err = decryptPKCS8(b.Bytes, passphrase.Bytes())
	}
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	c, err := assemble(append([]*x509.Certificate{}, e.certs...), NewValue(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: plain})))
	if errors.Is(err, errKey) { // one padding of 256 looks right by chance
		err = errPassphrase
	}
	return c, err
}

// tries is how often a person may mistype a passphrase.
const tries = 3

// Open asks a person for the passphrase until it opens the key, three times at most. from is where the key lies.
func (e *LockedError) Open(ctx context.Context, from string, ask func(context.Context, string) (Value, error)) (*Certificate, error) {
	question := "Passphrase of the private key in " + from
	for i := 1; ; i++ {
		p, err := ask(ctx, question)
		if err != nil {
			return nil, err
		}
		c, err := e.Unlock(p)
		p.Wipe()
		if !errors.Is(err, errPassphrase) || i == tries || ctx.Err() != nil {
			return c, err
		}
		question = "That does not open it. Passphrase of the private key in " + from
	}
}

// Object identifiers of RFC 8018, 3565, 3370 and 7914.
var (
	oidPBES2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}
	oidDESEDE3CBC = asn1.ObjectIdentifier{1, 2, 840, 113549, 3, 7}
	oidAES128CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
	oidAES192CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 22}
	oidAES256CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
	oidHMACSHA1   = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 7}
	oidHMACSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidHMACSHA384 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 10}
	oidHMACSHA512 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 11}
)

type pbes2Params struct {
	KDF    pkix.AlgorithmIdentifier
	Cipher pkix.AlgorithmIdentifier
}

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

type scryptParams struct {
	Salt      []byte
	N, R, P   int
	KeyLength int `asn1:"optional"`
}

// most bounds what a key may ask for: openssl writes 2048 to 600,000 rounds, and N of scrypt 16384.
const (
	mostRounds = 10_000_000
	mostScrypt = 1 << 18
)

// decryptPKCS8 opens an EncryptedPrivateKeyInfo (RFC 5958). Its errors hold nothing of what is inside.
func decryptPKCS8(der, passphrase []byte) ([]byte, error) {
	unknown := func(what string) error {
		return fmt.Errorf("the private key is encrypted in a way that failover does not read (%s): openssl pkey -in KEY -out PLAIN", what)
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	var p pbes2Params
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, errors.New("the encrypted private key does not parse")
	}
	if !info.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, unknown("not PBES2")
	}
	if _, err := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &p); err != nil {
		return nil, errors.New("the encrypted private key does not parse")
	}
	size := 0
	newCipher := aes.NewCipher
	switch alg := p.Cipher.Algorithm; {
	case alg.Equal(oidAES128CBC):
		size = 16
	case alg.Equal(oidAES192CBC):
		size = 24
	case alg.Equal(oidAES256CBC):
		size = 32
	case alg.Equal(oidDESEDE3CBC):
		size, newCipher = 24, des.NewTripleDESCipher
	default:
		return nil, unknown("cipher " + alg.String())
	}
	key, err := deriveKey(p.KDF, passphrase, size, unknown)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	var iv []byte
	if _, err := asn1.Unmarshal(p.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, errors.New("the encrypted private key does not parse")
	}
	block, err := newCipher(key)
	if err != nil || len(iv) != block.BlockSize() || len(info.Data) == 0 || len(info.Data)%block.BlockSize() != 0 {
		return nil, errors.New("the encrypted private key does not parse")
	}
	plain := make([]byte, len(info.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, info.Data)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > block.BlockSize() || pad > len(plain) {
		clear(plain)
		return nil, errPassphrase
	}
	return plain[:len(plain)-pad], nil
}

func deriveKey(kdf pkix.AlgorithmIdentifier, passphrase []byte, size int, unknown func(string) error) ([]byte, error) {
	damaged := errors.New("the encrypted private key does not parse")
	switch {
	case kdf.Algorithm.Equal(oidPBKDF2):
		var k pbkdf2Params
		if _, err := asn1.Unmarshal(kdf.Parameters.FullBytes, &k); err != nil || k.Iterations < 1 || k.Iterations > mostRounds {
			return nil, damaged
		}
		h := map[string]func() hash.Hash{"": sha1.New, oidHMACSHA1.String(): sha1.New, oidHMACSHA256.String(): sha256.New,
			oidHMACSHA384.String(): sha512.New384, oidHMACSHA512.String(): sha512.New}[k.PRF.Algorithm.String()]
		if h == nil {
			return nil, unknown("PBKDF2 with " + k.PRF.Algorithm.String())
		}
		// The passphrase becomes a string here, which cannot be wiped: it is the standard library's way.
		return pbkdf2.Key(h, string(passphrase), k.Salt, k.Iterations, size)
	case kdf.Algorithm.Equal(oidScrypt):
		var k scryptParams
		if _, err := asn1.Unmarshal(kdf.Parameters.FullBytes, &k); err != nil || k.N < 2 || k.N > mostScrypt || k.R < 1 || k.R > 32 || k.P < 1 || k.P > 16 {
			return nil, damaged
		}
		key, err := scrypt.Key(passphrase, k.Salt, k.N, k.R, k.P, size)
		if err != nil {
			return nil, damaged
		}
		return key, nil
	}
	return nil, unknown("key derivation " + kdf.Algorithm.String())
}
