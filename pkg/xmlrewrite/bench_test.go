package xmlrewrite_test

import (
	"testing"

	"github.com/virtferry/virtferry/pkg/xmlrewrite"
	"github.com/virtferry/virtferry/pkg/xmlrewrite/guestgen"
)

func BenchmarkRewrite(b *testing.B) {
	for _, bm := range [...]struct {
		name string
		size guestgen.Size
	}{{"small", guestgen.Small()}, {"typical", guestgen.Typical()}, {"huge", guestgen.Huge()}} {
		c := guestgen.Benchmark(bm.size)
		xml, data := string(c.XML()), c.MigrateData()
		b.Run(bm.name, func(b *testing.B) {
			b.SetBytes(int64(len(xml)))
			b.ReportAllocs()
			for b.Loop() {
				plan, err := xmlrewrite.NewPlan(xml, data, xmlrewrite.Options{})
				if err != nil {
					b.Fatal(err)
				}
				plan.Apply()
			}
		})
	}
}

// TestGeneratedGuests checks that the generator's guests can be rewritten.
func TestGeneratedGuests(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		c := guestgen.New(seed, guestgen.Typical())
		plan, err := xmlrewrite.NewPlan(c.XML(), c.MigrateData(), xmlrewrite.Options{})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		again, err := xmlrewrite.NewPlan(plan.Apply(), c.MigrateData(), xmlrewrite.Options{})
		if err != nil || again.Apply() != plan.Apply() {
			t.Fatalf("seed %d: rewriting twice is not rewriting once: %v", seed, err)
		}
	}
}
