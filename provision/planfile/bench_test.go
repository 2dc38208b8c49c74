package planfile

import "testing"

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := Load("testdata/full/failover.hcl", Options{Env: fullEnv}); err != nil {
			b.Fatal(err)
		}
	}
}
