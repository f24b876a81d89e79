package timing

import (
	"math"
	"slices"
	"testing"
	"time"
)

// Constant arrivals are evenly spaced, and a change of rate takes effect at its second: a schedule that restarted its
// count in each stage would send two requests at the seam or none.
func TestConstantArrivals(t *testing.T) {
	load := Load{Kind: open, Arrivals: "constant", Stages: []Stage{{10, 1}, {4, 2}}}
	var got []float64
	for _, due := range arrivals(load, 7, time.Minute) {
		got = append(got, float64(due)/1e9)
	}
	want := []float64{0, .1, .2, .3, .4, .5, .6, .7, .8, .9, 1, 1.25, 1.5, 1.75, 2, 2.25, 2.5, 2.75}
	if !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-6 }) {
		t.Fatalf("slots at %v s, want %v", got, want)
	}
}

// No slot lies at or after the horizon, and a pause (rate 0) has none: a slot there would be sent outside the window.
func TestArrivalsEndWithTheHorizon(t *testing.T) {
	load := Load{Kind: open, Arrivals: "constant", Stages: []Stage{{100, 1}, {0, 1}, {100, 9}}}
	slots := arrivals(load, 7, 2500*time.Millisecond)
	if len(slots) != 150 || slots[149] >= 2.5e9 {
		t.Fatalf("%d slots, the last at %d ns", len(slots), slots[len(slots)-1])
	}
	if slots[99] >= 1e9 || slots[100] < 2e9 {
		t.Fatalf("slots %d and %d ns: one lies in the pause", slots[99], slots[100])
	}
}

// Poisson gaps are exponential with the rate's mean (Kolmogorov-Smirnov, α ≈ 0.001): evenly spaced or uniform arrivals
// under that name would hide the queues that bursts make.
func TestPoissonGapsAreExponential(t *testing.T) {
	const rate, span = 200.0, 100.0
	slots := arrivals(poisson(rate, span), 7, time.Hour)
	if len(slots) < 10_000 {
		t.Fatalf("only %d slots", len(slots))
	}
	gaps := make([]float64, len(slots))
	before := int64(0)
	for i, due := range slots {
		if due < before {
			t.Fatalf("slot %d goes back in time", i)
		}
		gaps[i], before = float64(due-before)/1e9, due
	}
	slices.Sort(gaps)
	distance, n := 0.0, float64(len(gaps))
	for i, gap := range gaps {
		expected := 1 - math.Exp(-rate*gap)
		distance = max(distance, math.Abs(expected-float64(i)/n), math.Abs(expected-float64(i+1)/n))
	}
	if limit := 1.95 / math.Sqrt(n); distance > limit {
		t.Fatalf("distance from the exponential distribution %.4f, above %.4f", distance, limit)
	}
}

// One seed gives one schedule, another seed another: else runs could not be repeated, or blocks would all be alike.
func TestPoissonIsReproducible(t *testing.T) {
	a, b := arrivals(poisson(50, 5), 7, time.Hour), arrivals(poisson(50, 5), 7, time.Hour)
	if len(a) == 0 || !slices.Equal(a, b) {
		t.Fatal("one seed, two schedules")
	}
	if slices.Equal(a, arrivals(poisson(50, 5), 8, time.Hour)) {
		t.Fatal("two seeds, one schedule")
	}
}

// The schedule of a seed is fixed for ever: results of two versions of the generator stay comparable.
func TestSeedSevenIsPinned(t *testing.T) {
	if got := arrivals(poisson(1, 100), 7, time.Hour)[:3]; !slices.Equal(got, pinnedSlots) {
		t.Errorf("first slots of seed 7: %d", got)
	}
	if got := newOrder(8, 1, 7).permutation; !slices.Equal(got, pinnedOrder) {
		t.Errorf("order of 8 payloads with seed 7: %d", got)
	}
}

// Every payload is sent equally often, in an order that only the seed decides; `distinct` requests cover all batches.
func TestOrderWalksAllPayloadsInACircle(t *testing.T) {
	for _, c := range []struct{ payloads, batch, distinct int }{{7, 1, 7}, {7, 3, 7}, {8, 6, 4}, {3, 8, 3}, {4, 4, 1}} {
		o := newOrder(c.payloads, c.batch, 11)
		if o.distinct() != c.distinct {
			t.Errorf("%+v: %d distinct requests", c, o.distinct())
		}
		count := make([]int, c.payloads)
		for i := range int64(c.distinct) {
			if !slices.Equal(o.entries(i), o.entries(i+int64(c.distinct))) {
				t.Errorf("%+v: request %d differs one round later", c, i)
			}
			for _, payload := range o.entries(i) {
				count[payload]++
			}
		}
		if slices.Max(count) != slices.Min(count) || count[0] == 0 {
			t.Errorf("%+v: payloads are sent %v times", c, count)
		}
	}
}

// What seed 7 gave when this was written.
var (
	pinnedSlots = []int64{674206703, 2268839914, 3666470118}
	pinnedOrder = []int{7, 1, 3, 2, 5, 0, 6, 4}
)

func poisson(rate, span float64) Load {
	return Load{Kind: open, Arrivals: "poisson", Stages: []Stage{{rate, span}}}
}
